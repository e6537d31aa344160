//! What happens on one connection, and until when something must.
//!
//! Everything here runs inside the poll of one connection's task, so the lock is
//! never waited for; it is there because a task may move between threads.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Limits;
use super::door::{Door, Refusal};

/// How much of what a client still sends is read after its last answer, only to throw it away.
const LINGER_BYTES: usize = 64 << 20;

/// What one connection is doing, and the deadline that follows.
#[derive(Debug)]
pub(super) struct Watch {
    limits: Limits,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    door: Door,
    /// Requests that hyper has read.
    begun: u64,
    /// Whether we, not the client, have decided that there is no next one.
    ended: bool,
    phase: Phase,
    /// Since when the client takes no bytes.
    stalled: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Between requests, since then.
    Idle(Instant),
    /// A request's head is coming in, since then. A new connection begins here.
    Head(Instant),
    /// A request is being read, handled and answered; its handler has the deadlines.
    Busy,
    /// The last answer is out, since then, and the client may still be sending.
    Linger(Instant),
}

impl Watch {
    /// A connection accepted just now.
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let (door, phase) = (Door::new(limits.side), Phase::Head(Instant::now()));
        let now = Now { door, begun: 0, ended: false, phase, stalled: None };
        Arc::new(Self { limits, now: Mutex::new(now) })
    }

    /// When the connection is to be cut, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let now = self.now.lock();
        match (now.stalled, now.phase) {
            (Some(since), _) => Some(since + self.limits.write_stall),
            (None, Phase::Idle(since)) => Some(since + self.limits.idle_timeout),
            (None, Phase::Head(since)) => Some(since + self.limits.header_timeout),
            (None, Phase::Linger(since)) => Some(since + self.limits.linger),
            (None, Phase::Busy) => None,
        }
    }

    /// Bytes came; returns how many of them go on at once. While a head is coming in they do
    /// not extend its deadline.
    fn read(&self, new: &[u8]) -> usize {
        let mut now = self.now.lock();
        if let Phase::Idle(_) = now.phase {
            now.phase = Phase::Head(Instant::now());
        }
        now.door.take(new)
    }

    /// Hands over what the door held back and lets go now. True if there was something, or
    /// if there will never be anything again.
    fn give(&self, buf: &mut ReadBuf<'_>) -> bool {
        let mut now = self.now.lock();
        let bytes = now.door.ready().len().min(buf.remaining());
        if let Some(ready) = now.door.ready().get(..bytes) {
            buf.put_slice(ready);
        }
        if bytes > 0 {
            now.door.gone(bytes);
        }
        bytes > 0 || now.door.is_shut()
    }

    /// Whether a head has begun to come and is held until it is whole.
    pub(super) fn has_part_of_a_head(&self) -> bool {
        let now = self.now.lock();
        now.door.has_part_of_a_head()
    }

    /// Whether closing now could cost the client its last answer: it may still be sending,
    /// and bytes that come to a closed socket reset it (RFC 9112 9.6).
    fn lingers(&self) -> bool {
        let mut now = self.now.lock();
        if now.door.is_between() && !now.ended {
            return false;
        }
        if !matches!(now.phase, Phase::Linger(_)) {
            now.phase = Phase::Linger(Instant::now());
        }
        true
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
}

/// A request in flight: from its head to the last of its answer's body.
#[derive(Debug)]
pub(super) struct Busy {
    watch: Arc<Watch>,
    /// Which of the connection's requests, counted from 1.
    nth: u64,
}

impl Busy {
    /// The head of a request is complete.
    pub(super) fn start(watch: &Arc<Watch>) -> Self {
        let mut now = watch.now.lock();
        now.phase = Phase::Busy;
        now.begun += 1;
        Self { nth: now.begun, watch: Arc::clone(watch) }
    }

    /// Why the request is to be refused.
    pub(super) fn refused(&self) -> Option<Refusal> {
        self.watch.now.lock().door.refused(self.nth)
    }

    /// Whether no other request may follow: this one is refused, or answered before the end
    /// of its body.
    pub(super) fn is_the_last(&self) -> bool {
        let now = self.watch.now.lock();
        now.door.refused(self.nth).is_some() || now.door.is_to_come(self.nth)
    }

    /// Notes that the answer closes the connection, which the client cannot know yet.
    pub(super) fn end(&self) {
        self.watch.now.lock().ended = true;
    }

    /// The answer's body, which ends the request when it is gone.
    pub(super) fn until_gone(self, body: Body) -> Answer {
        Answer { body, _busy: self }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut now = self.watch.now.lock();
        let since = Instant::now();
        // A part of the next head may have come along with this request.
        let rests = now.door.is_between();
        now.phase = if rests { Phase::Idle(since) } else { Phase::Head(since) };
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

/// A socket that tells its [`Watch`] what goes through, and reads what the door lets through.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
    /// Whether our sending side is shut.
    shut: bool,
    /// Bytes read since, and thrown away.
    discarded: usize,
}

impl<S> Watched<S> {
    /// Tells `watch` what goes through `stream`.
    pub(super) fn new(stream: S, watch: Arc<Watch>) -> Self {
        Self { stream, watch, shut: false, discarded: 0 }
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
        loop {
            if self.watch.give(buf) {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            let new = buf.filled().get(before..).unwrap_or_default();
            if new.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let passed = self.watch.read(new);
            buf.set_filled(before + passed);
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Reads until the client hangs up; how long it may is for the deadline to say.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 4096];
        while self.discarded < LINGER_BYTES {
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            match buf.filled().len() {
                0 => break,
                bytes => self.discarded += bytes,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
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
        if !self.shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.shut = true;
        }
        if self.watch.lingers() { self.poll_discard(cx) } else { Poll::Ready(Ok(())) }
    }
}
