//! A provider's host on loopback: TLS for the names that providers have, and answers as told.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::deliver::{Trust, client};
use crate::gate::{Certificates, Reach};

const NAMES: [&str; 3] =
    ["sns.us-east-1.amazonaws.com", "sns.eu-central-1.amazonaws.com", "api.paypal.com"];

/// What was asked, and what is answered.
#[derive(Debug, Default)]
struct Told {
    asked: Vec<String>,
    answers: BTreeMap<String, Vec<u8>>,
}

/// The host.
#[derive(Debug)]
pub(crate) struct Site {
    told: Arc<Mutex<Told>>,
    address: std::net::SocketAddr,
    trust: Trust,
}

impl Site {
    /// Listens; each path that is not told otherwise is answered 404.
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let made = rcgen::generate_simple_self_signed(NAMES.map(str::to_owned)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let address = listener.local_addr().unwrap();
        let told = Arc::<Mutex<Told>>::default();
        let shared = Arc::clone(&told);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&shared)));
            }
        });
        Self { told, address, trust: Trust::of(client(roots).unwrap()) }
    }

    /// Certificates that are fetched from here, whatever the host is called.
    pub(crate) fn certificates(&self) -> Certificates {
        Certificates::reaching(&self.trust, Reach::Only(self.address))
    }

    /// The same for one that trusts nobody.
    pub(crate) fn distrusted(&self) -> Certificates {
        let trust = Trust::of(client(RootCertStore::empty()).unwrap());
        Certificates::reaching(&trust, Reach::Only(self.address))
    }

    /// From now on `path` is answered with these bytes; with none, never.
    pub(crate) fn answer(&self, path: &str, answer: &[u8]) {
        self.told.lock().answers.insert(path.to_owned(), answer.to_vec());
    }

    /// The same with a body of `type` text, and 200.
    pub(crate) fn has(&self, path: &str, body: &str) {
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        self.answer(path, answer.as_bytes());
    }

    /// What was asked: hosts and targets.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.told.lock().asked.clone()
    }

    /// Waits until something was asked `times` times in all.
    pub(crate) async fn until(&self, times: usize) {
        while self.asked().len() < times {
            tokio::task::yield_now().await;
        }
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, told: Arc<Mutex<Told>>) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("GET ").unwrap().split(' ').next().unwrap().to_owned();
    let host = head.split("host: ").nth(1).unwrap().split("\r\n").next().unwrap();
    told.lock().asked.push(format!("{host}{target}"));
    let answer = told.lock().answers.get(&target).cloned();
    let answer =
        answer.unwrap_or_else(|| b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec());
    if answer.is_empty() {
        return std::future::pending().await;
    }
    // Whoever has read enough hangs up.
    let _written = stream.write_all(&answer).await;
    let _shut = stream.shutdown().await;
}
