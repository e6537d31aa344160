//! What happens on one connection, and until when something must.
//!
//! Everything here runs inside the poll of one connection's task, so the lock is
//! never waited for; it is there because a task may move between threads.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Limits;

/// What one connection is doing, and the deadline that follows.
#[derive(Debug)]
pub(super) struct Watch {
    limits: Limits,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    phase: Phase,
    /// Since when the client takes no bytes.
    stalled: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Between requests, since then. Also while the rest of a head is awaited whose
    /// beginning came along with the request before: its next byte makes it a head.
    Idle(Instant),
    /// A request's head is coming in, since then. A new connection begins here.
    Head(Instant),
    /// A request is being read, handled and answered; its handler has the deadlines.
    Busy,
}

impl Watch {
    /// A connection accepted just now.
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let phase = Phase::Head(Instant::now());
        Arc::new(Self { limits, now: Mutex::new(Now { phase, stalled: None }) })
    }

    /// When the connection is to be cut, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let now = self.now.lock();
        match (now.stalled, now.phase) {
            (Some(since), _) => Some(since + self.limits.write_stall),
            (None, Phase::Idle(since)) => Some(since + self.limits.idle_timeout),
            (None, Phase::Head(since)) => Some(since + self.limits.header_timeout),
            (None, Phase::Busy) => None,
        }
    }

    /// Bytes came. While a head is coming in they do not extend its deadline.
    fn read(&self) {
        let mut now = self.now.lock();
        if let Phase::Idle(_) = now.phase {
            now.phase = Phase::Head(Instant::now());
        }
    }

    /// The client takes no more bytes for now.
    fn stall(&self) {
        self.now.lock().stalled.get_or_insert_with(Instant::now);
    }

    /// The client took bytes. The last of an answer leave after its body is gone, so
    /// they also put off the end of an idle connection.
    fn wrote(&self) {
        let mut now = self.now.lock();
        now.stalled = None;
        if let Phase::Idle(_) = now.phase {
            now.phase = Phase::Idle(Instant::now());
        }
    }

    fn enter(&self, phase: Phase) {
        self.now.lock().phase = phase;
    }
}

/// A request in flight: from its head to the last of its answer's body.
#[derive(Debug)]
pub(super) struct Busy(Arc<Watch>);

impl Busy {
    /// The head of a request is complete.
    pub(super) fn start(watch: &Arc<Watch>) -> Self {
        watch.enter(Phase::Busy);
        Self(Arc::clone(watch))
    }

    /// The answer's body, which ends the request when it is gone.
    pub(super) fn until_gone(self, body: Body) -> Answer {
        Answer { body, _busy: self }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle(Instant::now()));
    }
}

/// An answer's body on its way out.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that tells its [`Watch`] what goes through.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
}

impl<S> Watched<S> {
    /// Tells `watch` what goes through `stream`.
    pub(super) fn new(stream: S, watch: Arc<Watch>) -> Self {
        Self { stream, watch }
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.watch.stall(),
            Poll::Ready(_) => self.watch.wrote(),
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.watch.read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
