//! One connection to the application, and whether it has carried a request's bytes.
//!
//! Why not hyper's pooling client: after an error it cannot tell a request that never
//! left from one that may have been acted on, and it sends some again by itself. Here
//! a flag under everything (TLS included) is set when the kernel takes the first byte
//! after a request began. Unset, the attempt failed for sure; set, nobody knows.
//!
//! A line owns its connection and drives it while it is used: no task of its own, so
//! that dropping the attempt's future closes the socket there and then.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// The most headers of an answer.
const MAX_HEADERS: usize = 128;

/// The largest answer head, in bytes; also how much of a body is read at once.
const MAX_HEAD: usize = 64 * 1024;

/// A connection to the application.
pub(super) struct Line {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it ended. It must be dropped then: hyper gives back a request that
    /// it never wrote only as the connection goes.
    connection: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    written: Arc<AtomicBool>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("open", &self.connection.is_some()).finish_non_exhaustive()
    }
}

/// No answer came.
#[derive(Debug)]
pub(super) struct Lost {
    /// Whether bytes of the request may have left.
    pub(super) sent: bool,
    /// What happened, in words.
    pub(super) why: String,
}

impl Line {
    /// Speaks HTTP/1.1 over `io`, whose socket sets `written` when it takes bytes.
    pub(super) async fn open<I>(io: I, written: Arc<AtomicBool>) -> hyper::Result<Self>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = Builder::new()
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(io))
            .await?;
        let connection = async move {
            // Whatever ends it is told to the request it carries.
            if let Err(error) = connection.await {
                tracing::trace!(%error, "connection to the application ended");
            }
        };
        Ok(Self { sender, connection: Some(Box::pin(connection)), written })
    }

    /// Sends a request and returns the head of its answer, with the body to come.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, Lost> {
        self.written.store(false, Ordering::Relaxed);
        let answer = self.sender.try_send_request(request);
        let answered = timeout_at(deadline, self.drive(answer)).await;
        let sent = self.written.load(Ordering::Relaxed);
        match answered {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(lost)) => Err(Lost { sent, why: in_words(&lost.into_error()) }),
            Err(_) => Err(Lost { sent, why: "no answer in time".to_owned() }),
        }
    }

    /// Waits for `future`, which the connection feeds.
    pub(super) async fn drive<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if self.connection.as_mut().is_some_and(|it| it.as_mut().poll(cx).is_ready()) {
                self.connection = None;
            }
            future.as_mut().poll(cx)
        })
        .await
    }

    /// Whether the line can carry another request, as far as this side has heard. Reads
    /// what came meanwhile, so an application's goodbye is noticed here.
    pub(super) async fn is_free(&mut self) -> bool {
        self.drive(std::future::ready(())).await;
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// An error and what caused it, in one line.
pub(super) fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

/// A socket that notes whether it took bytes to send.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    written: Arc<AtomicBool>,
}

impl Wire {
    /// Sets `written` whenever `stream` takes bytes.
    pub(super) fn new(stream: TcpStream, written: Arc<AtomicBool>) -> Self {
        Self { stream, written }
    }

    fn note(&self, taken: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = taken {
            self.written.store(true, Ordering::Relaxed);
        }
        taken
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(taken)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(taken)
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
