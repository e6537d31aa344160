//! One part of a key: where it is, and its text.

use std::borrow::Cow;

use data_encoding::HEXUPPER;
use http::{HeaderMap, HeaderName};

use super::Unkeyed;
use super::form::field;
use super::json::{self, Scalar};
use crate::verify::{Delivery, SpecError, Verified};

/// What is wrong with text that is not an RFC 6901 pointer to something in a body.
pub(crate) const NO_POINTER: &str = "which is no JSON pointer (/a/0, with ~0 for ~ and ~1 for /)";

/// One part of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Header(HeaderName),
    /// A header of the set that was verified; `*` stands for the set.
    Starred(String),
    /// The decoded steps of an RFC 6901 pointer.
    Json(Vec<String>),
    Form(String),
    Query(String),
    SignedId,
}

impl Part {
    /// Reads `KIND:WHERE`.
    pub(super) fn parse(text: &str) -> Result<Self, SpecError> {
        let wrong = |problem: &str| SpecError::new("parts", format!("has \"{text}\", {problem}"));
        let kinds = "which is none of header:NAME, json:/pointer, form:NAME, query:NAME, signed:id";
        match text.split_once(':').ok_or_else(|| wrong(kinds))? {
            (_, "") => Err(wrong("which does not say where the part is")),
            ("header", name) if name.contains('_') => {
                Err(wrong("but headers with _ in their name are dropped: write -"))
            },
            ("header", name) => {
                let plain = HeaderName::try_from(name.replace('*', ""))
                    .map_err(|_invalid| wrong("which is no header's name"))?;
                Ok(if name.contains('*') {
                    Self::Starred(name.to_owned())
                } else {
                    Self::Header(plain)
                })
            },
            ("json", at) => pointer(at).map(Self::Json).ok_or_else(|| wrong(NO_POINTER)),
            ("form", name) => Ok(Self::Form(name.to_owned())),
            ("query", name) => Ok(Self::Query(name.to_owned())),
            ("signed", "id") => Ok(Self::SignedId),
            _ => Err(wrong(kinds)),
        }
    }

    /// Whether it is read from the body.
    pub(super) fn is_of_the_body(&self) -> bool {
        match self {
            Self::Json(_) | Self::Form(_) => true,
            Self::Header(_) | Self::Starred(_) | Self::Query(_) | Self::SignedId => false,
        }
    }

    /// Appends the part's text to `key`.
    pub(super) fn write(
        &self,
        verified: &Verified,
        body: &[u8],
        key: &mut String,
    ) -> Result<(), Unkeyed> {
        match self.read(verified, body)? {
            Scalar::Text(text) => write_text(&text, key),
            Scalar::Token(token) => {
                key.push('=');
                key.push_str(token);
                Ok(())
            },
        }
    }

    /// The part's value; one of the body is read from `body`.
    pub(super) fn read<'a>(
        &self,
        verified: &'a Verified,
        body: &'a [u8],
    ) -> Result<Scalar<'a>, Unkeyed> {
        let Delivery { query, headers, .. } = verified.delivery();
        let text = |text| Scalar::Text(Cow::Borrowed(text));
        match self {
            Self::Header(name) => header(headers, name).map(text),
            Self::Starred(_) => {
                let name = self.header(verified.family()).ok_or(Unkeyed::Missing)?;
                header(headers, &name).map(text)
            },
            Self::Form(name) => field(body, name).map(|text| Scalar::Text(Cow::Owned(text))),
            Self::Query(name) => field(query.as_deref().unwrap_or("").as_bytes(), name)
                .map(|text| Scalar::Text(Cow::Owned(text))),
            Self::SignedId => verified.signed_id().map(text).ok_or(Unkeyed::Missing),
            Self::Json(path) => json::find(body, path),
        }
    }

    /// The header that the part reads, of the `family` of headers.
    pub(super) fn header(&self, family: Option<&str>) -> Option<HeaderName> {
        match self {
            Self::Header(name) => Some(name.clone()),
            Self::Starred(name) => HeaderName::try_from(name.replace('*', family?)).ok(),
            Self::Json(_) | Self::Form(_) | Self::Query(_) | Self::SignedId => None,
        }
    }
}

/// The steps of an RFC 6901 pointer.
pub(crate) fn pointer(text: &str) -> Option<Vec<String>> {
    let steps = text.strip_prefix('/')?.split('/');
    steps
        .map(|step| {
            let escaped = step.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
            escaped.then(|| step.replace("~1", "/").replace("~0", "~"))
        })
        .collect()
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, Unkeyed> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Err(Unkeyed::Missing),
        (Some(_), Some(_)) => Err(Unkeyed::Repeated),
        (Some(value), None) => {
            std::str::from_utf8(value.as_bytes()).map_err(|_not_utf8| Unkeyed::Broken)
        },
    }
}

/// Percent-encodes `text` but for `A-Z a-z 0-9 - . _ ~`.
fn write_text(text: &str, key: &mut String) -> Result<(), Unkeyed> {
    if text.is_empty() {
        return Err(Unkeyed::Empty);
    }
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            key.push(char::from(byte));
        } else {
            key.push('%');
            HEXUPPER.encode_append(&[byte], key);
        }
    }
    Ok(())
}
