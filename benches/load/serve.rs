//! The application, and what the gateway is measured against: servers that do a part of its work
//! and no more. They run in a process of their own, as the gateway does.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::net::SECRET;

/// Serves until it is killed, on a port of its own that it prints.
pub(crate) fn run(folder: &Path, to: Option<SocketAddr>) -> anyhow::Result<()> {
    crate::runtime().block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?);
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            stream.set_nodelay(true).expect("an option of the socket");
        });
        let mut router = application().merge(checked(folder.join("baseline-log")));
        if let Some(to) = to {
            router = router.merge(pass_through(to));
        }
        Ok(axum::serve(listener, router).await?)
    })
}

/// Reads the body and answers 200, or never; counts what it was sent.
fn application() -> Router {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    Router::new()
        .route(
            "/hooks/bare",
            post(move |body: Bytes| async move {
                count.fetch_add(u64::from(!body.is_empty()), Ordering::Relaxed);
                StatusCode::OK
            }),
        )
        .route("/hooks/hang", post(|_: Bytes| std::future::pending::<StatusCode>()))
        .route("/count", get(move || async move { counted.load(Ordering::Relaxed).to_string() }))
}

/// Checks the signature, and answers, or answers once a log of all bodies is on disk.
fn checked(path: PathBuf) -> Router {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let (log, lines) = mpsc::channel(4096);
    std::thread::spawn(move || write(&path, lines));
    let for_log = key.clone();
    Router::new()
        .route(
            "/hooks/hmac",
            post(
                move |headers: HeaderMap, body: Bytes| async move { check(&key, &headers, &body) },
            ),
        )
        .route(
            "/hooks/log",
            post(move |headers: HeaderMap, body: Bytes| async move {
                if check(&for_log, &headers, &body) != StatusCode::OK {
                    return StatusCode::UNAUTHORIZED;
                }
                let (done, synced) = oneshot::channel();
                log.send((body, done)).await.expect("its thread");
                synced.await.map_or(StatusCode::SERVICE_UNAVAILABLE, |()| StatusCode::OK)
            }),
        )
}

/// Sends the request on to the application at `to`, and its answer back.
fn pass_through(to: SocketAddr) -> Router {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let to: Uri = format!("http://{to}/hooks/bare").parse().expect("an address");
    let pass = post(move |mut request: Request<Body>| async move {
        *request.uri_mut() = to.clone();
        pass(&client, request).await
    });
    Router::new().route("/hooks/pass", pass)
}

async fn pass(client: &Client<HttpConnector, Body>, request: Request<Body>) -> Response {
    // Whole, as the gateway reads it: only then can a signature be checked.
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return StatusCode::BAD_REQUEST.into_response() };
    let request = Request::from_parts(head, Body::from(body.to_bytes()));
    match client.request(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// Checks what Stripe signs: `t=<seconds>,v1=<hex of HMAC-SHA256 over "t.body">`.
fn check(key: &hmac::Key, headers: &HeaderMap, body: &[u8]) -> StatusCode {
    let signature = headers.get("stripe-signature").and_then(|it| it.to_str().ok());
    let parts = signature.and_then(|it| it.strip_prefix("t=")?.split_once(",v1="));
    let Some((time, hex)) = parts else { return StatusCode::BAD_REQUEST };
    let mut context = hmac::Context::with_key(key);
    for part in [time.as_bytes(), b".", body] {
        context.update(part);
    }
    let expected = data_encoding::HEXLOWER.encode(context.sign().as_ref());
    if expected == hex { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
}

/// Appends what waits, syncs it once, and tells all that waited.
fn write(path: &Path, mut lines: mpsc::Receiver<(Bytes, oneshot::Sender<()>)>) {
    let mut file = None;
    let (mut batch, mut bytes) = (Vec::new(), Vec::new());
    while lines.blocking_recv_many(&mut batch, 1024) > 0 {
        let file = file.get_or_insert_with(|| File::create(path).expect("a file"));
        bytes.clear();
        for (body, _) in &batch {
            bytes.extend_from_slice(body);
        }
        file.write_all(&bytes).expect("room");
        file.sync_data().expect("a disk");
        // Who does not wait any more needs no word.
        batch.drain(..).for_each(|(_, done)| done.send(()).unwrap_or_default());
    }
}
