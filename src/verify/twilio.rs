//! What Twilio signs: the URL that it called, and after it every field of the form, by name,
//! without anything between them; of any other body the URL alone, which then has the body's
//! SHA-256 in its query. No template says that.
//!
//! Facts: `request_validator.py` of Twilio's Python library, and its tests.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use http::header::CONTENT_TYPE;

use super::Rejection;
use super::place::Request;
use super::template::Message;
use crate::key::form;

/// The field of the query that has the SHA-256 of a body which is no form.
pub(super) const BODY_HASH: &str = "bodySHA256";

/// The messages that Twilio may have signed: whether it signs a URL with its default port or
/// without differs between its services.
pub(super) fn messages<'a>(url: &str, request: Request<'a>) -> Result<Vec<Message<'a>>, Rejection> {
    let rest = match hash(request)? {
        Some(hash) if hash == sha256(request.body) => Vec::new(),
        Some(_) => return Err(Rejection::Wrong),
        None if request.body.is_empty() => Vec::new(),
        None if is_form(request) => sorted(request.body).ok_or(Rejection::Malformed)?,
        // A body that nothing covers.
        None => return Err(Rejection::Missing),
    };
    let message = |url: String| vec![Cow::Owned(url.into_bytes()), Cow::Owned(rest.clone())];
    Ok([Some(url.to_owned()), other_port(url)].into_iter().flatten().map(message).collect())
}

/// What `bodySHA256` has to say of this request, when it is signed.
pub(super) fn needs_hash(request: Request<'_>) -> Option<String> {
    (!request.body.is_empty() && !is_form(request)).then(|| sha256(request.body))
}

fn hash(request: Request<'_>) -> Result<Option<String>, Rejection> {
    super::place::Place::Query(BODY_HASH.to_owned())
        .find(request)
        .map(|hash| hash.map(Cow::into_owned))
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn is_form(request: Request<'_>) -> bool {
    let kind = request.delivery.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Names in order of their bytes, each with its values in order, the same value once.
fn sorted(body: &[u8]) -> Option<Vec<u8>> {
    let mut fields: BTreeMap<Cow<'_, [u8]>, BTreeSet<Cow<'_, [u8]>>> = BTreeMap::new();
    for (name, value) in form::fields(body)? {
        fields.entry(name).or_default().insert(value);
    }
    let pairs = fields.iter().flat_map(|(name, values)| values.iter().map(move |it| (name, it)));
    Some(pairs.flat_map(|(name, value)| name.iter().chain(value.iter())).copied().collect())
}

/// The URL with its scheme's default port, or without it if it has that.
fn other_port(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let port = if scheme == "https" { ":443" } else { ":80" };
    let (host, path) = rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len()))?;
    match host.strip_suffix(port) {
        Some(host) => Some(format!("{scheme}://{host}{path}")),
        None if host.rsplit(':').next().is_some_and(|end| end.parse::<u16>().is_ok()) => None,
        None => Some(format!("{scheme}://{host}{port}{path}")),
    }
}
