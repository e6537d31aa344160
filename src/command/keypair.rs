//! `oncegate keypair`: a pair of keys for trying out a provider that signs with a private key of
//! its own. The settings get the public one, `oncegate sign --key` the other.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use oncegate::preset;
use oncegate::verify::{Private, Scheme, Spec};
use secrecy::{ExposeSecret as _, SecretString};

use super::failure::Failure;
use super::out;

/// `oncegate keypair PROVIDER FILE`.
#[derive(Debug, Args)]
pub(crate) struct Keypair {
    /// A provider, or one of the schemes ed25519, ecdsa-p256-sha256 and rsa-sha256.
    provider: String,
    /// Where the private key goes, which must not be there yet.
    file: PathBuf,
}

impl Keypair {
    /// Does it.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let spec = self.spec()?;
        let (private, pem) = Private::generate(spec.scheme).map_err(Failure::new)?;
        let public = private.public(&spec).map_err(Failure::new)?;
        write(&self.file, &pem)?;
        out::line(public)?;
        out::note(&format!(
            "# the public key, for `secrets`; {} has the private one, for `oncegate sign --key`",
            self.file.display()
        ));
        Ok(())
    }

    fn spec(&self) -> Result<Spec, Failure> {
        let named = preset::find(&self.provider).map(|preset| preset.verify.clone());
        let scheme = || Scheme::try_from(self.provider.clone()).ok();
        let Some(spec) = named.or_else(|| scheme().map(|scheme| Spec::new(scheme, ""))) else {
            let known: Vec<&str> = preset::all().iter().map(|it| it.name.as_str()).collect();
            return Err(Failure::unknown("provider", &self.provider, &known));
        };
        if spec.scheme.is_asymmetric() {
            return Ok(spec);
        }
        if spec.scheme.is_certified() {
            let why = format!("{} signs with a key whose certificate is fetched", self.provider);
            return Err(Failure::usage(why).mend("no other key would be taken"));
        }
        let why =
            format!("{} has no key pair: its scheme is {}", self.provider, spec.scheme.word());
        Err(Failure::usage(why).mend("`oncegate sign` signs with the secret of the settings"))
    }
}

/// For nobody but its owner, and never over another file.
fn write(file: &Path, pem: &SecretString) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let open = options.write(true).create_new(true).mode(0o600).open(file);
    open.and_then(|mut open| open.write_all(pem.expose_secret().as_bytes()))
        .map_err(|why| Failure::new(format!("{} cannot be written: {why}", file.display())))
}

/// The private key in `file`.
pub(super) fn read(scheme: Scheme, file: &Path) -> Result<Private, Failure> {
    let text = fs::read_to_string(file).map(SecretString::from);
    let text =
        text.map_err(|why| Failure::new(format!("{} cannot be read: {why}", file.display())))?;
    Private::from_pem(scheme, text.expose_secret())
        .map_err(|why| Failure::usage(format!("{}: {why}", file.display())))
}
