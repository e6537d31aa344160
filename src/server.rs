//! The wiring: open, recover, listen, drain.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::body::Body;
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Admin};
use crate::clock::Clock;
use crate::config::{Config, Source};
use crate::deliver::Trust;
use crate::gate::{Gate, Life};
use crate::ingress::Ingress;
use crate::reply::Reply;
use crate::store::{Medium, RedbStore, Store as _};
use crate::telemetry::{self, Outcome};
use crate::{queue, upkeep};

pub mod conn;

use conn::{Limits, Peer};

/// How long, after the drain, what was cut may take to be recorded.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// How long the last answers may take to leave.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// A gateway with both its listeners bound, not yet started.
#[derive(Debug)]
pub struct Bound {
    config: Config,
    public: TcpListener,
    admin: TcpListener,
    metrics: Option<PrometheusHandle>,
}

impl Bound {
    /// Binds both listeners. `metrics` is what `/metrics` renders.
    pub async fn bind(config: Config, metrics: Option<PrometheusHandle>) -> anyhow::Result<Self> {
        let (listen, admin) = (config.server.listen, config.server.admin);
        let bind = async |address: SocketAddr, setting: &str| {
            let told = || format!("{setting} = \"{address}\": cannot listen there");
            TcpListener::bind(address).await.with_context(told)
        };
        let public = bind(listen, "server.listen").await?;
        let admin = bind(admin, "server.admin").await?;
        Ok(Self { config, public, admin, metrics })
    }

    /// Where providers call.
    pub fn public(&self) -> std::io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Where the operator calls.
    pub fn admin(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Runs until `stop`, then drains. An error means that the store could not be opened, or
    /// failed: what waited was answered, and a restart finds everything acknowledged.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let admin = Arc::new(Admin {
            life: OnceLock::new(),
            metrics: self.metrics.clone(),
            token: self.config.server.admin_token.clone(),
        });
        // It answers from the first moment: a repair of the file may take its time.
        let admin_stop = CancellationToken::new();
        let service = TowerToHyperService::new(admin::router(Arc::clone(&admin)));
        let limits = Limits::from(&self.config.server);
        let serving = tokio::spawn(conn::serve(self.admin, limits, service, admin_stop.clone()));
        let ran = run(self.config, self.public, self.metrics, &admin.life, stop).await;
        admin_stop.cancel();
        end(serving, Instant::now() + Duration::from_secs(1)).await;
        ran
    }
}

async fn run(
    config: Config,
    public: TcpListener,
    metrics: Option<PrometheusHandle>,
    up: &OnceLock<Life>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let clock = Arc::new(Clock::start());
    let halt = CancellationToken::new();
    // Providers are answered from the first moment too: 503 until the file is open.
    let ingress = Arc::new(OnceLock::new());
    let limits = Limits::from(&config.server);
    let accepting = tokio::spawn(accept(public, limits, Arc::clone(&ingress), halt.clone()));
    let mut stop = pin!(stop);
    let store = tokio::select! {
        store = open(&config, &clock) => store?,
        () = &mut stop => {
            tracing::info!("stopped while the file was being opened");
            halt.cancel();
            return Ok(());
        },
    };
    let life = Life {
        store: Arc::clone(&store) as _,
        tasks: TaskTracker::new(),
        stop: halt,
        cut: CancellationToken::new(),
    };
    let gates = gates(&config, &store)?;
    let body_timeout = config.server.body_timeout;
    let receives = Ingress::new(&gates, life.clone(), Arc::clone(&clock), body_timeout);

    let names = gates.iter().map(|gate| gate.source.name.clone()).collect();
    let mut standing = vec![
        tokio::spawn(upkeep::tick(Arc::clone(&store), life.clone(), names, metrics)),
        tokio::spawn(upkeep::sweep(Arc::clone(&store), life.clone())),
    ];
    for gate in gates {
        standing.push(tokio::spawn(queue::run(gate, life.clone(), Arc::clone(&clock))));
    }
    // Both are set once, here.
    drop(ingress.set(Arc::new(receives)));
    drop(up.set(life.clone()));
    tracing::info!(listen = %config.server.listen, sources = config.sources.len(), "ready");

    let failed = tokio::select! {
        () = stop => None,
        why = life.store.failed() => Some(why),
    };
    drain(&life, config.server.drain, accepting, standing, failed.is_some()).await;
    store.close().await;
    match failed {
        None => Ok(()),
        Some(why) => Err(anyhow!("the store failed: {why}")),
    }
}

fn gates(config: &Config, store: &RedbStore) -> anyhow::Result<Vec<Arc<Gate>>> {
    let trust = Trust::default();
    let gate = |source: &Arc<Source>| {
        let told = || format!("sources.{}.target", source.name);
        Gate::new(Arc::clone(source), store.old_keys(&source.name), &trust)
            .map(Arc::new)
            .with_context(told)
    };
    config.sources.iter().map(gate).collect()
}

async fn open(config: &Config, clock: &Arc<Clock>) -> anyhow::Result<Arc<RedbStore>> {
    let sources: BTreeMap<_, _> =
        config.sources.iter().map(|it| (it.name.clone(), it.as_ref().into())).collect();
    let (settings, clock) = (config.storage.clone(), Arc::clone(clock));
    let opening = tokio::task::spawn_blocking(move || {
        RedbStore::open(Medium::File(settings.path.clone()), &settings, sources, clock)
    });
    let store = opening.await.context("opening the store")??;
    if store.recovered() > 0 {
        tracing::warn!(
            attempts = store.recovered(),
            "the last process ended while attempts ran: their outcomes are unknown"
        );
    }
    Ok(Arc::new(store))
}

async fn accept(
    listener: TcpListener,
    limits: Limits,
    ingress: Arc<OnceLock<Arc<Ingress>>>,
    stop: CancellationToken,
) {
    let service = service_fn(move |request: http::Request<Incoming>| {
        let ingress = ingress.get().cloned();
        let from = request.extensions().get::<Peer>().map(|peer| peer.addr.ip());
        async move {
            let answer: http::Response<Body> = match ingress {
                Some(ingress) => ingress.receive(from, request).await,
                None => starting(),
            };
            Ok::<_, Infallible>(answer)
        }
    });
    conn::serve(listener, limits, service, stop).await;
}

fn starting() -> http::Response<Body> {
    telemetry::lost(Outcome::Unavailable);
    Reply::refuse(Outcome::Unavailable, "the gateway is starting").into_response()
}

/// Begins nothing new, lets what is open end, and cuts what is still open at the deadline.
async fn drain(
    life: &Life,
    longest: Duration,
    accepting: JoinHandle<()>,
    standing: Vec<JoinHandle<()>>,
    failed: bool,
) {
    tracing::info!("draining");
    life.stop.cancel();
    let deadline = Instant::now() + if failed { Duration::ZERO } else { longest };
    for task in standing {
        end(task, deadline).await;
    }
    life.tasks.close();
    let drained = timeout_at(deadline, life.tasks.wait()).await.is_ok();
    life.cut.cancel();
    if !drained && timeout(LAST_WRITES, life.tasks.wait()).await.is_err() {
        tracing::error!("attempts that were cut could not be recorded: the next start does");
    }
    // The last answers leave with their connections; what still sends a body claimed nothing.
    end(accepting, Instant::now() + LAST_ANSWERS).await;
    tracing::info!(drained, "drained");
}

async fn end(mut task: JoinHandle<()>, deadline: Instant) {
    if timeout_at(deadline, &mut task).await.is_err() {
        task.abort();
    }
}
