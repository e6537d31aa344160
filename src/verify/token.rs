//! A header that has the secret itself. It covers nothing: whoever saw one request can make any
//! other. Only for providers that have nothing better.

use aws_lc_rs::constant_time;
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretSlice};

use super::headers::{name, read};
use super::spec::{Encoding, Layout, Spec, SpecError, Stamp};
use super::{Delivery, Rejection, secret};

/// The header, and what it may say.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) header: HeaderName,
    prefix: String,
    /// Newest first.
    secrets: Vec<SecretSlice<u8>>,
}

impl Token {
    pub(super) fn new(spec: &Spec, secrets: Vec<SecretSlice<u8>>) -> Result<Self, SpecError> {
        let header = Self::header(spec)?;
        let secrets = secret::decoded(spec, secrets)?;
        if secrets.iter().any(|secret| !secret.expose_secret().iter().all(u8::is_ascii_graphic)) {
            let why = "has a token that no header can carry: visible ASCII only, no spaces";
            return Err(SpecError::new("secrets", why));
        }
        Ok(Self { header, prefix: spec.prefix.clone(), secrets })
    }

    /// The header of `spec`, if that has nothing that only a signature has.
    pub(super) fn header(spec: &Spec) -> Result<HeaderName, SpecError> {
        let of_a_signature = [
            ("timestamp", spec.timestamp.is_some()),
            ("tolerance", spec.tolerance.is_some()),
            ("id", spec.id.is_some()),
            ("families", !spec.families.is_empty()),
            ("layout", spec.layout != Layout::Plain),
            ("version", !spec.version.is_empty()),
            ("encoding", spec.encoding != Encoding::default()),
            ("signed", spec.signed != "{body}"),
            ("timestamp_format", spec.timestamp_format != Stamp::default()),
        ];
        if let Some((field, _)) = of_a_signature.into_iter().find(|(_, is_set)| *is_set) {
            return Err(SpecError::new(field, "goes with a signature: a token has none"));
        }
        if spec.header.contains('*') {
            return Err(SpecError::new("header", "has a `*`, which a token's has not"));
        }
        if !spec.prefix.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(SpecError::new("prefix", "is text that no header can carry"));
        }
        name("header", &spec.header)
    }

    /// What is right is not shown by whoever prints the delivery.
    pub(super) fn check(&self, delivery: &mut Delivery) -> Result<(), Rejection> {
        let sent = read(&delivery.headers, &self.header)?.ok_or(Rejection::Missing)?;
        let sent = sent.strip_prefix(self.prefix.as_str()).ok_or(Rejection::Malformed)?;
        let same = |secret: &SecretSlice<u8>| {
            constant_time::verify_slices_are_equal(secret.expose_secret(), sent.as_bytes()).is_ok()
        };
        let right = self.secrets.iter().map(same).fold(false, |any, same| any | same);
        if !right {
            return Err(Rejection::Wrong);
        }
        if let Some(value) = delivery.headers.get_mut(&self.header) {
            value.set_sensitive(true);
        }
        Ok(())
    }

    /// Sends the newest.
    pub(super) fn sign(&self, delivery: &mut Delivery) -> Result<(), Rejection> {
        let secret = self.secrets.first().ok_or(Rejection::Missing)?;
        let text = [self.prefix.as_bytes(), secret.expose_secret()].concat();
        let mut value = HeaderValue::from_bytes(&text).map_err(|_control| Rejection::Malformed)?;
        value.set_sensitive(true);
        let _replaced = delivery.headers.insert(self.header.clone(), value);
        Ok(())
    }
}
