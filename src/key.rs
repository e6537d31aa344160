//! Which event is this? Pure: a verified delivery in, a key or a reason out.
//!
//! Two mistakes are possible, and they are not alike. Two keys for one event is a duplicate:
//! what the application would have got without a gateway. One key for two events is a loss.
//! So whatever is doubtful about a part (missing, null, written twice, broken, empty) fails
//! the whole rule and the fallback applies; a value is never normalised; and no two
//! different lists of parts share a text.

use std::fmt;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use http::HeaderName;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::verify::{SpecError, Verified};

mod canonical;
mod elements;
pub(crate) mod form;
pub(crate) mod json;
pub(crate) mod part;
#[cfg(test)]
mod tests;

use part::Part;

/// The longest text a key has, in bytes; a longer one is hashed.
pub const MAX_TEXT: usize = 200;

/// Most parts a rule may have.
pub const MAX_PARTS: usize = 16;

/// Most pointers a rule may ignore: each is compared at every step of a body.
pub const MAX_IGNORED: usize = 32;

/// `[sources.NAME.key]`: how a source's events are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// `header:NAME`, `json:/pointer`, `form:NAME`, `query:NAME`, or `signed:id`: the id that
    /// the signature covers, whichever of the scheme's header sets it came in. `*` in the name
    /// of a header stands for the set that was verified.
    #[serde(default)]
    pub parts: Vec<String>,
    /// What applies when a part is missing or in doubt.
    #[serde(default)]
    pub fallback: Fallback,
    /// JSON pointers to what `fallback = "canonical"` leaves out of the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
}

/// What becomes of a delivery whose parts make no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Fallback {
    /// The key is the SHA-256 of the raw body.
    #[default]
    Body,
    /// The key is the SHA-256 of the body's canonical form (RFC 8785) without what is
    /// ignored; of a body without one, as for `body`.
    Canonical,
    /// The delivery is refused.
    Reject,
    /// Each delivery is an event of its own.
    None,
    /// Each run is an event: deliveries of equal bytes that wait for a run share it.
    Coalesce,
}

impl TryFrom<String> for Fallback {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "body" => Ok(Self::Body),
            "canonical" => Ok(Self::Canonical),
            "reject" => Ok(Self::Reject),
            "none" => Ok(Self::None),
            "coalesce" => Ok(Self::Coalesce),
            _ => Err(format!(
                "unknown fallback \"{word}\": there are body, canonical, reject, none and coalesce"
            )),
        }
    }
}

impl From<Fallback> for &'static str {
    fn from(fallback: Fallback) -> Self {
        match fallback {
            Fallback::Body => "body",
            Fallback::Canonical => "canonical",
            Fallback::Reject => "reject",
            Fallback::None => "none",
            Fallback::Coalesce => "coalesce",
        }
    }
}

/// A checked [`Spec`].
#[derive(Clone, Debug)]
pub struct Rule {
    parts: Vec<Part>,
    fallback: Fallback,
    ignore: Vec<Vec<String>>,
}

/// What of a delivery an event is.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// All of it.
    Whole,
    /// One element of a batch, as raw bytes: the body that parts and the fallback are read
    /// from. Headers and the query are the delivery's.
    Element(&'a [u8]),
    /// All of it, a batch, told apart by the keys of its elements, in order.
    Elements(&'a [&'a [u8]]),
    /// All of it, as no batch was found in it, and why: what parts are read from is not
    /// there, so the fallback tells it apart.
    NoBatch(Unkeyed),
}

/// The identity of an event within its source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The key's one text form: at most [`MAX_TEXT`] bytes of `A-Za-z0-9-._~%=,+`. The `+` is
    /// in the exponent of a number only.
    pub text: String,
    /// The full text, where `text` is `=long.<sha256>`.
    pub long: Option<String>,
}

/// Why a delivery has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unkeyed {
    /// A part is not there.
    Missing,
    /// A part is there more than once, or a JSON key on the way to it is.
    Repeated,
    /// A part is there and empty.
    Empty,
    /// A JSON part is null, an object or an array.
    NotScalar,
    /// The body is not JSON, to its end; or text in it is not UTF-8.
    Broken,
    /// The body is nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// There is no body to take the SHA-256 of.
    NoBody,
    /// There is no array where the elements of a batch are.
    NotArray,
    /// A batch has more than [`MAX_ELEMENTS`].
    TooMany,
}

pub use elements::{Batch, MAX_ELEMENTS, Pointer, Split, elements, steps};
pub use json::MAX_DEPTH;

impl Unkeyed {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Missing,
        Self::Repeated,
        Self::Empty,
        Self::NotScalar,
        Self::Broken,
        Self::TooDeep,
        Self::NoBody,
        Self::NotArray,
        Self::TooMany,
    ];

    /// The word in logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Repeated => "repeated",
            Self::Empty => "empty",
            Self::NotScalar => "not_scalar",
            Self::Broken => "broken",
            Self::TooDeep => "too_deep",
            Self::NoBody => "no_body",
            Self::NotArray => "not_array",
            Self::TooMany => "too_many",
        }
    }
}

impl fmt::Display for Unkeyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Rule {
    /// Checks `spec`.
    pub fn new(spec: &Spec) -> Result<Self, SpecError> {
        if let Some(mistake) = Self::mistakes(spec).into_iter().next() {
            return Err(mistake);
        }
        let parts = spec.parts.iter().map(|text| Part::parse(text)).collect::<Result<_, _>>()?;
        let ignore = spec.ignore.iter().map(|text| ignored(text)).collect::<Result<_, _>>()?;
        Ok(Self { parts, fallback: spec.fallback, ignore })
    }

    /// Everything that is wrong with `spec`.
    pub fn mistakes(spec: &Spec) -> Vec<SpecError> {
        let mut mistakes = Vec::new();
        let mut add = |field, problem: &str| mistakes.push(SpecError::new(field, problem));
        if spec.parts.len() > MAX_PARTS {
            add("parts", &format!("has more than {MAX_PARTS} parts"));
        }
        if spec.parts.is_empty() && spec.fallback == Fallback::Reject {
            add("parts", "is empty, so every delivery would be refused");
        }
        if !spec.ignore.is_empty() && spec.fallback != Fallback::Canonical {
            add("ignore", "goes with fallback = \"canonical\" only");
        }
        if spec.ignore.len() > MAX_IGNORED {
            add("ignore", &format!("has more than {MAX_IGNORED} pointers"));
        }
        mistakes.extend(spec.parts.iter().filter_map(|text| Part::parse(text).err()));
        mistakes.extend(spec.ignore.iter().filter_map(|text| ignored(text).err()));
        mistakes
    }

    /// The key of `delivery`. `once` draws the id of an event that is told apart from no other.
    pub fn derive(&self, delivery: &Verified, once: impl FnMut() -> Uuid) -> Result<Key, Unkeyed> {
        self.derive_of(delivery, Scope::Whole, once)
    }

    /// The key of an event that is so much of `delivery`.
    pub fn derive_of(
        &self,
        delivery: &Verified,
        scope: Scope<'_>,
        mut once: impl FnMut() -> Uuid,
    ) -> Result<Key, Unkeyed> {
        let body = &*delivery.delivery().body;
        match scope {
            Scope::Whole => self.of(delivery, body, &mut once),
            // One element without a key does not refuse the others.
            Scope::Element(element) if self.fallback == Fallback::Reject => {
                self.of(delivery, element, &mut once).or_else(|_unkeyed| of_body("body", element))
            },
            Scope::Element(element) => self.of(delivery, element, &mut once),
            Scope::Elements(elements) => self.joined(delivery, elements, &mut once),
            Scope::NoBatch(why) => self.fall_back(body, Some(why), &mut once),
        }
    }

    fn of(
        &self,
        delivery: &Verified,
        body: &[u8],
        once: &mut dyn FnMut() -> Uuid,
    ) -> Result<Key, Unkeyed> {
        let reason = if self.parts.is_empty() {
            None
        } else {
            match self.composed(delivery, body) {
                Ok(text) => return Ok(Key::from_full(text)),
                Err(reason) => Some(reason),
            }
        };
        self.fall_back(body, reason, once)
    }

    fn fall_back(
        &self,
        body: &[u8],
        reason: Option<Unkeyed>,
        once: &mut dyn FnMut() -> Uuid,
    ) -> Result<Key, Unkeyed> {
        match self.fallback {
            Fallback::None => Ok(Key::from_full(format!("=once.{}", once()))),
            Fallback::Reject => Err(reason.unwrap_or(Unkeyed::Missing)),
            Fallback::Body => of_body("body", body),
            Fallback::Coalesce => of_body("signal", body),
            Fallback::Canonical => match canonical::canonical(body, &self.ignore) {
                Ok(text) => Ok(Key::from_full(format!("=canonical.{}", sha256(text.as_bytes())))),
                // Equal bytes are the same event whatever is wrong with them.
                Err(_no_canonical_form) => of_body("body", body),
            },
        }
    }

    /// The keys of all elements make one. An element that is told apart from no other, or only
    /// for a while, makes the batch one that is.
    fn joined(
        &self,
        delivery: &Verified,
        elements: &[&[u8]],
        once: &mut dyn FnMut() -> Uuid,
    ) -> Result<Key, Unkeyed> {
        let mut text = String::new();
        let mut passes = false;
        for (at, element) in elements.iter().enumerate() {
            let key = self.of(delivery, element, once)?;
            if !key.identifies() {
                passes = true;
            }
            if at > 0 {
                text.push(',');
            }
            text.push_str(&key.text);
        }
        if passes {
            return self.fall_back(&delivery.delivery().body, None, once);
        }
        Ok(Key::from_full(text))
    }

    /// Whether deliveries with equal bodies have equal keys, whatever their headers and query.
    pub fn reads_only_the_body(&self) -> bool {
        self.parts.iter().all(Part::is_of_the_body)
    }

    /// What is wrong with the rule where a delivery has several events. Without a part that is
    /// of the element they would all be taken for one, and no element is a form.
    pub fn mistake_in_a_batch(&self) -> Option<&'static str> {
        if self.parts.iter().any(|part| matches!(part, Part::Form(_))) {
            return Some("has a form: part, but the elements of a batch are JSON");
        }
        let told_apart =
            self.parts.is_empty() || self.parts.iter().any(|part| matches!(part, Part::Json(_)));
        let alike = "has no json: part, so all elements of a batch would be one event";
        (!told_apart).then_some(alike)
    }

    /// The headers that the rule reads, in the `family` of a scheme that has several.
    pub fn headers(&self, family: Option<&str>) -> impl Iterator<Item = HeaderName> {
        self.parts.iter().filter_map(move |part| part.header(family))
    }

    fn composed(&self, delivery: &Verified, body: &[u8]) -> Result<String, Unkeyed> {
        let mut text = String::new();
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            part.write(delivery, body, &mut text)?;
        }
        Ok(text)
    }
}

fn of_body(kind: &str, body: &[u8]) -> Result<Key, Unkeyed> {
    match body {
        [] => Err(Unkeyed::NoBody),
        body => Ok(Key::from_full(format!("={kind}.{}", sha256(body)))),
    }
}

impl Key {
    /// Whether two deliveries with this key are one event, whenever they come: not so for
    /// `none` and `coalesce`.
    pub fn identifies(&self) -> bool {
        !self.text.starts_with("=once.") && !self.text.starts_with("=signal.")
    }

    fn from_full(full: String) -> Self {
        if full.len() <= MAX_TEXT {
            Self { text: full, long: None }
        } else {
            Self { text: format!("=long.{}", sha256(full.as_bytes())), long: Some(full) }
        }
    }
}

fn ignored(pointer: &str) -> Result<Vec<String>, SpecError> {
    part::pointer(pointer).ok_or_else(|| {
        let problem = format!("has \"{pointer}\", {}", part::NO_POINTER);
        SpecError::new("ignore", problem)
    })
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}
