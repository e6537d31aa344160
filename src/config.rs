//! File and environment in, a [`Config`] that cannot be invalid out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use secrecy::SecretSlice;

use crate::key::Rule;
use crate::preset::Acknowledgement;
use crate::record::Policy;
use crate::verify::Verifier;

/// Everything an operator set, checked.
#[derive(Debug)]
pub struct Config {
    /// The listeners.
    pub server: Server,
    /// The redb file.
    pub storage: Storage,
    /// Logging.
    pub log: Log,
    /// The sources, in order of their names.
    pub sources: Vec<Arc<Source>>,
}

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where providers call.
    pub listen: SocketAddr,
    /// Where the operator calls: loopback, or any address with a token.
    pub admin: SocketAddr,
    /// The token of the admin listener.
    pub admin_token: Option<Arc<SecretSlice<u8>>>,
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
    /// The preset's name, or `custom`.
    pub provider: String,
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
    /// What a copy is answered when there is no recorded answer.
    pub acknowledgement: Acknowledgement,
    /// Checks signatures.
    pub verifier: Verifier,
    /// Tells events apart.
    pub key: Rule,
    /// Signs attempts, if `sign_with` is set.
    pub signer: Option<Verifier>,
    /// What transitions depend on.
    pub policy: Policy,
}
