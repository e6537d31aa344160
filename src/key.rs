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
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::verify::{SpecError, Verified};

mod json;
mod part;
#[cfg(test)]
mod tests;

use part::Part;

/// The longest text a key has, in bytes; a longer one is hashed.
pub const MAX_TEXT: usize = 200;

/// Most parts a rule may have.
pub const MAX_PARTS: usize = 16;

/// `[sources.NAME.key]`: how a source's events are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// `header:NAME`, `json:/pointer`, `form:NAME`, `query:NAME`, or `signed:id`: the id that
    /// the signature covers, whichever of the scheme's header sets it came in.
    #[serde(default)]
    pub parts: Vec<String>,
    /// What applies when a part is missing or in doubt.
    #[serde(default)]
    pub fallback: Fallback,
}

/// What becomes of a delivery whose parts make no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Fallback {
    /// The key is the SHA-256 of the raw body.
    #[default]
    Body,
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
        let have = "body, reject, none and coalesce";
        match word.as_str() {
            "body" => Ok(Self::Body),
            "reject" => Ok(Self::Reject),
            "none" => Ok(Self::None),
            "coalesce" => Ok(Self::Coalesce),
            "canonical" => {
                Err(format!("fallback \"{word}\" is not in this version, which has {have}"))
            },
            _ => Err(format!("unknown fallback \"{word}\": there are {have}")),
        }
    }
}

impl From<Fallback> for &'static str {
    fn from(fallback: Fallback) -> Self {
        match fallback {
            Fallback::Body => "body",
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
}

pub use json::MAX_DEPTH;

impl Unkeyed {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Missing,
        Self::Repeated,
        Self::Empty,
        Self::NotScalar,
        Self::Broken,
        Self::TooDeep,
        Self::NoBody,
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
        if spec.parts.len() > MAX_PARTS {
            return Err(SpecError::new("parts", format!("has more than {MAX_PARTS} parts")));
        }
        if spec.parts.is_empty() && spec.fallback == Fallback::Reject {
            return Err(SpecError::new("parts", "is empty, so every delivery would be refused"));
        }
        let parts = spec.parts.iter().map(|text| Part::parse(text)).collect::<Result<_, _>>()?;
        Ok(Self { parts, fallback: spec.fallback })
    }

    /// The key of `delivery`. `once` draws the id of an event that is told apart from no other.
    pub fn derive(&self, delivery: &Verified, once: impl FnOnce() -> Uuid) -> Result<Key, Unkeyed> {
        let reason = if self.parts.is_empty() {
            None
        } else {
            match self.composed(delivery) {
                Ok(text) => return Ok(Key::from_full(text)),
                Err(reason) => Some(reason),
            }
        };
        match self.fallback {
            Fallback::None => Ok(Key::from_full(format!("=once.{}", once()))),
            Fallback::Reject => Err(reason.unwrap_or(Unkeyed::Missing)),
            Fallback::Body => of_body("body", delivery),
            Fallback::Coalesce => of_body("signal", delivery),
        }
    }

    /// Whether deliveries with equal bodies have equal keys, whatever their headers and query.
    pub fn reads_only_the_body(&self) -> bool {
        self.parts.iter().all(Part::is_of_the_body)
    }

    fn composed(&self, delivery: &Verified) -> Result<String, Unkeyed> {
        let mut text = String::new();
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            part.write(delivery, &mut text)?;
        }
        Ok(text)
    }
}

fn of_body(kind: &str, delivery: &Verified) -> Result<Key, Unkeyed> {
    match delivery.delivery().body.as_ref() {
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

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}
