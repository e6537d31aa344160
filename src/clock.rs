//! The one place where the time is read.
//!
//! While the process runs, the store's time follows the boot-time clock: it never goes
//! back, it counts a suspend, and a step of the wall clock neither expires a key early
//! nor delays an attempt for years. It starts at the wall clock, or at the last time the
//! store saw if the wall clock is behind it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::time::Millis;

/// The store's time.
#[derive(Debug)]
pub struct Clock {
    /// The moment the boot-time clock is counted from.
    start: AtomicU64,
    /// The boot-time clock at that moment; `None` in tests: time stands still until moved.
    since: Option<u64>,
}

impl Clock {
    /// A clock that starts at the wall clock's time.
    pub fn start() -> Self {
        Self { start: AtomicU64::new(wall().0), since: Some(boot_time()) }
    }

    /// A clock that moves only by [`Clock::advance`].
    pub fn still(at: Millis) -> Self {
        Self { start: AtomicU64::new(at.0), since: None }
    }

    /// The store's time now.
    pub fn now(&self) -> Millis {
        let gone = self.since.map_or(0, |since| boot_time().saturating_sub(since));
        Millis(self.start.load(Ordering::Relaxed).saturating_add(gone))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.start.fetch_add(by, Ordering::Relaxed);
    }

    /// Makes sure the clock is not before `moment`, the last time the store saw.
    pub fn not_before(&self, moment: Millis) {
        self.advance(moment.since(self.now()));
    }
}

/// The wall clock's time: what signatures are checked against.
#[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
pub fn wall() -> Millis {
    let since_epoch =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

fn boot_time() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let millis = u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000;
    seconds.saturating_mul(1000).saturating_add(millis)
}
