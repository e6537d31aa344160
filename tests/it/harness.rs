//! What the integration tests share: a gateway in this process, an application that does as
//! it is told and records what it got, and a client that signs as a provider does.
//!
//! - [`run`] gives a test its runtime and its time limit.
//! - [`Gateway::start`] runs a gateway on free ports with a file of its own. A test ends it
//!   with [`Gateway::finish`], which fails if an attempt was left open.
//! - [`App`] is the application: each request it gets is recorded, then answered by a script.
//! - [`Gateway::stripe`] and [`Gateway::signed`] make signed requests, [`Request::send`] and
//!   [`Connection`] send them over real sockets and give back every byte of the answer.
//!
//! Nothing sleeps: what is awaited is a recorded request, a state of a story, an answer.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use oncegate::clock::{self, Clock};
use oncegate::config::{Config, Source};
use oncegate::server::Bound;
use oncegate::store::{Medium, RedbStore, Store as _};
use oncegate::telemetry::install_metrics;
use oncegate::verify::Delivery;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

mod app;
mod client;

pub(crate) use app::{App, Got, Step};
pub(crate) use client::{Answer, Connection, Request};

/// No test takes this long on any machine; it is there for what hangs.
const TIME_LIMIT: Duration = Duration::from_mins(2);
/// The pause between two looks at a story or a health page.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The secret of every source of the tests, as Stripe's settings and as those of Standard
/// Webhooks have it.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Runs a test on threads, as in production, and ends it when it hangs.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let done = runtime.block_on(async { timeout(TIME_LIMIT, test).await });
    runtime.shutdown_background();
    done.expect("the test hangs")
}

/// The recorder is the process's; sources of different tests have different names.
fn metrics() -> PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| install_metrics().expect("the first recorder")).clone()
}

/// The settings of a source `name` in front of `target`: Stripe, with `more` lines.
pub(crate) fn stripe(name: &str, target: &str, more: &str) -> String {
    format!(
        "[sources.{name}]\nprovider = \"stripe\"\nsecrets = [\"{SECRET}\"]\ntarget = \"{target}\"\n{more}\n"
    )
}

/// A running gateway.
pub(crate) struct Gateway {
    /// Where providers call.
    pub public: SocketAddr,
    /// Where the operator calls.
    pub admin: SocketAddr,
    sources: Vec<Arc<Source>>,
    config: Config,
    dir: Arc<TempDir>,
    stop: CancellationToken,
    cut: CancellationToken,
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Gateway {
    /// A gateway with these sources and a new file.
    pub(crate) async fn start(sources: &str) -> Self {
        Self::start_with("", sources, |_| {}).await
    }

    /// A gateway with these lines of `[server]`, and sources that `change` was let at.
    pub(crate) async fn start_with(
        server: &str,
        sources: &str,
        change: impl Fn(&mut Source),
    ) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        Self::start_in(dir, server, sources, change).await
    }

    /// A gateway on the file that an earlier one left in `dir`.
    pub(crate) async fn start_in(
        dir: Arc<TempDir>,
        server: &str,
        sources: &str,
        change: impl Fn(&mut Source),
    ) -> Self {
        let load = || {
            let path = dir.path().join("config.toml");
            let file = dir.path().join("events.redb");
            let text = format!(
                "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{server}\n\
                 [storage]\npath = \"{}\"\nreserve = 0\ncache = \"4MiB\"\n{sources}",
                file.display()
            );
            fs::write(&path, text).unwrap();
            let mut config = Config::load(Some(&path), &[].into()).expect("right settings");
            for source in &mut config.sources {
                change(Arc::get_mut(source).unwrap());
            }
            config
        };
        let bound = Bound::bind(load(), Some(metrics())).await.unwrap();
        let (public, admin) = (bound.public().unwrap(), bound.admin().unwrap());
        let (stop, cut) = (CancellationToken::new(), bound.cut());
        let running = tokio::spawn(bound.run(stop.clone().cancelled_owned()));
        let config = load();
        let sources = config.sources.clone();
        let running = Some(running);
        let gateway = Self { public, admin, sources, config, dir, stop, cut, running };
        gateway.until_ready("ready\n").await;
        gateway
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn until_ready(&self, word: &str) {
        while self.get("/readyz").await.body != word.as_bytes() {
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Asks it to stop; [`Gateway::finish`] waits for it.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Asks it to stop at once, as a second signal does.
    pub(crate) fn cut_short(&self) {
        self.cut.cancel();
    }

    /// Stops it and waits until it has. Fails if it left an attempt open in its file. The
    /// folder is for a next gateway.
    pub(crate) async fn finish(mut self) -> Arc<TempDir> {
        self.stop.cancel();
        let running = self.running.take().unwrap();
        running.await.expect("no panic").expect("a stop is no failure");
        let rules = self.config.sources.iter().map(|it| (it.name.clone(), it.as_ref().into()));
        let (rules, settings) = (rules.collect(), self.config.storage.clone());
        let opening = tokio::task::spawn_blocking(move || {
            let medium = Medium::File(settings.path.clone());
            RedbStore::open(medium, &settings, rules, Arc::new(Clock::start()))
        });
        let store = opening.await.unwrap().expect("the file is whole");
        assert_eq!(store.recovered(), 0, "attempts were left open");
        store.close().await;
        Arc::clone(&self.dir)
    }

    /// The settings of the source `name`.
    pub(crate) fn source(&self, name: &str) -> &Source {
        self.sources.iter().find(|source| source.name == name).expect("a source")
    }

    /// A request that is not signed.
    pub(crate) fn request(&self, source: &str, body: impl Into<Vec<u8>>) -> Request {
        Request::new(self.public, &self.source(source).path, body.into())
    }

    /// A request signed as the provider of `source` signs; `id` is used where it signs one.
    pub(crate) fn signed(&self, source: &str, id: &str, body: impl Into<Vec<u8>>) -> Request {
        let mut request = self.request(source, body);
        let mut delivery = Delivery {
            method: "POST".parse().unwrap(),
            query: None,
            headers: http::HeaderMap::new(),
            body: request.body.clone().into(),
        };
        self.source(source).verifier.sign(&mut delivery, id, clock::wall()).unwrap();
        for (name, value) in &delivery.headers {
            request = request.header(name.as_str(), value.to_str().unwrap());
        }
        request
    }

    /// A signed event of Stripe.
    pub(crate) fn stripe(&self, source: &str, id: &str) -> Request {
        let body = format!(r#"{{"id":"{id}","object":"event","type":"charge.succeeded"}}"#);
        self.signed(source, id, body)
    }

    /// What the admin listener answers.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").send().await
    }

    /// A request to the admin listener, as a command line makes it. A body is JSON.
    pub(crate) fn ask(&self, method: &'static str, path: &str, body: &str) -> Request {
        let mut request = Request::new(self.admin, path, body.as_bytes().to_vec());
        request.method = method;
        request = request.header("host", &self.admin.to_string());
        if body.is_empty() { request } else { request.header("content-type", "application/json") }
    }

    /// What the admin listener answers a POST, status and JSON.
    pub(crate) async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let answer = self.ask("POST", path, body).send().await;
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    /// What the admin listener answers a GET, status and JSON.
    pub(crate) async fn json(&self, path: &str) -> (u16, Value) {
        let answer = self.get(path).await;
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    /// The story of an event; `None` if there is no such event.
    pub(crate) async fn story(&self, source: &str, key: &str) -> Option<Value> {
        let key = key.replace('%', "%25");
        let answer = self.get(&format!("/api/v1/events/{source}/{key}")).await;
        match answer.status {
            404 => None,
            200 => Some(serde_json::from_slice(&answer.body).unwrap()),
            other => panic!("a story: {other}"),
        }
    }

    /// Waits until an event is in `state`, and tells its story.
    pub(crate) async fn until_state(&self, source: &str, key: &str, state: &str) -> Value {
        loop {
            if let Some(story) = self.story(source, key).await
                && story["state"] == state
            {
                return story;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The value of the series `name` whose labels are written as `labels`.
    pub(crate) async fn metric(&self, name: &str, labels: &str) -> Option<f64> {
        let series =
            if labels.is_empty() { format!("{name} ") } else { format!("{name}{{{labels}}} ") };
        let text = String::from_utf8(self.get("/metrics").await.body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&series))?;
        Some(line.parse().unwrap())
    }

    /// How many deliveries of `source` ended as `outcome`.
    pub(crate) async fn delivered(&self, source: &str, outcome: &str) -> Option<f64> {
        let labels = format!("source=\"{source}\",outcome=\"{outcome}\"");
        self.metric("oncegate_deliveries_total", &labels).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
        assert!(self.running.is_none() || std::thread::panicking(), "end it with `finish`");
    }
}

/// An address where nothing listens.
pub(crate) async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}
