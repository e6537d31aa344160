//! One answer, read whole, and whether it is right.

use std::io;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// More than any answer here has.
const HEADERS: usize = 32;

/// What an answer is to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// 200, and the outcome that it must have.
    Right,
    /// 503: come back later; whether it says when.
    Refused { retry_after: bool },
    /// Anything else.
    Wrong,
}

/// Reads one answer. `outcome` is what the header `Oncegate-Outcome` of a right one says.
pub(super) async fn read(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    outcome: Option<&str>,
) -> io::Result<Verdict> {
    input.clear();
    loop {
        if stream.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(verdict) = judge(input, outcome)? {
            return Ok(verdict);
        }
    }
}

/// What the answer is, once all of it is there.
fn judge(input: &[u8], outcome: Option<&str>) -> io::Result<Option<Verdict>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = answer.parse(input).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let (mut length, mut found, mut retry_after) = (0, None, false);
    for header in answer.headers.iter() {
        let value = std::str::from_utf8(header.value).map_err(io::Error::other)?;
        if header.name.eq_ignore_ascii_case("content-length") {
            length = value.parse().map_err(io::Error::other)?;
        } else if header.name.eq_ignore_ascii_case("oncegate-outcome") {
            found = Some(value);
        } else if header.name.eq_ignore_ascii_case("retry-after") {
            retry_after = true;
        } else if header.name.eq_ignore_ascii_case("oncegate-mismatch") {
            // No copy here has another body.
            return Ok(Some(Verdict::Wrong));
        }
    }
    if input.len() < head + length {
        return Ok(None);
    }
    Ok(Some(match answer.code {
        Some(200) if found == outcome => Verdict::Right,
        Some(503) => Verdict::Refused { retry_after },
        _ => Verdict::Wrong,
    }))
}
