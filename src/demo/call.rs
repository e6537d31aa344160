//! One HTTP request on a connection of its own.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A connection, ready for one request.
pub(super) struct Call {
    to: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl Call {
    pub(super) async fn connect(to: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { to, sender })
    }

    pub(super) async fn send(
        mut self,
        mut request: Request<Full<Bytes>>,
    ) -> anyhow::Result<Answer> {
        request.headers_mut().insert(HOST, HeaderValue::try_from(self.to.to_string())?);
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

/// `GET path`.
pub(super) async fn get(to: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    let request = Request::get(path).body(Full::default())?;
    Call::connect(to).await?.send(request).await
}
