//! The header filter, beside a plain reference.

use std::collections::BTreeSet;

use oncegate::deliver::end_to_end;

const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Lines of headers.
pub fn run(data: &[u8]) {
    let (headers, _) = crate::headers_of(data);
    let mut dropped: BTreeSet<String> = HOP_BY_HOP.map(str::to_owned).into();
    for value in headers.get_all("connection") {
        // What is no text is no name, but hides none of those beside it.
        let text = String::from_utf8_lossy(value.as_bytes());
        dropped.extend(text.split(',').map(|name| name.trim_ascii().to_ascii_lowercase()));
    }
    let keeps = |name: &str| !name.starts_with("oncegate-");
    let left = end_to_end(&headers, keeps);
    for (name, value) in &left {
        assert!(!dropped.contains(name.as_str()) && keeps(name.as_str()), "{name} passed");
        assert!(headers.get_all(name).iter().any(|sent| sent == value), "{name} was changed");
    }
    for name in headers.keys() {
        if keeps(name.as_str()) && !dropped.contains(name.as_str()) {
            let sent: Vec<_> = headers.get_all(name).iter().collect();
            let passed: Vec<_> = left.get_all(name).iter().collect();
            assert_eq!(sent, passed, "{name} was lost or reordered");
        }
    }
    assert_eq!(end_to_end(&left, keeps), left, "filtered twice is not filtered once");
}
