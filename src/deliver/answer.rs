//! What the application's answer means, what of it is kept, and what the provider is told.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, LOCATION, SET_COOKIE};
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::headers::end_to_end;
use super::line::Line;
use crate::record::{Answer, Settlement, Verdict};
use crate::reply::Reply;
use crate::telemetry::Outcome;

/// The longest body of an answer that is kept for copies, in bytes.
pub const KEPT: usize = 64 * 1024;

/// The longest body of an answer that the first copy gets, in bytes. What comes after it
/// is not read: the connection is closed.
pub const PASSED: usize = 1024 * 1024;

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What is recorded, with the answer as copies will get it.
    pub settlement: Settlement,
    /// The body of the answer as it came: what the first copy gets. At most [`PASSED`] bytes.
    pub body: Bytes,
    /// Whether `body` is all of it; not where it was cut or is longer than [`PASSED`].
    pub whole: bool,
}

impl Report {
    /// No answer came.
    pub fn without(verdict: Verdict, detail: String) -> Self {
        let settlement = Settlement { verdict, answer: None, detail };
        Self { settlement, body: Bytes::new(), whole: true }
    }

    /// An answer came: its status decides, whatever became of its body.
    pub(super) fn with(head: &Parts, body: Body, finals: &[u16]) -> Self {
        let verdict = verdict(head.status, finals);
        let mut detail = match verdict {
            Verdict::Success => String::new(),
            Verdict::Final | Verdict::Failed | Verdict::Unknown | Verdict::NotSent => {
                format!("answered {}", head.status.as_u16())
            },
        };
        if let Some(cut) = &body.cut {
            let dash = if detail.is_empty() { "" } else { ", " };
            detail = format!("{detail}{dash}{cut}");
        }
        let truncated = body.cut.is_some() || body.bytes.len() > KEPT;
        let answer = Answer {
            status: head.status.as_u16(),
            headers: kept(&head.headers),
            body: if truncated { Vec::new() } else { body.bytes.to_vec() },
            truncated,
        };
        let settlement = Settlement { verdict, answer: Some(answer), detail };
        Self { settlement, body: body.bytes, whole: body.cut.is_none() }
    }
}

/// What an answer's status means for the event.
fn verdict(status: StatusCode, finals: &[u16]) -> Verdict {
    if status.is_success() {
        Verdict::Success
    } else if finals.contains(&status.as_u16()) {
        Verdict::Final
    } else {
        Verdict::Failed
    }
}

/// The headers of an answer that any copy may get.
fn kept(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let keeps = |name: &str| {
        !name.starts_with("oncegate-")
            && name != SET_COOKIE.as_str()
            && name != CONTENT_LENGTH.as_str()
            && name != LOCATION.as_str()
            // Ours to say.
            && name != "idempotency-replayed"
            // Standard Webhooks and Slack: they tell the provider to stop.
            && name != "webhook-delivery"
            && name != "x-slack-no-retry"
    };
    end_to_end(headers, keeps)
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}

/// The body of an answer, as far as it came.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Bytes,
    /// Why it ended too early.
    cut: Option<String>,
}

impl Body {
    /// Reads a body to its end, to [`PASSED`] bytes, or until `deadline`.
    pub(super) async fn read(mut incoming: Incoming, line: &mut Line, deadline: Instant) -> Self {
        let mut bytes = BytesMut::new();
        let cut = loop {
            let frame = match timeout_at(deadline, line.drive(incoming.frame())).await {
                Ok(None) => break None,
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => break Some("the answer was cut".to_owned()),
                Err(_) => break Some("the answer did not end in time".to_owned()),
            };
            // Trailers are of this connection alone.
            let Ok(chunk) = frame.into_data() else { continue };
            let room = PASSED.saturating_sub(bytes.len());
            bytes.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if chunk.len() > room {
                break Some(format!("the answer is over {PASSED} bytes"));
            }
        };
        Self { bytes: bytes.freeze(), cut }
    }

    /// Whether it came to its end, so that the line may be free again.
    pub(super) fn is_whole(&self) -> bool {
        self.cut.is_none()
    }
}

/// What the provider is answered when its delivery led to `report` and the event is not owed.
///
/// Where `on_unknown` made an unknown outcome Held, the acknowledgement is answered
/// instead: the store knows that, not the attempt.
pub fn provider_answer(report: &Report) -> Reply {
    let Some(answer) = &report.settlement.answer else {
        // Not the story's detail: it names hosts that are nobody's business out there.
        let (outcome, detail) = match report.settlement.verdict {
            Verdict::Unknown => (Outcome::Unknown, "no answer came from the application"),
            Verdict::NotSent => (Outcome::Unavailable, "the application was not asked"),
            Verdict::Success | Verdict::Final | Verdict::Failed => {
                (Outcome::Failed, "the application could not be reached")
            },
        };
        return Reply::refuse(outcome, detail);
    };
    let mut headers = answer.headers.clone();
    if !report.whole {
        headers.push(("oncegate-truncated".to_owned(), b"true".to_vec()));
    }
    let (status, outcome) = match (report.settlement.verdict, answer.status) {
        (Verdict::Success, status) => (status, Outcome::Processed),
        // A redirect would be followed to nowhere; 409 and 410 make some providers
        // retry for ever or switch the hook off.
        (_, 300..=399 | 409 | 410) => (502, Outcome::Failed),
        (Verdict::Final, status) | (_, status @ (429 | 500..=599)) => (status, Outcome::Failed),
        _ => (502, Outcome::Failed),
    };
    if status != answer.status {
        let told = answer.status.to_string().into_bytes();
        headers.push(("oncegate-upstream-status".to_owned(), told));
    }
    let body = report.body.clone();
    Reply { outcome, status, headers, body, replayed: false, mismatch: false, suspect: false }
}
