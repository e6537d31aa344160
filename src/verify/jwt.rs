//! A token that is signed itself, and says the body's SHA-256: a JWS in compact form with ES256,
//! as Plaid sends. What it is signed with is pinned here; nothing in the token can choose another.
//!
//! Facts: <https://plaid.com/docs/api/webhooks/webhook-verification/>.

use aws_lc_rs::digest;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::headers::{Candidate, name, read};
use super::pair::Private;
use super::secret::{self, Key, Secret};
use super::spec::{Encoding, Layout, Spec, SpecError, Stamp};
use super::template::Message;
use super::{Delivery, Rejection, in_time};
use crate::time::Millis;

const ALGORITHM: &str = "ES256";

/// The header that has the token, and the keys that may have signed it.
#[derive(Clone, Debug)]
pub(super) struct Jwt {
    pub(super) header: HeaderName,
    keys: Vec<Key>,
    tolerance: u64,
    pub(super) private: Option<std::sync::Arc<Private>>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Head {
    alg: String,
    kid: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Claims {
    /// When it was signed, in Unix seconds.
    iat: u64,
    request_body_sha256: String,
}

impl Jwt {
    pub(super) fn new(spec: &Spec, secrets: Vec<Secret>) -> Result<Self, SpecError> {
        let header = Self::header(spec)?;
        if secrets.iter().any(|secret| secret.id.is_none()) {
            let why = "must each have the `id` that the provider's key has (kid)";
            return Err(SpecError::new("secrets", why));
        }
        let keys = secret::keys(spec, secrets)?;
        let tolerance = spec.tolerance.unwrap_or(Spec::TOLERANCE).as_secs().max(1);
        Ok(Self { header, keys, tolerance, private: None })
    }

    /// The header of `spec`, if that has nothing that only another signature has.
    pub(super) fn header(spec: &Spec) -> Result<HeaderName, SpecError> {
        let of_others = [
            ("signature", spec.signature.is_some()),
            ("timestamp", spec.timestamp.is_some()),
            ("timestamp_format", spec.timestamp_format != Stamp::default()),
            ("id", spec.id.is_some()),
            ("key_id", spec.key_id.is_some()),
            ("each", spec.each.is_some()),
            ("families", !spec.families.is_empty()),
            ("repeats", spec.repeats),
            ("layout", spec.layout != Layout::Plain),
            ("version", !spec.version.is_empty()),
            ("encoding", spec.encoding != Encoding::default()),
            ("prefix", !spec.prefix.is_empty()),
            ("signed", spec.signed != "{body}"),
            ("signed_min", spec.signed_min != 0),
        ];
        if let Some((field, _)) = of_others.into_iter().find(|(_, is_set)| *is_set) {
            return Err(SpecError::new(field, "is not needed: the token says all of that"));
        }
        name("header", &spec.header)
    }

    pub(super) fn check(&self, delivery: &Delivery, now: Millis) -> Result<(), Rejection> {
        let token = read(&delivery.headers, &self.header)?.ok_or(Rejection::Missing)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejection::Malformed)?;
        let (head, claims) = signed.split_once('.').ok_or(Rejection::Malformed)?;
        let head: Head = serde_json::from_slice(&decoded(head)?).map_err(malformed)?;
        if head.alg != ALGORITHM {
            return Err(Rejection::Unsupported);
        }
        let candidate = Candidate { key_id: Some(&head.kid), bytes: decoded(signature)? };
        let message: Message<'_> = vec![signed.as_bytes().into()];
        let candidates = [candidate];
        if !self.keys.iter().any(|key| key.fits(&message, &candidates)) {
            return Err(Rejection::Wrong);
        }
        let claims: Claims = serde_json::from_slice(&decoded(claims)?).map_err(malformed)?;
        in_time(claims.iat, self.tolerance, now)?;
        if claims.request_body_sha256 == sha256(delivery) { Ok(()) } else { Err(Rejection::Wrong) }
    }

    /// What the token of a request that passed says is the body and when it was signed.
    pub(super) fn message<'a>(&self, delivery: &'a Delivery) -> Option<&'a str> {
        let token = read(&delivery.headers, &self.header).ok()??;
        token.rsplit_once('.').map(|(signed, _)| signed)
    }

    pub(super) fn sign(&self, delivery: &mut Delivery, now: Millis) -> Result<(), Rejection> {
        let private = self.private.as_ref().ok_or(Rejection::Unsupported)?;
        let kid = self.keys.first().and_then(|key| key.id.clone()).ok_or(Rejection::Missing)?;
        let head = Head { alg: ALGORITHM.to_owned(), kid };
        let claims = Claims { iat: now.0 / 1000, request_body_sha256: sha256(delivery) };
        let signed = format!("{}.{}", encoded(&head)?, encoded(&claims)?);
        let signature = private.sign(signed.as_bytes()).ok_or(Rejection::Unsupported)?;
        let token = format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature));
        let token = HeaderValue::try_from(token).map_err(|_control| Rejection::Malformed)?;
        let _replaced = delivery.headers.insert(self.header.clone(), token);
        Ok(())
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, Rejection> {
    BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_not_base64| Rejection::Malformed)
}

fn malformed(_not_json: serde_json::Error) -> Rejection {
    Rejection::Malformed
}

fn encoded(part: &impl Serialize) -> Result<String, Rejection> {
    serde_json::to_vec(part).map(|json| BASE64URL_NOPAD.encode(&json)).map_err(malformed)
}

fn sha256(delivery: &Delivery) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, &delivery.body).as_ref())
}
