//! The certificate of the public listener: two PEM files, read with the settings and again
//! whenever they change. What is wrong with them is told without a byte of the key.

use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore};
use secrecy::{ExposeSecret as _, SecretSlice};

use super::problem::wrong;
use super::secret::Places;
use super::table::Table;
use super::values::text;
use crate::clock;

/// No certificate with its chain, and no key, is as long as this.
const MAX: u64 = 1 << 20;

/// Read permission for everyone.
const OTHERS: u32 = 0o004;

/// `server.tls`: where the certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, then those that lead to an authority.
    pub cert: PathBuf,
    /// The private key of the first.
    pub key: PathBuf,
}

/// Why a certificate and its key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTls {
    /// The setting that is at fault: `cert` or `key`.
    part: &'static str,
    cause: String,
    mend: &'static str,
}

impl std::error::Error for BadTls {}

impl fmt::Display for BadTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        if self.mend.is_empty() { Ok(()) } else { write!(f, "; {}", self.mend) }
    }
}

impl Tls {
    /// The certificate as it is in the files now.
    pub fn load(&self) -> Result<CertifiedKey, BadTls> {
        let bad = |part, path: &Path, cause: &dyn fmt::Display, mend| BadTls {
            part,
            cause: format!("{} {cause}", path.display()),
            mend,
        };
        let not_pem = "it must be PEM: -----BEGIN CERTIFICATE-----";
        let bytes = read("cert", &self.cert)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .map_err(|_| bad("cert", &self.cert, &"is damaged", not_pem))?;
        if chain.is_empty() {
            return Err(bad("cert", &self.cert, &"holds no certificate", not_pem));
        }
        let bytes = SecretSlice::from(read("key", &self.key)?);
        let key = PrivateKeyDer::from_pem_slice(bytes.expose_secret()).map_err(|error| {
            // The error is not shown: it may quote a line of the file.
            let missing = matches!(error, PemError::NoItemsFound);
            let cause = if missing { "holds no private key" } else { "is damaged" };
            bad("key", &self.key, &cause, "it must be PEM and without a password")
        })?;
        let loaded = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        loaded.map_err(|error| {
            if let Error::InconsistentKeys(_) = error {
                let cause = format!("is not the key of {}", self.cert.display());
                bad("key", &self.key, &cause, "the certificate itself comes first in its file")
            } else if let Error::InvalidCertificate(_) = error {
                // Not the error's own text: of most causes it is the name of a type.
                let mend = "it must be whole, and X.509 version 3 with its names in subjectAltName";
                bad("cert", &self.cert, &"holds a certificate that cannot be used", mend)
            } else {
                let mend = "use RSA, ECDSA or Ed25519";
                bad("key", &self.key, &"holds a key of no usable kind", mend)
            }
        })
    }

    /// What works but is likely not meant.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mode = fs::metadata(&self.key).map_or(0, |found| found.permissions().mode());
        if mode & OTHERS != 0 {
            let path = self.key.display();
            warnings.push(format!(
                "server.tls.key: every user of this machine can read {path}; chmod o= {path}"
            ));
        }
        let loaded = self.load().ok();
        let first = loaded.as_ref().and_then(|loaded| loaded.cert.first());
        let now = Duration::from_millis(clock::wall().0);
        if let Some(why) = first.and_then(|cert| out_of_date(cert, UnixTime::since_unix_epoch(now)))
        {
            let path = self.cert.display();
            warnings.push(format!("server.tls.cert: the certificate in {path} {why}"));
        }
        warnings
    }
}

/// Reads `server.tls`; its paths start from the settings file's folder.
pub(super) fn section(table: &mut Table<'_>, places: Places<'_>) -> Option<Tls> {
    if !table.has("tls") {
        return table.take("tls").and(None);
    }
    let mut inner = table.table("tls");
    let mut path = |key| {
        let mend = "write { cert = \"PATH\", key = \"PATH\" }";
        inner.need(key, mend, |value| match text(value)? {
            "" => Err(wrong("is empty", mend)),
            path => Ok(places.folder.join(path)),
        })
    };
    let (cert, key) = (path("cert"), path("key"));
    let tls = cert.zip(key).map(|(cert, key)| Tls { cert, key });
    if let Some(Err(BadTls { part, cause, mend })) = tls.as_ref().map(Tls::load) {
        inner.add(part, wrong(cause, mend));
    }
    inner.finish();
    tls
}

fn read(part: &'static str, path: &Path) -> Result<Vec<u8>, BadTls> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| BadTls {
        part,
        cause: format!("{} cannot be read: {error}", path.display()),
        mend: "",
    })
}

/// Whether a certificate's time is over or has not come. What verifies peers knows it: it
/// looks at the time before all else, so an authority does not matter here.
fn out_of_date(cert: &CertificateDer<'static>, now: UnixTime) -> Option<&'static str> {
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).ok()?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let name = ServerName::try_from("localhost").ok()?;
    match verifier.build().ok()?.verify_server_cert(cert, &[], &name, &[], now) {
        Err(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => Some("has expired"),
        Err(Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => Some("is not valid yet"),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    struct Case {
        folder: tempfile::TempDir,
        tls: Tls,
        key: KeyPair,
    }

    /// A certificate for these years, and its key.
    fn valid(from: i32, to: i32) -> Case {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        fs::write(&tls.cert, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&tls.key, key.serialize_pem()).unwrap();
        fs::set_permissions(&tls.key, fs::Permissions::from_mode(0o600)).unwrap();
        Case { folder, tls, key }
    }

    impl Case {
        fn told(&self) -> (&'static str, String) {
            let bad = self.tls.load().unwrap_err();
            let told = bad.to_string().replace(&format!("{}/", self.folder.path().display()), "");
            assert!(!told.contains("-----BEGIN PRIVATE"), "{told}");
            (bad.part, told)
        }
    }

    /// A certificate of version 1: what `openssl x509 -req` makes without extensions.
    const OLD: &str = "-----BEGIN CERTIFICATE-----\n\
MIIBGDCBvwIUNXOcJu+rIopVTAXtkVNkyvxo8Y0wCgYIKoZIzj0EAwIwDjEMMAoG\n\
A1UEAwwDb2xkMCAXDTI2MTEyNDA5MDYyNloYDzIxMjYxMDMxMDkwNjI2WjAOMQww\n\
CgYDVQQDDANvbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASwAVUDuUOm25i6\n\
yMU3mHmpe0xEdjTggZA2mlcFmmnVHxU222OGzsVD5tmjDNXU/fRp3+rGbexb2X6E\n\
HKsLdx2UMAoGCCqGSM49BAMCA0gAMEUCIQDbq3VbSyZk6efw4UkrwO/tEgsvmc6s\n\
NBFg7hEWh9pfswIgO9JmUOIscXAA5UqYAMOlXQOVLJdL9eo73mDRCv5pXJ4=\n\
-----END CERTIFICATE-----\n";

    #[test]
    fn a_certificate_in_its_time_with_its_own_key_is_taken_without_a_word() {
        let case = valid(2020, 2120);
        assert_eq!(case.tls.load().unwrap().cert.len(), 1);
        assert_eq!(case.tls.warnings(), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_with_the_files_is_told_with_the_file_at_fault() {
        let case = valid(2020, 2120);
        let set = |path: &Path, text: &str| fs::write(path, text).unwrap();
        let key = case.key.serialize_pem();
        set(&case.tls.key, &KeyPair::generate().unwrap().serialize_pem());
        let (part, told) = case.told();
        assert_eq!(part, "key");
        assert!(told.starts_with("key.pem is not the key of"), "{told}");
        let not_a_key = "key.pem holds no private key; it must be PEM and without a password";
        for text in ["", "nonsense", &key.replace("PRIVATE", "ENCRYPTED PRIVATE")] {
            set(&case.tls.key, text);
            assert_eq!(case.told(), ("key", not_a_key.to_owned()));
        }
        set(&case.tls.key, &key.replace("-----END", "?-----END"));
        assert_eq!(case.told().0, "key");
        fs::remove_file(&case.tls.key).unwrap();
        assert!(case.told().1.starts_with("key.pem cannot be read: No such file"));
        set(&case.tls.key, &key);
        set(&case.tls.cert, "nonsense");
        let (part, told) = case.told();
        assert_eq!((part, told.contains("cert.pem holds no certificate")), ("cert", true));
        set(&case.tls.cert, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let unusable = "cert.pem holds a certificate that cannot be used; it must be whole, and \
            X.509 version 3 with its names in subjectAltName";
        assert_eq!(case.told(), ("cert", unusable.to_owned()));
        set(&case.tls.cert, OLD);
        assert_eq!(case.told(), ("cert", unusable.to_owned()));
        fs::remove_file(&case.tls.cert).unwrap();
        assert!(case.told().1.starts_with("cert.pem cannot be read: No such file"));
    }

    #[test]
    fn a_key_for_everyone_and_a_certificate_out_of_its_time_are_warned_of() {
        let open = valid(2020, 2120);
        fs::set_permissions(&open.tls.key, fs::Permissions::from_mode(0o644)).unwrap();
        let warnings = open.tls.warnings().join("");
        assert!(warnings.contains("every user of this machine can read"), "{warnings}");
        for (from, to, why) in [(2020, 2021, "has expired"), (2120, 2121, "is not valid yet")] {
            let warnings = valid(from, to).tls.warnings().join("");
            assert!(warnings.ends_with(why), "{warnings}");
        }
    }
}
