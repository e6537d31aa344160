//! The disk is full: a small tmpfs, a ballast file, the real binary under load. Mounting
//! needs root; elsewhere this is skipped, and says so, but never where `CI` is set.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::app::{App, Script};
use super::check::{Evidence, check};
use super::child::{Gateway, Plan, SOON, Site, until};
use super::load::{Got, Load, Sent};
use super::{LAST, drained, runtime, stories};

const SIZE: &str = "64m";
const CALM: Script = Script { seed: 0, fails: 0, hangs_up: 0, slow: 100, too_slow: 0 };
const PLANS: [Plan; 2] = [
    Plan { provider: "stripe", mode: "proxy", on_unknown: "redeliver" },
    Plan { provider: "standard-webhooks", mode: "queue", on_unknown: "redeliver" },
];
/// How soon the gateway must be ready by itself once there is room.
const BACK: Duration = Duration::from_secs(10);

#[test]
fn below_the_reserve_new_events_are_refused_and_all_else_goes_on() {
    let Some(disk) = Disk::mount() else { return };
    runtime().block_on(async {
        // Room for what goes on to the file at once, and for the log: `storage.cache` is 16 MiB.
        let run = Run::start(&disk, "16MiB").await;
        run.load.send(300);
        run.some_are_acknowledged(100).await;
        disk.fill_but(12 << 20);
        run.is_not_ready("disk low").await;
        let low = Instant::now();
        let (before, newest) = (run.load.log(), run.load.newest());
        // A few new ones; then there are only copies to send.
        run.load.send(30);
        // What was accepted before is delivered and recorded.
        drained(&run.site, &run.app).await;
        until("both kinds were sent", SOON, async || {
            let (new, copies) = kinds(&before, newest, &run.load.log(), low);
            if new.len() < 20 || copies.len() < 20 {
                return Err(format!("{} new, {} copies", new.len(), copies.len()));
            }
            for got in new {
                assert_eq!((got.status, got.outcome.as_str()), (503, "unavailable"));
                assert!(got.retry_after);
            }
            for got in copies {
                assert_eq!((got.status, got.outcome.as_str()), (200, "duplicate"));
            }
            Ok(())
        })
        .await;
        run.is_not_ready("disk low").await;
        run.load.wait();
        run.room_again_and_nothing_lost(&disk).await;
    });
}

#[test]
fn a_full_disk_refuses_claims_and_mends_itself_when_there_is_room() {
    let Some(disk) = Disk::mount() else { return };
    runtime().block_on(async {
        let mut run = Run::start(&disk, "2MiB").await;
        run.load.send(1_500);
        run.some_are_acknowledged(100).await;
        until("a commit meets the full disk", SOON, async || {
            // Where the reserve was noticed first, no claim gets so far: once more.
            run.is_ready().await;
            disk.fill_but(0);
            until("it is noticed", BACK, async || run.trouble().await.ok_or_else(String::new))
                .await;
            let full = async || match run.trouble().await {
                Some(why) if why.contains("disk full") => Ok(()),
                why => Err(format!("{why:?}")),
            };
            let met = tokio::time::timeout(Duration::from_secs(2), async {
                while full().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
            if met.await.is_err() {
                disk.empty();
                return Err("only the reserve was noticed".to_owned());
            }
            Ok(())
        })
        .await;
        let full = Instant::now();
        until("claims are refused", SOON, async || {
            let log = run.load.log();
            let refused = log.iter().filter(|sent| sent.begun > full && !sent.forged);
            let refused: Vec<_> = refused.filter_map(|sent| sent.answer.as_ref()).collect();
            if refused.len() < 20 {
                return Err(format!("{} were answered", refused.len()));
            }
            for got in refused {
                assert_eq!((got.status, got.outcome.as_str()), (503, "unavailable"));
                assert!(got.retry_after);
            }
            Ok(())
        })
        .await;
        assert!(run.gateway.runs());
        assert_eq!(run.site.get("/healthz").await.unwrap(), "alive\n");
        run.load.wait();
        run.room_again_and_nothing_lost(&disk).await;
    });
}

#[test]
fn a_disk_that_fills_with_no_reserve_set_loses_nothing_either() {
    let Some(disk) = Disk::mount() else { return };
    runtime().block_on(async {
        let run = Run::start(&disk, "0").await;
        run.load.send(1_500);
        run.some_are_acknowledged(100).await;
        for _ in 0..3 {
            disk.fill_but(0);
            run.is_not_ready("disk full").await;
            disk.empty();
            run.is_ready().await;
        }
        run.load.wait();
        run.room_again_and_nothing_lost(&disk).await;
    });
}

/// A gateway whose file is on the small disk.
struct Run {
    app: App,
    site: Site,
    gateway: Gateway,
    load: Load,
    _dir: tempfile::TempDir,
}

impl Run {
    async fn start(disk: &Disk, reserve: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let app = App::start(CALM).unwrap();
        let site = Site::new(dir.path(), &disk.path, app.addr, &PLANS, reserve);
        let gateway = site.start_ready().await;
        let load = Load::start(&site, 8, 11);
        Self { app, site, gateway, load, _dir: dir }
    }

    async fn some_are_acknowledged(&self, count: usize) {
        until("some events are acknowledged", SOON, async || {
            let log = self.load.log();
            let done = log.iter().filter(|sent| sent.acknowledged().is_some()).count();
            if done < count { Err(format!("{done}")) } else { Ok(()) }
        })
        .await;
    }

    /// Why it is not ready; `None` if it is.
    async fn trouble(&self) -> Option<String> {
        self.site.get("/readyz").await.err()
    }

    async fn is_not_ready(&self, why: &str) {
        until(why, BACK, async || match self.trouble().await {
            Some(said) if said.contains("503") && said.contains(why) => Ok(()),
            said => Err(format!("{said:?}")),
        })
        .await;
    }

    async fn is_ready(&self) {
        until("ready again", BACK, async || match self.trouble().await {
            None => Ok(()),
            Some(said) => Err(said),
        })
        .await;
    }

    /// With the ballast gone it is ready by itself, and everything holds.
    async fn room_again_and_nothing_lost(mut self, disk: &Disk) {
        disk.empty();
        self.is_ready().await;
        let sent = self.load.finish(LAST).await;
        drained(&self.site, &self.app).await;
        assert!(self.gateway.runs(), "{}", self.site.said());
        let stories = stories(&self.site, &sent).await;
        let receipts = self.app.receipts();
        // Two modes at once: what holds in both is checked.
        let totals = check(&Evidence { sent, receipts, stories, ..Evidence::default() });
        println!("full disk: {totals}");
        let broken = totals.broken.first();
        assert!(broken.is_none(), "{broken:?}\n{}", self.site.said());
        assert_eq!(totals.flagged, 0, "nothing was cut");
        self.gateway.terminate();
        assert_eq!(self.gateway.ended().await.code(), Some(0), "{}", self.site.said());
    }
}

/// Since `low`: answers to events that are newer than the `newest` was then, and to copies of
/// those that were acknowledged. What was on its way then is neither.
fn kinds(before: &[Sent], newest: u64, log: &[Sent], low: Instant) -> (Vec<Got>, Vec<Got>) {
    let done = |id: &str| before.iter().any(|sent| sent.id == id && sent.acknowledged().is_some());
    let later = log.iter().filter(|sent| sent.begun > low && !sent.forged);
    let (mut new, mut copies) = (Vec::new(), Vec::new());
    for sent in later {
        let Some(got) = &sent.answer else { continue };
        if done(&sent.id) {
            copies.push(got.clone());
        } else if sent.number() > newest {
            new.push(got.clone());
        }
    }
    (new, copies)
}

/// A small tmpfs, unmounted when dropped.
struct Disk {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Disk {
    /// `None` where mounting is refused.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        fs::create_dir(&path).unwrap();
        let size = format!("size={SIZE}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "oncegate-test"]).arg(&path);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|ended| ended.success());
        if mounted {
            return Some(Self { path, _dir: dir });
        }
        assert!(std::env::var_os("CI").is_none(), "cannot mount a tmpfs, and this is CI");
        println!("SKIPPED: mounting a tmpfs needs root");
        None
    }

    /// Fills it, but for about `left` bytes.
    fn fill_but(&self, left: u64) {
        let mut file = File::options().create(true).append(true).open(self.ballast()).unwrap();
        let mut block = vec![1; 64 << 10];
        while free(&self.path) > left {
            if file.write_all(&block).is_err() {
                if block.len() == 1 {
                    return;
                }
                block.truncate(block.len() / 2);
            }
        }
    }

    fn empty(&self) {
        fs::remove_file(self.ballast()).or_else(ignore_missing).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a gateway that is being killed may hold a file for a moment.
        drop(Command::new("umount").arg("--lazy").arg(&self.path).status());
    }
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn free(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path).unwrap();
    stat.f_bavail.saturating_mul(stat.f_frsize)
}
