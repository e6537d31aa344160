//! What a command needs that asks the running gateway: where its admin listener is, and its
//! file.
//!
//! An operator's shell has not got the secrets of the sources, which are the service's alone;
//! so only these few settings are read, and nothing else has to be right.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretSlice;

use super::problem::Findings;
use super::secret::Places;
use super::table::Table;
use super::{Config, Environment, Errors, Listen, Storage, layers, sections};

/// The settings that are read without a secret of any source.
#[derive(Clone, Debug)]
pub struct Outline {
    /// The file the settings came from.
    pub file: Option<PathBuf>,
    /// Where the operator calls.
    pub admin: Listen,
    /// The token of the admin listener.
    pub admin_token: Option<Arc<SecretSlice<u8>>>,
    /// The redb file.
    pub storage: Storage,
    /// The names of the sources.
    pub sources: Vec<String>,
}

impl Outline {
    /// Reads the settings where [`Config::open`] does.
    pub fn open(file: Option<&Path>) -> Result<Self, Errors> {
        let (file, env) = Config::places(file);
        Self::load(file.as_deref(), &env)
    }

    /// Reads the settings of `file` and of `env`.
    pub fn load(file: Option<&Path>, env: &Environment) -> Result<Self, Errors> {
        let mut findings = Findings::default();
        let root = layers::read(&mut findings, file, env).unwrap_or_default();
        let places = Places { env, folder: findings.folder() };
        let mut root = Table::new(String::new(), root, &findings);
        let server = sections::server(root.table("server"), places);
        let storage = sections::storage(root.table("storage"));
        let sources = root.table("sources").rest().into_keys().collect();
        let needed =
            |key: &str| key.is_empty() || key == "storage.path" || key.starts_with("server.admin");
        findings.keep(needed);
        findings.settle(Self {
            file: file.map(Path::to_owned),
            admin: server.admin,
            admin_token: server.admin_token,
            storage,
            sources,
        })
    }
}
