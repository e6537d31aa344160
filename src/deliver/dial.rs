//! Where the application is, and how a connection to it is made.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::line::{Line, Wire, in_words};

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadTarget {
    /// Neither `http://` nor `https://`.
    #[error("target must begin with http:// or https://")]
    Scheme,
    /// No host.
    #[error("target has no host")]
    Host,
    /// A user and a password would be sent nowhere.
    #[error("target must not contain a user or password")]
    User,
    /// The host cannot be in a certificate.
    #[error("target's host cannot be verified by TLS: {0}")]
    Name(#[from] rustls::pki_types::InvalidDnsNameError),
    /// The system has no certificate authorities to trust.
    #[error("https needs certificate authorities, and none were found on this system: {0}")]
    Authorities(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// The certificate authorities that https targets are verified by: the system's, read
/// when the first https target asks and shared by all. A new one reads them anew.
#[derive(Debug, Default)]
pub struct Trust(Mutex<Option<Arc<ClientConfig>>>);

impl Trust {
    /// Trusts what `client` trusts.
    #[cfg(test)]
    pub(crate) fn of(client: Arc<ClientConfig>) -> Self {
        Self(Mutex::new(Some(client)))
    }

    /// TLS settings that trust what the system trusts.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, BadTarget> {
        let mut kept = self.0.lock();
        if let Some(client) = kept.as_ref() {
            return Ok(Arc::clone(client));
        }
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            return Err(BadTarget::Authorities(why.join("; ")));
        }
        Ok(Arc::clone(kept.insert(client(roots)?)))
    }
}

/// TLS settings that trust `roots`.
pub(crate) fn client(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(client))
}

/// Where the application listens.
pub(super) struct Place {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// What the `Host` header says.
    pub(super) authority: HeaderValue,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Place {
    /// The place that `target` names.
    pub(super) fn new(target: &Uri, trust: &Trust) -> Result<Self, BadTarget> {
        let authority = target.authority().ok_or(BadTarget::Host)?;
        if authority.as_str().contains('@') {
            return Err(BadTarget::User);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(BadTarget::Host);
        }
        let (port, tls) = match target.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => (80, None),
            Some(scheme) if *scheme == Scheme::HTTPS => {
                let name = ServerName::try_from(host.clone())?;
                (443, Some((TlsConnector::from(trust.client()?), name)))
            },
            _ => return Err(BadTarget::Scheme),
        };
        let port = authority.port_u16().unwrap_or(port);
        let authority =
            HeaderValue::from_str(authority.as_str()).map_err(|_ascii| BadTarget::Host)?;
        Ok(Self { host, port, tls, authority })
    }

    /// A new connection. An error means that no byte of a request was sent.
    pub(super) async fn dial(&self, deadline: Instant) -> Result<Line, String> {
        match timeout_at(deadline, self.connect(deadline)).await {
            Ok(line) => line,
            Err(_) => Err(format!("no connection to {self:?} in time")),
        }
    }

    async fn connect(&self, deadline: Instant) -> Result<Line, String> {
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let addresses: Vec<_> =
            found.map_err(|error| format!("cannot resolve {}: {error}", self.host))?.collect();
        let stream = reach(&addresses, deadline)
            .await
            .map_err(|error| format!("cannot connect to {self:?}: {error}"))?;
        // A request goes out whole: waiting for more to send would only delay it.
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let written = Arc::new(AtomicBool::new(false));
        let wire = Wire::new(stream, Arc::clone(&written));
        let line = match &self.tls {
            None => Line::open(wire, written).await,
            Some((connector, name)) => {
                let secured = connector.connect(name.clone(), wire).await;
                let io = secured.map_err(|error| format!("TLS to {self:?} failed: {error}"))?;
                Line::open(io, written).await
            },
        };
        line.map_err(|error| in_words(&error))
    }
}

/// Connects to the first address that answers. Each has an even share of the time left,
/// so that one which swallows packets does not keep the others from being tried.
async fn reach(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let now = Instant::now();
        let share =
            deadline.saturating_duration_since(now) / u32::try_from(left).unwrap_or(u32::MAX);
        match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(elapsed) => last = io::Error::new(io::ErrorKind::TimedOut, elapsed),
        }
    }
    Err(last)
}
