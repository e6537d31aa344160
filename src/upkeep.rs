//! What happens with no request: the sweep, the story's last second, gauges, the disk.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::gate::Life;
use crate::store::{RedbStore, Stats, Swept};
use crate::telemetry;
use crate::time::Millis;

/// How often notes are written, the disk is looked at and gauges are set.
const TICK: Duration = Duration::from_secs(1);
/// How long the sweep rests once nothing more has expired.
const SWEEP_PAUSE: Duration = Duration::from_secs(10);
/// How long the sweep rests between two batches, so that live commits come first.
const BATCH_PAUSE: Duration = Duration::from_millis(20);
/// A gap between two runs of the process that may be a wrong clock: longer than a reboot or
/// a repair takes, shorter than any TTL worth having.
const CLOCK_GAP: Duration = Duration::from_hours(24);
/// How long the sweep is held after such a gap.
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
pub async fn sweep(life: Life, clock: Arc<Clock>, last_seen: Millis) {
    let hold = hold(last_seen, clock.now());
    if !hold.is_zero() {
        tracing::warn!(
            last_seen = %last_seen,
            "the clock is more than 24 hours past the last time the store saw: nothing expires \
             for an hour; if the clock is wrong, stop the service and mend it"
        );
    }
    let mut next = Instant::now() + hold;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next) => {},
            () = life.stop.cancelled() => return,
        }
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

/// How long the sweep is held at start; a new file has no last time.
fn hold(last_seen: Millis, now: Millis) -> Duration {
    let gap = last_seen != Millis::default() && now.since(last_seen) > CLOCK_GAP;
    if gap { CLOCK_HOLD } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_of_more_than_a_day_holds_the_sweep_for_an_hour() {
        let seen = Millis(1_800_000_000_000);
        assert_eq!(hold(Millis::default(), seen), Duration::ZERO);
        assert_eq!(hold(seen, seen.plus(CLOCK_GAP)), Duration::ZERO);
        assert_eq!(hold(seen, seen.plus(CLOCK_GAP + TICK)), CLOCK_HOLD);
    }
}
