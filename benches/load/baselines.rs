//! What the gateway is measured against: servers that do a part of its work and no more.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::{mpsc, oneshot};

use crate::servers::SECRET;

/// The baselines' paths, beside those of the application at `address`.
pub(crate) fn routes(address: SocketAddr) -> Router {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let (log, lines) = mpsc::channel(4096);
    std::thread::spawn(|| write(lines));
    let (for_hmac, for_log) = (key.clone(), key);
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let to: Uri = format!("http://{address}/hooks/bare").parse().expect("an address");
    Router::new()
        .route(
            "/hooks/hmac",
            post(move |headers: HeaderMap, body: Bytes| async move {
                check(&for_hmac, &headers, &body)
            }),
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
        .route(
            "/hooks/pass",
            post(move |mut request: Request<Body>| async move {
                *request.uri_mut() = to.clone();
                pass(&client, request).await
            }),
        )
}

type Plain = Client<hyper_util::client::legacy::connect::HttpConnector, Body>;

async fn pass(client: &Plain, request: Request<Body>) -> Response {
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
fn write(mut lines: mpsc::Receiver<(Bytes, oneshot::Sender<()>)>) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("baseline-log");
    let mut file = File::create(&path).expect("a file");
    let (mut batch, mut bytes) = (Vec::new(), Vec::new());
    while lines.blocking_recv_many(&mut batch, 1024) > 0 {
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
