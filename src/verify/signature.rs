//! A signature, made with a shared secret or a private key: where it is, what it covers, and
//! whether it is right.

use std::borrow::Cow;
use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac};
use http::HeaderName;

use super::certified::{Address, Certificate, Issuer};
use super::headers::{Candidate, Family, Form, name, read};
use super::pair::Private;
use super::place::{Place, Request};
use super::secret::{self, Key, KeyKind, Secret};
use super::spec::{Scheme, Spec, SpecError, Stamp};
use super::template::{Message, Ours, Stamped, Template, in_body};
use super::{MAX_HEADER, Rejection, Signed};
use crate::time::Millis;

/// A signature over a template.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    /// One a secret, newest first.
    pub(super) keys: Vec<Key>,
    /// The header that says which key signed.
    pub(super) key_id: Option<HeaderName>,
    /// Sets of headers; the first that is there in full is used, whole.
    pub(super) families: Vec<Family>,
    /// Where the signature is, if it is in no header,
    pub(super) place: Option<Place>,
    /// and the timestamp.
    pub(super) timestamp: Option<Place>,
    /// How the signature is written.
    pub(super) form: Form,
    /// What is signed,
    pub(super) template: Template,
    /// and how many bytes of it at least.
    signed_min: usize,
    /// What is signed and not in the request.
    pub(super) ours: Ours,
    /// Who has the certificate of the key, if that is in one.
    pub(super) issuer: Option<Issuer>,
    /// How the timestamp is written,
    pub(super) stamp: Stamp,
    /// and how far, in seconds and either way, it may be from now.
    pub(super) tolerance: u64,
    /// The provider's part, for trying it out.
    pub(super) private: Option<Arc<Private>>,
}

impl Signature {
    pub(super) fn new(spec: &Spec, secrets: Vec<Secret>) -> Result<Self, SpecError> {
        let template = Template::parse(spec)?;
        let (place, timestamp, key_id) = Self::places(spec)?;
        Ok(Self {
            families: Family::of(spec)?,
            form: Form::of(spec, Self::length(spec))?,
            stamp: spec.stamp()?,
            tolerance: spec.tolerance_seconds()?,
            keys: secret::keys(spec, secrets)?,
            template,
            signed_min: spec.signed_min,
            place,
            timestamp,
            key_id,
            ours: Ours::default(),
            issuer: Issuer::of(spec.scheme),
            private: None,
        })
    }

    /// How long a signature is, where each is as long.
    pub(super) fn length(spec: &Spec) -> Option<usize> {
        match spec.scheme.hmac() {
            Some(algorithm) => Some(algorithm.digest_algorithm().output_len()),
            None => (spec.scheme == Scheme::Ed25519).then_some(64),
        }
    }

    /// Where the signature and the timestamp are, if in no header of a family, and which header
    /// names the key.
    #[expect(clippy::type_complexity, reason = "three settings of one kind, used at once")]
    pub(super) fn places(
        spec: &Spec,
    ) -> Result<(Option<Place>, Option<Place>, Option<HeaderName>), SpecError> {
        let place =
            spec.signature.as_deref().map(|at| Place::parse("signature", at)).transpose()?;
        if place.as_ref().is_some_and(|place| !place.is_of_the_body()) {
            let why = "must be json:/pointer or form:NAME; for a header, write `header`";
            return Err(SpecError::new("signature", why));
        }
        let timestamp = spec.timestamp.as_deref().filter(|at| in_body(at));
        let timestamp = timestamp.map(|at| Place::parse("timestamp", at)).transpose()?;
        let key_id = spec.key_id.as_deref().map(|at| {
            let why = || SpecError::new("key_id", "must be \"header:NAME\"");
            name("key_id", at.strip_prefix("header:").ok_or_else(why)?)
        });
        Ok((place, timestamp, key_id.transpose()?))
    }

    /// Where the certificate is that `request` is signed by, if it is by one: nothing is fetched
    /// for what cannot pass in any case.
    pub(super) fn address(
        &self,
        request: Request<'_>,
        now: Millis,
    ) -> Result<Option<Address>, Rejection> {
        let Some(issuer) = self.issuer else { return Ok(None) };
        issuer.allows(&self.ours.names, request)?;
        let sent = Family::choose(&self.families, &request.delivery.headers)?;
        self.place.as_ref().map(|place| place.read(request)).transpose()?;
        let stamp = self.timestamp.as_ref().map(|place| place.read(request)).transpose()?;
        if let Some(timestamp) = sent.timestamp.or(stamp.as_deref()) {
            self.stamped(timestamp, now)?;
        }
        issuer.address(request).map(Some)
    }

    pub(super) fn check(
        &self,
        request: Request<'_>,
        now: Millis,
        certificate: Option<&Certificate>,
    ) -> Result<Signed, Rejection> {
        if let Some(issuer) = self.issuer {
            issuer.allows(&self.ours.names, request)?;
        }
        let sent = Family::choose(&self.families, &request.delivery.headers)?;
        let field = self.place.as_ref().map(|place| place.read(request)).transpose()?;
        let claimed = match &field {
            Some(field) if field.len() > MAX_HEADER => return Err(Rejection::TooLarge),
            Some(field) => self.form.read(&[field.as_ref()])?,
            None => self.form.read(&sent.signatures)?,
        };
        let stamp = self.timestamp.as_ref().map(|place| place.read(request)).transpose()?;
        let timestamp = sent.timestamp.or(claimed.timestamp).or(stamp.as_deref());
        if let Some(timestamp) = timestamp {
            self.stamped(timestamp, now)?;
        }
        let key_id = match &self.key_id {
            Some(name) => Some(read(&request.delivery.headers, name)?.ok_or(Rejection::Missing)?),
            None => None,
        };
        let stamped = Stamped { timestamp, id: sent.id };
        let mut right = false;
        for message in self.template.fill(&stamped, &self.ours, request)? {
            if message.iter().map(|piece| piece.len()).sum::<usize>() < self.signed_min {
                return Err(Rejection::Malformed);
            }
            right |= certificate
                .filter(|_| self.issuer.is_some())
                .is_some_and(|certificate| certificate.fits(&message, &claimed.candidates));
            for key in self.keys.iter().filter(|key| key.is_called(key_id)) {
                right |= key.fits(&message, &claimed.candidates);
            }
        }
        if !right {
            return Err(Rejection::Wrong);
        }
        Ok(Signed { id: sent.id.map(str::to_owned), family: sent.family.map(str::to_owned) })
    }

    fn stamped(&self, timestamp: &str, now: Millis) -> Result<(), Rejection> {
        in_time(self.stamp.read(timestamp).ok_or(Rejection::Malformed)?, self.tolerance, now)
    }

    /// The first message of a request that was checked.
    pub(super) fn message<'a>(&'a self, request: Request<'a>) -> Option<Vec<Cow<'a, [u8]>>> {
        let sent = Family::choose(&self.families, &request.delivery.headers).ok()?;
        let field = self.place.as_ref().and_then(|place| place.find(request).ok()?);
        let signature = field.as_deref().or(sent.signatures.first().copied())?;
        let claimed = self.form.read(&[signature]).ok()?;
        let stamp = self.timestamp.as_ref().and_then(|place| place.find(request).ok()?);
        let timestamp = sent.timestamp.or(claimed.timestamp).or(stamp.as_deref());
        let stamped = Stamped { timestamp, id: sent.id };
        let messages = self.template.fill(&stamped, &self.ours, request).ok()?;
        let message = messages.into_iter().next()?;
        Some(message.into_iter().map(|piece| Cow::Owned(piece.into_owned())).collect())
    }
}

/// Whether `then` is at most so many seconds from `now`. Both ways: a stamp from the future would
/// stay replayable until its time has passed.
pub(super) fn in_time(then: u64, tolerance: u64, now: Millis) -> Result<(), Rejection> {
    let now = now.0 / 1000;
    if now.saturating_sub(then) > tolerance {
        Err(Rejection::Stale)
    } else if then.saturating_sub(now) > tolerance {
        Err(Rejection::Future)
    } else {
        Ok(())
    }
}

impl Key {
    /// Whether it may be the key that a request names.
    fn is_called(&self, id: Option<&str>) -> bool {
        match (&self.id, id) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        }
    }

    /// Whether one of `candidates` is the signature of `message`; each is looked at, in time that
    /// does not depend on where they differ.
    pub(super) fn fits(&self, message: &Message<'_>, candidates: &[Candidate<'_>]) -> bool {
        let ours = candidates.iter().filter(|candidate| self.is_called(candidate.key_id));
        match &self.kind {
            KeyKind::Hmac(key) => {
                let tag = hash(key, message);
                let same = |candidate: &Candidate<'_>| {
                    constant_time::verify_slices_are_equal(tag.as_ref(), &candidate.bytes).is_ok()
                };
                ours.map(same).fold(false, |any, same| any | same)
            },
            KeyKind::Public(key) => {
                let message = message.concat();
                ours.map(|candidate| key.verify_sig(&message, &candidate.bytes).is_ok())
                    .fold(false, |any, right| any | right)
            },
        }
    }

    /// The signature of `message`; nothing if the key is a public one.
    pub(super) fn sign(&self, message: &Message<'_>) -> Option<Vec<u8>> {
        match &self.kind {
            KeyKind::Hmac(key) => Some(hash(key, message).as_ref().to_vec()),
            KeyKind::Public(_) => None,
        }
    }
}

/// The signature of the pieces of a message, which are not copied together: one is the body.
fn hash(key: &hmac::Key, pieces: &Message<'_>) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for piece in pieces {
        context.update(piece);
    }
    context.sign()
}
