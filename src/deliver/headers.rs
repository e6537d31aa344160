//! Headers that belong to one connection and not to the message.

use http::header::{
    CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};

/// The hop-by-hop headers of RFC 9110 7.6.1, and those that clients still send.
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// The names that `Connection` names, as they are written there.
pub fn nominated(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Copies the headers that belong to the message and that `keeps` lets through, in order:
/// not the hop-by-hop ones, nor those that `Connection` names.
pub fn end_to_end(headers: &HeaderMap, keeps: impl Fn(&str) -> bool) -> HeaderMap {
    let nominated: Vec<&str> = nominated(headers).collect();
    headers
        .iter()
        .filter(|(name, _)| {
            !HOP_BY_HOP.contains(name)
                && !nominated.iter().any(|it| it.eq_ignore_ascii_case(name.as_str()))
                && keeps(name.as_str())
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
