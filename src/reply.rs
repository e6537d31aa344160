//! What a provider is answered: one table, for every outcome.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::preset::{Acknowledgement, Greeting};
use crate::record::Answer;
use crate::telemetry::Outcome;

/// Seconds after which a provider is asked to come back.
const COME_BACK: &str = "5";

/// One answer to a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What became of the delivery.
    pub outcome: Outcome,
    /// The HTTP status.
    pub status: u16,
    /// The headers, without those that every answer of a source's path has.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
    /// Whether it is answered from the record of a finished event.
    pub replayed: bool,
    /// Same key, other body.
    pub mismatch: bool,
    /// The same signed content was done under another key.
    pub suspect: bool,
}

impl Reply {
    /// The acknowledgement of a source.
    pub fn acknowledge(acknowledgement: &Acknowledgement, outcome: Outcome) -> Self {
        Self {
            outcome,
            status: acknowledgement.status,
            headers: Vec::new(),
            body: Bytes::from(acknowledgement.body.clone()),
            replayed: false,
            mismatch: false,
            suspect: false,
        }
    }

    /// The answer to a handshake.
    pub fn greet(greeting: Greeting) -> Self {
        let headers = greeting.headers.into_iter();
        Self {
            outcome: Outcome::Handshake,
            status: greeting.status,
            headers: headers.map(|(name, value)| (name, value.into_bytes())).collect(),
            body: Bytes::from(greeting.body),
            replayed: false,
            mismatch: false,
            suspect: false,
        }
    }

    /// A recorded answer, byte for byte.
    pub fn replay(answer: Answer) -> Self {
        let mut headers = answer.headers;
        if answer.truncated {
            headers.push(("oncegate-truncated".to_owned(), b"true".to_vec()));
        }
        Self {
            outcome: Outcome::Duplicate,
            status: answer.status,
            headers,
            body: Bytes::from(answer.body),
            replayed: true,
            mismatch: false,
            suspect: false,
        }
    }

    /// An answer of our own, that says why in words.
    pub fn refuse(outcome: Outcome, detail: &str) -> Self {
        let status = match outcome {
            Outcome::Rejected => StatusCode::UNAUTHORIZED,
            Outcome::Invalid => StatusCode::BAD_REQUEST,
            Outcome::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Outcome::NotFound => StatusCode::NOT_FOUND,
            Outcome::Method => StatusCode::METHOD_NOT_ALLOWED,
            Outcome::Mismatch => StatusCode::UNPROCESSABLE_ENTITY,
            Outcome::Unknown => StatusCode::GATEWAY_TIMEOUT,
            Outcome::Failed => StatusCode::BAD_GATEWAY,
            Outcome::Busy
            | Outcome::Unavailable
            | Outcome::Processed
            | Outcome::Queued
            | Outcome::Duplicate
            | Outcome::Held
            | Outcome::Handshake
            | Outcome::Unrecorded => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut headers = vec![(CONTENT_TYPE.to_string(), b"application/json".to_vec())];
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.push((RETRY_AFTER.to_string(), COME_BACK.into()));
        }
        if outcome == Outcome::Method {
            headers.push((ALLOW.to_string(), b"POST".to_vec()));
        }
        let body = serde_json::json!({ "outcome": outcome.word(), "detail": detail });
        Self {
            outcome,
            status: status.as_u16(),
            headers,
            body: Bytes::from(body.to_string()),
            replayed: false,
            mismatch: false,
            suspect: false,
        }
    }

    /// The body came too slowly: 408, and the connection is closed.
    pub fn too_slow(detail: &str) -> Self {
        let mut reply = Self::refuse(Outcome::Invalid, detail);
        reply.status = StatusCode::REQUEST_TIMEOUT.as_u16();
        reply.closing()
    }

    /// The same, and the connection is closed.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.headers.push((CONNECTION.to_string(), b"close".to_vec()));
        self
    }

    /// The same answer to a copy that waited for it.
    #[must_use]
    pub fn to_follower(&self) -> Self {
        let mut reply = self.clone();
        if matches!(self.outcome, Outcome::Processed | Outcome::Unrecorded) {
            reply.outcome = Outcome::Duplicate;
            reply.replayed = true;
        }
        reply
    }

    /// Whether the event is settled, so that another body under its key is a mismatch.
    pub fn is_settled(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Processed
                | Outcome::Queued
                | Outcome::Duplicate
                | Outcome::Held
                | Outcome::Mismatch
                | Outcome::Unrecorded
        )
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 3);
        for (name, value) in self.headers {
            // Both were made from valid ones.
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                headers.append(name, value);
            }
        }
        headers.insert("oncegate-outcome", HeaderValue::from_static(self.outcome.word()));
        if self.replayed {
            headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        if self.mismatch {
            headers.insert("oncegate-mismatch", HeaderValue::from_static("true"));
        }
        if self.suspect {
            headers.insert("oncegate-suspect", HeaderValue::from_static("true"));
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_GATEWAY);
        (status, headers, Body::from(self.body)).into_response()
    }
}
