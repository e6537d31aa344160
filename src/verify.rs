//! Is this signature right? Pure: bytes and the time in, a verified delivery or a reason out.
//!
//! What differs between providers is data ([`Spec`]); what is dangerous is here, once:
//!
//! - the settings name the algorithm; nothing in a request can choose another;
//! - an unknown version of a signature is never a match, and never an excuse;
//! - what is signed is the raw body, and what was signed beside it (id, timestamp) is
//!   read from one set of headers, each sent exactly once;
//! - every candidate is compared with every secret's signature, in constant time, on
//!   decoded bytes of the full length;
//! - the work is bounded before the first hash: one HMAC a secret, however many
//!   signatures a request brings.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};
use secrecy::SecretSlice;

use crate::time::Millis;

mod headers;
mod secret;
mod sign;
mod spec;
mod template;
#[cfg(test)]
mod tests;
mod token;

use headers::{Family, Form};
pub use spec::{Encoding, Layout, Scheme, SecretFormat, Spec, SpecError, Stamp};
use template::{Stamped, Template};
use token::Token;

/// Most signatures one header may carry; a rotation brings two or three.
pub const MAX_CANDIDATES: usize = 16;

/// Longest value of a header that is part of a scheme, in bytes.
pub const MAX_HEADER: usize = 4096;

/// One request from a provider, as received.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The method.
    pub method: Method,
    /// The query, without the question mark.
    pub query: Option<String>,
    /// The headers, in the order received.
    pub headers: HeaderMap,
    /// The raw body.
    pub body: Bytes,
}

/// A delivery whose signature was checked. Only [`Verifier::check`] makes one of a
/// request, and only one of these can be claimed.
#[derive(Clone, Debug)]
pub struct Verified {
    delivery: Delivery,
    signed: Signed,
}

/// What a signature was found to say beside the body.
#[derive(Clone, Debug, Default)]
struct Signed {
    id: Option<String>,
    family: Option<String>,
}

impl Verified {
    /// The delivery that was verified.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The delivery that was verified.
    pub fn into_delivery(self) -> Delivery {
        self.delivery
    }

    /// The id that the signature covers, where the scheme signs one.
    pub fn signed_id(&self) -> Option<&str> {
        self.signed.id.as_deref()
    }

    /// The set of headers that was used, where the scheme has several.
    pub fn family(&self) -> Option<&str> {
        self.signed.family.as_deref()
    }
}

/// Why a delivery was rejected; a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// A header of the scheme, or the timestamp in it, is missing or empty.
    Missing,
    /// A header of the scheme, or the timestamp in it, was sent more than once.
    Repeated,
    /// A header of the scheme is over [`MAX_HEADER`] or has over [`MAX_CANDIDATES`] signatures.
    TooLarge,
    /// There are signatures, but none of the version that is checked here.
    Unsupported,
    /// A header of the scheme is not written as the scheme has it.
    Malformed,
    /// The timestamp is older than the tolerance.
    Stale,
    /// The timestamp is further ahead than the tolerance.
    Future,
    /// No signature fits any secret.
    Wrong,
}

impl Rejection {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Missing,
        Self::Repeated,
        Self::TooLarge,
        Self::Unsupported,
        Self::Malformed,
        Self::Stale,
        Self::Future,
        Self::Wrong,
    ];

    /// The word in metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Repeated => "repeated",
            Self::TooLarge => "too_large",
            Self::Unsupported => "unsupported",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::Future => "future",
            Self::Wrong => "wrong",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Checks the signatures of one source: a scheme and its secrets. Its `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Verifier(Kind);

/// What a scheme asks for.
#[derive(Clone, Debug)]
enum Kind {
    /// Nothing.
    Open,
    /// The secret itself.
    Token(Token),
    /// A signature.
    Hmac(Hmac),
}

/// A keyed hash over a template.
#[derive(Clone, Debug)]
struct Hmac {
    /// One a secret, newest first.
    keys: Vec<hmac::Key>,
    /// Sets of headers; the first that is there in full is used, whole.
    families: Vec<Family>,
    /// How the signature header is written.
    form: Form,
    /// What is signed.
    template: Template,
    /// How the timestamp is written,
    stamp: Stamp,
    /// and how far, in seconds and either way, it may be from now.
    tolerance: u64,
}

impl Verifier {
    /// A verifier for `spec`. `secrets` are as configured, still in the spec's secret format;
    /// the newest comes first. Refuses a spec that could not protect, and secrets that are
    /// missing, short or not in their format; the error never shows a secret.
    pub fn new(spec: &Spec, secrets: Vec<SecretSlice<u8>>) -> Result<Self, SpecError> {
        let kind = if spec.scheme == Scheme::Token {
            Kind::Token(Token::new(spec, secrets)?)
        } else if let Some(algorithm) = spec.scheme.hmac() {
            Kind::Hmac(Hmac::new(spec, algorithm, secrets)?)
        } else if secrets.is_empty() {
            Kind::Open
        } else {
            return Err(SpecError::new(
                "scheme",
                "is \"none\", so the secrets would protect nothing",
            ));
        };
        Ok(Self(kind))
    }

    /// Everything that is wrong with `spec`, whatever its secrets are.
    pub fn mistakes(spec: &Spec) -> Vec<SpecError> {
        let Some(algorithm) = spec.scheme.hmac() else {
            let of_token = (spec.scheme == Scheme::Token).then(|| Token::header(spec).err());
            return of_token.flatten().into_iter().collect();
        };
        let length = algorithm.digest_algorithm().output_len();
        let found = [
            Template::parse(spec).err(),
            Family::of(spec).err(),
            Form::of(spec, length).err(),
            spec.tolerance_seconds().err(),
            spec.stamp().err(),
        ];
        found.into_iter().flatten().collect()
    }

    /// Checks `delivery` as of `now`, the true wall-clock time.
    pub fn check(&self, mut delivery: Delivery, now: Millis) -> Result<Verified, Rejection> {
        let signed = match &self.0 {
            Kind::Open => Signed::default(),
            Kind::Token(token) => token.check(&mut delivery).map(|()| Signed::default())?,
            Kind::Hmac(hmac) => hmac.check(&delivery, now)?,
        };
        Ok(Verified { delivery, signed })
    }

    /// A delivery that was checked before it was stored. Its time is over, so it is not checked
    /// again: for what the store gives back, never for a request.
    pub fn recall(&self, stored: Delivery) -> Verified {
        let sent =
            self.hmac().and_then(|hmac| Family::choose(&hmac.families, &stored.headers).ok());
        let signed = sent.map_or_else(Signed::default, |sent| Signed {
            id: sent.id.map(str::to_owned),
            family: sent.family.map(str::to_owned),
        });
        Verified { delivery: stored, signed }
    }

    /// Signs `delivery` as this scheme's provider would, with every secret where the scheme
    /// has room for several signatures and with the newest where it has not. Replaces what
    /// the delivery had of the scheme's headers. `id` is written where the scheme signs one,
    /// percent-encoded where it would break it (`.`, spaces, anything but visible ASCII).
    /// Fails only if the template names a header that `delivery` has not got.
    pub fn sign(&self, delivery: &mut Delivery, id: &str, now: Millis) -> Result<(), Rejection> {
        match &self.0 {
            Kind::Open => Ok(()),
            Kind::Token(token) => token.sign(delivery),
            Kind::Hmac(hmac) => hmac.sign(delivery, id, now),
        }
    }

    /// The names of the headers that belong to the scheme: signature, timestamp, id, and what
    /// else is signed.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let token = match &self.0 {
            Kind::Token(token) => Some(&token.header),
            Kind::Open | Kind::Hmac(_) => None,
        };
        let families = self.hmac().into_iter().flat_map(|hmac| &hmac.families);
        let signed = self.hmac().into_iter().flat_map(|hmac| hmac.template.headers());
        token.into_iter().chain(families.flat_map(Family::names)).chain(signed)
    }

    /// The set of headers that [`Verifier::sign`] writes, where the scheme has several.
    pub fn family(&self) -> Option<&str> {
        let mut families = self.hmac().into_iter().flat_map(|hmac| &hmac.families);
        families.find_map(|family| family.star.as_deref())
    }

    /// Whether everything passes: the scheme is `none`.
    pub fn is_open(&self) -> bool {
        matches!(self.0, Kind::Open)
    }

    fn hmac(&self) -> Option<&Hmac> {
        match &self.0 {
            Kind::Hmac(hmac) => Some(hmac),
            Kind::Open | Kind::Token(_) => None,
        }
    }
}

impl Hmac {
    fn new(
        spec: &Spec,
        algorithm: hmac::Algorithm,
        secrets: Vec<SecretSlice<u8>>,
    ) -> Result<Self, SpecError> {
        let template = Template::parse(spec)?;
        Ok(Self {
            families: Family::of(spec)?,
            form: Form::of(spec, algorithm.digest_algorithm().output_len())?,
            stamp: spec.stamp()?,
            tolerance: spec.tolerance_seconds()?,
            keys: secret::keys(spec, algorithm, secrets)?,
            template,
        })
    }

    fn check(&self, delivery: &Delivery, now: Millis) -> Result<Signed, Rejection> {
        let sent = Family::choose(&self.families, &delivery.headers)?;
        let claimed = self.form.read(sent.signature)?;
        let timestamp = sent.timestamp.or(claimed.timestamp);
        if let Some(timestamp) = timestamp {
            self.in_time(timestamp, now)?;
        }
        let stamped = Stamped { timestamp, id: sent.id };
        let signed = self.template.fill(&stamped, delivery)?;
        let right = self
            .keys
            .iter()
            .map(|key| hash(key, &signed))
            .flat_map(|tag| claimed.candidates.iter().map(move |candidate| same(tag, candidate)))
            .fold(false, |any, same| any | same);
        if !right {
            return Err(Rejection::Wrong);
        }
        Ok(Signed { id: sent.id.map(str::to_owned), family: sent.family.map(str::to_owned) })
    }

    /// Both ways: a stamp from the future would stay replayable until its time has passed.
    fn in_time(&self, timestamp: &str, now: Millis) -> Result<(), Rejection> {
        let now = now.0 / 1000;
        let then = self.stamp.read(timestamp).ok_or(Rejection::Malformed)?;
        if now.saturating_sub(then) > self.tolerance {
            Err(Rejection::Stale)
        } else if then.saturating_sub(now) > self.tolerance {
            Err(Rejection::Future)
        } else {
            Ok(())
        }
    }
}

/// The signature of the pieces of a message, which are not copied together: one is the body.
fn hash(key: &hmac::Key, pieces: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for piece in pieces {
        context.update(piece);
    }
    context.sign()
}

/// Whether `candidate` is the whole of `tag`, in time that does not depend on where they differ.
fn same(tag: hmac::Tag, candidate: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(tag.as_ref(), candidate).is_ok()
}
