//! Connections between two attempts.
//!
//! Reuse spares a handshake, at a price: the application may hang up just as the next
//! request leaves, and then its outcome is unknown. So lines rest only briefly, less
//! than the shortest keep-alive of a common server, and each is asked before it is used.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::line::Line;

/// How long a line rests at most. gunicorn hangs up after 2 s, Node after 5 s.
pub(super) const REST: Duration = Duration::from_secs(1);

/// How many lines of one source rest at most.
pub(super) const MOST: usize = 32;

/// The resting lines of one source.
#[derive(Debug, Default)]
pub(super) struct Idle(Arc<Mutex<Resting>>);

#[derive(Debug, Default)]
struct Resting {
    /// In the order they came to rest.
    lines: Vec<(Instant, Line)>,
    /// Whether a task is at work that closes those which rested long enough.
    swept: bool,
}

impl Idle {
    /// The line that came to rest last, if the application still holds it open.
    pub(super) async fn take(&self) -> Option<Line> {
        // A goodbye that the kernel already has must have reached the runtime, too.
        yield_now().await;
        loop {
            let (since, mut line) = self.0.lock().lines.pop()?;
            if since.elapsed() < REST && line.is_free().await {
                return Some(line);
            }
        }
    }

    /// Lets a line rest, if it can be used again and there is room.
    pub(super) async fn put(&self, mut line: Line) {
        if !line.is_free().await {
            return;
        }
        let mut resting = self.0.lock();
        if resting.lines.len() >= MOST {
            return;
        }
        resting.lines.push((Instant::now(), line));
        if !resting.swept {
            resting.swept = true;
            tokio::spawn(sweep(Arc::clone(&self.0)));
        }
    }

    /// How many lines rest.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().lines.len()
    }
}

/// Closes lines as their time comes, until none rests.
async fn sweep(resting: Arc<Mutex<Resting>>) {
    while let Some(next) = close_rested(&resting, Instant::now()) {
        sleep_until(next).await;
    }
}

/// Closes the lines that rested long enough; says when the next one will have.
fn close_rested(resting: &Mutex<Resting>, now: Instant) -> Option<Instant> {
    let mut resting = resting.lock();
    resting.lines.retain(|(since, _)| *since + REST > now);
    let next = resting.lines.first().map(|(since, _)| *since + REST);
    resting.swept = next.is_some();
    next
}
