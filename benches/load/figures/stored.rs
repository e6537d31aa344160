//! What many stored events cost: those that come after them, and a start.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::accept::from_empty;
use crate::bench::Bench;
use crate::net::{self, Load, Stop};
use crate::{disk, store};

/// How long it is loaded before it is killed.
const LOADED: Duration = Duration::from_secs(3);

/// Events accepted a second over a large store, of those over an empty one; and the memory.
#[expect(clippy::cast_precision_loss, reason = "bytes far below 2^53")]
pub(super) async fn stored(bench: &mut Bench) -> anyhow::Result<()> {
    let filled = bench.filled(bench.options.stored).await?;
    let gib = store::bytes(&filled.data)? as f64 / f64::from(1 << 30);
    let site = bench.site(bench.stored(), Some(&filled.data))?;
    let gateway = site.start_ready().await?;
    let mut ratios = Vec::new();
    for _ in 0..bench.rounds() {
        let empty = from_empty(bench, "stored: empty", 64).await?;
        let load = bench.to_source(&gateway, "accept", "queued", 64);
        ratios.push(bench.gateway("stored", load, &gateway).await?.rate() / empty);
    }
    let memory = gateway.memory();
    gateway.stop().await?;
    site.remove()?;
    bench.add("stored", ratios, format!("{} events, {gib:.1} GiB", filled.count));
    let note = format!("VmHWM; VmRSS {:.0} MiB", memory.now as f64 / 1024.0);
    bench.add("stored-rss", vec![memory.high as f64 / 1024.0], note);
    Ok(())
}

/// Seconds from SIGKILL under load until `/readyz` says 200. With ten million also without
/// anything in the page cache.
pub(super) async fn ready(bench: &mut Bench, name: &'static str, count: u64) -> anyhow::Result<()> {
    let filled = bench.filled(count).await?;
    let site = bench.site(bench.stored(), Some(&filled.data))?;
    let (mut values, mut note, mut dropped) = (Vec::new(), String::new(), String::new());
    for _ in 0..bench.rounds() {
        let gateway = site.start_ready().await?;
        let load = bench.to_source(&gateway, "accept", "queued", 64);
        // Killed before its end: its connections break.
        let load = Load { measured: LOADED * 2, ..load };
        let over = Stop::default();
        let loaded = tokio::spawn(net::run_until(load, over.clone()));
        tokio::time::sleep(LOADED).await;
        let mut begun = Instant::now();
        gateway.kill();
        over.store(true, Ordering::Relaxed);
        let run = loaded.await??;
        if name == "ready-10m" {
            let all = disk::forget_cached(&filled.data)?;
            let what = if all { "the machine's caches" } else { "the store's cached pages" };
            dropped = format!("{what} dropped; ");
            begun = Instant::now();
        }
        let mut gateway = site.start()?;
        gateway.ready().await?;
        values.push(begun.elapsed().as_secs_f64());
        note = format!("{dropped}killed after {} new events", run.accepted);
        gateway.stop().await?;
    }
    site.remove()?;
    bench.add(name, values, note);
    Ok(())
}
