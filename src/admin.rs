//! The private listener: health, metrics, and the story of one event.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use data_encoding::HEXLOWER;
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret as _, SecretSlice};
use serde_json::{Value, json};

use crate::gate::Life;
use crate::record::{Act, Answer, Entry, Event, Finish, State as Stands, What};
use crate::store::{Health, Seen, Story};

/// What the private listener shows.
#[derive(Debug)]
pub struct Admin {
    /// The gateway, once it is up.
    pub life: OnceLock<Life>,
    /// What `/metrics` renders.
    pub metrics: Option<PrometheusHandle>,
    /// Asked of every request but the two for health.
    pub token: Option<Arc<SecretSlice<u8>>>,
}

/// Every path of the private listener.
pub fn router(admin: Arc<Admin>) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/v1/events/{source}/{key}", get(story))
        .layer(from_fn_with_state(Arc::clone(&admin), authorize));
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .merge(guarded)
        .fallback(|| async { error(StatusCode::NOT_FOUND, "no_such_path", "no such path") })
        .with_state(admin)
}

async fn authorize(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let Some(token) = &admin.token else { return next.run(request).await };
    let given = request.headers().get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
    let given = given.and_then(bearer).unwrap_or_default();
    if verify_slices_are_equal(given, token.expose_secret()).is_ok() {
        return next.run(request).await;
    }
    let detail = "send `Authorization: Bearer <server.admin_token>`";
    let mut response = error(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    response.headers_mut().insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
    response
}

/// The token of a `Bearer` header; the scheme's name may be in either case (RFC 9110 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let why = match admin.life.get() {
        None => "starting",
        Some(life) if life.stop.is_cancelled() => "draining",
        Some(life) => match life.store.health() {
            Health::Ready => return "ready\n".into_response(),
            Health::DiskLow => "disk low",
            Health::DiskFull => "disk full",
            Health::Compacting => "compacting",
            Health::Stopped => "storage failed",
        },
    };
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], format!("{why}\n")).into_response()
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    match &admin.metrics {
        Some(metrics) => {
            ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()).into_response()
        },
        None => error(StatusCode::NOT_FOUND, "no_metrics", "this process records no metrics"),
    }
}

async fn story(
    State(admin): State<Arc<Admin>>,
    Path((source, key)): Path<(String, String)>,
) -> Response {
    let Some(life) = admin.life.get() else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "starting", "the gateway is starting");
    };
    match life.store.story(&format!("{source}:{key}")).await {
        Ok(Some(story)) => Json(tell(&story)).into_response(),
        Ok(None) => error(StatusCode::NOT_FOUND, "no_such_event", "there is no such event"),
        Err(why) => error(StatusCode::SERVICE_UNAVAILABLE, "storage_unavailable", &why.to_string()),
    }
}

fn error(status: StatusCode, code: &str, detail: &str) -> Response {
    (status, Json(json!({ "error": code, "detail": detail }))).into_response()
}

/// The story as JSON.
fn tell(story: &Story) -> Value {
    let Event { id, long, received, changed, state, owed, doubt, finish, body, kept, .. } =
        &story.event;
    let (source, key) = id.split_once(':').unwrap_or_default();
    let due = match state {
        Stands::Queued { due } => Some(due.to_string()),
        Stands::Open | Stands::InFlight { .. } | Stands::Done | Stands::Dead | Stands::Held => None,
    };
    json!({
        "source": source,
        "key": key,
        "long_key": long,
        "idempotency_key": id,
        "state": story.event.label().word(),
        "due": due,
        "owed": owed,
        "unknown": doubt,
        "received": received.to_string(),
        "changed": changed.to_string(),
        "attempts": story.event.attempt,
        "token": story.event.token.0,
        "copies_get": finish.map(|finish| match finish {
            Finish::Answered => "answer",
            Finish::Acknowledged => "acknowledgement",
        }),
        "body": {
            "sha256": HEXLOWER.encode(&body.sha256),
            "bytes": body.bytes,
            "held_since": body.held.map(|held| held.to_string()),
        },
        "mismatching_copies": kept.iter().map(|sha256| HEXLOWER.encode(sha256)).collect::<Vec<_>>(),
        "answer": story.answer.as_ref().map(tell_answer),
        "deliveries": {
            "total": story.deliveries.counts.iter().map(|(_, count)| count).sum::<u64>(),
            "by_outcome": story.deliveries.counts.iter().cloned().collect::<BTreeMap<_, _>>(),
            "first": story.deliveries.first.iter().map(tell_delivery).collect::<Vec<_>>(),
            "last": story.deliveries.last.iter().map(tell_delivery).collect::<Vec<_>>(),
        },
        "story": story.entries.iter().map(tell_entry).collect::<Vec<_>>(),
        "damaged_lines": story.damaged_entries,
    })
}

fn tell_answer(answer: &Answer) -> Value {
    let headers = answer.headers.iter();
    json!({
        "status": answer.status,
        "headers": headers
            .map(|(name, value)| json!([name, String::from_utf8_lossy(value)]))
            .collect::<Vec<_>>(),
        "bytes": answer.body.len(),
        "truncated": answer.truncated,
    })
}

fn tell_delivery(seen: &Seen) -> Value {
    json!({
        "at": seen.at.to_string(),
        "outcome": seen.outcome,
        "status": seen.status,
        "mismatch": seen.mismatch,
    })
}

fn tell_entry(entry: &Entry) -> Value {
    let mut line = match &entry.what {
        What::Stored => json!({ "event": "stored" }),
        What::Claimed { token, attempt } => {
            json!({ "event": "claimed", "token": token.0, "attempt": attempt })
        },
        What::Settled { attempt, result, status, detail, late } => json!({
            "event": "settled",
            "attempt": attempt,
            "result": result.word(),
            "status": status,
            "detail": detail,
            "late": late,
        }),
        What::Operated { act, note } => {
            let act = match act {
                Act::Redeliver { .. } => "redeliver",
                Act::SettleDone => "settle_done",
                Act::SettleQueued => "settle_queued",
                Act::Forget { .. } => "forget",
            };
            json!({ "event": "operated", "act": act, "note": note })
        },
        What::Mismatch { slot } => json!({ "event": "mismatch_kept", "slot": slot }),
        What::BodyRestored => json!({ "event": "body_restored" }),
        What::BodyDropped => json!({ "event": "body_dropped" }),
        What::Damaged => json!({ "event": "damaged" }),
    };
    if let Some(line) = line.as_object_mut() {
        line.insert("at".to_owned(), json!(entry.at.to_string()));
        line.insert("state".to_owned(), json!(entry.state.word()));
    }
    line
}
