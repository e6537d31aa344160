//! The wiring: open, recover, listen, drain.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::map_request;
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::SetOnce;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Admin, Caller, Up};
use crate::clock::Clock;
use crate::config::{Config, Listen, Source};
use crate::deliver::Trust;
use crate::gate::{Gate, Life};
use crate::ingress::{Ingress, Sender};
use crate::reply::Reply;
use crate::store::{Medium, RedbStore, Store as _};
use crate::telemetry::{self, Outcome};
use crate::{queue, service, upkeep};

pub mod conn;
mod drain;
mod handed;
mod listen;
mod tls;

use conn::{Limits, Peer, Side, Stop};
use drain::{LAST_ANSWERS, drain, end};
pub use handed::Handed;
pub use listen::Listener;
use tls::Secured;

/// How long a file that is being opened keeps a request waiting for its answer; after that it
/// is 503. The most impatient providers hang up after three seconds.
const START_PATIENCE: Duration = Duration::from_secs(2);

/// A gateway with both its listeners bound, not yet started.
#[derive(Debug)]
pub struct Bound {
    config: Config,
    public: Listener,
    admin: Listener,
    metrics: Option<PrometheusHandle>,
    cut: CancellationToken,
    /// What renews the certificate of `public`.
    secured: Option<Secured>,
}

impl Bound {
    /// Binds both listeners. `metrics` is what `/metrics` renders.
    pub async fn bind(config: Config, metrics: Option<PrometheusHandle>) -> anyhow::Result<Self> {
        Self::with(Handed::default(), config, metrics).await
    }

    /// Binds the listeners that were not handed over.
    pub async fn with(
        mut handed: Handed,
        config: Config,
        metrics: Option<PrometheusHandle>,
    ) -> anyhow::Result<Self> {
        let secured = config.server.tls.clone().map(Secured::new).transpose()?;
        let mut public = match handed.public(&config.server)? {
            Some(public) => public,
            None => Listener::bind(&Listen::Tcp(config.server.listen), "server.listen").await?,
        };
        if let Some(secured) = &secured {
            public = public.secured(secured.settings()?);
        }
        let admin = match handed.admin(&config.server)? {
            Some(admin) => admin,
            None => Listener::bind(&config.server.admin, "server.admin").await?,
        };
        Ok(Self { config, public, admin, metrics, cut: CancellationToken::new(), secured })
    }

    /// Cancelled during a drain, it ends that at once: open attempts become unknown.
    pub fn cut(&self) -> CancellationToken {
        self.cut.clone()
    }

    /// Where providers call.
    pub fn public(&self) -> std::io::Result<SocketAddr> {
        self.public.address()
    }

    /// Where the operator calls; an error if that is a unix socket.
    pub fn admin(&self) -> std::io::Result<SocketAddr> {
        self.admin.address()
    }

    /// Runs until `stop`, then drains. An error means that the store could not be opened, or
    /// failed: what waited was answered, and a restart finds everything acknowledged.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let (token, hosts) =
            (self.config.server.admin_token.clone(), self.config.server.admin_hosts.clone());
        let admin = Arc::new(Admin::new(self.metrics.clone(), token, hosts));
        // It answers from the first moment: a repair of the file may take its time.
        let admin_stop = CancellationToken::new();
        let service = admin::router(Arc::clone(&admin)).layer(map_request(name_caller));
        let service = TowerToHyperService::new(service);
        let limits = Limits { side: Side::Operator, ..Limits::from(&self.config.server) };
        let serving = tokio::spawn(conn::serve(self.admin, limits, service, admin_stop.clone()));
        let mut renewing = JoinSet::new();
        if let Some(secured) = self.secured {
            renewing.spawn(secured.renew());
        }
        let running = Running { admin: &admin, cut: self.cut, metrics: self.metrics };
        let ran = run(self.config, self.public, running, stop).await;
        renewing.abort_all();
        admin_stop.cancel();
        end(serving, Instant::now() + Duration::from_secs(1)).await;
        ran
    }
}

/// What a running gateway shares with the outside.
struct Running<'a> {
    /// Shows it once it is up.
    admin: &'a Admin,
    cut: CancellationToken,
    metrics: Option<PrometheusHandle>,
}

async fn run(
    config: Config,
    public: Listener,
    running: Running<'_>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let Running { admin, cut, metrics } = running;
    let clock = Arc::new(Clock::start());
    let halt = Stop { asked: CancellationToken::new(), shut: CancellationToken::new() };
    // Providers are answered from the first moment too.
    let ingress = Arc::new(SetOnce::new());
    let limits = Limits::from(&config.server);
    // Not the settings': the socket may have been handed over, or the port be any.
    let listen = public.address()?;
    let proxies = config.server.trusted_proxies.clone();
    let accepting =
        tokio::spawn(accept(public, limits, Arc::clone(&ingress), halt.clone(), proxies));
    let mut stop = pin!(stop);
    let store = tokio::select! {
        store = open(&config, &clock) => store?,
        () = &mut stop => {
            tracing::info!("stopped while the file was being opened");
            halt.asked.cancel();
            halt.shut.cancel();
            end(accepting, Instant::now() + LAST_ANSWERS).await;
            return Ok(());
        },
    };
    let life = Life {
        store: Arc::clone(&store) as _,
        tasks: TaskTracker::new(),
        stop: halt.asked,
        shut: halt.shut,
        cut,
    };
    let gates = gates(&config, &store)?;
    let body_timeout = config.server.body_timeout;
    let receives = Ingress::new(&gates, life.clone(), Arc::clone(&clock), body_timeout);

    let names = gates.iter().map(|gate| gate.source.name.clone()).collect();
    let mut standing = JoinSet::new();
    standing.spawn(upkeep::tick(Arc::clone(&store), life.clone(), names, metrics));
    standing.spawn(upkeep::sweep(Arc::clone(&store), life.clone()));
    let shown = gates.clone();
    for gate in gates {
        for _ in 0..queue::TAKERS {
            standing.spawn(queue::run(Arc::clone(&gate), life.clone(), Arc::clone(&clock)));
        }
    }
    // Set once, here.
    drop(ingress.set(Arc::new(receives)));
    admin.show(Up { life: life.clone(), gates: shown });
    service::ready();
    let watching = tokio::spawn(service::watch(Arc::clone(&life.store)));
    tracing::info!(%listen, sources = config.sources.len(), "ready");

    let failed = tokio::select! {
        () = stop => None,
        why = life.store.failed() => Some(why),
    };
    service::stopping(config.server.drain);
    drain(&life, config.server.drain, accepting, standing, failed.is_some()).await;
    store.close().await;
    watching.abort();
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
        let medium = Medium::File(settings.path.clone());
        RedbStore::open_telling(
            medium,
            &settings,
            sources,
            clock,
            &(Arc::new(service::opening) as _),
        )
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
    listener: Listener,
    limits: Limits,
    ingress: Arc<SetOnce<Arc<Ingress>>>,
    stop: Stop,
    proxies: Vec<IpNet>,
) {
    let starting = Arc::new(Starting { ingress, shut: stop.shut.clone() });
    let service = service_fn(move |request: http::Request<Incoming>| {
        let starting = Arc::clone(&starting);
        let peer = request.extensions().get::<Peer>();
        let address = peer.and_then(|peer| peer.addr).map(|address| address.ip());
        let tls = peer.is_some_and(|peer| peer.tls);
        let from = Sender::new(address, tls, request.headers(), &proxies);
        // Large, and moved more than once from here on.
        Box::pin(async move {
            let answer = match starting.ingress().await {
                Some(ingress) => ingress.receive(from, request).await,
                None => not_yet(),
            };
            Ok::<_, Infallible>(answer)
        })
    });
    conn::serve(listener, limits, service, stop).await;
}

/// Tells the private side who asks.
async fn name_caller(mut request: Request) -> Request {
    let addr = request.extensions().get::<Peer>().and_then(|peer| peer.addr);
    request.extensions_mut().insert(Caller { addr });
    request
}

/// The public side, which may have to be waited for at first.
struct Starting {
    ingress: Arc<SetOnce<Arc<Ingress>>>,
    shut: CancellationToken,
}

impl Starting {
    /// The public side once it is up, unless that takes too long.
    async fn ingress(&self) -> Option<Arc<Ingress>> {
        if let Some(ingress) = self.ingress.get() {
            return Some(Arc::clone(ingress));
        }
        tokio::select! {
            biased;
            ingress = self.ingress.wait() => Some(Arc::clone(ingress)),
            () = self.shut.cancelled() => None,
            () = sleep(START_PATIENCE) => None,
        }
    }
}

fn not_yet() -> http::Response<Body> {
    telemetry::lost(Outcome::Unavailable);
    Reply::refuse(Outcome::Unavailable, "the gateway is starting").into_response()
}
