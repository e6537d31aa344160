//! What the service manager is told: a stop or a restart of its own is only as good as what
//! it knows. It waits for the start as long as the file needs, and kills a process whose
//! store hangs: that one would take deliveries, answer none, and look well from outside.
//!
//! Without a manager (no `NOTIFY_SOCKET`) nothing is told, and nothing is missing.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use crate::store::{Health, Step, Store, Unavailable};

/// How often the store is asked where the manager has no watchdog: for the status alone.
const LOOK: Duration = Duration::from_secs(15);

/// Beside what grows with the file, in opening it.
const START_ALLOWANCE: Duration = Duration::from_mins(1);
/// What the slowest disk worth having reads and writes in a second, at random.
const SLOWEST_BYTES: u64 = 4 << 20;

/// The file is being opened and this step of it begins.
pub fn opening(step: Step) {
    let status = format!("{} the file ({} MiB)", step.doing, step.bytes >> 20);
    let allowed = START_ALLOWANCE + Duration::from_secs(step.bytes / SLOWEST_BYTES);
    // Not the variant of the crate: its number ends at 71 minutes.
    let more = format!("EXTEND_TIMEOUT_USEC={}", allowed.as_micros());
    tell(&[NotifyState::Custom(&more), NotifyState::Status(&status)]);
}

/// Events are taken.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status(status(Health::Ready))]);
}

/// A stop was asked for, or the store failed.
pub fn stopping(longest: Duration) {
    let status = format!("draining, for {} s at most", longest.as_secs());
    tell(&[NotifyState::Stopping, NotifyState::Status(&status)]);
}

/// Feeds the watchdog while the store answers, as often as the manager asks for it.
pub async fn watch(store: Arc<dyn Store>) {
    let period = sd_notify::watchdog_enabled().map_or(LOOK, |limit| limit / 2);
    let mut told = Health::Ready;
    feed(store, period, |health| {
        tell(&[NotifyState::Watchdog]);
        if health != told {
            told = health;
            tell(&[NotifyState::Status(status(health))]);
        }
    })
    .await;
}

/// Calls `fed` once a period in which the store answered; ends when it has stopped. While it
/// hangs, this waits for the one answer, and so does the watchdog.
async fn feed(store: Arc<dyn Store>, period: Duration, mut fed: impl FnMut(Health)) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match store.alive().await {
            Err(Unavailable::Stopped) => return,
            // A full disk is waited out: a restart would not make room.
            Ok(())
            | Err(
                Unavailable::Overloaded
                | Unavailable::DiskLow
                | Unavailable::DiskFull
                | Unavailable::Compacting
                | Unavailable::Reading,
            ) => fed(store.health()),
        }
    }
}

fn status(health: Health) -> &'static str {
    match health {
        Health::Ready => "taking events",
        Health::DiskLow => "refusing new events: free space is below `storage.reserve`",
        Health::DiskFull => "refusing events: the disk is full",
        Health::Compacting => "refusing events: the file is being compacted",
        Health::Stopped => "the store failed",
    }
}

/// What cannot be told changes nothing here: the manager acts on its silence.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

#[cfg(test)]
mod tests;
