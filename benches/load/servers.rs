//! The two servers: the bare axum handler, which is also the application, and the gateway.
//! Each has a runtime of its own, as it would have in a process of its own.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use oncegate::config::{Config, Environment, Source};
use oncegate::server::Bound;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{CASES, Case, Reaches, baselines};

/// What every request is signed with.
pub(crate) const SECRET: &str = "whsec_made_up_for_the_benchmark";

/// A runtime with a thread a core.
pub(crate) fn runtime(name: &str) -> Runtime {
    Builder::new_multi_thread().thread_name(name).enable_all().build().expect("a runtime")
}

/// Reads the body and answers 200, at a path for each case; counts what it was sent.
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    counts: HashMap<&'static str, Arc<AtomicU64>>,
    _runtime: Runtime,
}

impl Application {
    pub(crate) fn start() -> Self {
        let runtime = runtime("application");
        let mut counts = HashMap::new();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("its address");
        let mut router = baselines::routes(address);
        for case in CASES.into_iter().filter(Case::is_counted) {
            let count = Arc::new(AtomicU64::new(0));
            counts.insert(case.name, Arc::clone(&count));
            let handler = move |body: Bytes| async move {
                count.fetch_add(u64::from(!body.is_empty()), Ordering::Relaxed);
                if case.reaches == Reaches::Never {
                    std::future::pending::<()>().await;
                }
                StatusCode::OK
            };
            router = router.route(&format!("/hooks/{}", case.name), post(handler));
        }
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            stream.set_nodelay(true).expect("an option of the socket");
        });
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, counts, _runtime: runtime }
    }

    pub(crate) fn count(&self, case: &str) -> u64 {
        self.counts.get(case).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// The gateway, one source a case, on a real disk.
pub(crate) struct Gateway {
    pub(crate) public: SocketAddr,
    sources: Vec<Arc<Source>>,
    folder: TempDir,
    stop: oneshot::Sender<()>,
    running: JoinHandle<anyhow::Result<()>>,
    runtime: Runtime,
}

impl Gateway {
    pub(crate) fn start(application: &Application, concurrency: Option<usize>) -> Self {
        // Not the system's folder for temporary files, which may be in memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let file = folder.path().join("config.toml");
        let text = settings(folder.path(), application.address, concurrency);
        std::fs::write(&file, text).expect("the settings");
        let config = Config::load(Some(&file), &Environment::new()).expect("right settings");
        oncegate::telemetry::install_logging(&config.log).expect("logging");
        let sources = config.sources.clone();
        let runtime = runtime("gateway");
        let bound = runtime.block_on(Bound::bind(config, None)).expect("ports");
        let (public, admin) = (bound.public().expect("one"), bound.admin().expect("another"));
        let (stop, stopped) = oneshot::channel::<()>();
        let running = runtime.spawn(bound.run(async { drop(stopped.await) }));
        runtime.block_on(ready(admin));
        Self { public, sources, folder, stop, running, runtime }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The source of `case`; the bare handler is sent what the first one is.
    pub(crate) fn source(&self, case: &str) -> &Arc<Source> {
        let found = self.sources.iter().find(|source| source.name == case);
        found.or(self.sources.first()).expect("a source")
    }

    pub(crate) fn stop(self) {
        drop(self.stop);
        self.runtime.block_on(self.running).expect("its task").expect("a clean end");
    }
}

/// Waits until the gateway takes events; until then it answers 503.
async fn ready(admin: SocketAddr) {
    loop {
        let mut stream = TcpStream::connect(admin).await.expect("the admin listener");
        let asked = b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n";
        stream.write_all(asked).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        if answer.starts_with("HTTP/1.1 200") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn settings(folder: &Path, application: SocketAddr, concurrency: Option<usize>) -> String {
    let store = folder.join("oncegate.redb");
    let mut text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
         [storage]\npath = '{}'\n[log]\nlevel = \"error\"\n",
        store.display()
    );
    for case in CASES.iter().filter(|case| case.outcome.is_some()) {
        let mode = if case.reaches == Reaches::Before { "proxy" } else { "queue" };
        let name = case.name;
        let concurrency = if case.reaches == Reaches::Never { Some(1) } else { concurrency };
        let more = concurrency.map_or_else(String::new, |it| format!("concurrency = {it}\n"));
        write!(
            text,
            "[sources.{name}]\nprovider = \"stripe\"\nmode = \"{mode}\"\n\
             secrets = [\"{SECRET}\"]\n\
             target = \"http://{application}/hooks/{name}\"\n{more}"
        )
        .expect("memory");
    }
    text
}
