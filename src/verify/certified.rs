//! Signatures by a key in a certificate that the provider publishes, and that a request names:
//! AWS SNS and `PayPal`.
//!
//! Whoever asks names the certificate, so nothing is fetched that is not of the provider's own
//! host, at the place where its certificates are; the address is built anew from what was
//! checked. What stands behind the certificate is the TLS connection to that host: nothing is
//! asked of its chain or its dates, as in AWS's own libraries. Who can put a file there can sign.

use std::fmt;

use http::HeaderName;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use webpki::EndEntityCert;
use webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256;

use super::headers::{Candidate, read};
use super::place::Request;
use super::spec::Scheme;
use super::template::Message;
use super::{MAX_HEADER, Rejection, sns};

static ALGORITHM: HeaderName = HeaderName::from_static("paypal-auth-algo");
static CERTIFICATE: HeaderName = HeaderName::from_static("paypal-cert-url");
const PAYPAL: [&str; 4] =
    ["api.paypal.com", "api-m.paypal.com", "api.sandbox.paypal.com", "api-m.sandbox.paypal.com"];
/// Longest name of a certificate's file.
const MAX_NAME: usize = 128;

/// An https address of a provider's, built here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    host: String,
    target: String,
}

impl Address {
    pub(super) fn new(host: String, target: String) -> Self {
        Self { host, target }
    }

    /// Any address, of which nothing was checked.
    #[cfg(test)]
    pub(crate) fn of(host: &str, target: &str) -> Self {
        Self::new(host.to_owned(), target.to_owned())
    }

    /// The host, which has no port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path and the query.
    pub fn target(&self) -> &str {
        &self.target
    }
}

/// A certificate, of which only the key counts.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate(CertificateDer<'static>);

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate(..)")
    }
}

impl Certificate {
    /// The first certificate in `pem`: those that follow are of its authorities.
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem).ok()?;
        EndEntityCert::try_from(&der).ok()?;
        Some(Self(der))
    }

    /// Whether one of `candidates` is the signature of `message`.
    pub(super) fn fits(&self, message: &Message<'_>, candidates: &[Candidate<'_>]) -> bool {
        let Ok(certificate) = EndEntityCert::try_from(&self.0) else { return false };
        let (message, algorithm) = (message.concat(), RSA_PKCS1_2048_8192_SHA256);
        candidates.iter().any(|candidate| {
            certificate.verify_signature(algorithm, &message, &candidate.bytes).is_ok()
        })
    }
}

/// Who has the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Issuer {
    Sns,
    Paypal,
}

impl Issuer {
    pub(super) fn of(scheme: Scheme) -> Option<Self> {
        let issuers = [(Scheme::AwsSns, Self::Sns), (Scheme::Paypal, Self::Paypal)];
        issuers.into_iter().find(|(its, _)| *its == scheme).map(|(_, issuer)| issuer)
    }

    /// Refuses what is not meant for this source, or signed as is not taken here.
    pub(super) fn allows(self, names: &[String], request: Request<'_>) -> Result<(), Rejection> {
        match self {
            Self::Sns => sns::allows(names, request),
            Self::Paypal => {
                let algorithm = read(&request.delivery.headers, &ALGORITHM)?;
                match algorithm.ok_or(Rejection::Missing)? {
                    "SHA256withRSA" => Ok(()),
                    _ => Err(Rejection::Unsupported),
                }
            },
        }
    }

    /// Where the certificate is that the request names.
    pub(super) fn address(self, request: Request<'_>) -> Result<Address, Rejection> {
        let url = match self {
            Self::Sns => sns::certificate(request)?,
            Self::Paypal => {
                read(&request.delivery.headers, &CERTIFICATE)?.ok_or(Rejection::Missing)?.into()
            },
        };
        if url.len() > MAX_HEADER {
            return Err(Rejection::TooLarge);
        }
        self.rebuilt(&url).ok_or(Rejection::Foreign)
    }

    /// Without a port, a user, a query, a fragment or a way to write a letter otherwise: none of
    /// these is left by what the parts may be.
    fn rebuilt(self, url: &str) -> Option<Address> {
        let (host, path) = url.strip_prefix("https://")?.split_once('/')?;
        let (known, name) = match self {
            Self::Sns => (sns::is_host(host), path.strip_suffix(".pem")?),
            Self::Paypal => (PAYPAL.contains(&host), path.strip_prefix("v1/notifications/certs/")?),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let named = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain);
        (known && named).then(|| Address::new(host.to_owned(), format!("/{path}")))
    }

    /// The headers that are looked at beside those of the signature.
    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let headers = [&ALGORITHM, &CERTIFICATE];
        headers.into_iter().filter(|_| *self == Self::Paypal)
    }
}

/// A private key of tests in PEM, and the certificate of its public one, in PEM too.
#[cfg(test)]
pub(crate) fn made() -> (secrecy::SecretString, String) {
    use secrecy::ExposeSecret as _;

    let (_, pem) = super::Private::generate(Scheme::RsaSha256).unwrap();
    let key = rcgen::KeyPair::from_pem(pem.expose_secret()).unwrap();
    let params = rcgen::CertificateParams::new(["sns.amazonaws.com".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    (pem, certificate)
}
