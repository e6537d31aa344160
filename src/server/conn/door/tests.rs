//! Every way to send a head, in one piece and in every other number of pieces.

use proptest::prelude::*;

use super::*;

/// A POST with these lines.
fn post(lines: &str) -> String {
    format!("POST /hooks/x HTTP/1.1\r\n{lines}\r\n")
}

fn verdict(head: impl AsRef<[u8]>) -> Result<Option<Head>, Refusal> {
    judge(Side::Providers, head.as_ref())
}

fn refusal(head: impl AsRef<[u8]>) -> Option<Refusal> {
    verdict(head).err()
}

/// What went on of `bytes`, which came in pieces of these sizes and then all the rest.
fn through(bytes: &[u8], pieces: &[usize]) -> (Door, Vec<u8>) {
    let (mut door, mut on) = (Door::new(Side::Providers), Vec::new());
    let (mut rest, mut pieces) = (bytes, pieces.iter());
    while !rest.is_empty() {
        let size = pieces.next().copied().unwrap_or(rest.len()).clamp(1, rest.len());
        let (piece, after) = rest.split_at(size);
        let passed = door.take(piece);
        on.extend_from_slice(&piece[..passed]);
        while !door.ready().is_empty() {
            on.push(door.ready()[0]);
            door.gone(1);
        }
        if door.is_shut() {
            break;
        }
        rest = after;
    }
    (door, on)
}

#[test]
fn a_head_says_what_follows_it() {
    for (lines, body) in [
        ("host: a\r\n", Body::Length(0)),
        ("host: a\r\ncontent-length: 0\r\n", Body::Length(0)),
        ("Host: a.example:8080\r\nContent-Length: 007\r\n", Body::Length(7)),
        ("HOST:a\r\nCONTENT-LENGTH:7\r\n", Body::Length(7)),
        ("host: [::1]:80\r\ntransfer-encoding: chunked\r\n", Body::Chunked),
        ("host: my_app\r\nTransfer-Encoding: \tChunked \r\n", Body::Chunked),
        ("host: a\r\nconnection: keep-alive, x\r\nexpect: 100-Continue\r\n", Body::Length(0)),
    ] {
        let text = post(lines);
        assert_eq!(verdict(&text), Ok(Some(Head { bytes: text.len(), body })), "{lines}");
    }
}

#[test]
fn a_head_is_not_judged_to_pass_before_its_last_byte() {
    let head = post("host: a\r\ncontent-length: 1\r\n");
    for end in 0..head.len() {
        assert_eq!(verdict(&head.as_bytes()[..end]), Ok(None), "{end}");
    }
    let with_blank_line = format!("\r\n{head}");
    for end in 0..with_blank_line.len() {
        assert_eq!(verdict(&with_blank_line.as_bytes()[..end]), Ok(None), "{end}");
    }
    assert!(verdict(with_blank_line).unwrap().is_some());
}

#[test]
fn two_lengths_are_refused_even_if_they_agree() {
    let host = "host: a\r\n";
    for (lines, why) in [
        ("content-length: 1\r\ntransfer-encoding: chunked\r\n", Refusal::TwoLengths),
        ("transfer-encoding: chunked\r\ncontent-length: 1\r\n", Refusal::TwoLengths),
        ("content-length: 1\r\ncontent-length: 1\r\n", Refusal::ContentLength),
        ("content-length: 1, 1\r\n", Refusal::ContentLength),
        ("content-length: +1\r\n", Refusal::ContentLength),
        ("content-length: -1\r\n", Refusal::ContentLength),
        ("content-length: 0x1\r\n", Refusal::ContentLength),
        ("content-length: 1 1\r\n", Refusal::ContentLength),
        ("content-length:\r\n", Refusal::ContentLength),
        ("content-length: 18446744073709551617\r\n", Refusal::ContentLength),
        ("transfer-encoding: gzip, chunked\r\n", Refusal::TransferEncoding),
        ("transfer-encoding: chunked, chunked\r\n", Refusal::TransferEncoding),
        ("transfer-encoding: identity\r\n", Refusal::TransferEncoding),
        ("transfer-encoding: xchunked\r\n", Refusal::TransferEncoding),
        ("transfer-encoding: \"chunked\"\r\n", Refusal::TransferEncoding),
        ("transfer-encoding:\r\n", Refusal::TransferEncoding),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", Refusal::TransferEncoding),
    ] {
        assert_eq!(refusal(post(&format!("{host}{lines}"))), Some(why), "{lines}");
    }
    let old = post("host: a\r\ntransfer-encoding: chunked\r\n").replace("1.1", "1.0");
    assert_eq!(refusal(&old), Some(Refusal::TransferEncoding));
}

#[test]
fn there_is_one_host() {
    for lines in [
        "",
        "host:\r\n",
        "host: a\r\nhost: a\r\n",
        "host: a, b\r\n",
        "host: a b\r\n",
        "host: user@a\r\n",
        "host: a/b\r\n",
        "host: http://a\r\n",
        "host: :80\r\n",
        "host: a:\r\n",
        "host: a:b\r\n",
        "host: a:65536\r\n",
        "host: a:+80\r\n",
        "host: a:80:80\r\n",
        "host: ::1\r\n",
        "host: [::1\r\n",
        "host: [::1]80\r\n",
        "host: [a]\r\n",
        "host: a%2eb\r\n",
        "host: \u{e4}\r\n",
    ] {
        assert_eq!(refusal(post(lines)), Some(Refusal::Host), "{lines}");
    }
}

#[test]
fn a_target_is_a_plain_path() {
    let asks = |side, target: &str| {
        judge(side, format!("POST {target} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).err()
    };
    for target in ["*", "a", "http://a/", "a:443", "?a", "//a#", "/a#b", "/a?b#c", "/a?\"<>\u{7f}"]
    {
        let why = asks(Side::Operator, target);
        assert!(matches!(why, Some(Refusal::Target | Refusal::RequestLine)), "{target} {why:?}");
    }
    for path in [
        "//a",
        "/a//b",
        "/..",
        "/a/../b",
        "/a/./b",
        "/a/.",
        "/a..b",
        "/a;b",
        "/a\\b",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a%5C",
        "/a%00",
        "/%2e%2E/b",
    ] {
        assert_eq!(asks(Side::Providers, path), Some(Refusal::Path), "{path}");
        assert_eq!(asks(Side::Operator, path), None, "{path}");
    }
    for target in ["/", "/a.b/c-d_e~f", "/a%20b", "/a?b=//..;%2f%00\\&c=d", "/a?{b|^}"] {
        assert_eq!(asks(Side::Providers, target), None, "{target}");
    }
}

#[test]
fn a_line_ends_in_one_way_and_a_header_in_its_line() {
    for (head, why) in [
        ("POST / HTTP/1.1\nhost: a\r\n\r\n", Refusal::LineEnd),
        ("POST / HTTP/1.1\r\nhost: a\n\r\n", Refusal::LineEnd),
        ("POST / HTTP/1.1\r\nhost: a\r\n\n", Refusal::LineEnd),
        ("POST / HTTP/1.1\r\nhost: a\rx: b\r\n\r\n", Refusal::HeaderValue),
        ("POST / HTTP/1.1\r\nhost: a\r\n b\r\n\r\n", Refusal::HeaderName),
        ("POST / HTTP/1.1\r\n host: a\r\n\r\n", Refusal::HeaderName),
        ("POST / HTTP/1.1\r\nhost : a\r\n\r\n", Refusal::HeaderName),
        ("POST / HTTP/1.1\r\n: a\r\n\r\n", Refusal::HeaderName),
        ("POST / HTTP/1.1\r\nhost\r\n\r\n", Refusal::HeaderName),
        ("POST / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n", Refusal::HeaderValue),
        ("POST / HTTP/1.1\r\nhost: a\r\nx: \u{b}\r\n\r\n", Refusal::HeaderValue),
        ("POST  / HTTP/1.1\r\nhost: a\r\n\r\n", Refusal::RequestLine),
        ("POST /a b HTTP/1.1\r\nhost: a\r\n\r\n", Refusal::Version),
        ("POST /\r\n\r\n", Refusal::RequestLine),
        ("\r\n\r\nPOST / HTTP/1.1\r\nhost: a\r\n\r\n", Refusal::RequestLine),
        ("\nPOST / HTTP/1.1\r\nhost: a\r\n\r\n", Refusal::RequestLine),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refusal::Version),
        ("POST / HTTP/1.2\r\nhost: a\r\n\r\n", Refusal::Version),
        ("POST / http/1.1\r\nhost: a\r\n\r\n", Refusal::Version),
        ("CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", Refusal::Method),
        ("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", Refusal::Method),
        ("\u{16}\u{3}\u{1}", Refusal::RequestLine),
    ] {
        assert_eq!(refusal(head), Some(why), "{head:?}");
    }
}

#[test]
fn another_protocol_and_another_expectation_are_refused() {
    for (lines, why) in [
        ("upgrade: websocket\r\n", Refusal::Upgrade),
        ("connection: keep-alive , Upgrade\r\n", Refusal::Upgrade),
        ("expect: 200-ok\r\n", Refusal::Expect),
        ("expect:\r\n", Refusal::Expect),
        ("expect: 100-continue\r\nexpect: 100-continue\r\n", Refusal::Expect),
    ] {
        assert_eq!(refusal(post(&format!("host: a\r\n{lines}"))), Some(why), "{lines}");
    }
}

#[test]
fn the_limits_are_to_the_header_and_to_the_byte() {
    let host = "host: a\r\n";
    let headers = |count: usize| post(&(host.to_owned() + &"x: y\r\n".repeat(count - 1)));
    assert!(verdict(headers(MAX_HEADERS)).unwrap().is_some());
    assert_eq!(refusal(headers(MAX_HEADERS + 1)), Some(Refusal::TooManyHeaders));
    let empty = post("host: a\r\nx: \r\n").len();
    let sized = |size: usize| post(&format!("{host}x: {}\r\n", "y".repeat(size - empty)));
    assert_eq!(verdict(sized(MAX_HEAD)).unwrap().unwrap().bytes, MAX_HEAD);
    assert_eq!(refusal(sized(MAX_HEAD + 1)), Some(Refusal::TooLarge));
    assert_eq!(refusal(&sized(MAX_HEAD + 1).as_bytes()[..MAX_HEAD]), Some(Refusal::TooLarge));
    assert_eq!(verdict(&sized(MAX_HEAD + 1).as_bytes()[..MAX_HEAD - 1]), Ok(None));
}

#[test]
fn a_line_without_end_is_refused_at_the_limit_however_it_comes() {
    let endless = format!("POST /{}", "x".repeat(2 * MAX_HEAD));
    let (door, on) = through(endless.as_bytes(), &vec![1000; 200]);
    assert_eq!(door.refused(1), Some(Refusal::TooLarge));
    assert_eq!(on, format!("GET{STAND_IN}").into_bytes());
}

#[test]
fn what_is_whole_goes_on_without_a_copy() {
    let text = post("host: a\r\ncontent-length: 3\r\n") + "abc" + &post("host: a\r\n");
    let mut door = Door::new(Side::Providers);
    assert_eq!(door.take(text.as_bytes()), text.len());
    assert!(door.is_between() && door.ready().is_empty());
    assert_eq!(door.held.capacity(), 0);
}

#[test]
fn behind_a_refused_request_nothing_passes() {
    let good = post("host: a\r\ncontent-length: 3\r\n") + "abc";
    let bad = "HEAD / HTTP/1.1\r\n\r\n";
    let text = format!("{good}{bad}{good}");
    for size in [1, 2, 7, text.len()] {
        let (door, on) = through(text.as_bytes(), &vec![size; text.len()]);
        let on = String::from_utf8(on).unwrap();
        assert_eq!(on, format!("{good}HEAD{STAND_IN}"), "pieces of {size}");
        assert!(door.is_shut() && !door.is_between());
        assert_eq!((door.refused(1), door.refused(2)), (None, Some(Refusal::Host)));
    }
}

#[test]
fn chunks_are_the_last_of_a_connection() {
    let text = post("host: a\r\ntransfer-encoding: chunked\r\n") + "0\r\n\r\n" + &post("");
    let (door, on) = through(text.as_bytes(), &[]);
    assert_eq!(on, text.as_bytes());
    assert!(door.is_to_come(1) && !door.is_to_come(2) && !door.is_between());
}

#[test]
fn a_body_is_to_come_until_its_last_byte() {
    let head = post("host: a\r\ncontent-length: 3\r\n");
    let mut door = Door::new(Side::Providers);
    assert!(!door.is_to_come(1), "no head yet");
    assert_eq!(door.take(head.as_bytes()), head.len());
    assert!(door.is_to_come(1));
    assert_eq!(door.take(b"ab"), 2);
    assert!(door.is_to_come(1) && !door.is_between());
    assert_eq!(door.take(b"cPO"), 1);
    assert!(!door.is_to_come(1) && door.has_part_of_a_head() && !door.is_between());
}

#[test]
fn a_connection_at_rest_holds_no_memory() {
    let head = post("host: a\r\n");
    let (door, _) = through(head.as_bytes(), &[5]);
    assert!(door.is_between());
    assert_eq!(door.held.capacity(), 0);
}

#[test]
fn names_with_an_underscore_are_dropped() {
    let mut headers = HeaderMap::new();
    for name in ["x-a", "x_a", "_", "x-a_b", "host"] {
        headers.append(name, http::HeaderValue::from_static("1"));
        headers.append(name, http::HeaderValue::from_static("2"));
    }
    drop_underscored(&mut headers);
    let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["host", "x-a"]);
    assert_eq!(headers.len(), 4);
}

/// Requests that pass, requests that do not, and what is neither.
fn stream() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        6 => Just(post("host: a\r\n")),
        6 => Just(post("host: a\r\ncontent-length: 5\r\n") + "12345"),
        2 => Just("\r\n".to_owned()),
        1 => Just("\n".to_owned()),
        1 => Just(post("host: a\r\ntransfer-encoding: chunked\r\n")),
        1 => Just(post("host: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n")),
        1 => Just(post("host: a\r\nx: y\n")),
        1 => Just("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
        1 => "[ -~]{0,20}\r\n",
    ];
    proptest::collection::vec(parts, 0..6).prop_map(|parts| parts.concat() + "\r\n\r\n")
}

proptest! {
    #[test]
    fn it_does_not_matter_in_what_pieces_the_bytes_come(
        text in stream(),
        pieces in proptest::collection::vec(1_usize..40, 0..60),
    ) {
        let (whole, on) = through(text.as_bytes(), &[]);
        let (parts, on_in_parts) = through(text.as_bytes(), &pieces);
        prop_assert_eq!(String::from_utf8(on), String::from_utf8(on_in_parts));
        prop_assert_eq!(whole.refusal, parts.refusal);
        prop_assert_eq!(whole.heads, parts.heads);
        prop_assert_eq!(whole.next, parts.next);
    }

    #[test]
    fn whatever_comes_nothing_breaks(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        pieces in proptest::collection::vec(1_usize..40, 0..60),
    ) {
        through(&bytes, &pieces);
    }

    /// Nothing is held that hyper could have been given, or given that was not judged.
    #[test]
    fn what_passes_is_what_came(text in stream(), size in 1_usize..50) {
        let (door, on) = through(text.as_bytes(), &vec![size; text.len()]);
        if door.refusal.is_none() {
            prop_assert_eq!([on.as_slice(), &door.held].concat(), text.as_bytes());
        }
    }
}
