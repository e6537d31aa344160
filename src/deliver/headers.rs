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

/// The names that `Connection` names, as they are written there. Bytes: one that is no name
/// must not hide those beside it.
pub fn nominated(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// Copies the headers that belong to the message and that `keeps` lets through, in order:
/// not the hop-by-hop ones, nor those that `Connection` names.
pub fn end_to_end(headers: &HeaderMap, keeps: impl Fn(&str) -> bool) -> HeaderMap {
    let nominated: Vec<&[u8]> = nominated(headers).collect();
    headers
        .iter()
        .filter(|(name, _)| {
            !HOP_BY_HOP.contains(name)
                && !nominated.iter().any(|it| it.eq_ignore_ascii_case(name.as_str().as_bytes()))
                && keeps(name.as_str())
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_name_beside_what_is_no_text_is_still_nominated() {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_bytes(b"X-Foo, \xff").unwrap());
        headers.insert("x-foo", HeaderValue::from_static("1"));
        headers.insert("x-bar", HeaderValue::from_static("2"));
        let kept: Vec<_> = end_to_end(&headers, |_| true).into_iter().collect();
        assert_eq!(kept.len(), 1, "{kept:?}");
    }
}
