//! The sample application: it checks signatures as if there were no gateway, acts, and
//! remembers all it saw. It knows an event by its bytes, never by what the gateway says.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::event::{Event, First};
use crate::clock;
use crate::config::Source;
use crate::verify::Delivery;

/// How long its work takes: longer than it takes all copies to arrive.
const WORK: Duration = Duration::from_millis(250);

/// One request it saw.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// `Idempotency-Key`.
    pub(super) key: String,
    /// `Oncegate-Attempt`.
    pub(super) attempt: String,
    /// Whether `Oncegate-Unknown: true` was there.
    pub(super) flagged: bool,
    /// Whether the provider's own signature was right.
    pub(super) signed: bool,
    /// Whether another request of the same event was open when this one came.
    pub(super) overlaps: bool,
    /// What it did; `None` while it works.
    pub(super) end: Option<End>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Worked,
    Failed,
    HungUp,
}

/// The application.
#[derive(Debug)]
pub(super) struct Application {
    events: Vec<Arc<Event>>,
    sources: Vec<Arc<Source>>,
    /// By the event's id.
    seen: Mutex<HashMap<String, Vec<Seen>>>,
    /// Requests with a body that no provider sent.
    strays: AtomicU64,
    /// Every answer has its number, so no two runs could be taken for one.
    answers: AtomicU64,
}

/// Ends the connection instead of answering.
#[derive(Debug)]
struct HangUp;

impl fmt::Display for HangUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hung up")
    }
}

impl std::error::Error for HangUp {}

impl Application {
    pub(super) fn new(events: Vec<Arc<Event>>, sources: Vec<Arc<Source>>) -> Self {
        Self {
            events,
            sources,
            seen: Mutex::default(),
            strays: AtomicU64::new(0),
            answers: AtomicU64::new(0),
        }
    }

    /// Every request of `event`, in order.
    pub(super) fn seen(&self, event: &Event) -> Vec<Seen> {
        self.seen.lock().get(&event.id).cloned().unwrap_or_default()
    }

    /// How many requests had a body that no provider sent.
    pub(super) fn strays(&self) -> u64 {
        self.strays.load(Ordering::Relaxed)
    }

    async fn act(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, HangUp> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_cut| HangUp)?.to_bytes();
        let Some(event) = self.events.iter().find(|event| event.body == body) else {
            self.strays.fetch_add(1, Ordering::Relaxed);
            return Ok(answer(StatusCode::BAD_REQUEST, "unknown event".to_owned()));
        };
        let place = self.begin(event, head.headers, body);
        sleep(WORK).await;
        let end = match (place, event.first) {
            (0, First::Fails) => End::Failed,
            (0, First::HangsUp) => End::HungUp,
            _ => End::Worked,
        };
        if let Some(seen) = self.seen.lock().get_mut(&event.id).and_then(|it| it.get_mut(place)) {
            seen.end = Some(end);
        }
        let number = self.answers.fetch_add(1, Ordering::Relaxed);
        match end {
            End::Worked => Ok(answer(StatusCode::OK, format!("{{\"receipt\":{number}}}"))),
            End::Failed => {
                let body = format!("{{\"error\":{number}}}");
                Ok(answer(StatusCode::INTERNAL_SERVER_ERROR, body))
            },
            End::HungUp => Err(HangUp),
        }
    }

    /// Notes a request; which one of its event's it is.
    fn begin(&self, event: &Event, headers: HeaderMap, body: Bytes) -> usize {
        let text = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (key, attempt, unknown) =
            (text("idempotency-key"), text("oncegate-attempt"), text("oncegate-unknown"));
        let delivery = Delivery { method: http::Method::POST, query: None, headers, body };
        let source = self.sources.iter().find(|source| source.name == event.source);
        let signed = source.is_some_and(|it| it.verifier.check(delivery, clock::wall()).is_ok());
        let mut seen = self.seen.lock();
        let seen = seen.entry(event.id.clone()).or_default();
        let overlaps = seen.iter().any(|seen| seen.end.is_none());
        let flagged = unknown == "true";
        seen.push(Seen { key, attempt, flagged, signed, overlaps, end: None });
        seen.len() - 1
    }
}

/// Serves the application until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    application: Arc<Application>,
    stop: CancellationToken,
) {
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(_) => continue,
            },
            () = stop.cancelled() => return,
        };
        let application = Arc::clone(&application);
        tokio::spawn(async move {
            let acting = service_fn(|request| application.act(request));
            // Hanging up is an error here, and meant.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), acting).await);
        });
    }
}

fn answer(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}
