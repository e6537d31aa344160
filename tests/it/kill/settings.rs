//! The real binary, killed under load and started with other settings each time: renamed,
//! another key rule, the other mode, the source gone and back. The application's ledger is
//! held against what providers were answered: nothing lost, nothing again after an answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::app::{App, Client, Receipt, Script, sha256};
use super::child::{Site, until};
use super::{KILLS, LAST, drained, runtime, setting, waiting};

const PROVIDERS: usize = 12;
/// What a provider waits between two events.
const PACE: Duration = Duration::from_millis(10);
const PATH: &str = "/hooks/it";

/// The settings one after the other: name, names of before, mode, key.
const STAGES: [Option<(&str, &str, &str, &str)>; 9] = [
    Some(("shop", "", "proxy", "json:/id")),
    Some(("store", "\"shop\"", "proxy", "json:/id")),
    Some(("store", "\"shop\"", "proxy", "json:/alt")),
    Some(("store", "\"shop\"", "queue", "json:/alt")),
    None,
    Some(("store", "\"shop\"", "queue", "header:X-Id")),
    Some(("market", "\"store\", \"shop\"", "proxy", "json:/id")),
    None,
    Some(("shop", "\"market\", \"store\"", "queue", "json:/id")),
];

fn sources(app: std::net::SocketAddr, stage: usize) -> String {
    let custom = |name: &str, more: &str, key: &str| {
        format!(
            "[sources.{name}]\nprovider = \"custom\"\ntarget = \"http://{app}/it\"\n{more}\n\
             timeout = \"1s\"\nwait = \"900ms\"\nconcurrency = 32\n[sources.{name}.verify]\n\
             scheme = \"none\"\n[sources.{name}.key]\nparts = [\"{key}\"]\n[sources.{name}.retry]\n\
             attempts = 1000\nfirst = \"20ms\"\nmax = \"200ms\"\n"
        )
    };
    let other = custom("other", "", "json:/id");
    match STAGES[stage % STAGES.len()] {
        None => other,
        Some((name, was, mode, key)) => {
            let more = format!("path = \"{PATH}\"\nmode = \"{mode}\"\nwas = [{was}]");
            other + &custom(name, &more, key)
        },
    }
}

/// What providers know: when each event, by its bytes, was first answered 2xx, and whether
/// that answer was the application's.
type Book = Arc<Mutex<HashMap<[u8; 32], (Instant, bool)>>>;

struct Providers {
    serial: AtomicUsize,
    book: Book,
    /// New events are made.
    more: AtomicBool,
    addr: std::net::SocketAddr,
}

impl Providers {
    /// One provider: sends an event until it is answered 2xx, then sometimes once more.
    async fn work(self: Arc<Self>) {
        let mut client = Client::new(self.addr);
        while self.more.load(Ordering::Relaxed) {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            let body = format!("{{\"id\":\"evt_{serial}\",\"alt\":\"alt-{serial}\"}}");
            let sends = if serial.is_multiple_of(3) { 2 } else { 1 };
            for _ in 0..sends {
                while !self.send(&mut client, serial, &body).await {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            // No more than can be delivered: a gateway accepts far faster than this application
            // answers.
            tokio::time::sleep(PACE).await;
        }
    }

    async fn send(&self, client: &mut Client, serial: usize, body: &str) -> bool {
        let request = Request::post(PATH)
            .header("host", self.addr.to_string())
            .header("x-id", format!("h{serial}"))
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let Ok(answer) = client.send(request, Duration::from_secs(10)).await else { return false };
        if !answer.status().is_success() {
            return false;
        }
        let recorded = answer.headers()["oncegate-outcome"] == "processed";
        let mut book = self.book.lock();
        book.entry(sha256(body.as_bytes())).or_insert((Instant::now(), recorded));
        true
    }
}

#[test]
fn a_change_of_settings_between_kills_loses_nothing_and_repeats_nothing() {
    runtime().block_on(changes(setting("ONCEGATE_KILLS", KILLS).max(2 * STAGES.len() as u64)));
}

#[test]
fn check_names_the_events_of_a_removed_source_and_writes_nothing() {
    runtime().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let app = App::start(Script { seed: 1, fails: 0, hangs_up: 0, slow: 0, too_slow: 0 });
        let app = app.unwrap();
        let mut site = Site::new(dir.path(), dir.path(), app.addr, &[], "1MiB");
        let file = dir.path().join("oncegate.redb");
        let check = |site: &Site| {
            let before = std::fs::read(&file).ok();
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_oncegate"));
            let output = command.arg("check").arg("--config").arg(&site.config).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            (String::from_utf8(output.stdout).unwrap(), before == std::fs::read(&file).ok())
        };
        site.set_sources(&sources(app.addr, 0));
        let (said, untouched) = check(&site);
        assert!(!said.contains("not configured") && untouched && !file.exists(), "{said}");
        let mut gateway = site.start_ready().await;
        let providers = Providers {
            serial: AtomicUsize::new(0),
            book: Book::default(),
            more: AtomicBool::new(true),
            addr: site.public,
        };
        let mut client = Client::new(site.public);
        for serial in 0..3 {
            assert!(providers.send(&mut client, serial, &format!("{{\"id\":{serial}}}")).await);
        }
        let (said, _) = check(&site);
        assert!(said.contains("in use by a running gateway"), "{said}");
        gateway.terminate();
        assert!(gateway.ended().await.success());
        site.set_sources(&sources(app.addr, 4));
        let (said, untouched) = check(&site);
        assert!(
            said.contains("3 events are of the source shop, which is not configured"),
            "{said}"
        );
        assert!(untouched);
        // Renamed, they are somebody's.
        site.set_sources(&sources(app.addr, 1));
        let (said, untouched) = check(&site);
        assert!(!said.contains("not configured") && untouched, "{said}");
        site.start_ready().await.kill();
        let (said, untouched) = check(&site);
        assert!(said.contains("not closed cleanly") && untouched, "{said}");
    });
}

async fn changes(kills: u64) {
    let seed = setting("ONCEGATE_SEED", fastrand::u64(..));
    println!("settings, ONCEGATE_SEED={seed}: {kills} kills");
    let dir = tempfile::tempdir().unwrap();
    let app = App::start(Script { hangs_up: 0, too_slow: 0, ..Script::troubled(seed) }).unwrap();
    let mut site = Site::new(dir.path(), dir.path(), app.addr, &[], "1MiB");
    let book = Book::default();
    let providers = Arc::new(Providers {
        serial: AtomicUsize::new(0),
        book: Arc::clone(&book),
        more: AtomicBool::new(true),
        addr: site.public,
    });
    let mut working = JoinSet::new();
    for _ in 0..PROVIDERS {
        working.spawn(Arc::clone(&providers).work());
    }
    let mut draw = fastrand::Rng::with_seed(seed);
    let mut orphaned = 0.0;
    for stage in 0..usize::try_from(kills).unwrap() {
        site.set_sources(&sources(app.addr, stage));
        let gateway = site.start_ready().await;
        tokio::time::sleep(Duration::from_millis(draw.u64(50..=250))).await;
        if STAGES[stage % STAGES.len()].is_none() {
            let series = "oncegate_events{source=\"_none\",state=\"orphaned\"}";
            orphaned += until("the gauge of orphans", LAST, async || {
                let events = site.sum(series).await?;
                if events > 0.0 { Ok(events) } else { Err("there are none".to_owned()) }
            })
            .await;
        }
        gateway.kill();
    }
    assert!(orphaned > 0.0, "no event was orphaned: the test proves nothing");
    // The last settings are the first ones, as from before the first change.
    site.set_sources(&sources(app.addr, STAGES.len() - 1));
    let gateway = site.start_ready().await;
    providers.more.store(false, Ordering::Relaxed);
    tokio::time::timeout(LAST, working.join_all()).await.expect("every provider is answered");
    drained(&site, &app).await;
    assert_eq!(waiting(&site).await, Some(0.0), "not lost, but not delivered in {LAST:?} either");
    drop(gateway);
    let (answered, receipts) = (book.lock().clone(), app.receipts());
    let acts: usize = receipts.iter().filter(|it| it.accepted().is_some()).count();
    println!("settings: {} events, {} attempts, {acts} acts", answered.len(), receipts.len());
    let broken = broken(&answered, &receipts);
    assert!(broken.is_empty(), "{} promises broken: {:?}", broken.len(), broken.first());
}

/// What of the evidence breaks a promise.
fn broken(answered: &HashMap<[u8; 32], (Instant, bool)>, receipts: &[Receipt]) -> Vec<String> {
    let mut by_event: HashMap<[u8; 32], Vec<&Receipt>> = HashMap::new();
    for receipt in receipts {
        by_event.entry(receipt.sha256).or_default().push(receipt);
    }
    let mut broken = Vec::new();
    for (event, (heard, recorded)) in answered {
        let mut got = by_event.remove(event).unwrap_or_default();
        got.sort_by_key(|receipt| receipt.begun);
        if !got.iter().any(|receipt| receipt.accepted().is_some()) {
            broken.push(format!("lost: {got:?}"));
        }
        if let Some(after) = got.iter().find(|it| *recorded && it.begun > *heard) {
            broken.push(format!("again after an answer: {after:?} of {got:?}"));
        }
        let id = got.first().map(|first| &first.id);
        for (place, later) in got.iter().enumerate() {
            let accepted = got.iter().take(place).any(|it| it.accepted().is_some());
            if accepted && !later.flagged {
                broken.push(format!("repeated silently: {got:?}"));
            }
            if Some(&later.id) != id {
                broken.push(format!("another Idempotency-Key: {got:?}"));
            }
        }
    }
    broken
}
