//! Proxy mode, over a server that passes requests through and keeps nothing; and what an event
//! costs the disk from its claim to its place in the file.

use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::disk;
use crate::process::Gateway;

/// Nothing more goes to the disk once nothing did for so long: longer than the second after
/// which rows go on to the file.
const SETTLED: Duration = Duration::from_secs(3);
/// The longest that a checkpoint may take.
const SOON: Duration = Duration::from_mins(2);
/// Seconds of the load for each that others take: the file is to be large beside its log.
const LONGER: u32 = 3;

/// Events answered a second, of a plain pass-through with the same application.
pub(super) async fn proxy(bench: &mut Bench) -> anyhow::Result<()> {
    let mut ratios = Vec::new();
    for _ in 0..bench.rounds() {
        let load = bench.to_baseline("pass", 64);
        let pass = bench.baseline("pass, 64", load).await?.rate();
        let site = bench.site(bench.delivering("proxy", "proxy"), None)?;
        let gateway = site.start_ready().await?;
        let load = bench.to_source(&gateway, "proxy", "processed", 64);
        ratios.push(bench.gateway("proxy", load, &gateway).await?.rate() / pass);
        gateway.kill();
        site.remove()?;
    }
    bench.add("proxy", ratios, String::new());
    Ok(())
}

/// KiB that go to the device for each event, as the device's own counter has it.
///
/// A process has a counter too (`write_bytes`), but that counts what was dirtied in the page
/// cache, by the folio: of a synced overwrite of 4 KiB up to a MiB. It is told beside, and stands
/// in where the device does not count.
#[expect(clippy::cast_precision_loss, reason = "bytes far below 2^53")]
pub(super) async fn device(bench: &mut Bench) -> anyhow::Result<()> {
    let (mut values, mut note) = (Vec::new(), String::new());
    for _ in 0..bench.rounds() {
        let site = bench.site(bench.delivering("device", "proxy"), None)?;
        let gateway = site.start_ready().await?;
        settled(&gateway).await?;
        let counted = disk::is_counted(&site.data)?;
        rustix::fs::sync();
        let device = disk::written(&site.data);
        let process = gateway.written();
        let mut load = bench.to_source(&gateway, "device", "processed", 64);
        load.measured *= LONGER;
        let events = bench.gateway("device", load, &gateway).await?.accepted as f64;
        settled(&gateway).await?;
        rustix::fs::sync();
        let process = gateway.written() - process;
        let device = disk::written(&site.data).zip(device).map_or(0, |(now, was)| now - was);
        let [process, device] = [process, device].map(|bytes| bytes as f64 / 1024.0 / events);
        values.push(if counted { device } else { process });
        note = format!(
            "{} counts; /proc/diskstats {device:.2}, write_bytes {process:.2}, {events:.0} events",
            if counted { "the device" } else { "only the process" }
        );
        gateway.kill();
        site.remove()?;
    }
    bench.add("device", values, note);
    Ok(())
}

/// Waits until the gateway writes nothing more.
async fn settled(gateway: &Gateway) -> anyhow::Result<()> {
    let begun = Instant::now();
    let (mut last, mut since) = (gateway.written(), Instant::now());
    while since.elapsed() < SETTLED {
        anyhow::ensure!(begun.elapsed() < SOON, "the gateway still writes after {SOON:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = gateway.written();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(())
}
