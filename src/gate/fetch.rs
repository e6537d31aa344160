//! What is fetched from a provider: a certificate, or the answer that a subscription is confirmed.
//!
//! An address comes from `verify`, which built it for a host that it knows. Here its host is
//! looked up and an address that is not of the public network is not called, whatever the name
//! says of it: the connection goes to the very address that was looked at. One GET over TLS, no
//! redirect, no more than [`LARGEST`] bytes, all in [`TIME`].

use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::verify::Address;

/// From looking the host up to the answer's last byte: below what providers wait for us.
pub(super) const TIME: Duration = Duration::from_secs(5);
/// The largest answer, in bytes. A certificate with its authorities has some 8 KiB.
pub(super) const LARGEST: usize = 64 << 10;
/// Addresses of a host that are tried.
const TRIED: usize = 3;
/// Of [`TIME`], what one address that does not answer may take.
const SHARE: Duration = Duration::from_millis(1500);

/// Which addresses are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those of the public network that the host's name has.
    Public,
    /// This one, whatever the name has.
    #[cfg(test)]
    Only(SocketAddr),
}

/// Fetches.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    pub(super) client: Arc<ClientConfig>,
    pub(super) reach: Reach,
}

impl Fetcher {
    /// What is at `address`, if the answer is 200; else what happened, in words.
    pub(super) async fn get(&self, address: &Address) -> Result<Bytes, String> {
        match timeout(TIME, self.exchange(address)).await {
            Ok(got) => got,
            Err(_elapsed) => Err(format!("no answer within {} s", TIME.as_secs())),
        }
    }

    async fn exchange(&self, address: &Address) -> Result<Bytes, String> {
        let words = |error: &dyn std::error::Error| error.to_string();
        let name = ServerName::try_from(address.host().to_owned()).map_err(|it| words(&it))?;
        let stream = self.connect(address.host()).await?;
        let tls = TlsConnector::from(Arc::clone(&self.client));
        let secured = tls.connect(name, stream).await.map_err(|it| format!("TLS: {it}"))?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(LARGEST)
            .handshake(TokioIo::new(secured))
            .await
            .map_err(|it| words(&it))?;
        let request = Request::get(address.target())
            .header(HOST, address.host())
            .header(USER_AGENT, concat!("oncegate/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|it| words(&it))?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|it| words(&it))?;
            if answer.status() != StatusCode::OK {
                return Err(format!("answered {}", answer.status().as_u16()));
            }
            let body = Limited::new(answer.into_body(), LARGEST).collect().await;
            Ok(body.map_err(|it| it.to_string())?.to_bytes())
        };
        // What ends the connection is told to the exchange.
        let driven = async {
            let _ended = connection.await;
            pending().await
        };
        tokio::select! { got = exchange => got, never = driven => never }
    }

    async fn connect(&self, host: &str) -> Result<TcpStream, String> {
        let addresses = self.resolve(host).await.map_err(|it| format!("{host}: {it}"))?;
        let mut last = format!("{host} has no public address");
        for address in addresses.into_iter().take(TRIED) {
            match timeout(SHARE, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = format!("{address}: {error}"),
                Err(elapsed) => last = format!("{address}: {elapsed}"),
            }
        }
        Err(last)
    }

    async fn resolve(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        match self.reach {
            Reach::Public => {
                let found = lookup_host((host, 443)).await?;
                Ok(found.filter(|address| is_public(address.ip())).collect())
            },
            #[cfg(test)]
            Reach::Only(address) => Ok(vec![address]),
        }
    }
}

/// Whether `address` is one of the public network, by IANA's registries of special addresses.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        // This network, carriers' NAT, protocols, 6to4 relays, benchmarks, reserved.
        (0 | 240..=255, ..) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18 | 19, _)
    );
    !special
        && !address.is_private()
        && !address.is_loopback()
        && !address.is_link_local()
        && !address.is_multicast()
        && !address.is_documentation()
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // A network without IPv4 reaches it through NAT64.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        },
        // Protocols, documentation, 6to4, documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}
