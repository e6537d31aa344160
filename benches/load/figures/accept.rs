//! Accepting: what a provider waits for in queue mode, with deliveries out of the way.

use std::time::Duration;

use crate::bench::Bench;
use crate::disk;

/// Events accepted a second, of what bare axum answers.
pub(super) async fn accept(
    bench: &mut Bench,
    name: &'static str,
    connections: usize,
) -> anyhow::Result<()> {
    let (mut ratios, mut logged) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds() {
        let load = bench.to_baseline("bare", connections);
        let bare = bench.baseline(&format!("bare, {connections}"), load).await?.rate();
        let load = bench.to_baseline("log", connections);
        let log = bench.baseline(&format!("hmac and log, {connections}"), load).await?.rate();
        ratios.push(from_empty(bench, name, connections).await? / bare);
        logged.push(log / bare);
    }
    let note =
        format!("a log of bodies, synced together, reaches {:.2}", crate::bench::median(&logged));
    bench.add(name, ratios, note);
    Ok(())
}

/// Events accepted a second over a store that is empty at first.
pub(super) async fn from_empty(
    bench: &mut Bench,
    case: &str,
    connections: usize,
) -> anyhow::Result<f64> {
    let site = bench.site(bench.accepting(), None)?;
    let gateway = site.start_ready().await?;
    let load = bench.to_source(&gateway, "accept", "queued", connections);
    let run = bench.gateway(case, load, &gateway).await?;
    gateway.kill();
    site.remove()?;
    Ok(run.rate())
}

/// What one patient provider waits for, over what it would at least: the bare server, and a sync
/// of what was appended.
pub(super) async fn one(bench: &mut Bench) -> anyhow::Result<()> {
    let site = bench.site(bench.accepting(), None)?;
    let gateway = site.start_ready().await?;
    let (mut ratios, mut appends) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds() {
        let load = bench.to_baseline("bare", 1);
        let bare = bench.baseline("bare, 1", load).await?.ms(0.5);
        let before = disk::syncs(bench.folder())?.append;
        let load = bench.to_source(&gateway, "accept", "queued", 1);
        let accept = bench.gateway("one", load, &gateway).await?.ms(0.5);
        let append = ms((before + disk::syncs(bench.folder())?.append) / 2);
        ratios.push(accept / (bare + append));
        appends.push(append);
    }
    gateway.kill();
    let note = format!("an append of 4 KiB takes {:.3} ms", crate::bench::median(&appends));
    bench.add("one", ratios, note);
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
