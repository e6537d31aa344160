//! The rate at which what is accepted is delivered as well, and the backlog stays as it is.
//!
//! A closed loop would only show how fast the queue can grow. So short probes look for the
//! highest rate at which it does not, and a long one confirms it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::bench::{Bench, median};
use crate::net::{Load, Pace, Stop};
use crate::process::Gateway;

/// Connections of the open loop: more than ever wait at a rate that holds.
const CONNECTIONS: usize = 256;
/// The first rate, of bare axum's.
const FIRST: f64 = 0.05;
/// What a probe that held is multiplied by, until one does not hold.
const STEP: f64 = 1.4;
/// Probes between the last rate that held and the first that did not.
const HALVINGS: usize = 3;
/// Long runs, each a little lower than the one before.
const CONFIRMATIONS: usize = 3;
const LOWER: f64 = 0.95;
/// The part of a second's events by which the backlog may grow each second.
const GROWTH: f64 = 0.01;
/// The part of a second's events that come and go however flat it is.
const UNEVEN: f64 = 0.05;
/// The part of the asked rate that must have been sent.
const SENT: f64 = 0.97;
/// How long a backlog may take to go.
const DRAIN: Duration = Duration::from_mins(5);

pub(super) async fn delivered(bench: &mut Bench) -> anyhow::Result<()> {
    let bare = bare(bench).await?;
    let site = bench.site(bench.delivering("delivered", "queue"), None)?;
    let gateway = site.start_ready().await?;
    let short = bench.seconds().min(Duration::from_secs(5));
    let (mut held, mut failed) = (0.0, f64::INFINITY);
    let mut rate = FIRST * bare;
    let mut halvings = 0;
    while halvings < HALVINGS {
        if probe(bench, &gateway, rate, short).await?.holds {
            held = rate;
        } else {
            failed = rate;
        }
        if failed.is_finite() {
            halvings += 1;
            rate = f64::midpoint(held, failed);
        } else {
            rate = held * STEP;
        }
    }
    anyhow::ensure!(held > 0.0, "no rate holds: tried down to {rate:.0} events a second");
    let long = Duration::from_secs_f64(bench.options.confirm);
    let mut note = String::new();
    for _ in 0..CONFIRMATIONS {
        let probe = probe(bench, &gateway, held, long).await?;
        note = format!("{held:.0}/s for {long:?}, backlog {:.0} at most", probe.most);
        if probe.holds {
            let base = median(&[bare, self::bare(bench).await?]);
            gateway.kill();
            site.remove()?;
            bench.add("delivered", vec![held / base], note);
            return Ok(());
        }
        held *= LOWER;
    }
    anyhow::bail!("the backlog grew in all {CONFIRMATIONS} long runs; the last: {note}")
}

async fn bare(bench: &mut Bench) -> anyhow::Result<f64> {
    let load = bench.to_baseline("bare", 64);
    Ok(bench.baseline("bare, 64", load).await?.rate())
}

/// What became of the backlog at a rate.
struct Probe {
    holds: bool,
    most: f64,
}

async fn probe(
    bench: &mut Bench,
    gateway: &Gateway,
    rate: f64,
    length: Duration,
) -> anyhow::Result<Probe> {
    let load = bench.to_source(gateway, "delivered", "queued", CONNECTIONS);
    let load = Load { pace: Pace::Open(rate), measured: length, ..load };
    let warm_up = load.warm_up;
    let before = bench.application.count().await?;
    let over = Stop::default();
    let sent = bench.gateway_until("delivered", load, gateway, over.clone());
    let watched = async {
        tokio::time::sleep(warm_up).await;
        let mut backlog = Vec::new();
        while !over.load(Ordering::Relaxed) {
            backlog.push(gateway.events("delivered", "queued").await?);
            // As often as the gauge is set.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        anyhow::Ok(backlog)
    };
    let (run, backlog) = tokio::join!(sent, watched);
    let (run, backlog) = (run?, backlog?);
    drain(gateway).await?;
    let delivered = bench.application.count().await? - before;
    anyhow::ensure!(delivered >= run.accepted, "only {delivered} of {} came", run.accepted);
    let third = backlog.len().div_ceil(3);
    let early = mean(backlog.get(..third).unwrap_or_default());
    let late = mean(backlog.get(backlog.len() - third..).unwrap_or_default());
    let most = backlog.iter().copied().fold(0.0, f64::max);
    // Two thirds of the time are between the middles of the first and the last third.
    let growth = (late - early - UNEVEN * rate) / (length.as_secs_f64() * 2.0 / 3.0);
    let sent = run.per_second(run.sent);
    let holds = growth <= GROWTH * rate && sent >= SENT * rate && run.refused == 0;
    eprintln!(
        "  {rate:.0}/s: {}: sent {sent:.0}/s, backlog {early:.0} to {late:.0}, p99 {:.1} ms",
        if holds { "holds" } else { "does not hold" },
        run.ms(0.99)
    );
    Ok(Probe { holds, most })
}

/// Waits until nothing is queued.
async fn drain(gateway: &Gateway) -> anyhow::Result<()> {
    let begun = Instant::now();
    // The gauge is up to a second old.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    while gateway.events("delivered", "queued").await? > 0.0 {
        anyhow::ensure!(begun.elapsed() < DRAIN, "the queue is not empty after {DRAIN:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a few values")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
