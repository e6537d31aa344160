//! Where in a request a scheme finds what it needs, if that is in no header.

use std::borrow::Cow;

use http::HeaderName;

use super::headers::{name, read};
use super::spec::SpecError;
use super::{Delivery, Rejection};
use crate::key::json::{Scalar, find_any};
use crate::key::{Unkeyed, form, part};

/// One request, and the part of its body that is looked at: all of it, or one element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) delivery: &'a Delivery,
    pub(crate) body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The whole of `delivery`.
    pub(crate) fn whole(delivery: &'a Delivery) -> Self {
        Self { delivery, body: &delivery.body }
    }
}

/// A place in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A header, sent once.
    Header(HeaderName),
    /// The decoded steps of a JSON pointer.
    Json(Vec<String>),
    /// A field of a form.
    Form(String),
    /// A field of the query.
    Query(String),
}

impl Place {
    /// Reads `header:NAME`, `json:/pointer`, `form:NAME` or `query:NAME`, a value of the setting
    /// `field`.
    pub(crate) fn parse(field: &'static str, text: &str) -> Result<Self, SpecError> {
        let wrong = |why: &str| SpecError::new(field, format!("has \"{text}\", {why}"));
        match text.split_once(':') {
            Some(("header", header)) => name(field, header).map(Self::Header),
            Some(("json", at)) => {
                part::pointer(at).map(Self::Json).ok_or_else(|| wrong(part::NO_POINTER))
            },
            Some(("form", name)) if !name.is_empty() => Ok(Self::Form(name.to_owned())),
            Some(("query", name)) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            _ => Err(wrong("which is none of header:NAME, json:/pointer, form:NAME, query:NAME")),
        }
    }

    /// Whether it is in the body.
    pub(super) fn is_of_the_body(&self) -> bool {
        matches!(self, Self::Json(_) | Self::Form(_))
    }

    /// The text there: of a string what it says, of a number or boolean how it is written.
    /// Nothing where it is missing, empty or `null`.
    pub(crate) fn find<'a>(&self, request: Request<'a>) -> Result<Option<Cow<'a, str>>, Rejection> {
        Ok(self.kind(request)?.map(|(text, _is_a_number)| text))
    }

    /// The same, and whether it is a number or a boolean of JSON.
    pub(super) fn kind<'a>(
        &self,
        request: Request<'a>,
    ) -> Result<Option<(Cow<'a, str>, bool)>, Rejection> {
        let query = || request.delivery.query.as_deref().unwrap_or_default().as_bytes();
        let found = match self {
            Self::Header(name) => {
                let value = read(&request.delivery.headers, name)?;
                return Ok(value.map(|value| (Cow::Borrowed(value), false)));
            },
            Self::Json(path) => find_any(request.body, path).map(|scalar| match scalar {
                Some(Scalar::Text(text)) => (text, false),
                Some(Scalar::Token(token)) => (Cow::Borrowed(token), true),
                None => (Cow::Borrowed(""), false),
            }),
            Self::Form(name) => form::field(request.body, name).map(|it| (Cow::Owned(it), false)),
            Self::Query(name) => form::field(query(), name).map(|it| (Cow::Owned(it), false)),
        };
        match found {
            Ok(found) => Ok(Some(found).filter(|(text, _)| !text.is_empty())),
            Err(Unkeyed::Missing | Unkeyed::Empty | Unkeyed::NoBody) => Ok(None),
            Err(Unkeyed::Repeated) => Err(Rejection::Repeated),
            Err(
                Unkeyed::NotScalar
                | Unkeyed::NotArray
                | Unkeyed::Broken
                | Unkeyed::TooDeep
                | Unkeyed::TooMany,
            ) => Err(Rejection::Malformed),
        }
    }

    /// The same, which must be there.
    pub(super) fn read<'a>(&self, request: Request<'a>) -> Result<Cow<'a, str>, Rejection> {
        self.find(request)?.ok_or(Rejection::Missing)
    }
}
