//! One HTTP request on a connection of its own, to an address or a unix socket: within a
//! time, and with an answer of a bounded size.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// No connection on one machine takes longer; over a network this is long as well.
const CONNECT: Duration = Duration::from_secs(10);
/// No answer of the gateway is longer: a page of the list has 200 events, a story is some
/// hundred lines, and an application's answer that is passed on is cut before this.
const ANSWER: usize = 64 << 20;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A host, by name or address, and a port.
    Tcp(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The text of a header; empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A connection, ready for one request.
#[derive(Debug)]
pub(crate) struct Call(SendRequest<Full<Bytes>>);

impl Call {
    /// Connects.
    pub(crate) async fn connect(peer: &Peer) -> anyhow::Result<Self> {
        let connecting = async {
            match peer {
                Peer::Tcp(host, port) => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    Self::over(stream).await
                },
                Peer::Unix(path) => Self::over(UnixStream::connect(path).await?).await,
            }
        };
        let connected = timeout(CONNECT, connecting).await;
        Ok(connected.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))?)
    }

    async fn over<S>(stream: S) -> io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Sends the request, which names its host, and reads the whole answer within `time`.
    pub(crate) async fn send(
        mut self,
        request: Request<Full<Bytes>>,
        time: Duration,
    ) -> anyhow::Result<Answer> {
        let asking = async {
            let answer = self.0.send_request(request).await.context("no answer came")?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER).collect().await;
            let body = body.map_err(|why| anyhow!("the answer ended early: {why}"))?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        let answered = timeout(time, asking).await;
        answered.unwrap_or_else(|_elapsed| Err(anyhow!("no answer came within {time:?}")))
    }
}
