//! The body of a POST: nothing, or a small JSON object.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Refusal;

/// The largest body: some numbers and a note.
const MOST: usize = 64 << 10;
/// How long it may take.
const IN_TIME: Duration = Duration::from_secs(10);

/// What was asked for; the defaults, where the body is empty.
pub(super) struct Asked<T>(pub(super) T);

impl<T, S> FromRequest<S> for Asked<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let (head, body) = request.into_parts();
        let body = read(body).await?;
        let bytes: &[u8] = if body.is_empty() { b"{}" } else { &body };
        // A form of another site can send bytes, but not this type.
        if !body.is_empty() && !is_json(&head.headers) {
            let detail = "send the body as `Content-Type: application/json`";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail));
        }
        // serde would take a list for an object, its items in the order of our fields.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(Refusal::bad("bad_body", "the body cannot be used: send a JSON object"));
        }
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|error| Refusal::bad("bad_body", format!("the body cannot be used: {error}")))
    }
}

async fn read(body: Body) -> Result<Vec<u8>, Refusal> {
    match timeout(IN_TIME, Limited::new(body, MOST).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("the body is over {MOST} bytes: shorten the note");
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail))
        },
        Ok(Err(_)) => Err(Refusal::bad("bad_body", "the body was cut")),
        Err(_) => {
            let detail = "the body did not arrive in time";
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail))
        },
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::body::Frame;

    use super::*;

    /// A body that never comes.
    struct Never;

    impl hyper::body::Body for Never {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        assert_eq!(read(Body::new(Never)).await.unwrap_err().code, "too_slow");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let body = |bytes: usize| Body::new(Full::new(Bytes::from(vec![b' '; bytes])));
        assert_eq!(read(body(MOST)).await.unwrap().len(), MOST);
        assert_eq!(read(body(MOST + 1)).await.unwrap_err().code, "too_large");
    }
}
