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
//! - the work is bounded before the first hash: one HMAC a secret (two for Twilio,
//!   which has two messages), however many signatures a request brings; with public keys one check for each
//!   candidate, of which there are at most [`MAX_CANDIDATES`].

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};

use crate::key::{elements, part, steps};
use crate::time::Millis;

mod certified;
mod content;
mod fill;
mod headers;
mod jwt;
mod pair;
pub(crate) mod place;
mod secret;
mod sign;
mod signature;
mod sns;
mod spec;
mod template;
#[cfg(test)]
mod tests;
mod token;
mod twilio;

use certified::Issuer;
#[cfg(test)]
pub(crate) use certified::made;
pub use certified::{Address, Certificate};
use headers::{Family, Form};
use jwt::Jwt;
pub use pair::{NoKey, Private};
use place::Request;
pub use secret::Secret;
use signature::{Signature, in_time};
pub use sns::region_of;
pub use spec::{Encoding, Layout, Scheme, SecretFormat, Spec, SpecError, Stamp};
use template::Template;
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
    /// It is of a topic that is not ours, or names a certificate that is not the provider's.
    Foreign,
    /// No signature fits any secret.
    Wrong,
    /// What was signed is that of an event that was done under another key.
    Replayed,
}

impl Rejection {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Missing,
        Self::Repeated,
        Self::TooLarge,
        Self::Unsupported,
        Self::Malformed,
        Self::Stale,
        Self::Future,
        Self::Foreign,
        Self::Wrong,
        Self::Replayed,
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
            Self::Foreign => "foreign",
            Self::Wrong => "wrong",
            Self::Replayed => "replayed",
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
pub struct Verifier {
    kind: Kind,
    /// The steps to the array whose elements are checked each by itself.
    each: Option<Vec<String>>,
}

/// What a scheme asks for.
#[derive(Clone, Debug)]
enum Kind {
    /// Nothing.
    Open,
    /// The secret itself.
    Token(Token),
    /// A signed token that says the body's hash.
    Jwt(Box<Jwt>),
    /// A signature.
    Signature(Box<Signature>),
}

impl Verifier {
    /// A verifier for `spec`. `secrets` are as configured, still in the spec's secret format;
    /// the newest comes first. Refuses a spec that could not protect, and secrets that are
    /// missing, short or not in their format; the error never shows a secret.
    pub fn new<S: Into<Secret>>(spec: &Spec, secrets: Vec<S>) -> Result<Self, SpecError> {
        let secrets: Vec<Secret> = secrets.into_iter().map(Into::into).collect();
        let kind = if spec.scheme == Scheme::JwtEs256 {
            Kind::Jwt(Box::new(Jwt::new(spec, secrets)?))
        } else if spec.signs() {
            Kind::Signature(Box::new(Signature::new(spec, secrets)?))
        } else if !spec.is_open() {
            Kind::Token(Token::new(spec, secrets)?)
        } else if secrets.is_empty() {
            Kind::Open
        } else {
            let why = "is \"none\", so the secrets would protect nothing";
            return Err(SpecError::new("scheme", why));
        };
        Ok(Self { kind, each: each(spec)? })
    }

    /// The same for a source that providers call at `url`, which some of them sign.
    #[must_use]
    pub fn at(mut self, url: &str) -> Self {
        if let Kind::Signature(signature) = &mut self.kind {
            url.clone_into(&mut signature.ours.url);
        }
        self
    }

    /// The same for these topics, or this webhook, where the key is in a certificate. Without
    /// any, nothing passes.
    #[must_use]
    pub fn named(mut self, names: Vec<String>) -> Self {
        if let Kind::Signature(signature) = &mut self.kind {
            signature.ours.names = names;
        }
        self
    }

    /// The topics or the webhook of [`Verifier::named`].
    pub fn names(&self) -> &[String] {
        self.signature().map_or(&[], |signature| &signature.ours.names)
    }

    /// The same, able to sign although its secrets are public keys.
    #[must_use]
    pub fn holding(mut self, private: Private) -> Self {
        let private = Some(std::sync::Arc::new(private));
        match &mut self.kind {
            Kind::Signature(signature) => signature.private = private,
            Kind::Jwt(jwt) => jwt.private = private,
            Kind::Open | Kind::Token(_) => {},
        }
        self
    }

    /// Everything that is wrong with `spec`, whatever its secrets are.
    pub fn mistakes(spec: &Spec) -> Vec<SpecError> {
        if spec.is_open() {
            return Vec::new();
        }
        let each = each(spec).err();
        if spec.scheme == Scheme::JwtEs256 {
            return Jwt::header(spec).err().into_iter().collect();
        }
        if !spec.signs() {
            return Token::carrier(spec).err().into_iter().chain(each).collect();
        }
        let found = [
            Template::parse(spec).err(),
            Family::of(spec).err(),
            Form::of(spec, Signature::length(spec)).err(),
            Signature::places(spec).err(),
            spec.tolerance_seconds().err(),
            spec.stamp().err(),
            each,
        ];
        found.into_iter().flatten().collect()
    }

    /// Checks `delivery` as of `now`, the true wall-clock time.
    pub fn check(&self, delivery: Delivery, now: Millis) -> Result<Verified, Rejection> {
        self.check_by(delivery, now, None)
    }

    /// Where the certificate is that [`Verifier::check_by`] needs, where the scheme has one.
    /// Refuses what no certificate would let pass, so that nothing is fetched for it.
    pub fn certificate(
        &self,
        delivery: &Delivery,
        now: Millis,
    ) -> Result<Option<Address>, Rejection> {
        self.signature().map_or(Ok(None), |it| it.address(Request::whole(delivery), now))
    }

    /// Checks `delivery` with the key in `certificate`, which was fetched from where
    /// [`Verifier::certificate`] says.
    pub fn check_by(
        &self,
        mut delivery: Delivery,
        now: Millis,
        certificate: Option<&Certificate>,
    ) -> Result<Verified, Rejection> {
        let mut signed = Signed::default();
        for body in self.parts(&delivery)? {
            let request = Request { delivery: &delivery, body };
            match &self.kind {
                Kind::Open => {},
                Kind::Token(token) => token.check(request)?,
                Kind::Jwt(jwt) => jwt.check(&delivery, now)?,
                Kind::Signature(signature) => {
                    signed = signature.check(request, now, certificate)?;
                },
            }
        }
        if let Kind::Token(token) = &self.kind {
            token.hide(&mut delivery);
        }
        Ok(Verified { delivery, signed })
    }

    /// What is signed by itself: the body, or each element of an array in it.
    fn parts<'a>(&self, delivery: &'a Delivery) -> Result<Vec<&'a [u8]>, Rejection> {
        let Some(pointer) = &self.each else { return Ok(vec![delivery.body.as_ref()]) };
        let parts = elements(&delivery.body, pointer).map_err(|_no_array| Rejection::Malformed)?;
        // Of nothing, every element is signed.
        if parts.is_empty() { Err(Rejection::Missing) } else { Ok(parts) }
    }

    /// The call that confirms a subscription, if that is what the delivery asks for. Built here:
    /// of the request it has the token alone.
    pub fn confirmation(&self, verified: &Verified) -> Option<Address> {
        self.signature()?.issuer.filter(|issuer| *issuer == Issuer::Sns)?;
        sns::confirmation(self.names(), Request::whole(verified.delivery()))
    }

    /// A delivery that was checked before it was stored. Its time is over, so it is not checked
    /// again: for what the store gives back, never for a request.
    pub fn recall(&self, stored: Delivery) -> Verified {
        let sent = self
            .signature()
            .and_then(|signature| Family::choose(&signature.families, &stored.headers).ok());
        let signed = sent.map_or_else(Signed::default, |sent| Signed {
            id: sent.id.map(str::to_owned),
            family: sent.family.map(str::to_owned),
        });
        Verified { delivery: stored, signed }
    }

    /// Signs `delivery` as this scheme's provider would, with every secret where the scheme
    /// has room for several signatures and with the newest where it has not. Replaces what
    /// the delivery had of the scheme's headers, and writes what the scheme has in the body in
    /// place of `{timestamp}` and `{signature}` there. `id` is written where the scheme signs one,
    /// percent-encoded where it would break it (`.`, spaces, anything but visible ASCII).
    /// Fails if the template names something that `delivery` has not got, and with
    /// [`Rejection::Unsupported`] if only the provider's private key could sign.
    pub fn sign(&self, delivery: &mut Delivery, id: &str, now: Millis) -> Result<(), Rejection> {
        match &self.kind {
            Kind::Open => Ok(()),
            Kind::Token(token) => token.sign(delivery),
            Kind::Jwt(jwt) => jwt.sign(delivery, now),
            Kind::Signature(signature) => signature.sign(delivery, self.each.as_deref(), id, now),
        }
    }

    /// The names of the headers that belong to the scheme: signature, timestamp, id, and what
    /// else is signed.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let token = match &self.kind {
            Kind::Token(token) => token.header(),
            Kind::Jwt(jwt) => Some(&jwt.header),
            Kind::Open | Kind::Signature(_) => None,
        };
        let families = self.signature().into_iter().flat_map(|it| &it.families);
        let key_id = self.signature().and_then(|it| it.key_id.as_ref());
        let signed = self.signature().into_iter().flat_map(|it| it.template.headers());
        let issuer = self.signature().into_iter().flat_map(|it| &it.issuer);
        let signed = signed.chain(issuer.flat_map(Issuer::headers));
        token.into_iter().chain(families.flat_map(Family::names)).chain(signed).chain(key_id)
    }

    /// The set of headers that [`Verifier::sign`] writes, where the scheme has several.
    pub fn family(&self) -> Option<&str> {
        let mut families = self.signature().into_iter().flat_map(|it| &it.families);
        families.find_map(|family| family.star.as_deref())
    }

    /// Whether everything passes: the scheme is `none`.
    pub fn is_open(&self) -> bool {
        matches!(self.kind, Kind::Open)
    }

    /// The HMAC of `text` by the newest secret, written as signatures are: what some handshakes
    /// answer.
    pub fn mac(&self, text: &str) -> Option<String> {
        let signature = self.signature()?;
        let message = vec![Cow::Borrowed(text.as_bytes())];
        Some(signature.form.encode(&signature.keys.first()?.sign(&message)?))
    }

    /// What the provider calls the newest secret.
    pub fn newest_id(&self) -> Option<&str> {
        self.signature()?.keys.first()?.id.as_deref()
    }

    fn signature(&self) -> Option<&Signature> {
        match &self.kind {
            Kind::Signature(signature) => Some(signature),
            Kind::Open | Kind::Token(_) | Kind::Jwt(_) => None,
        }
    }
}

fn each(spec: &Spec) -> Result<Option<Vec<String>>, SpecError> {
    let wrong = |at: &str| SpecError::new("each", format!("has \"{at}\", {}", part::NO_POINTER));
    let at = spec.each.as_deref();
    at.map(|at| steps(at).ok_or_else(|| wrong(at))).transpose()
}
