//! The real binary as a child process, its settings, and a wait that has an end.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oncegate::config::{Config, Environment, Source};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use super::app::Client;

/// The longest a gateway may take to start, stop, or do anything else that is waited for.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// Waits until `done`, at most `limit`.
pub(super) async fn until<T>(
    what: &str,
    limit: Duration,
    mut done: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let end = Instant::now() + limit;
    loop {
        match done().await {
            Ok(value) => return value,
            Err(why) if Instant::now() > end => panic!("{what}: not in {limit:?}: {why}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// One source of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The preset, and the source's name.
    pub(super) provider: &'static str,
    pub(super) mode: &'static str,
    pub(super) on_unknown: &'static str,
}

/// The settings of a gateway, on disk, and where it is reached.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) dir: PathBuf,
    pub(super) config: PathBuf,
    pub(super) public: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) sources: Vec<Arc<Source>>,
}

impl Site {
    /// Writes settings to `dir`, with the store in `data`.
    pub(super) fn new(
        dir: &Path,
        data: &Path,
        app: SocketAddr,
        plans: &[Plan],
        reserve: &str,
    ) -> Self {
        let (public, admin) = (free_port(), free_port());
        let store = data.join("oncegate.redb");
        let mut text = format!(
            "[server]\nlisten = \"{public}\"\nadmin = \"{admin}\"\ndrain = \"10s\"\n\
             [storage]\npath = '{}'\ncache = \"16MiB\"\nreserve = \"{reserve}\"\n\
             [log]\nlevel = \"warn\"\nformat = \"text\"\n",
            store.display()
        );
        for Plan { provider, mode, on_unknown } in plans {
            write!(
                text,
                "[sources.{provider}]\nprovider = \"{provider}\"\nmode = \"{mode}\"\n\
                 secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n\
                 target = \"http://{app}/{provider}\"\n\
                 timeout = \"1s\"\nwait = \"900ms\"\nconcurrency = 32\non_unknown = \"{on_unknown}\"\n\
                 [sources.{provider}.retry]\nattempts = 1000\nfirst = \"20ms\"\nmax = \"200ms\"\n"
            )
            .unwrap();
        }
        let config = dir.join("config.toml");
        fs::write(&config, text).unwrap();
        let sources = match Config::load(Some(&config), &Environment::default()) {
            Ok(read) => read.sources,
            Err(errors) => panic!("{errors}"),
        };
        Self { dir: dir.to_owned(), config, public, admin, sources }
    }

    /// Writes other sources, for the next start.
    pub(super) fn set_sources(&mut self, sources: &str) {
        let text = fs::read_to_string(&self.config).unwrap();
        let general = text.split("[sources.").next().unwrap();
        fs::write(&self.config, format!("{general}{sources}")).unwrap();
        self.sources = match Config::load(Some(&self.config), &Environment::default()) {
            Ok(read) => read.sources,
            Err(errors) => panic!("{errors}"),
        };
    }

    /// Starts the binary; its output is added to `log`.
    pub(super) fn start(&self) -> Gateway {
        let log = OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let child = command(self, log).spawn().unwrap();
        Gateway { child, admin: self.admin }
    }

    /// Starts the binary as a service manager does that listens itself: the sockets are the
    /// file descriptors from 3 on, and the variables name the process that they are for.
    pub(super) fn start_handed(
        &self,
        public: &TcpListener,
        admin: Option<&UnixListener>,
    ) -> Gateway {
        let sockets = match admin {
            None => {
                "LISTEN_FDS=1 LISTEN_FDNAMES=oncegate.socket; exec \"$0\" \"$@\" 3<&0 0</dev/null"
            },
            Some(_) => {
                "LISTEN_FDS=2 LISTEN_FDNAMES=public:admin; \
                 exec \"$0\" \"$@\" 3<&0 4<&1 0</dev/null 1>&2"
            },
        };
        let log = OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("export LISTEN_PID=$$ {sockets}"));
        command.arg(env!("CARGO_BIN_EXE_oncegate")).arg("--config").arg(&self.config);
        command.env_clear().stdin(OwnedFd::from(public.try_clone().unwrap()));
        match admin {
            None => command.stdout(log.try_clone().unwrap()),
            Some(admin) => command.stdout(OwnedFd::from(admin.try_clone().unwrap())),
        };
        Gateway { child: command.stderr(log).spawn().unwrap(), admin: self.admin }
    }

    /// Starts the binary and waits until it is ready.
    pub(super) async fn start_ready(&self) -> Gateway {
        let mut gateway = self.start();
        self.wait_ready(&mut gateway).await;
        gateway
    }

    pub(super) async fn wait_ready(&self, gateway: &mut Gateway) {
        let mut client = Client::new(gateway.admin);
        until("ready", SOON, async || {
            if let Some(status) = gateway.child.try_wait().unwrap() {
                panic!("the gateway ended with {status}:\n{}", self.said());
            }
            client.get("/readyz").await
        })
        .await;
    }

    /// Everything the gateways of this site wrote.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("gateway.log")
    }

    /// What a GET on the private listener answers.
    pub(super) async fn get(&self, path: &str) -> Result<Bytes, String> {
        Client::new(self.admin).get(path).await
    }

    /// The sum of the series of `/metrics` that begin so.
    pub(super) async fn sum(&self, series: &str) -> Result<f64, String> {
        let text = self.get("/metrics").await?;
        let text = String::from_utf8_lossy(&text);
        let values = text.lines().filter(|line| line.starts_with(series));
        Ok(values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

fn command(site: &Site, log: File) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
    let both = log.try_clone().unwrap();
    command.arg("--config").arg(&site.config).stdin(Stdio::null()).stdout(both).stderr(log);
    // The site's settings alone count.
    command.env_clear();
    command
}

/// A child process, killed when dropped.
#[derive(Debug)]
pub(super) struct Gateway {
    child: Child,
    admin: SocketAddr,
}

impl Gateway {
    /// SIGKILL, and gone when this returns.
    pub(super) fn kill(mut self) {
        self.end();
    }

    /// SIGTERM.
    pub(super) fn terminate(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// How it ended, of its own accord.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the gateway's end", SOON, async || {
            child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        })
        .await
    }

    pub(super) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn end(&mut self) {
        // Already gone is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end();
    }
}

/// A free port that no outgoing connection can take while the gateway is down: below the
/// range of those.
pub(crate) fn free_port() -> SocketAddr {
    static TAKEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut taken = TAKEN.lock();
    loop {
        let port = fastrand::u16(12_000..32_000);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if !taken.contains(&port) && TcpListener::bind(addr).is_ok() {
            taken.push(port);
            return addr;
        }
    }
}
