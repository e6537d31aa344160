//! Is this head one that every parser reads the same way?

use http::uri::PathAndQuery;
use httparse::{EMPTY_HEADER, Error, Header, Request, Status};

/// The most headers of one request; more is answered 431. Providers send up to 40.
pub const MAX_HEADERS: usize = 64;

/// The largest request head, in bytes; more is answered 431.
pub const MAX_HEAD: usize = 64 * 1024;

/// The longest number that is taken for a length: 18 digits are an exabyte.
const LENGTH_DIGITS: usize = 18;

/// Whose requests a listener takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Paths are those of the sources, and plain.
    Providers,
    /// Paths may have an event's key in them, percent-encoded.
    Operator,
}

/// A head that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How long it is.
    pub bytes: usize,
    /// What follows.
    pub body: Body,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes; none if the head says nothing of a body.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Why a head may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request line is not one.
    RequestLine,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// TRACE or CONNECT.
    Method,
    /// The target is not a path with perhaps a query.
    Target,
    /// The path means different things to different servers.
    Path,
    /// A line does not end in CR LF.
    LineEnd,
    /// A header's name is malformed, or a header goes on in the next line.
    HeaderName,
    /// A header's value has a control character.
    HeaderValue,
    /// More than [`MAX_HEADERS`].
    TooManyHeaders,
    /// More than [`MAX_HEAD`].
    TooLarge,
    /// Not exactly one `Host`, or a malformed one.
    Host,
    /// More than one `Content-Length`, or one that is not a number.
    ContentLength,
    /// A `Transfer-Encoding` other than one `chunked` in HTTP/1.1.
    TransferEncoding,
    /// Both `Content-Length` and `Transfer-Encoding`.
    TwoLengths,
    /// Another protocol is asked for.
    Upgrade,
    /// Something other than `100-continue` is expected.
    Expect,
}

impl Refusal {
    /// The word in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::RequestLine => "request_line",
            Self::Version => "version",
            Self::Method => "method",
            Self::Target => "target",
            Self::Path => "path",
            Self::LineEnd => "line_end",
            Self::HeaderName => "header_name",
            Self::HeaderValue => "header_value",
            Self::TooManyHeaders => "too_many_headers",
            Self::TooLarge => "head_too_large",
            Self::Host => "host",
            Self::ContentLength => "content_length",
            Self::TransferEncoding => "transfer_encoding",
            Self::TwoLengths => "two_lengths",
            Self::Upgrade => "upgrade",
            Self::Expect => "expect",
        }
    }

    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::RequestLine
            | Self::Version
            | Self::Target
            | Self::Path
            | Self::LineEnd
            | Self::HeaderName
            | Self::HeaderValue
            | Self::Host
            | Self::ContentLength
            | Self::TransferEncoding
            | Self::TwoLengths
            | Self::Upgrade => 400,
            Self::Method => 405,
            Self::Expect => 417,
            Self::TooManyHeaders | Self::TooLarge => 431,
        }
    }

    /// What the client is told.
    pub fn detail(self) -> &'static str {
        match self {
            Self::RequestLine => "the request line is malformed",
            Self::Version => "only HTTP/1.1 and HTTP/1.0 are spoken here",
            Self::Method => "this method is never taken",
            Self::Target => "the target must be a path, in visible ASCII and without a fragment",
            Self::Path => "the path has //, .., ;, a backslash or an encoded separator",
            Self::LineEnd => "a line does not end in CR LF",
            Self::HeaderName => "a header's name is malformed, or a header is folded",
            Self::HeaderValue => "a header's value has a control character",
            Self::TooManyHeaders => "there are more than 64 headers",
            Self::TooLarge => "the head is over 64 KiB",
            Self::Host => "there must be one Host header with a host",
            Self::ContentLength => "there must be at most one Content-Length, a number",
            Self::TransferEncoding => "the only Transfer-Encoding is one chunked, in HTTP/1.1",
            Self::TwoLengths => "Content-Length and Transfer-Encoding exclude each other",
            Self::Upgrade => "no other protocol is spoken here",
            Self::Expect => "only 100-continue can be expected",
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::HeaderName => Self::HeaderName,
            Error::HeaderValue => Self::HeaderValue,
            Error::NewLine => Self::LineEnd,
            Error::TooManyHeaders => Self::TooManyHeaders,
            Error::Version => Self::Version,
            Error::Status | Error::Token => Self::RequestLine,
        }
    }
}

/// Judges the head at the beginning of `bytes`. `None`: it is not whole yet, and so far
/// nothing is wrong.
pub fn judge(side: Side, bytes: &[u8]) -> Result<Option<Head>, Refusal> {
    let seen = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    // One empty line before a request is an old client's mistake; more is a game.
    let text = seen.strip_prefix(b"\r\n").unwrap_or(seen);
    if text.starts_with(b"\n") || (text.starts_with(b"\r") && seen != b"\r") {
        return Err(Refusal::RequestLine);
    }
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    let Status::Complete(length) = request.parse(seen)? else {
        return if bytes.len() < MAX_HEAD { Ok(None) } else { Err(Refusal::TooLarge) };
    };
    let whole = seen.get(..length).unwrap_or(seen);
    if whole.windows(2).any(|pair| matches!(pair, [before, b'\n'] if *before != b'\r')) {
        return Err(Refusal::LineEnd);
    }
    if matches!(request.method, Some("TRACE" | "CONNECT")) {
        return Err(Refusal::Method);
    }
    target(side, request.path.unwrap_or_default())?;
    let body = headers_of(request.headers, request.version == Some(0))?;
    Ok(Some(Head { bytes: length, body }))
}

/// The target must be in origin form, and what `http` takes: hyper refuses the rest without
/// a word.
fn target(side: Side, target: &str) -> Result<(), Refusal> {
    let path = target.split('?').next().unwrap_or_default();
    if !path.starts_with('/') || target.contains('#') {
        return Err(Refusal::Target);
    }
    let odd = |byte: u8| !byte.is_ascii_alphanumeric() && !b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    if target.bytes().any(odd) && PathAndQuery::try_from(target).is_err() {
        return Err(Refusal::Target);
    }
    if side == Side::Providers && !is_plain(path) {
        return Err(Refusal::Path);
    }
    Ok(())
}

/// Whether no server or proxy would take the path for another one.
fn is_plain(path: &str) -> bool {
    let separates = |escape: &[u8]| {
        matches!(escape, [b'%', b'2', b'e' | b'E' | b'f' | b'F'] | [b'%', b'5', b'c' | b'C'])
            || escape == b"%00"
    };
    !path.contains("//")
        && !path.contains("..")
        && !path.contains("/./")
        && !path.ends_with("/.")
        && !path.contains([';', '\\'])
        && !path.as_bytes().windows(3).any(separates)
}

/// Judges the headers, and finds out what follows them.
fn headers_of(headers: &[Header<'_>], old: bool) -> Result<Body, Refusal> {
    let (mut length, mut chunked, mut host, mut expect) = (None, false, false, false);
    for Header { name, value } in headers {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("content-length") {
            if length.is_some() {
                return Err(Refusal::ContentLength);
            }
            length = Some(number(value).ok_or(Refusal::ContentLength)?);
        } else if is("transfer-encoding") {
            if chunked || old || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::TransferEncoding);
            }
            chunked = true;
        } else if is("host") {
            if host || !is_host(value) {
                return Err(Refusal::Host);
            }
            host = true;
        } else if is("expect") {
            if expect || !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::Expect);
            }
            expect = true;
        } else if is("upgrade") || (is("connection") && upgrades(value)) {
            return Err(Refusal::Upgrade);
        }
    }
    match (length, chunked, host) {
        (Some(_), true, _) => Err(Refusal::TwoLengths),
        (_, _, false) => Err(Refusal::Host),
        (_, true, true) => Ok(Body::Chunked),
        (length, false, true) => Ok(Body::Length(length.unwrap_or(0))),
    }
}

/// Digits only: no sign, no list, nothing that overflows somewhere else.
fn number(value: &[u8]) -> Option<u64> {
    let plain = value.len() <= LENGTH_DIGITS && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| plain)?.parse().ok()
}

/// A name, an IPv4 or a bracketed IPv6 address, and perhaps a port.
fn is_host(value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else { return false };
    let (host, port) = match value.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(None) => return false,
        Some(Some((address, rest))) => {
            let hex = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
            (address.contains(':') && address.bytes().all(hex), rest.strip_prefix(':'))
        },
        None => {
            let (name, port) =
                value.split_once(':').map_or((value, None), |(name, port)| (name, Some(port)));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            (!name.is_empty() && name.bytes().all(plain), port)
        },
    };
    let ends = port.is_some() || !value.starts_with('[') || value.ends_with(']');
    host && ends && port.is_none_or(|port| port.parse::<u16>().is_ok() && !port.starts_with('+'))
}

fn upgrades(value: &[u8]) -> bool {
    let options = value.split(|byte| *byte == b',');
    options.map(<[u8]>::trim_ascii).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}
