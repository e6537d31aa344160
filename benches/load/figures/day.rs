//! A day in which as much expires as arrives: the file must not grow with time.
//!
//! Through the library, since no clock but its own can be moved: a minute of events is claimed
//! and settled, the clock goes on by a minute, and what has expired is swept, in the batches
//! that the gateway sweeps in.

use std::sync::Arc;
use std::time::Duration;

use oncegate::clock::{self, Clock};
use oncegate::store::{Filter, RedbStore, Store as _};

use crate::bench::{Bench, median};
use crate::process::source;
use crate::store::{self, Maker};

const MINUTES: u64 = 24 * 60;
const HOUR: u64 = 60;

#[expect(clippy::cast_precision_loss, reason = "bytes far below 2^53")]
pub(super) async fn day(bench: &mut Bench) -> anyhow::Result<()> {
    let sources = source("day", "proxy", &bench.target("bare"), "ttl = \"1h\"\n");
    let site = bench.site(sources, None)?;
    let clock = Arc::new(Clock::still(clock::wall()));
    let opened = store::open(&site, Arc::clone(&clock), None)?;
    let (store, minute) = (Arc::new(opened), bench.options.minute);
    let maker = Arc::new(Maker::new(&site, "day", bench.options.body));
    let mut sizes = Vec::new();
    for nth in 0..MINUTES {
        store::finish_all(&store, &maker, nth * minute, (nth + 1) * minute).await?;
        clock.advance(Duration::from_mins(1));
        sweep(&store).await?;
        to_the_file(&store).await?;
        if (nth + 1).is_multiple_of(HOUR) {
            let bytes = store.stats().bytes;
            sizes.push(bytes as f64);
            eprintln!("  hour {}: {} MiB", (nth + 1) / HOUR, bytes >> 20);
        }
    }
    let logs = store::bytes(&site.data)? - store.stats().bytes;
    let live = store.compact().await?.after;
    store.close().await;
    site.remove()?;
    // The last half of the day: by then it has grown as far as it does.
    let late = sizes.get(sizes.len() / 2..).unwrap_or_default();
    let most = late.iter().copied().fold(0.0, f64::max);
    let note = format!(
        "{} live events, {} MiB once compacted; at most {:.0} MiB, median {:.0}, logs {} MiB beside",
        minute * HOUR,
        live >> 20,
        most / f64::from(1 << 20),
        median(late) / f64::from(1 << 20),
        logs >> 20
    );
    bench.add("day", vec![most / live as f64], note);
    Ok(())
}

/// Has all rows brought to the file, as is done once a second: here a second is many minutes,
/// and what waits in memory would be a good part of the day.
async fn to_the_file(store: &Arc<RedbStore>) -> anyhow::Result<()> {
    let store = Arc::clone(store);
    let listed = tokio::task::spawn_blocking(move || store.list(&Filter::default(), None, 1));
    listed.await??;
    Ok(())
}

async fn sweep(store: &RedbStore) -> anyhow::Result<()> {
    while store.sweep().await?.more {}
    Ok(())
}
