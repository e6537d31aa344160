//! What of a connection hyper gets to see: no head that was not judged.
//!
//! hyper takes requests that two parsers read in two ways (a length beside chunks, two
//! lengths, a target with another host in it), and by the time a service is called it can no
//! longer be told that they were. A gateway behind a proxy must refuse them all: what one
//! side takes for a body is a request to the other. So the bytes of a connection go through
//! a [`Door`]: a head passes whole or not at all, then as many bytes of body as it announced,
//! then the next head. A head that comes in pieces is held until it is whole.
//!
//! After a refusal nothing more passes. hyper is given one harmless request in place of the
//! refused one, so that the answers to requests before it keep their order, and the service
//! answers that one with the refusal.
//!
//! Pure: bytes in, verdicts out, no I/O. Nothing is copied of a head that comes in one piece.

use std::mem;

use http::{HeaderMap, HeaderName};

mod head;
#[cfg(test)]
mod tests;

pub use head::{Body, Head, MAX_HEAD, MAX_HEADERS, Refusal, Side, judge};

/// What hyper sees in place of a request that was refused.
const STAND_IN: &str = " / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// One connection's way in.
#[derive(Debug)]
pub struct Door {
    side: Side,
    next: Next,
    /// Heads that have passed, and the stand-in.
    heads: u64,
    refusal: Option<Refusal>,
    /// What came and has not gone on.
    held: Vec<u8>,
    /// How much of that may go on.
    ready: usize,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Head,
    /// A body, of which so much is to come.
    Body(u64),
    /// Chunks, and whatever is behind them: nobody looks, so this request is the last.
    Chunks,
    /// A connection on which something was refused.
    Nothing,
}

impl Door {
    /// For a new connection.
    pub fn new(side: Side) -> Self {
        Self { side, next: Next::Head, heads: 0, refusal: None, held: Vec::new(), ready: 0 }
    }

    /// Takes in what came. The first of these bytes go on as they are, as many as it returns;
    /// the others are held, or gone for good. Not to be called while [`Door::ready`] has
    /// bytes, which go first.
    pub fn take(&mut self, new: &[u8]) -> usize {
        if self.held.is_empty() {
            let passed = self.pass(new);
            if self.next != Next::Nothing {
                self.held.extend_from_slice(new.get(passed..).unwrap_or_default());
            }
            return passed;
        }
        self.held.extend_from_slice(new);
        // Only the end of a line can change the verdict: a head that drips is not parsed again
        // for every byte of it.
        if new.contains(&b'\n') || self.held.len() >= MAX_HEAD {
            let held = mem::take(&mut self.held);
            let passed = self.pass(&held);
            let stand_in = mem::replace(&mut self.held, held);
            if self.next == Next::Nothing {
                self.held.truncate(passed);
                self.held.extend_from_slice(&stand_in);
            }
            self.ready += passed;
        }
        0
    }

    /// Goes over `bytes` as far as they may pass.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.next {
                Next::Head => match judge(self.side, rest) {
                    Ok(Some(head)) => {
                        at += head.bytes;
                        self.heads += 1;
                        self.next = match head.body {
                            Body::Length(0) => Next::Head,
                            Body::Length(length) => Next::Body(length),
                            Body::Chunked => Next::Chunks,
                        };
                    },
                    Ok(None) => break,
                    Err(refusal) => self.refuse(refusal, rest.starts_with(b"HEAD ")),
                },
                Next::Body(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    at += here;
                    let left = left.saturating_sub(here as u64);
                    self.next = if left == 0 { Next::Head } else { Next::Body(left) };
                },
                Next::Chunks => return bytes.len(),
                Next::Nothing => break,
            }
        }
        at
    }

    /// The answer to HEAD has no body, and hyper must know.
    fn refuse(&mut self, refusal: Refusal, to_head: bool) {
        self.next = Next::Nothing;
        self.refusal = Some(refusal);
        self.heads += 1;
        let method = if to_head { "HEAD" } else { "GET" };
        self.held = [method, STAND_IN].concat().into_bytes();
        self.ready = self.held.len();
    }

    /// Bytes that were held and may go on now.
    pub fn ready(&self) -> &[u8] {
        self.held.get(..self.ready).unwrap_or_default()
    }

    /// So many of [`Door::ready`] have gone on.
    pub fn gone(&mut self, bytes: usize) {
        self.ready = self.ready.saturating_sub(bytes);
        self.held.drain(..bytes.min(self.held.len()));
        if self.held.is_empty() {
            // A connection at rest keeps no room for a head.
            self.held = Vec::new();
        }
    }

    /// Whether nothing will pass any more.
    pub fn is_shut(&self) -> bool {
        self.next == Next::Nothing && self.ready == 0
    }

    /// Why the `nth` request, counted from 1, is to be refused.
    pub fn refused(&self, nth: u64) -> Option<Refusal> {
        self.refusal.filter(|_| nth == self.heads)
    }

    /// Whether bytes of the `nth` request's body may still come.
    pub fn is_to_come(&self, nth: u64) -> bool {
        nth == self.heads && matches!(self.next, Next::Body(_) | Next::Chunks)
    }

    /// Whether a head has begun to come and is held until it is whole.
    pub fn has_part_of_a_head(&self) -> bool {
        self.next == Next::Head && !self.held.is_empty()
    }

    /// Whether what came was whole requests: no part of a head or a body is to follow.
    pub fn is_between(&self) -> bool {
        self.next == Next::Head && self.held.is_empty()
    }
}

/// Drops the headers that have an underscore in their name: many an application cannot tell
/// `a_b` from `a-b`, so one could pass for the other, which a proxy or we had checked.
pub fn drop_underscored(headers: &mut HeaderMap) {
    let underscored = |name: &&HeaderName| name.as_str().contains('_');
    let names: Vec<_> = headers.keys().filter(underscored).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}
