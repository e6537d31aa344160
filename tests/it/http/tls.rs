//! TLS on the public listener, over real sockets.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{App, Connection, Gateway, Step, run, stripe};
use crate::process;

fn made() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// Writes a certificate and its key, and the line of the settings that names them.
fn put(folder: &Path, made: &CertifiedKey<KeyPair>) -> String {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    // The certificate last: until it is there, the pair does not fit.
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::write(&cert, made.cert.pem()).unwrap();
    format!("tls = {{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display())
}

/// A provider that trusts `cert`, speaks `version` and offers `protocols`.
async fn connect(
    to: SocketAddr,
    cert: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(to).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(client)).connect(name, stream).await
}

/// Sends a request that is the connection's last; all that is answered.
async fn exchange(stream: &mut TlsStream<TcpStream>, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[test]
fn a_webhook_over_tls_is_processed_and_the_application_is_told_so() {
    run(async {
        let (app, made) = (App::always(Step::says(200, "fine")).await, made());
        let folder = tempfile::tempdir().unwrap();
        let line = put(folder.path(), &made);
        let gateway = Gateway::start_with(&line, &stripe("tls", &app.url, ""), |_| {}).await;
        let cert = made.cert.der();
        for (id, version) in
            [("evt_1", &rustls::version::TLS12), ("evt_2", &rustls::version::TLS13)]
        {
            let both: [&[u8]; 2] = [b"h2", b"http/1.1"];
            let mut stream = connect(gateway.public, cert, version, &both).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            let request = gateway.stripe("tls", id).header("connection", "close");
            let answer = exchange(&mut stream, &request.bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(answer.contains("oncegate-outcome: processed"), "{answer}");
        }
        assert!(app.got().iter().all(|got| got.header("x-forwarded-proto") == Some("https")));
        // Without a word on protocols it is HTTP/1.1; what speaks nothing else is refused.
        let silent = connect(gateway.public, cert, &rustls::version::TLS13, &[]).await;
        assert_eq!(silent.unwrap().get_ref().1.alpn_protocol(), None);
        let h2 = connect(gateway.public, cert, &rustls::version::TLS13, &[b"h2"]).await;
        assert!(h2.unwrap_err().to_string().contains("NoApplicationProtocol"));
        // Plain HTTP gets no answer, and nothing of it counts.
        let mut plain = Connection::open(gateway.public).await;
        assert!(plain.write(&gateway.stripe("tls", "evt_3").bytes()).await);
        while plain.write(b"x").await {}
        assert_eq!(app.got().len(), 2);
        gateway.finish().await;
    });
}

#[test]
fn a_client_that_stalls_its_handshake_is_cut_and_keeps_nobody_waiting() {
    run(async {
        let (app, made) = (App::always(Step::says(200, "fine")).await, made());
        let folder = tempfile::tempdir().unwrap();
        let line = format!("{}\nheader_timeout = \"2s\"", put(folder.path(), &made));
        let gateway = Gateway::start_with(&line, &stripe("stalls", &app.url, ""), |_| {}).await;
        let mut stalled = Vec::new();
        for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
            let mut stream = TcpStream::connect(gateway.public).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stalled.push(stream);
        }
        let version = &rustls::version::TLS13;
        let stream = connect(gateway.public, made.cert.der(), version, &[b"http/1.1"]).await;
        let request = gateway.stripe("stalls", "evt_1").header("connection", "close");
        let answer = exchange(&mut stream.unwrap(), &request.bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        for mut stream in stalled {
            // The end, or a reset.
            assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
        }
        gateway.finish().await;
    });
}

#[test]
fn a_renewed_certificate_is_served_without_a_restart() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let (old, new) = (made(), made());
        let folder = tempfile::tempdir().unwrap();
        let line = put(folder.path(), &old);
        let gateway = Gateway::start_with(&line, &stripe("renews", &app.url, ""), |_| {}).await;
        let version = &rustls::version::TLS13;
        let served = async || {
            // Accepts either: which one is served is asked.
            for (made, name) in [(&old, "old"), (&new, "new")] {
                if connect(gateway.public, made.cert.der(), version, &[]).await.is_ok() {
                    return name;
                }
            }
            "neither"
        };
        let mut kept = connect(gateway.public, old.cert.der(), version, &[]).await.unwrap();
        assert_eq!(served().await, "old");
        put(folder.path(), &new);
        while served().await != "new" {
            sleep(Duration::from_millis(20)).await;
        }
        // Who is connected stays so.
        let request = gateway.stripe("renews", "evt_1").header("connection", "close");
        let answer = exchange(&mut kept, &request.bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        gateway.finish().await;
    });
}

#[test]
fn a_renewal_that_cannot_be_used_is_told_once_and_the_key_never_shows() {
    run(async {
        let (old, other) = (made(), made());
        let folder = tempfile::tempdir().unwrap();
        let line = put(folder.path(), &old);
        let settings = stripe("bad", "http://127.0.0.1:9/", "");
        let site = process::Site::new(folder.path(), &line, &settings);
        let gateway = site.start(&[]).await;
        let until_said = async |text: &str| {
            while !site.said().contains(text) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        // A key without its certificate; the way back is a renewal, too.
        fs::write(folder.path().join("key.pem"), other.signing_key.serialize_pem()).unwrap();
        until_said("the old one stays in force: ").await;
        let stream =
            connect(site.public, old.cert.der(), &rustls::version::TLS13, &[b"http/1.1"]).await;
        assert!(stream.is_ok(), "the old certificate is not in force");
        put(folder.path(), &old);
        until_said("the new certificate is in force").await;
        gateway.terminate();
        assert_eq!(gateway.ended().await.code(), Some(0), "{}", site.said());
        let said = site.said();
        assert_eq!(said.matches("cannot be used").count(), 1, "{said}");
        for made in [&old, &other] {
            let pem = made.signing_key.serialize_pem();
            assert!(pem.lines().all(|line| !said.contains(line)), "a key shows: {said}");
        }
    });
}
