//! Accepting connections, and how long each may take.
//!
//! Why not `axum::serve`: it has no time-out for a request's head, no limit of
//! connections and no end of a drain, so anyone who opens sockets and says nothing
//! stops the gateway. hyper has one timer for the head, which also counts the time
//! between requests; a webhook's head must come in seconds while a connection may
//! well rest longer. So a connection's [`Watch`] is told what happens (bytes in,
//! bytes out, a request begun, its answer gone) and names the one deadline that
//! counts now; after each poll of hyper's connection that deadline is polled too,
//! and cuts the connection when it is over.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse as _;
use http::HeaderValue;
use http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::listen::{Listener, Plain, Stream};
use super::tls;
use crate::config::Server;
use crate::reply::Reply;
use crate::telemetry::{self, Outcome};

#[cfg(test)]
mod tests;
mod watch;

#[doc(hidden)]
pub mod door;

pub use door::{MAX_HEAD, MAX_HEADERS, Side};
use door::{Refusal, drop_underscored};
use watch::{Busy, Watch, Watched};

/// How long a client may take none of an answer's bytes.
pub const WRITE_STALL: Duration = Duration::from_secs(30);

/// How long, after the last answer, what a client still sends is read to throw it away.
pub const LINGER: Duration = Duration::from_secs(5);

/// The pause after an accept failed for want of resources (file descriptors, memory):
/// they come back when connections end, so asking again at once only burns the CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that the kernel keeps for us at most, as tokio asks it to.
const BACKLOG: usize = 1024;

/// Enough to see whether one more waits there.
const BACKLOG_LOOK: Duration = Duration::from_millis(1);

/// What a listener takes: how long a connection may take for what, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Whose requests these are.
    pub side: Side,
    /// From the first byte of a request (or the accept) to the end of its head.
    pub header_timeout: Duration,
    /// From the end of an answer to the first byte of the next request.
    pub idle_timeout: Duration,
    /// How long a client may take none of an answer's bytes.
    pub write_stall: Duration,
    /// How long a client may go on sending after its last answer.
    pub linger: Duration,
    /// Connections at once, at least 1; more wait in the kernel's backlog.
    pub max_connections: usize,
}

impl From<&Server> for Limits {
    fn from(server: &Server) -> Self {
        Self {
            side: Side::Providers,
            header_timeout: server.header_timeout,
            idle_timeout: server.idle_timeout,
            write_stall: WRITE_STALL,
            linger: LINGER,
            max_connections: server.max_connections,
        }
    }
}

/// The two moments of a stop.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Nothing more is accepted, and every answer is its connection's last.
    pub asked: CancellationToken,
    /// Connections without a request are closed.
    pub shut: CancellationToken,
}

impl From<CancellationToken> for Stop {
    /// Both moments at once.
    fn from(token: CancellationToken) -> Self {
        Self { asked: token.clone(), shut: token }
    }
}

/// Who is at the other end: an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address the connection came from; none over a unix socket.
    pub addr: Option<SocketAddr>,
    /// Whether the connection is secured.
    pub tls: bool,
}

/// Accepts connections and answers their requests with `service`, until a stop.
///
/// Once it is asked for nothing more is accepted, and a connection ends after its next
/// answer: a request that is on its way is served, and its client learns not to send
/// another. Once `shut`, those without a request are closed. Returns when all have ended;
/// how long that may take is for the caller to bound. Dropping the future cuts every
/// connection.
///
/// A panic in `service` ends the connection it happened on and nothing else.
pub async fn serve<S>(
    listener: impl Into<Listener>,
    limits: Limits,
    service: S,
    stop: impl Into<Stop>,
) where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let (listener, stop) = (listener.into(), stop.into());
    let permits = Arc::new(Semaphore::new(limits.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    let acceptor = listener.tls();
    let open = |connections: &mut JoinSet<()>, (stream, peer, permit)| {
        let (service, stop, acceptor) = (service.clone(), stop.clone(), acceptor.clone());
        connections.spawn(async move {
            if let Some(stream) = secure(acceptor, stream, limits, &stop).await {
                connection(stream, peer, limits, service, stop).await;
            }
            drop::<OwnedSemaphorePermit>(permit);
        });
    };
    loop {
        tokio::select! {
            biased;
            () = stop.asked.cancelled() => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = accept(&listener, &permits) => match accepted {
                Ok(accepted) => open(&mut connections, accepted),
                Err(error) if is_of_one_connection(&error) => {},
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections");
                    tokio::select! {
                        () = sleep(ACCEPT_PAUSE) => {},
                        () = stop.asked.cancelled() => break,
                    }
                },
            },
        }
    }
    if !listener.is_handed() && !stop.shut.is_cancelled() {
        // Closing the socket resets what waits in its backlog: it is let in first.
        for _ in 0..BACKLOG {
            let Ok(Ok(accepted)) = timeout(BACKLOG_LOOK, accept(&listener, &permits)).await else {
                break;
            };
            open(&mut connections, accepted);
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

/// The next connection, once there may be one more: nothing is accepted only to be dropped.
async fn accept(
    listener: &Listener,
    permits: &Arc<Semaphore>,
) -> io::Result<(Plain, Peer, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, addr) = listener.accept().await?;
    Ok((stream, Peer { addr, tls: listener.is_secured() }, permit))
}

/// The stream that HTTP is spoken over; none if the client does not get that far.
async fn secure(
    acceptor: Option<TlsAcceptor>,
    stream: Plain,
    limits: Limits,
    stop: &Stop,
) -> Option<Stream> {
    let Some(acceptor) = acceptor else { return Some(Either::Left(stream)) };
    let shaken = tls::shake(&acceptor, stream, limits.header_timeout, &stop.shut).await;
    shaken.map(|stream| Either::Right(Box::new(stream)))
}

/// Whether only the connection at the head of the backlog is to blame.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput | NotConnected
    )
}

/// Tells of a connection whose task panicked.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a handler panicked; its connection was closed");
    }
}

/// Serves one connection to its end, its deadline, or its last answer of a stop.
async fn connection<S>(stream: Stream, peer: Peer, limits: Limits, service: S, stop: Stop)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    let watch = Watch::new(limits);
    let seen = Arc::clone(&watch);
    // A token's own clones share a lock.
    let last = Arc::new(stop.asked);
    let answering = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        drop_underscored(request.headers_mut());
        let busy = Busy::start(&seen);
        let answer = match busy.refused() {
            None => Ok(service.call(request)),
            Some(refusal) => Err(refusal),
        };
        let last = Arc::clone(&last);
        async move {
            let mut response = match answer {
                Ok(answer) => answer.await?,
                Err(refusal) => refuse(peer, limits.side, refusal),
            };
            if busy.is_the_last() || response.headers().contains_key(CONNECTION) {
                busy.end();
            }
            if busy.is_the_last() || last.is_cancelled() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| busy.until_gone(body)))
        }
    });
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&watch)));
    let mut serving = pin!(
        http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_HEAD)
            // A client that has shut its sending side still reads its answer.
            .half_close(true)
            // Without a timer hyper's own is inert; the watch has the deadlines.
            .header_read_timeout(None)
            .serve_connection(io, answering)
    );
    let mut shut = pin!(stop.shut.cancelled());
    let mut shutting = false;
    let mut over = pin!(sleep_until(watch.deadline().unwrap_or_else(Instant::now)));
    let end = poll_fn(|cx| {
        loop {
            // A request that is here already comes before the end, and a head that has begun
            // to come is waited for: it gets an answer.
            if let Poll::Ready(result) = serving.as_mut().poll(cx) {
                return Poll::Ready(End::Closed(result));
            }
            if shutting || watch.has_part_of_a_head() || shut.as_mut().poll(cx).is_pending() {
                break;
            }
            shutting = true;
            serving.as_mut().graceful_shutdown();
        }
        let Some(deadline) = watch.deadline() else { return Poll::Pending };
        poll_until(deadline, over.as_mut(), cx).map(|()| End::Cut)
    });
    let end = end.await;
    if let End::Closed(Err(error)) = &end
        && error.is_parse()
    {
        // hyper has answered it, with a bare status.
        count(limits.side, Outcome::Invalid);
        tracing::info!(peer = peer.addr.map(tracing::field::display), %error, "refused");
    }
    tracing::trace!(peer = peer.addr.map(tracing::field::display), %end, "connection ended");
}

/// Ready once `deadline` is over. Most deadlines move on: a timer that goes off too early now and
/// then is cheaper than one that is set for each request.
fn poll_until(deadline: Instant, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
    if timer.deadline() > deadline {
        timer.as_mut().reset(deadline);
    }
    loop {
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() >= deadline {
            return Poll::Ready(());
        }
        timer.as_mut().reset(deadline);
    }
}

/// The answer to a request that may not pass, with the line and the count that it leaves.
fn refuse(peer: Peer, side: Side, refusal: Refusal) -> Response<Body> {
    let outcome = if refusal == Refusal::Method { Outcome::Method } else { Outcome::Invalid };
    let reply = Reply { status: refusal.status(), ..Reply::refuse(outcome, refusal.detail()) };
    count(side, outcome);
    let reason = refusal.word();
    tracing::info!(
        peer = peer.addr.map(tracing::field::display),
        reason,
        status = reply.status,
        "refused"
    );
    reply.into_response()
}

/// Counts a request that reached no source; an operator's is no delivery.
fn count(side: Side, outcome: Outcome) {
    if side == Side::Providers {
        telemetry::lost(outcome);
    }
}

/// Why a connection ended.
enum End {
    /// By either side, or for what hyper would not read.
    Closed(hyper::Result<()>),
    /// Its deadline was over.
    Cut,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(Ok(())) => f.write_str("closed"),
            Self::Closed(Err(error)) => error.fmt(f),
            Self::Cut => f.write_str("cut at its deadline"),
        }
    }
}
