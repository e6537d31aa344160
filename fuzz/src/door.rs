//! The door: a head that passes is read the same way by another parser, and says one thing.
//! However the bytes are cut into pieces, the same ones pass.

use oncegate::server::conn::door::{Body, Door, MAX_HEAD, MAX_HEADERS, Side, judge};

/// What a client sends; the first byte also says where the pieces are cut.
pub fn run(data: &[u8]) {
    for side in [Side::Providers, Side::Operator] {
        if let Ok(Some(head)) = judge(side, data) {
            let (text, rest) = data.split_at(head.bytes);
            assert!(text.len() <= MAX_HEAD + 2);
            is_read_alike(text, head.body, matches!(side, Side::Providers));
            // What is behind a head has no say in it.
            assert_eq!(judge(side, text), Ok(Some(head)));
            assert_eq!(judge(side, &[text, b"GET "].concat()), Ok(Some(head)));
            let _no_panic = judge(side, rest);
        }
        let size = usize::from(data.first().copied().unwrap_or_default() % 7) + 1;
        // A head in pieces is judged at the ends of its lines only.
        let lines = [data, b"\n"].concat();
        let whole = through(side, &lines, lines.len());
        assert_eq!(whole, through(side, &lines, size), "in pieces of {size}");
    }
}

/// What went on of `data`, which came in pieces of this size; which request was refused; and
/// whether it ended between two. Why one was refused may differ: the first line's mistake is
/// seen first, where it comes alone.
fn through(side: Side, data: &[u8], size: usize) -> (Vec<u8>, Option<u64>, bool) {
    let (mut door, mut on) = (Door::new(side), Vec::new());
    for piece in data.chunks(size.max(1)) {
        let passed = door.take(piece);
        on.extend_from_slice(&piece[..passed]);
        let held = door.ready().len();
        on.extend_from_slice(door.ready());
        door.gone(held);
        if door.is_shut() {
            break;
        }
    }
    let refused = (1..=data.len() as u64).find(|nth| door.refused(*nth).is_some());
    assert_eq!(refused.is_some(), door.is_shut());
    (on, refused, door.is_between())
}

fn is_read_alike(text: &[u8], body: Body, plain_path: bool) {
    let text = text.strip_prefix(b"\r\n").unwrap_or(text);
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS + 1];
    let mut theirs = httparse::Request::new(&mut headers);
    let parsed = theirs.parse(text).expect("another parser takes it too");
    assert_eq!(parsed, httparse::Status::Complete(text.len()), "it ends elsewhere");

    let lines = text.strip_suffix(b"\r\n").expect("an empty line at its end");
    let bare = |pair: &[u8]| (pair[0] == b'\r') != (pair[1] == b'\n');
    assert!(!lines.windows(2).any(bare) && !text.contains(&0), "a bare CR, a bare LF or a NUL");
    let all = |name: &str| -> Vec<&[u8]> {
        let found = theirs.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value).collect()
    };
    assert!(theirs.headers.len() <= MAX_HEADERS);
    let hosts = all("host").len();
    assert!(hosts == 1 || (hosts == 0 && theirs.version == Some(0)), "{hosts} hosts");
    let (lengths, encodings) = (all("content-length"), all("transfer-encoding"));
    match body {
        Body::Chunked => {
            assert!(lengths.is_empty() && encodings.len() == 1 && theirs.version == Some(1));
            assert!(encodings[0].trim_ascii().eq_ignore_ascii_case(b"chunked"));
        },
        Body::Length(length) => {
            assert!(encodings.is_empty() && lengths.len() <= 1);
            let said = lengths.first().map_or("0", |text| std::str::from_utf8(text).expect("text"));
            assert!(said.bytes().all(|byte| byte.is_ascii_digit()));
            assert_eq!(said.parse(), Ok(length));
        },
    }
    let method = theirs.method.expect("a method");
    assert!(!["CONNECT", "TRACE"].contains(&method), "{method} passed");
    assert!(all("upgrade").is_empty(), "an upgrade passed");
    let path = theirs.path.expect("a target").split('?').next().expect("a path");
    assert!(path.starts_with('/'), "{path}");
    let escaped = path.to_ascii_lowercase();
    let odd = ["//", ";", "/../", "/./", "%2f", "%5c", "%00", "\\"];
    assert!(!plain_path || !odd.iter().any(|odd| escaped.contains(odd)), "{path} passed");
}
