//! The gateway: the release binary with settings and a store of its own.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use oncegate::config::{Config, Environment};

use super::{Child, Memory, idle};
use crate::net::{self, SECRET};

/// The longest that a gateway may take to be ready, or to end.
const SOON: Duration = Duration::from_mins(10);
/// The pause between two looks at whether it is.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What the settings of a gateway say.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Settings of `[log]`.
    pub(crate) log: String,
    /// Sections, each made by [`source`].
    pub(crate) sources: String,
}

/// The settings of one source; `more` are lines of its own.
pub(crate) fn source(name: &str, mode: &str, target: &str, more: &str) -> String {
    format!(
        "[sources.{name}]\nprovider = \"stripe\"\nmode = \"{mode}\"\nsecrets = [\"{SECRET}\"]\n\
         target = \"{target}\"\n{more}"
    )
}

/// The settings of a gateway on disk, and where it is reached.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) config: PathBuf,
    /// The store's own folder.
    pub(crate) data: PathBuf,
    pub(crate) public: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
    folder: PathBuf,
}

impl Site {
    /// Writes settings to `folder`, for the store in `data`.
    pub(crate) fn new(folder: &Path, data: &Path, plan: &Plan) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        fs::create_dir_all(data)?;
        let (public, admin) = (free_port()?, free_port()?);
        let store = data.join("oncegate.redb");
        let mut text = String::new();
        // An attempt that hangs is cut at a stop, and no wait for it is measured.
        writeln!(
            text,
            "[server]\nlisten = \"{public}\"\nadmin = \"{admin}\"\ndrain = \"0s\"\n\
             [storage]\npath = '{}'\n[log]\n{}\n{}",
            store.display(),
            plan.log,
            plan.sources
        )?;
        let config = folder.join("config.toml");
        fs::write(&config, text)?;
        let (data, log) = (data.to_owned(), folder.join("gateway.log"));
        let site = Self { config, data, public, admin, log, folder: folder.to_owned() };
        site.settings()?;
        Ok(site)
    }

    /// The settings as the gateway reads them.
    pub(crate) fn settings(&self) -> anyhow::Result<Config> {
        Ok(Config::load(Some(&self.config), &Environment::new())?)
    }

    /// Removes settings and log, and the store if it is its own.
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        Ok(fs::remove_dir_all(self.folder)?)
    }

    /// Starts the gateway, and does not wait.
    pub(crate) fn start(&self) -> anyhow::Result<Gateway> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let program = Path::new(env!("CARGO_BIN_EXE_oncegate"));
        let begun = Instant::now();
        let arguments = ["--config".into(), self.config.clone().into()];
        let child = Child::start(program, &arguments, Some(log))?;
        let (public, admin) = (self.public, self.admin);
        Ok(Gateway { child, public, admin, log: self.log.clone(), begun })
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start_ready(&self) -> anyhow::Result<Gateway> {
        let mut gateway = self.start()?;
        gateway.ready().await?;
        // It reads all keys in the background, to know which are new.
        idle(gateway.id()).await;
        Ok(gateway)
    }
}

/// A gateway that runs.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    pub(crate) public: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
    begun: Instant,
}

impl Gateway {
    /// Waits until it is ready; how long that took from its start.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<Duration> {
        loop {
            if let Ok((200, _)) = net::get(self.admin, "/readyz").await {
                return Ok(self.begun.elapsed());
            }
            if let Some(status) = self.child.ended()? {
                let said = fs::read_to_string(&self.log).unwrap_or_default();
                let last: Vec<_> = said.lines().rev().take(5).collect();
                anyhow::bail!("the gateway ended with {status}: {}", last.join("; "));
            }
            anyhow::ensure!(self.begun.elapsed() < SOON, "it is not ready after {SOON:?}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn memory(&self) -> Memory {
        self.child.memory()
    }

    pub(crate) fn written(&self) -> u64 {
        self.child.written()
    }

    /// The sum of the series of `/metrics` that have all of `parts`.
    pub(crate) async fn sum(&self, parts: &[&str]) -> anyhow::Result<f64> {
        let (_, text) = net::get(self.admin, "/metrics").await.context("the metrics")?;
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let wanted = series.filter(|line| parts.iter().all(|part| line.contains(part)));
        Ok(wanted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// How many events of `source` stand in `state`, as of a second ago at most.
    pub(crate) async fn events(&self, source: &str, state: &str) -> anyhow::Result<f64> {
        let (source, state) = (format!("source=\"{source}\""), format!("state=\"{state}\""));
        self.sum(&["oncegate_events{", &source, &state]).await
    }

    /// SIGKILL, and gone when this returns.
    pub(crate) fn kill(self) {
        self.child.kill();
    }

    /// SIGTERM, and the file closed when this returns.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.child.terminate(SOON).await.context("the gateway's stop")
    }
}

/// A free port that no outgoing connection can take: below the range of those.
fn free_port() -> anyhow::Result<SocketAddr> {
    for _ in 0..1000 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(12_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("no port is free")
}
