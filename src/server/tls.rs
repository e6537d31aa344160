//! TLS on the public listener, with the newest certificate that could be read.
//!
//! Certificates are renewed every few weeks by programs that know nothing of us: they write
//! files, or swap a link to them. So the files are looked at, and a restart is not needed.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::config::Tls;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// What the files looked like: device, inode, length and time of change of each.
type Look = [Option<(u64, u64, u64, i64, i64)>; 2];

/// The public listener's side of TLS.
#[derive(Debug)]
pub(super) struct Secured {
    files: Tls,
    current: Arc<Current>,
    /// What the files looked like before they were read.
    seen: Look,
}

/// The certificate in force.
struct Current(ArcSwap<CertifiedKey>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Secured {
    /// With the certificate of `files`.
    pub(super) fn new(files: Tls) -> anyhow::Result<Self> {
        let seen = look(&files);
        let loaded = files.load().context("server.tls")?;
        let current = Arc::new(Current(ArcSwap::from_pointee(loaded)));
        Ok(Self { files, current, seen })
    }

    /// How hands are shaken: TLS 1.2 and 1.3, and HTTP/1.1 in it.
    pub(super) fn settings(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.current) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Puts every new certificate in force. One that cannot be used is told once, and the old
    /// one stays. Files are read when they rest: the two change one after the other.
    pub(super) async fn renew(self) {
        let Self { files, current, seen } = self;
        let files = Arc::new(files);
        let (mut tried, mut last) = (seen, seen);
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let looking = Arc::clone(&files);
            let Ok(seen) = tokio::task::spawn_blocking(move || look(&looking)).await else {
                return;
            };
            let rests = seen == last;
            last = seen;
            if !rests || seen == tried {
                continue;
            }
            tried = seen;
            let reading = Arc::clone(&files);
            match tokio::task::spawn_blocking(move || reading.load()).await {
                Ok(Ok(loaded)) => {
                    current.0.store(Arc::new(loaded));
                    tracing::info!(cert = %files.cert.display(), "the new certificate is in force");
                },
                Ok(Err(error)) => tracing::error!(
                    "server.tls: the new certificate cannot be used, the old one stays in force: {error}"
                ),
                Err(_) => return,
            }
        }
    }
}

/// What both files look like, through links.
fn look(files: &Tls) -> Look {
    let of = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
    };
    [of(&files.cert), of(&files.key)]
}

/// Shakes hands with a client, within `limit` and until `shut`.
pub(super) async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
    acceptor: &TlsAcceptor,
    stream: S,
    limit: Duration,
    shut: &CancellationToken,
) -> Option<TlsStream<S>> {
    let shaking = timeout(limit, acceptor.accept(stream));
    match shut.run_until_cancelled(shaking).await? {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no TLS with a client");
            None
        },
        Err(_) => {
            tracing::debug!("a client did not end its TLS handshake in time");
            None
        },
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Made, KeyPair};
    use tempfile::TempDir;
    use tokio::time::sleep;

    use super::*;

    fn made() -> Made<KeyPair> {
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
    }

    /// As Kubernetes and certbot do: a folder for each certificate, and a link that is swapped.
    fn put(folder: &TempDir, name: &str, cert: &str, key: &str) {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("cert.pem"), cert).unwrap();
        fs::write(path.join("key.pem"), key).unwrap();
        std::os::unix::fs::symlink(&path, folder.path().join("new")).unwrap();
        fs::rename(folder.path().join("new"), folder.path().join("live")).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_certificate_comes_into_force_and_one_that_cannot_be_used_leaves_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join("live");
        let files = Tls { cert: live.join("cert.pem"), key: live.join("key.pem") };
        let [one, two, three] = [made(), made(), made()];
        put(&folder, "1", &one.cert.pem(), &one.signing_key.serialize_pem());
        let secured = Secured::new(files).unwrap();
        let current = Arc::clone(&secured.current);
        let renewing = tokio::spawn(secured.renew());
        let in_force = async || {
            sleep(LOOK * 4).await;
            current.0.load().cert.first().unwrap().clone()
        };
        assert_eq!(&in_force().await, one.cert.der());
        put(&folder, "2", &two.cert.pem(), &two.signing_key.serialize_pem());
        assert_eq!(&in_force().await, two.cert.der());
        put(&folder, "3", &three.cert.pem(), &one.signing_key.serialize_pem());
        assert_eq!(&in_force().await, two.cert.der(), "its key is another's");
        fs::write(live.join("cert.pem"), "nonsense").unwrap();
        assert_eq!(&in_force().await, two.cert.der(), "it is no certificate");
        fs::remove_file(&live).unwrap();
        assert_eq!(&in_force().await, two.cert.der(), "it is gone");
        put(&folder, "4", &three.cert.pem(), &three.signing_key.serialize_pem());
        assert_eq!(&in_force().await, three.cert.der());
        renewing.abort();
    }
}
