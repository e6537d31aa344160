//! What goes on when nobody waits for it any more: a provider's hanging up cancels nothing.
//!
//! It runs in the task of its connection, which is cheaper than one of its own; only when the
//! connection goes is what is left handed to a task.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// A future that is not cancelled by being dropped. A panic in it is its result.
pub(super) struct Unbroken<F: Future<Output: Send> + Send + 'static> {
    future: Option<Pin<Box<F>>>,
    tasks: TaskTracker,
}

impl<F: Future<Output: Send> + Send + 'static> Unbroken<F> {
    /// `future`, whose rest goes to one of `tasks` if need be.
    pub(super) fn new(future: F, tasks: &TaskTracker) -> Self {
        Self { future: Some(Box::pin(future)), tasks: tasks.clone() }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Unbroken<F> {
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Taken out first: what panicked is not polled again.
        let Some(mut future) = self.future.take() else { return Poll::Pending };
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => {
                self.future = Some(future);
                Poll::Pending
            },
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Unbroken<F> {
    fn drop(&mut self) {
        // Without a runtime the process ends, and the next start finds what was begun.
        if let (Some(future), Ok(runtime)) = (self.future.take(), Handle::try_current()) {
            self.tasks.spawn_on(future, &runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_dropped_midway_goes_on_to_its_end() {
        let tasks = TaskTracker::new();
        let (go, gone) = oneshot::channel::<()>();
        let (done, was_done) = oneshot::channel();
        let mut begun = Box::pin(Unbroken::new(
            async move {
                gone.await.unwrap();
                done.send(()).unwrap();
            },
            &tasks,
        ));
        assert!(poll_once(&mut begun).await.is_pending());
        drop(begun);
        go.send(()).unwrap();
        was_done.await.unwrap();
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn a_panic_is_told_and_nothing_goes_on() {
        let tasks = TaskTracker::new();
        assert!(Unbroken::new(async { panic!("as a test") }, &tasks).await.is_err());
        assert!(tasks.is_empty());
    }

    async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
    }
}
