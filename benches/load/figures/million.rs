//! A million finished events: their copies, and their end.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::net::{Draw, Load, Stop};
use crate::process::{Gateway, Plan, source};

/// The longest that a sweep of all may take.
const SWEEP: Duration = Duration::from_mins(15);
/// How often is looked at how far it is.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Copies answered a second, drawn at random among all, of what axum with HMAC answers.
pub(super) async fn duplicates(
    bench: &mut Bench,
    name: &'static str,
    level: &str,
) -> anyhow::Result<()> {
    let filled = bench.filled(bench.options.million).await?;
    let log = format!("level = \"{level}\"\nformat = \"json\"");
    let plan = Plan { log, sources: bench.stored() };
    let site = bench.site_of(&plan, Some(&filled.data))?;
    let gateway = site.start_ready().await?;
    let mut ratios = Vec::new();
    for _ in 0..bench.rounds() {
        let load = bench.to_baseline("hmac", 64);
        let hmac = bench.baseline("hmac, 64", load).await?.rate();
        let load = bench.to_source(&gateway, "stored", "duplicate", 64);
        // Until what is asked for most is in the page cache.
        let warm_up = load.measured;
        let load = Load { draw: Draw::Stored(filled.count), warm_up, ..load };
        ratios.push(bench.gateway(name, load, &gateway).await?.rate() / hmac);
    }
    gateway.stop().await?;
    site.remove()?;
    bench.add(name, ratios, format!("among {} events, log at {level}", filled.count));
    Ok(())
}

/// What a sweep of all takes away from those that go on sending.
#[expect(clippy::cast_precision_loss, reason = "a million")]
pub(super) async fn expiry(bench: &mut Bench) -> anyhow::Result<()> {
    let filled = bench.filled(bench.options.million).await?;
    let site = bench.site(bench.stored(), Some(&filled.data))?;
    let gateway = site.start_ready().await?;
    let load = bench.to_source(&gateway, "accept", "queued", 64);
    let before = bench.gateway("before expiry", load, &gateway).await?;
    gateway.stop().await?;
    site.remove()?;

    let expired = source("stored", "proxy", &bench.target("bare"), "ttl = \"1ms\"\n");
    let site = bench.site(format!("{expired}{}", bench.accepting()), Some(&filled.data))?;
    // It sweeps from its start on: nothing else is waited for.
    let mut gateway = site.start()?;
    gateway.ready().await?;
    let load = bench.to_source(&gateway, "accept", "queued", 64);
    let warm_up = load.warm_up.min(Duration::from_millis(200));
    let load = Load { warm_up, measured: SWEEP, ..load };
    let over = Stop::default();
    let loaded = bench.gateway_until("expiry", load, &gateway, over.clone());
    let swept = swept(&gateway, filled.count as f64, over.clone());
    let (during, swept) = tokio::join!(loaded, swept);
    let (during, (swept, took)) = (during?, swept?);
    anyhow::ensure!(swept >= filled.count as f64, "only {swept:.0} were swept in {SWEEP:?}");
    let load = bench.to_source(&gateway, "accept", "queued", 64);
    let after = bench.gateway("after expiry", load, &gateway).await?;
    gateway.kill();
    site.remove()?;
    // It is of no use to another figure any more.
    bench.forget_filled()?;

    let note = format!("{swept:.0} events swept in {took:.1?}; before and after it in turn");
    let ratios = [&before, &after].map(|base| during.rate() / base.rate());
    bench.add("expiry", ratios.to_vec(), note);
    let ratios = [&before, &after].map(|base| during.ms(0.99) / base.ms(0.99));
    let note = format!("p99 {:.1} ms", during.ms(0.99));
    bench.add("expiry-p99", ratios.to_vec(), note);
    Ok(())
}

/// Waits until all are swept, and sets `over`; how many were, and how long that took.
async fn swept(gateway: &Gateway, all: f64, over: Stop) -> anyhow::Result<(f64, Duration)> {
    let begun = Instant::now();
    let mut swept = Ok(0.0);
    while swept.as_ref().is_ok_and(|swept| *swept < all) && !over.load(Ordering::Relaxed) {
        tokio::time::sleep(LOOK_AGAIN).await;
        swept = gateway.sum(&["oncegate_swept_total{", "source=\"stored\""]).await;
    }
    over.store(true, Ordering::Relaxed);
    Ok((swept?, begun.elapsed()))
}
