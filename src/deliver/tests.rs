//! Against raw sockets: an application that behaves, and every way it may not.

use std::future::pending;
use std::sync::Arc;

use http::{HeaderMap, Method};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::reply::Reply;
use crate::telemetry::Outcome;

mod answers;
mod requests;

/// An application's socket.
struct App(TcpListener);

impl App {
    async fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn upstream(&self) -> Upstream {
        upstream(&format!("http://{}/hook", self.0.local_addr().unwrap()))
    }

    async fn accept(&self) -> TcpStream {
        self.0.accept().await.unwrap().0
    }

    /// Accepts, reads one request, answers, and returns both.
    async fn answer(&self, answer: &str) -> (String, TcpStream) {
        let mut stream = self.accept().await;
        let request = read_request(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        (request, stream)
    }

    /// As [`App::answer`], and closes the connection.
    async fn answer_and_close(&self, answer: &str) {
        let (_, mut stream) = self.answer(answer).await;
        stream.shutdown().await.unwrap();
    }
}

fn upstream(target: &str) -> Upstream {
    let target: Uri = target.parse().unwrap();
    Upstream {
        source: "acme".into(),
        place: Place::new(&target, &Trust::default()).unwrap(),
        target,
        timeout: Duration::from_secs(30),
        finals: vec![422],
        signer: None,
        idle: Some(Idle::default()),
    }
}

fn delivery(headers: &[(&'static str, &'static str)]) -> Delivery {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect();
    Delivery { method: Method::POST, query: None, headers, body: "{\"id\": 1}".into() }
}

fn attempt(delivery: &Delivery) -> Attempt<'_> {
    Attempt {
        id: "acme:evt_1",
        number: 2,
        doubt: false,
        received: Millis(1_700_000_000_000),
        now: Millis(1_700_000_000_500),
        delivery,
        origin: Some(Origin { address: [203, 0, 113, 7].into(), https: true }),
    }
}

/// The head and the body of one request.
async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8(read.clone()).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |it| it.parse().unwrap()) {
                return text;
            }
        }
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "ended early: {text}");
    }
}

/// One attempt, while the application does as it likes.
async fn while_app<T>(upstream: &Upstream, app: impl Future<Output = T>) -> (Report, T) {
    let delivery = delivery(&[]);
    let attempt = attempt(&delivery);
    tokio::join!(upstream.attempt(&attempt), app)
}

/// One attempt, which ends while the application is still at it.
async fn before_app(upstream: &Upstream, app: impl Future<Output = ()>) -> Report {
    let delivery = delivery(&[]);
    let attempt = attempt(&delivery);
    let app = async {
        app.await;
        pending::<()>().await;
    };
    tokio::select! { report = upstream.attempt(&attempt) => report, () = app => unreachable!() }
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let found = reply.headers.iter().find(|(it, _)| it == name)?;
    Some(std::str::from_utf8(&found.1).unwrap())
}

#[tokio::test]
async fn a_refused_connection_failed_for_sure() {
    let app = App::listen().await;
    let upstream = app.upstream();
    drop(app);
    let (report, ()) = while_app(&upstream, async {}).await;
    assert_eq!(report.settlement.verdict, Verdict::Failed, "{report:?}");
    assert_eq!(report.settlement.answer, None);
    let reply = provider_answer(&report);
    assert_eq!((reply.status, reply.outcome), (502, Outcome::Failed));
}

#[tokio::test]
async fn a_name_without_an_address_failed_for_sure() {
    let upstream = upstream("http://nowhere.invalid/hook");
    let (report, ()) = while_app(&upstream, async {}).await;
    assert_eq!(report.settlement.verdict, Verdict::Failed, "{report:?}");
}

#[tokio::test]
async fn a_hang_after_the_request_is_unknown_and_the_connection_is_closed() {
    let app = App::listen().await;
    let upstream = app.upstream();
    let delivery = delivery(&[]);
    let open = attempt(&delivery);
    let hang = async {
        let mut stream = app.accept().await;
        read_request(&mut stream).await;
        tokio::time::pause();
        stream
    };
    let (report, mut stream) = tokio::join!(upstream.attempt(&open), hang);
    assert_eq!(report.settlement.verdict, Verdict::Unknown, "{report:?}");
    assert_eq!(provider_answer(&report).status, 504);
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0, "still open");
}

#[tokio::test]
async fn a_head_that_drips_past_the_time_out_is_unknown() {
    let app = App::listen().await;
    let report = before_app(&app.upstream(), async {
        let mut stream = app.accept().await;
        read_request(&mut stream).await;
        tokio::time::pause();
        for byte in b"HTTP/1.1 200 OK\r\nx-very-slow: yes".chunks(1) {
            stream.write_all(byte).await.unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    })
    .await;
    assert_eq!(report.settlement.verdict, Verdict::Unknown, "{report:?}");
}

#[tokio::test]
async fn a_tls_handshake_that_hangs_failed_for_sure() {
    let app = App::listen().await;
    let upstream = secured(&app);
    let report = before_app(&upstream, async {
        let mut stream = app.accept().await;
        stream.read_u8().await.unwrap();
        tokio::time::pause();
        pending::<()>().await;
    })
    .await;
    assert_eq!(report.settlement.verdict, Verdict::Failed, "{report:?}");
}

#[tokio::test]
async fn a_reset_after_the_request_is_unknown() {
    let app = App::listen().await;
    let (report, ()) = while_app(&app.upstream(), async {
        let mut stream = app.accept().await;
        read_request(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    assert_eq!(report.settlement.verdict, Verdict::Unknown, "{report:?}");
}

#[tokio::test]
async fn a_close_after_the_request_is_unknown() {
    let app = App::listen().await;
    let (report, ()) = while_app(&app.upstream(), app.answer_and_close("")).await;
    assert_eq!(report.settlement.verdict, Verdict::Unknown, "{report:?}");
}

#[tokio::test]
async fn a_close_in_the_middle_of_the_head_is_unknown() {
    let app = App::listen().await;
    let (report, ()) =
        while_app(&app.upstream(), app.answer_and_close("HTTP/1.1 200 OK\r\nx-")).await;
    assert_eq!(report.settlement.verdict, Verdict::Unknown, "{report:?}");
}

#[tokio::test]
async fn what_is_not_http_is_unknown() {
    let app = App::listen().await;
    let (report, ()) =
        while_app(&app.upstream(), app.answer_and_close("SSH-2.0-nope\r\n\r\n")).await;
    assert_eq!(report.settlement.verdict, Verdict::Unknown, "{report:?}");
}

#[tokio::test]
async fn a_close_before_the_request_was_read_is_no_success() {
    let app = App::listen().await;
    let (report, ()) = while_app(&app.upstream(), async { drop(app.accept().await) }).await;
    // Which of the two depends on whether the goodbye or the request was first.
    let verdict = report.settlement.verdict;
    assert!(matches!(verdict, Verdict::Failed | Verdict::Unknown), "{report:?}");
}

#[tokio::test]
async fn a_resting_connection_is_used_again() {
    let app = App::listen().await;
    let upstream = app.upstream();
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (_, (_, mut stream)) = while_app(&upstream, app.answer(ok)).await;
    let (report, ()) = while_app(&upstream, async {
        read_request(&mut stream).await;
        stream.write_all(ok.as_bytes()).await.unwrap();
    })
    .await;
    assert_eq!(report.settlement.verdict, Verdict::Success, "{report:?}");
}

#[tokio::test]
async fn a_resting_connection_that_was_closed_is_replaced() {
    let app = App::listen().await;
    let upstream = app.upstream();
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    for _ in 0..20 {
        let (report, (_, stream)) = while_app(&upstream, app.answer(ok)).await;
        assert_eq!(report.settlement.verdict, Verdict::Success, "{report:?}");
        assert_eq!(upstream.idle.as_ref().unwrap().len(), 1);
        drop(stream);
    }
}

#[tokio::test]
async fn a_resting_connection_is_closed_in_time() {
    let app = App::listen().await;
    let upstream = app.upstream();
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (_, (_, mut stream)) = while_app(&upstream, app.answer(ok)).await;
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(upstream.idle.as_ref().unwrap().len(), 0);
}

#[tokio::test]
async fn with_hold_every_attempt_has_a_connection_of_its_own() {
    let app = App::listen().await;
    let upstream = Upstream { idle: None, ..app.upstream() };
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (_, (_, mut stream)) = while_app(&upstream, app.answer(ok)).await;
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
}

// For these tests alone, made with `openssl req -x509 -newkey ec -pkeyopt
// ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj "/CN=oncegate test only"
// -addext subjectAltName=IP:127.0.0.1,DNS:localhost -addext basicConstraints=critical,CA:FALSE`.
const CERTIFICATE: &[u8] = include_bytes!("tests/localhost.cert.pem");
const KEY: &[u8] = include_bytes!("tests/localhost.key.pem");

/// An https target on `app` whose certificate is trusted.
fn secured(app: &App) -> Upstream {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CERTIFICATE).unwrap()).unwrap();
    trusting(app, roots)
}

fn trusting(app: &App, roots: RootCertStore) -> Upstream {
    let target: Uri = format!("https://{}/hook", app.0.local_addr().unwrap()).parse().unwrap();
    let trust = Trust::of(client(roots).unwrap());
    let place = Place::new(&target, &trust).unwrap();
    Upstream { target, place, ..app.upstream() }
}

fn acceptor() -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_slice(KEY).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn https_reaches_an_application_whose_certificate_is_trusted() {
    let app = App::listen().await;
    let (report, request) = while_app(&secured(&app), async {
        let mut stream = acceptor().accept(app.accept().await).await.unwrap();
        let request = read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        stream.flush().await.unwrap();
        request
    })
    .await;
    assert_eq!(report.settlement.verdict, Verdict::Success, "{report:?}");
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
async fn a_reset_after_a_request_over_tls_is_unknown() {
    let app = App::listen().await;
    let (report, ()) = while_app(&secured(&app), async {
        let mut stream = acceptor().accept(app.accept().await).await.unwrap();
        read_request(&mut stream).await;
        stream.get_ref().0.set_zero_linger().unwrap();
    })
    .await;
    assert_eq!(report.settlement.verdict, Verdict::Unknown, "{report:?}");
}

#[tokio::test]
async fn an_untrusted_certificate_failed_for_sure() {
    let app = App::listen().await;
    let (report, refused) = while_app(&trusting(&app, RootCertStore::empty()), async {
        acceptor().accept(app.accept().await).await.is_err()
    })
    .await;
    assert!(refused);
    assert_eq!(report.settlement.verdict, Verdict::Failed, "{report:?}");
    assert!(report.settlement.detail.contains("TLS"), "{report:?}");
}

#[test]
fn a_target_that_cannot_be_used_is_named() {
    let refused =
        |target: &str| Place::new(&target.parse().unwrap(), &Trust::default()).unwrap_err();
    assert!(matches!(refused("/hook"), BadTarget::Host));
    assert!(matches!(refused("ftp://shop.example/"), BadTarget::Scheme));
    assert!(matches!(refused("http://me:secret@shop.example/"), BadTarget::User));
}
