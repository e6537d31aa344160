//! Twice as much as it can take: what it still takes, how fast it refuses the rest, and what
//! that costs in memory.
//!
//! A gateway refuses claims once 4,096 wait. Each connection has one request at a time, so
//! fewer connections than that only wait, and none is refused.

use std::time::Duration;

use super::accept::from_empty;
use crate::bench::Bench;
use crate::net::{Load, Pace, Run};
use crate::process::Gateway;

/// Bytes that a connection may take: the buffers of both directions and what handles a request.
/// `server.max_connections` bounds how many there are.
const CONNECTION: usize = 32 << 10;

#[expect(clippy::cast_precision_loss, reason = "bytes far below 2^53")]
pub(super) async fn overload(bench: &mut Bench) -> anyhow::Result<()> {
    let (mut ratios, mut refusals, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let mut note = String::new();
    let (mut silent, mut refused) = (0, 0);
    for _ in 0..bench.rounds() {
        let few = from_empty(bench, "peak, 64", 64).await?;
        let peak = few.max(from_empty(bench, "peak, 256", 256).await?);
        let site = bench.site(bench.accepting(), None)?;
        let gateway = site.start_ready().await?;
        let run = flood(bench, &gateway, 2.0 * peak).await?;
        let theirs = bench.options.crowd * (CONNECTION + bench.options.body);
        memory.push(gateway.memory().high as f64 / 1024.0 - theirs as f64 / f64::from(1 << 20));
        gateway.kill();
        site.remove()?;
        ratios.push(run.rate() / peak);
        // The 99.9th percentile of nothing is no figure.
        let some = !run.refusals.is_empty();
        refusals.push(if some { crate::net::ms(&run.refusals, 0.999) } else { f64::NAN });
        silent += run.silent;
        refused += run.refused;
        note = format!(
            "peak {peak:.0}/s; due {:.0}/s, sent {:.0}/s, right {:.0}/s, 503 {:.0}/s; p99 {:.0} ms",
            run.per_second(run.due),
            run.per_second(run.sent),
            run.rate(),
            run.per_second(run.refused),
            run.ms(0.99)
        );
    }
    bench.add("overload", ratios, note);
    if silent > 0 {
        // Never good enough.
        refusals.fill(f64::INFINITY);
    }
    let note = format!("{refused} answers 503, {silent} of them without Retry-After");
    bench.add("overload-503", refusals, note);
    let note = format!("{} connections", bench.options.crowd);
    bench.add("overload-rss", memory, note);
    Ok(())
}

async fn flood(bench: &mut Bench, gateway: &Gateway, rate: f64) -> anyhow::Result<Run> {
    let load = bench.to_source(gateway, "accept", "queued", bench.options.crowd);
    let warm_up = load.warm_up.max(Duration::from_secs(1));
    let load = Load { pace: Pace::Open(rate), warm_up, ..load };
    bench.gateway("overload", load, gateway).await
}
