//! Kills of the real binary under load: providers, gateway and application are three, only
//! the gateway dies, and afterwards everything known is held against what is promised.
//!
//! `ONCEGATE_KILLS` is the number of kills in each mode, `ONCEGATE_SEED` what they are drawn
//! from. When what is in flight depends on timing, so a seed repeats the load and the
//! moments, not the run.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;

mod activation;
mod app;
mod check;
mod check_tests;
pub(crate) mod child;
mod disk;
mod load;
mod settings;
mod stop;

use app::{App, Client, Receipt, Script};
use check::{Evidence, Story, Totals, check};
use child::{Plan, SOON, Site};
use load::{Load, Sent};

/// Kills in each mode where `ONCEGATE_KILLS` does not say.
const KILLS: u64 = 5;
/// Kills of one store; then it is judged, and a new one begins: memory has a bound.
const ROUND: u64 = 50;
/// New events between two kills.
const EVENTS: usize = 400;
const CONNECTIONS: usize = 32;
/// How long what is owed may take once the gateway is no longer killed.
const LAST: Duration = Duration::from_secs(30);

#[test]
fn a_proxy_that_is_killed_loses_nothing_and_repeats_nothing_silently() {
    let totals = kills("proxy", "redeliver", setting("ONCEGATE_KILLS", KILLS));
    assert!(totals.flagged > 0, "no attempt was cut: the test proves nothing");
}

#[test]
fn a_queue_that_is_killed_loses_nothing_and_repeats_nothing_silently() {
    let totals = kills("queue", "redeliver", setting("ONCEGATE_KILLS", KILLS));
    assert!(totals.flagged > 0, "no attempt was cut: the test proves nothing");
}

#[test]
fn a_held_event_is_never_attempted_again_by_itself() {
    let kills_here = setting("ONCEGATE_KILLS", KILLS).div_ceil(5);
    for mode in ["proxy", "queue"] {
        // A kill may come between two attempts: then a few more are needed.
        let held = (0..10).any(|_| kills(mode, "hold", kills_here).held > 0);
        assert!(held, "{mode}: nothing was held: the test proves nothing");
    }
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var_os(name) {
        Some(text) => text.to_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            panic!("{name} is not a number");
        }),
        None => default,
    }
}

/// Kills the gateway `count` times; panics if a promise was broken.
fn kills(mode: &'static str, on_unknown: &'static str, count: u64) -> Totals {
    let seed = setting("ONCEGATE_SEED", fastrand::u64(..));
    let title = format!("{mode}, {on_unknown}, ONCEGATE_SEED={seed}");
    println!("{title}: {count} kills");
    let mut totals = Totals::default();
    let mut left = count;
    while left > 0 {
        let now = left.min(ROUND);
        let round = Round { mode, on_unknown, kills: now, seed: seed.wrapping_add(left) };
        totals.add(runtime().block_on(round.run()));
        left -= now;
        println!("{title}: {totals}");
        for broken in totals.broken.iter().take(10) {
            println!("BROKEN {}: {}: {}", broken.rule, broken.id, broken.why);
        }
        assert!(totals.broken.is_empty(), "{title}: promises were broken");
    }
    totals
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Some kills of one store.
struct Round {
    mode: &'static str,
    on_unknown: &'static str,
    kills: u64,
    seed: u64,
}

impl Round {
    async fn run(&self) -> Totals {
        let dir = tempfile::tempdir().unwrap();
        let app = App::start(Script::troubled(self.seed)).unwrap();
        let plan = |provider| Plan { provider, mode: self.mode, on_unknown: self.on_unknown };
        let plans = [plan("stripe"), plan("standard-webhooks")];
        let site = Site::new(dir.path(), dir.path(), app.addr, &plans, "1MiB");
        let load = Load::start(&site, CONNECTIONS, self.seed);
        let mut draw = fastrand::Rng::with_seed(self.seed);
        let mut while_starting = 0;
        for _ in 0..self.kills {
            if draw.u8(0..5) == 0 {
                // The start itself, and its recovery, can be cut as well.
                let gateway = site.start();
                tokio::time::sleep(Duration::from_millis(draw.u64(0..40))).await;
                gateway.kill();
                while_starting += 1;
            }
            let gateway = site.start_ready().await;
            load.send(EVENTS);
            tokio::time::sleep(Duration::from_millis(draw.u64(20..=400))).await;
            gateway.kill();
            load.wait();
        }
        let gateway = site.start_ready().await;
        let sent = load.finish(LAST).await;
        drained(&site, &app).await;
        let stories = stories(&site, &sent).await;
        drop(gateway);
        let (proxy, holds) = (self.mode == "proxy", self.on_unknown == "hold");
        let evidence = Evidence { proxy, holds, sent, receipts: app.receipts(), stories };
        let mut totals = check(&evidence);
        totals.kills = usize::try_from(self.kills).unwrap();
        totals.kills_while_starting = while_starting;
        totals
    }
}

/// Waits until nothing is in flight or queued, at the gateway and the application. What still
/// is after [`LAST`] is for the checker to name.
async fn drained(site: &Site, app: &App) {
    let drained = tokio::time::timeout(LAST, async {
        while !app.is_idle() || waiting(site).await.is_none_or(|events| events > 0.0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    if drained.await.is_err() {
        println!("not drained in {LAST:?}: {:?} events wait", waiting(site).await);
    }
}

/// Events in flight or queued.
async fn waiting(site: &Site) -> Option<f64> {
    let mut waiting = 0.0;
    for source in &site.sources {
        for state in ["in_flight", "queued"] {
            let name = &source.name;
            let series = format!("oncegate_events{{source=\"{name}\",state=\"{state}\"}}");
            waiting += site.sum(&series).await.ok()?;
        }
    }
    Some(waiting)
}

/// The story of every event, as the gateway tells it.
async fn stories(site: &Site, sent: &[Sent]) -> BTreeMap<String, Story> {
    let mut ids: Vec<String> =
        sent.iter().filter(|sent| !sent.forged).map(|sent| sent.id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut readers = JoinSet::new();
    for some in ids.chunks(ids.len().div_ceil(8).max(1)) {
        let (some, mut client) = (some.to_vec(), Client::new(site.admin));
        readers.spawn(async move {
            let mut read = Vec::new();
            for id in some {
                let path = format!("/api/v1/events/{}", id.replacen(':', "/", 1));
                // An event without a story is for the checker to judge.
                if let Ok(story) = client.get(&path).await {
                    read.push((id, Story::read(&serde_json::from_slice(&story).unwrap())));
                }
            }
            read
        });
    }
    tokio::time::timeout(SOON * 5, readers.join_all())
        .await
        .unwrap()
        .into_iter()
        .flatten()
        .collect()
}

/// How often each event reached the application.
fn per_event(receipts: &[Receipt]) -> BTreeMap<&str, usize> {
    let mut times = BTreeMap::new();
    for receipt in receipts {
        *times.entry(receipt.id.as_str()).or_default() += 1;
    }
    times
}
