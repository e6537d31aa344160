//! What holds for any bytes, one module a target. Each is a plain function, so that the kept
//! corpus can be replayed where nothing can be instrumented.
//!
//! Inputs that stand for a request are written as one: a first line for the target, lines of
//! headers, an empty line, the body.

pub mod door;
pub mod headers;
pub mod key;
pub mod settings;
pub mod signature;
pub mod stored;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use oncegate::verify::Delivery;

/// The targets by name.
pub const TARGETS: [(&str, fn(&[u8])); 6] = [
    ("door", door::run),
    ("headers", headers::run),
    ("key", key::run),
    ("settings", settings::run),
    ("signature", signature::run),
    ("stored", stored::run),
];

/// The first line, and what follows as a request.
fn request(data: &[u8]) -> (&str, Delivery) {
    let (first, rest) = line(data);
    let (headers, body) = headers_of(rest);
    let first = std::str::from_utf8(first).unwrap_or("");
    let (first, query) = match first.split_once('?') {
        Some((first, query)) => (first, Some(query.to_owned())),
        None => (first, None),
    };
    let body = Bytes::copy_from_slice(body);
    (first, Delivery { method: Method::POST, query, headers, body })
}

/// Lines of headers up to an empty one, and what is behind it.
fn headers_of(mut data: &[u8]) -> (HeaderMap, &[u8]) {
    let mut headers = HeaderMap::new();
    while !data.is_empty() {
        let (header, rest) = line(data);
        data = rest;
        if header.is_empty() {
            break;
        }
        let Some(colon) = header.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&header[..colon], header[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    (headers, data)
}

fn line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}
