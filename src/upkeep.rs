//! What happens with no request: the sweep, the story's last second, gauges, the disk.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::gate::Life;
use crate::store::{RedbStore, Stats, Swept};
use crate::telemetry;

/// How often notes are written, the disk is looked at and gauges are set.
const TICK: Duration = Duration::from_secs(1);
/// How long the sweep rests once nothing more has expired.
const SWEEP_PAUSE: Duration = Duration::from_secs(10);
/// How long the sweep rests between two batches, so that live commits come first.
const BATCH_PAUSE: Duration = Duration::from_millis(20);
/// How long nothing expires while the clock is in doubt.
const CLOCK_HOLD: Duration = Duration::from_hours(1);

/// Every second: writes notes, looks at the disk, sets the gauges.
pub async fn tick(
    store: Arc<RedbStore>,
    life: Life,
    sources: Vec<String>,
    metrics: Option<PrometheusHandle>,
) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! { _ = ticks.tick() => {}, () = life.stop.cancelled() => return }
        store.watch_disk();
        if let Err(error) = life.store.flush().await {
            tracing::debug!(%error, "notes wait to be written");
        }
        show(&life.store.stats(), &sources);
        if let Some(metrics) = &metrics {
            // Without it raw samples pile up until somebody scrapes.
            metrics.run_upkeep();
        }
    }
}

/// Sweeps what has expired in small batches, until a stop is asked for.
pub async fn sweep(store: Arc<RedbStore>, life: Life) {
    let mut next = Instant::now();
    if store.clock_in_doubt() {
        tracing::warn!(
            "the clock is more than 24 hours away from the last time the store saw: nothing \
             expires for an hour; if the clock is wrong, mend it and restart"
        );
        next += CLOCK_HOLD;
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next) => {},
            () = life.stop.cancelled() => return,
        }
        store.trust_clock();
        let pause = match life.store.sweep().await {
            Ok(swept) => {
                tell(&swept);
                if swept.more { BATCH_PAUSE } else { SWEEP_PAUSE }
            },
            Err(error) => {
                tracing::debug!(%error, "the sweep waits for the store");
                SWEEP_PAUSE
            },
        };
        next = Instant::now() + pause;
    }
}

fn show(stats: &Stats, sources: &[String]) {
    for (source, state, count) in &stats.counts {
        telemetry::show_events(source, *state, *count);
    }
    telemetry::show_orphaned(stats.orphaned.iter().map(|(.., count)| count).sum());
    for source in sources {
        let waits = stats.oldest.iter().find(|(name, _)| name == source);
        telemetry::show_oldest(source, waits.map_or(Duration::ZERO, |(_, waits)| *waits));
    }
    telemetry::show_bytes(stats.bytes);
}

/// Counts what a batch of the sweep forgot; a Dead event gets a line of its own.
fn tell(swept: &Swept) {
    for (source, events) in &swept.forgotten {
        telemetry::swept(source, *events);
    }
    for event in &swept.dead {
        tracing::warn!(event, "a dead event was forgotten after `dead_ttl`");
    }
}
