//! File and environment in, a [`Config`] that cannot be invalid out.
//!
//! The layers, later ones winning: built-in defaults (written beside the key they belong to),
//! the file, the environment. A variable `ONCEGATE_SECTION__KEY` reaches every setting:
//! `ONCEGATE_SERVER__LISTEN`, `ONCEGATE_SOURCES__MY_SHOP__TIMEOUT` (`_` in a source's name
//! stands for `-`). Its text is the value; a list is written `[400, 422]`; a secret is always
//! the text as it is; an empty variable counts as not set.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use figment::value::Dict;
use http::{HeaderValue, Uri};
use ipnet::IpNet;
use secrecy::SecretSlice;
use uuid::Uuid;

use crate::key::{Key, Rule, Scope, Split};
use crate::preset::{Acknowledgement, Handshake, ReplayGuard, Sample};
use crate::record::{Mode, Policy};
use crate::time::Millis;
use crate::verify::{Delivery, Rejection, Verified, Verifier};
use crate::{key, verify};

mod layers;
mod outline;
mod problem;
mod report;
mod secret;
mod sections;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod values;

pub use layers::Environment;
pub use outline::Outline;
pub use problem::{Errors, Origin, Problem};
pub use report::Report;
pub use table::nearest;
pub use tls::{BadTls, Tls};
pub use values::{write_duration, write_size};

use problem::Findings;
use secret::Places;
use table::Table;

/// Where settings are looked for when no file is named.
pub const FILES: [&str; 2] = ["config.toml", "/etc/oncegate/config.toml"];

/// Everything an operator set, checked.
#[derive(Debug)]
pub struct Config {
    /// The file the settings came from; `None`: defaults and the environment alone.
    pub file: Option<PathBuf>,
    /// The listeners.
    pub server: Server,
    /// The redb file.
    pub storage: Storage,
    /// Logging.
    pub log: Log,
    /// The sources, in order of their names.
    pub sources: Vec<Arc<Source>>,
}

impl Config {
    /// Reads the settings of `file`, or else of the first of [`FILES`] that is there, and of
    /// the process environment.
    pub fn open(file: Option<&Path>) -> Result<Self, Errors> {
        let (file, env) = Self::places(file);
        Self::load(file.as_deref(), &env)
    }

    /// The file to read and the process environment.
    fn places(file: Option<&Path>) -> (Option<PathBuf>, Environment) {
        let text = |word: std::ffi::OsString| word.into_string().ok();
        let env = std::env::vars_os();
        let env = env.filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
        let found = FILES.iter().map(Path::new).find(|path| path.exists());
        (file.or(found).map(Path::to_owned), env)
    }

    /// Reads the settings of `file`, which must be there if it is named, and of `env`.
    /// Relative `{ file = ".." }` secrets start from the file's folder.
    pub fn load(file: Option<&Path>, env: &Environment) -> Result<Self, Errors> {
        let mut findings = Findings::default();
        let root = layers::read(&mut findings, file, env).unwrap_or_default();
        Self::check(findings, root, env)
    }

    /// Reads settings from the text of a file that need not be there, and from `env`.
    pub fn parse(text: &str, env: &Environment) -> Result<Self, Errors> {
        let mut findings = Findings::default();
        let root = layers::read_text(&mut findings, text, env).unwrap_or_default();
        Self::check(findings, root, env)
    }

    fn check(findings: Findings, root: Dict, env: &Environment) -> Result<Self, Errors> {
        let places = Places { env, folder: findings.folder() };
        let mut root = Table::new(String::new(), root, &findings);
        let server = sections::server(root.table("server"), places);
        let storage = sections::storage(root.table("storage"));
        let log = sections::log(root.table("log"));
        let sources = source::all(root.table("sources"), places, &server);
        root.finish();
        let file = findings.file.clone();
        findings.settle(Self { file, server, storage, log, sources })
    }

    /// The settings in force and what to think about, as `check` prints them.
    pub fn report(&self) -> Report {
        Report::new(self)
    }
}

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where providers call.
    pub listen: SocketAddr,
    /// Where the operator calls: loopback, a unix socket, or any address with a token.
    pub admin: Listen,
    /// The token of the admin listener.
    pub admin_token: Option<Arc<SecretSlice<u8>>>,
    /// Names that the admin listener is called by, besides its addresses and `localhost`.
    pub admin_hosts: Vec<String>,
    /// How providers call us, without a slash at its end: some sign it.
    pub public_url: Option<String>,
    /// The certificate of the public listener; none: plain HTTP.
    pub tls: Option<Tls>,
    /// The proxies whose word on a client's address, scheme and host is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// From the first byte of a request (or the accept) to the end of its headers.
    pub header_timeout: Duration,
    /// From the end of the headers to the end of the body.
    pub body_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// Connections at once; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// How long open attempts may go on after a stop was asked for.
    pub drain: Duration,
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// At an address and port.
    Tcp(SocketAddr),
    /// At a unix socket, written `unix:/path`.
    Unix(PathBuf),
}

impl Listen {
    /// Whether nothing but this machine reaches it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[storage]`.
#[derive(Clone, Debug)]
pub struct Storage {
    /// The redb file; created if missing.
    pub path: PathBuf,
    /// redb's page cache, in bytes.
    pub cache: usize,
    /// New events are refused while the file system has less free than this, in bytes.
    pub reserve: u64,
    /// Two syncs a commit instead of one.
    pub two_phase: bool,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// A tracing filter: `info`, or `oncegate=debug,info`.
    pub level: String,
    /// How lines are written.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[sources.NAME]`: one configured provider endpoint.
#[derive(Debug)]
pub struct Source {
    /// `[a-z0-9-]{1,40}`: the source's identity.
    pub name: String,
    /// The names it had before, under which its older events were born.
    pub was: Vec<String>,
    /// The preset's name, or `custom`.
    pub provider: String,
    /// How many secrets are accepted; several while they are rotated.
    pub secrets: usize,
    /// The path providers call, matched exactly.
    pub path: String,
    /// The application's URL; the query is appended.
    pub target: Uri,
    /// One attempt, from connecting to the end of the answer.
    pub timeout: Duration,
    /// How long a concurrent copy waits for the leader's answer, in proxy mode.
    pub wait: Duration,
    /// Attempts at once, in both modes.
    pub concurrency: usize,
    /// The largest body, in bytes.
    pub max_body: usize,
    /// Statuses of the application that end an event for good.
    pub final_statuses: Vec<u16>,
    /// Whether the provider sends again what was not answered 2xx.
    pub provider_retries: bool,
    /// What becomes of signed content that comes under another key than before.
    pub replay_guard: ReplayGuard,
    /// What a copy is answered when there is no recorded answer.
    pub acknowledgement: Acknowledgement,
    /// What the provider asks of an endpoint itself.
    pub handshakes: &'static [Handshake],
    /// What a handshake must bring, where the provider is told a word of ours.
    pub verify_token: Option<SecretSlice<u8>>,
    /// A delivery like one of the provider's own.
    pub sample: &'static Sample,
    /// How the provider signs, as set.
    pub verify_spec: verify::Spec,
    /// Checks signatures.
    pub verifier: Verifier,
    /// How its events are told apart, as set.
    pub key_spec: key::Spec,
    /// Tells events apart.
    pub key: Rule,
    /// Where the events of a delivery are, if it has several.
    pub batch: Option<key::Batch>,
    /// Signs attempts, if `sign_with` is set.
    pub signer: Option<Verifier>,
    /// What transitions depend on.
    pub policy: Policy,
}

/// Why a delivery of a source's own cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Unsigned {
    /// The id cannot stand in a header.
    #[error("the id cannot be written in a header")]
    Id(#[from] http::Error),
    /// The secrets are public keys.
    #[error("the provider signs with a private key, of which the settings have the public one")]
    Key,
    /// The scheme signs something that the delivery has not got.
    #[error("the scheme signs something that is {0} here: a header, or a field of the body")]
    Lacks(Rejection),
}

impl From<Rejection> for Unsigned {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Unsupported => Self::Key,
            Rejection::Missing
            | Rejection::Repeated
            | Rejection::TooLarge
            | Rejection::Malformed
            | Rejection::Stale
            | Rejection::Future
            | Rejection::Foreign
            | Rejection::Wrong
            | Rejection::Replayed => Self::Lacks(rejection),
        }
    }
}

impl Source {
    /// Whether each element of a batch is an event of its own: only what nobody waits for.
    pub fn splits(&self) -> bool {
        self.batch.is_some() && self.policy.mode == Mode::Queue
    }

    /// The key of the one event that `delivery` makes; nothing if it makes none or several.
    pub fn only_key(&self, delivery: &Verified) -> Option<Key> {
        let body = &delivery.delivery().body;
        let split = self.batch.as_ref().map(|batch| batch.split(body)).transpose().ok()?;
        let scope = match &split {
            None => Scope::Whole,
            Some(Split::Nothing) => return None,
            Some(Split::Whole(why)) => Scope::NoBatch(*why),
            Some(Split::Elements(elements)) if !self.splits() => Scope::Elements(elements),
            Some(Split::Elements(elements)) => match elements.as_slice() {
                [element] => Scope::Element(element),
                _ => return None,
            },
        };
        self.key.derive_of(delivery, scope, Uuid::nil).ok()
    }

    /// Makes `delivery` one that the provider could have sent of the event `id`: gives it the
    /// headers that it lacks, those that the key is read from too, and signs it.
    pub fn sign(&self, delivery: &mut Delivery, id: &str, now: Millis) -> Result<(), Unsigned> {
        self.sign_by(&self.verifier, delivery, id, now)
    }

    /// The same, signed by `verifier`, which may hold a private key.
    pub fn sign_by(
        &self,
        verifier: &Verifier,
        delivery: &mut Delivery,
        id: &str,
        now: Millis,
    ) -> Result<(), Unsigned> {
        self.sample.complete(delivery, id)?;
        for name in self.key.headers(self.verifier.family()) {
            // The scheme's own are written below.
            if !delivery.headers.contains_key(&name) {
                let value = HeaderValue::try_from(id).map_err(http::Error::from)?;
                delivery.headers.insert(name, value);
            }
        }
        Ok(verifier.sign(delivery, id, now)?)
    }
}
