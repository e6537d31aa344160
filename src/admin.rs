//! The private listener: health, metrics, and the API by which an operator sees and acts.
//!
//! It can redeliver and forget, so what reaches it is judged first: by [`guard`] whether a
//! browser was talked into asking, then by the token. Every answer of its own is JSON and is
//! stored nowhere.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretSlice;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::gate::{Gate, Life};
use crate::store::{Health, Unavailable};

mod act;
mod body;
mod events;
mod guard;
mod query;
mod sources;
mod story;

/// Lists that are read at once: each keeps a thread busy for some milliseconds.
const READS_AT_ONCE: usize = 4;

/// Who asks: an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The address the connection came from; none over a unix socket.
    pub addr: Option<SocketAddr>,
}

/// What the private listener shows.
#[derive(Debug)]
pub struct Admin {
    up: OnceLock<Up>,
    metrics: Option<PrometheusHandle>,
    /// Asked of every request but the two for health.
    token: Option<Arc<SecretSlice<u8>>>,
    /// Names that the listener may be called by, besides its addresses and `localhost`.
    hosts: Vec<String>,
    reads: Arc<Semaphore>,
}

/// The gateway, once it is up.
#[derive(Clone, Debug)]
pub struct Up {
    /// Its store and its ends.
    pub life: Life,
    /// One a source, in order of their names.
    pub gates: Vec<Arc<Gate>>,
}

impl Up {
    /// The gate of the source that has, or had, the name `name`.
    fn gate(&self, name: &str) -> Option<&Arc<Gate>> {
        let named = |gate: &&Arc<Gate>| {
            gate.source.name == name || gate.source.was.iter().any(|was| was == name)
        };
        self.gates.iter().find(named)
    }
}

impl Admin {
    /// The private side of a gateway that is starting.
    pub fn new(
        metrics: Option<PrometheusHandle>,
        token: Option<Arc<SecretSlice<u8>>>,
        hosts: Vec<String>,
    ) -> Self {
        let reads = Arc::new(Semaphore::new(READS_AT_ONCE));
        Self { up: OnceLock::new(), metrics, token, hosts, reads }
    }

    /// Shows the gateway from now on; only the first counts.
    pub fn show(&self, up: Up) {
        self.up.get_or_init(|| up);
    }

    fn up(&self) -> Result<&Up, Refusal> {
        self.up.get().ok_or_else(|| {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Refusal::new(status, "starting", "the gateway is starting: try again")
        })
    }
}

/// Every path of the private listener.
pub fn router(admin: Arc<Admin>) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/v1/events", get(events::list))
        .route("/api/v1/events/{source}/{key}", get(story::story))
        .route("/api/v1/events/{source}/{key}/redeliver", post(act::redeliver))
        .route("/api/v1/events/{source}/{key}/settle", post(act::settle))
        .route("/api/v1/events/{source}/{key}/admit", post(act::admit))
        .route("/api/v1/events/{source}/{key}/forget", post(act::forget))
        .route("/api/v1/sources", get(sources::list))
        .route("/api/v1/sources/{source}/rejections", get(sources::rejections))
        .route("/api/v1/compact", post(act::compact))
        .layer(from_fn_with_state(Arc::clone(&admin), guard::authorize));
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .merge(guarded)
        .method_not_allowed_fallback(|| async {
            let detail = "this path has another method: the header Allow names it";
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail).into_response()
        })
        .fallback(|| async {
            let detail = "no such path: the API is below /api/v1/";
            Refusal::new(StatusCode::NOT_FOUND, "no_such_path", detail).into_response()
        })
        .layer(from_fn_with_state(Arc::clone(&admin), guard::guard))
        .layer(from_fn(private))
        .with_state(admin)
}

/// What is told here is for this one reader, and is what it says it is.
async fn private(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let why = match admin.up.get().map(|up| &up.life) {
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
    let Some(metrics) = &admin.metrics else {
        let detail = "this process records no metrics";
        return Refusal::new(StatusCode::NOT_FOUND, "no_metrics", detail).into_response();
    };
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()).into_response()
}

/// What an operator is told instead of what was asked for.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    /// Stable: programs go by it.
    code: &'static str,
    /// The cause and the mend.
    detail: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }

    fn bad(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    fn no_such_event() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_event", "there is no such event")
    }
}

impl From<Unavailable> for Refusal {
    fn from(why: Unavailable) -> Self {
        let code = match why {
            Unavailable::Compacting => "compacting",
            Unavailable::Overloaded
            | Unavailable::DiskLow
            | Unavailable::DiskFull
            | Unavailable::Reading
            | Unavailable::Stopped => "storage_unavailable",
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, why.to_string())
    }
}

impl axum::response::IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, code, detail } = self;
        let mut response =
            (status, Json(json!({ "error": code, "detail": detail }))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// The names in a path, percent-decoded once.
struct Names<T>(T);

impl<T, S> FromRequestParts<S> for Names<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(
        parts: &mut http::request::Parts,
        state: &S,
    ) -> Result<Self, Refusal> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(names)| Self(names)).map_err(|error| {
            Refusal::bad("bad_path", format!("{error}: percent-encode each name once"))
        })
    }
}
