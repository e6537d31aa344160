//! The table: what is sent, and what it is told. The event in each is signed and whole, so
//! one that passed would reach the application.

use super::with_line;
use crate::harness::Request;

/// One hostile request; its connection is closed after the answer.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// The status and the outcome.
    pub(super) told: &'static str,
    source_is_known: bool,
}

impl Case {
    /// Whether it is refused before it is known for which source it is.
    pub(super) fn at_the_door(&self) -> bool {
        !self.source_is_known && self.told.ends_with("invalid")
    }
}

const INVALID: &str = "400 invalid";
const LARGE: &str = "431 invalid";

/// The event's body in one chunk, with these lines behind it.
pub(super) fn chunked(event: &Request, trailers: &str) -> Vec<u8> {
    let head = event.head("transfer-encoding: chunked\r\n");
    let size = format!("{:x}\r\n", event.body.len());
    let end = format!("\r\n0\r\n{trailers}\r\n");
    [head, size.into_bytes(), event.body.clone(), end.into_bytes()].concat()
}

pub(super) fn cases(event: &Request) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, told| {
        cases.push(Case { name: name.to_owned(), bytes, told, source_is_known: false });
    };
    lengths(event, &mut add);
    hosts_and_targets(event, &mut add);
    lines(event, &mut add);
    protocols(event, &mut add);
    for case in &mut cases {
        case.source_is_known = false;
    }
    let mut add = |name: &str, bytes: Vec<u8>, told| {
        cases.push(Case { name: name.to_owned(), bytes, told, source_is_known: true });
    };
    nominations(event, &mut add);
    bodies(event, &mut add);
    cases
}

/// Where one side's body would be another's request.
fn lengths(event: &Request, add: &mut impl FnMut(&str, Vec<u8>, &'static str)) {
    let length = event.body.len();
    let lengths: &[(&str, String)] = &[
        ("length, then chunks", format!("content-length: {length}\r\ntransfer-encoding: chunked")),
        ("chunks, then length", format!("transfer-encoding: chunked\r\ncontent-length: {length}")),
        ("length 0 and chunks", "content-length: 0\r\ntransfer-encoding: chunked".into()),
        (
            "length and no chunks",
            format!("content-length: {length}\r\ntransfer-encoding: identity"),
        ),
        ("chunked twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked".into()),
        (
            "chunked, then identity",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity".into(),
        ),
        ("gzip, chunked", "transfer-encoding: gzip, chunked".into()),
        ("chunked, gzip", "transfer-encoding: chunked, gzip".into()),
        ("chunked, chunked", "transfer-encoding: chunked, chunked".into()),
        ("chunked with a parameter", "transfer-encoding: chunked;q=1".into()),
        ("identity", "transfer-encoding: identity".into()),
        ("xchunked", "transfer-encoding: xchunked".into()),
        ("quoted chunked", "transfer-encoding: \"chunked\"".into()),
        ("vertical tab before chunked", "transfer-encoding: \u{b}chunked".into()),
        ("no coding", "transfer-encoding:".into()),
        ("folded coding", "transfer-encoding:\r\n chunked".into()),
        ("space before the colon of a coding", "transfer-encoding : chunked".into()),
        ("a length twice", format!("content-length: {length}\r\ncontent-length: {length}")),
        ("two lengths", format!("content-length: {length}\r\ncontent-length: 0")),
        ("a list of lengths", format!("content-length: {length}, {length}")),
        ("a length with a plus", format!("content-length: +{length}")),
        ("a length with a minus", "content-length: -1".into()),
        ("a length of 2^64", "content-length: 18446744073709551616".into()),
        ("a length of 2^64 and some", format!("content-length: {}", (1_u128 << 64) + 57)),
        ("a hexadecimal length", "content-length: 0x39".into()),
        ("a length with an exponent", "content-length: 5e1".into()),
        ("a length with a space", "content-length: 5 7".into()),
        ("a length of twenty digits", format!("content-length: {length:020}")),
        ("no number as length", "content-length: ".into()),
        ("space before the colon of a length", format!("content-length : {length}")),
        ("tab before the colon of a length", format!("content-length\t: {length}")),
    ];
    for (name, lines) in lengths {
        add(name, [event.head(&format!("{lines}\r\n")), event.body.clone()].concat(), INVALID);
    }
    let smuggled =
        [event.head("content-length: 4\r\ntransfer-encoding: chunked\r\n"), b"0\r\n\r\n".into()];
    add("the classic", smuggled.concat(), INVALID);
    let old = String::from_utf8(chunked(event, "")).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    add("chunks in HTTP/1.0", old.into_bytes(), INVALID);
}

/// The event with its first line or its `Host` changed.
fn hosts_and_targets(event: &Request, add: &mut impl FnMut(&str, Vec<u8>, &'static str)) {
    let text = String::from_utf8(event.bytes()).unwrap();
    let host = "host: hooks.example\r\n";
    for (name, instead) in [
        ("no host", ""),
        ("two hosts", "host: hooks.example\r\nhost: hooks.example\r\n"),
        ("an empty host", "host:\r\n"),
        ("a list of hosts", "host: hooks.example, evil.example\r\n"),
        ("two words for a host", "host: hooks.example evil.example\r\n"),
        ("a host with a user", "host: user@hooks.example\r\n"),
        ("a host with a path", "host: hooks.example/hooks\r\n"),
        ("a host with a scheme", "host: http://hooks.example\r\n"),
        ("a host with an odd port", "host: hooks.example:80x\r\n"),
        ("an open bracket for a host", "host: [::1\r\n"),
        ("space before the colon of a host", "host : hooks.example\r\n"),
    ] {
        add(name, text.replace(host, instead).into_bytes(), INVALID);
    }
    let old = text.replace(host, "").replace("HTTP/1.1", "HTTP/1.0");
    add("no host in HTTP/1.0", old.into_bytes(), INVALID);
    let path = &event.target;
    for (name, target) in [
        ("absolute form", format!("http://hooks.example{path}")),
        ("absolute form of another host", format!("http://evil.example{path}")),
        ("authority form", "hooks.example:443".to_owned()),
        ("asterisk form", "*".to_owned()),
        ("a path without a slash", path.replacen('/', "", 1)),
        ("a fragment", format!("{path}#x")),
        ("a fragment in the query", format!("{path}?a#x")),
        ("an encoded slash", path.replacen("/hooks/", "/hooks%2f", 1)),
        ("an encoded slash, upper case", path.replacen("/hooks/", "/hooks%2F", 1)),
        ("an encoded backslash", path.replacen("/hooks/", "/hooks%5c", 1)),
        ("an encoded NUL", format!("{path}%00")),
        ("a backslash", path.replacen("/hooks/", "/hooks\\", 1)),
        ("a way up", format!("/x/..{path}")),
        ("an encoded way up", format!("/x/%2e%2E{path}")),
        ("a dot segment", format!("/.{path}")),
        ("two slashes", format!("/{path}")),
        ("a path parameter", format!("{path};a=b")),
        ("a NUL", format!("{path}\0")),
        ("a control character", format!("{path}\u{1}")),
        ("a delete character", format!("{path}\u{7f}")),
        ("a space in the target", format!("{path} x")),
        ("a space in the query", format!("{path}?a b")),
        ("a NUL in the query", format!("{path}?a=\0")),
        ("two spaces", format!(" {path}")),
        ("a tab for a space", format!("{path}\tx")),
    ] {
        add(name, text.replacen(path.as_str(), &target, 1).into_bytes(), INVALID);
    }
    let mut bytes = event.bytes();
    bytes.splice(5 + path.len()..5 + path.len(), *b"\xff");
    add("a target that is no text", bytes, INVALID);
}

/// Lines that begin, end or go on as they must not; and too many of them.
fn lines(event: &Request, add: &mut impl FnMut(&str, Vec<u8>, &'static str)) {
    for (name, line) in [
        ("a folded header", "x-a: b\r\n c"),
        ("a header folded with a tab", "x-a: b\r\n\tc"),
        ("a bare LF behind a header", "x-a: b\nx-c: d"),
        ("a bare CR in a header", "x-a: b\rx-c: d"),
        ("CR CR LF", "x-a: b\r"),
        ("space before a colon", "x-a : b"),
        ("an empty name", ": b"),
        ("no colon", "x-a"),
        ("a space in a name", "x a: b"),
        ("a NUL in a name", "x\0a: b"),
        ("a name that is no ASCII", "x-\u{e4}: b"),
        ("a NUL in a value", "x-a: b\0"),
        ("a control character in a value", "x-a: \u{1b}[31m"),
        ("a delete character in a value", "x-a: \u{7f}"),
    ] {
        add(name, with_line(event, line), INVALID);
    }
    let text = String::from_utf8(event.bytes()).unwrap();
    add("bare LF everywhere", text.replace("\r\n", "\n").into_bytes(), INVALID);
    add("bare LF at the end", text.replacen("\r\n\r\n", "\r\n\n", 1).into_bytes(), INVALID);
    add("bare LF behind the first line", text.replacen("\r\n", "\n", 1).into_bytes(), INVALID);
    add("a folded first header", text.replacen("\r\n", "\r\n ", 1).into_bytes(), INVALID);
    add("two empty lines before", format!("\r\n\r\n{text}").into_bytes(), INVALID);
    add("a bare LF before", format!("\n{text}").into_bytes(), INVALID);
    add("a space before", format!(" {text}").into_bytes(), INVALID);
    add("65 headers", with_line(event, &["x: y"; 63].join("\r\n")), LARGE);
    add("500 headers", with_line(event, &["x: y"; 500].join("\r\n")), LARGE);
    add("a header of 64 KiB", with_line(event, &format!("x: {}", "y".repeat(64 << 10))), LARGE);
    add("a header of 500 KB", with_line(event, &format!("x: {}", "y".repeat(500_000))), LARGE);
    let long = text.replacen(&event.target, &format!("/{}", "x".repeat(70_000)), 1);
    add("a target of 70 KB", long.into_bytes(), LARGE);
}

/// What is not HTTP/1.1, or wants not to be for long.
fn protocols(event: &Request, add: &mut impl FnMut(&str, Vec<u8>, &'static str)) {
    for (name, line, told) in [
        (
            "an upgrade to h2c",
            "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk",
            INVALID,
        ),
        ("an upgrade to a websocket", "connection: upgrade\r\nupgrade: websocket", INVALID),
        ("an upgrade that Connection does not name", "upgrade: h2c", INVALID),
        ("Connection names an upgrade", "connection: keep-alive, Upgrade", INVALID),
        ("an odd expectation", "expect: 200-ok", "417 invalid"),
        ("two expectations", "expect: 100-continue\r\nexpect: 100-continue", "417 invalid"),
    ] {
        add(name, with_line(event, line), told);
    }
    let text = String::from_utf8(event.bytes()).unwrap();
    for (name, version) in [
        ("HTTP/2.0", "HTTP/2.0"),
        ("HTTP/1.2", "HTTP/1.2"),
        ("HTTP/1.10", "HTTP/1.10"),
        ("lower-case http", "http/1.1"),
        ("another protocol", "RTSP/1.0"),
    ] {
        add(name, text.replacen("HTTP/1.1", version, 1).into_bytes(), INVALID);
    }
    add("HTTP/0.9", format!("POST {}\r\n", event.target).into_bytes(), INVALID);
    add("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), INVALID);
    add("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".into(), INVALID);
    add("TRACE", text.replacen("POST", "TRACE", 1).into_bytes(), "405 method");
    add("CONNECT", text.replacen("POST", "CONNECT", 1).into_bytes(), "405 method");
    let connect = b"CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example\r\n\r\n";
    add("CONNECT elsewhere", connect.into(), "405 method");
    add("a method that is no token", text.replacen("POST", "PO(ST", 1).into_bytes(), INVALID);
}

/// Headers that a proxy would remove for whoever asks.
fn nominations(event: &Request, add: &mut impl FnMut(&str, Vec<u8>, &'static str)) {
    for name in [
        "Stripe-Signature",
        "Host",
        "Content-Length",
        "content-type",
        "X-Forwarded-For",
        "Forwarded",
        "Idempotency-Key",
        "Oncegate-Source",
        "Transfer-Encoding",
    ] {
        let line = format!("connection: close, {name}");
        add(&format!("Connection names {name}"), with_line(event, &line), INVALID);
    }
}

/// Heads that are right, and bodies that are not.
fn bodies(event: &Request, add: &mut impl FnMut(&str, Vec<u8>, &'static str)) {
    let head = event.head("transfer-encoding: chunked\r\n");
    let size = event.body.len();
    for (name, before, after) in [
        ("a chunk size that is none", "zz\r\n".to_owned(), "\r\n0\r\n\r\n"),
        ("a chunk size with 0x", format!("0x{size:x}\r\n"), "\r\n0\r\n\r\n"),
        ("a chunk size with a sign", format!("+{size:x}\r\n"), "\r\n0\r\n\r\n"),
        ("a chunk size that overflows", format!("1{size:016x}\r\n"), "\r\n0\r\n\r\n"),
        ("no chunk size", "\r\n".to_owned(), "\r\n0\r\n\r\n"),
        ("no end of a chunk", format!("{size:x}\r\n"), "0\r\n\r\n"),
        ("a bare LF behind a chunk size", format!("{size:x}\n"), "\r\n0\r\n\r\n"),
        ("a bare LF behind a chunk", format!("{size:x}\r\n"), "\n0\r\n\r\n"),
        ("a bare CR in a chunk size", format!("{size:x}\r;\r\n"), "\r\n0\r\n\r\n"),
        ("a bare LF in a chunk extension", format!("{size:x};a\nb\r\n"), "\r\n0\r\n\r\n"),
        (
            "an endless chunk extension",
            format!("{size:x};{}\r\n", "x".repeat(32 << 10)),
            "\r\n0\r\n\r\n",
        ),
        ("a malformed trailer", format!("{size:x}\r\n"), "\r\n0\r\nx y: z\r\n\r\n"),
    ] {
        let body = [before.as_bytes(), &event.body, after.as_bytes()].concat();
        add(name, [head.clone(), body].concat(), INVALID);
    }
    let large = event.head("content-length: 65537\r\n");
    add("a length over the limit", large, "413 too_large");
    add("a length of 10 GiB", event.head("content-length: 10737418240\r\n"), "413 too_large");
    let chunks = format!("10001\r\n{}\r\n0\r\n\r\n", "x".repeat(65_537));
    add("chunks over the limit", [head, chunks.into_bytes()].concat(), "413 too_large");
}
