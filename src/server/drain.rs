//! A stop: what was begun ends well, what comes too late is told so, and nothing is cut before
//! its time.

use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gate::Life;

/// How long, after a stop was asked for, requests are still served that come over open
/// connections: their clients could not know.
const GRACE: Duration = Duration::from_secs(1);

/// How long, after the drain, what was cut may take to be recorded.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// How long the last answers may take to leave.
pub(super) const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Accepts nothing more, serves for a moment what comes over open connections, then begins
/// nothing new, lets what is open end, and cuts what still is at the deadline.
pub(super) async fn drain(
    life: &Life,
    longest: Duration,
    mut accepting: JoinHandle<()>,
    standing: JoinSet<()>,
    failed: bool,
) {
    tracing::info!("draining");
    let longest = if failed { Duration::ZERO } else { longest };
    let deadline = Instant::now() + longest;
    if failed {
        life.shut.cancel();
    }
    life.stop.cancel();
    let served = grace(&mut accepting, &life.cut, longest.min(GRACE)).await;
    life.shut.cancel();
    life.tasks.close();
    let drained = tokio::select! {
        drained = timeout_at(deadline, ended(standing, &life.tasks)) => drained.is_ok(),
        () = life.cut.cancelled() => {
            tracing::warn!("asked to stop at once: what is still open becomes unknown");
            false
        },
    };
    life.cut.cancel();
    if !drained && timeout(LAST_WRITES, life.tasks.wait()).await.is_err() {
        tracing::error!("attempts that were cut could not be recorded: the next start does");
    }
    // The last answers leave with their connections; what still sends a body claimed nothing.
    if !served {
        end(accepting, Instant::now() + LAST_ANSWERS).await;
    }
    tracing::info!(drained, "drained");
}

/// Waits until every connection has ended, at most for `longest`, less if cut. True if all
/// have.
async fn grace(accepting: &mut JoinHandle<()>, cut: &CancellationToken, longest: Duration) -> bool {
    tokio::select! {
        ended = timeout(longest, accepting) => ended.is_ok(),
        () = cut.cancelled() => false,
    }
}

/// Waits for what always runs, and for every task of an event. Dropped, it aborts the former.
async fn ended(mut standing: JoinSet<()>, tasks: &TaskTracker) {
    // One that panicked has ended, too.
    while standing.join_next().await.is_some() {}
    tasks.wait().await;
}

/// Waits for a task, and aborts it at the deadline.
pub(super) async fn end(mut task: JoinHandle<()>, deadline: Instant) {
    if timeout_at(deadline, &mut task).await.is_err() {
        task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_grace_lasts_while_connections_are_open_and_is_bounded() {
        let (begun, cut) = (Instant::now(), CancellationToken::new());
        let mut none_open = tokio::spawn(async {});
        assert!(grace(&mut none_open, &cut, GRACE).await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let mut open = tokio::spawn(std::future::pending());
        assert!(!grace(&mut open, &cut, GRACE).await);
        assert_eq!(begun.elapsed(), GRACE);
        cut.cancel();
        assert!(!grace(&mut open, &cut, GRACE).await);
        assert_eq!(begun.elapsed(), GRACE);
        // Of a store that failed.
        assert!(!grace(&mut open, &CancellationToken::new(), Duration::ZERO).await);
        assert!(begun.elapsed() < GRACE + Duration::from_millis(10));
    }
}
