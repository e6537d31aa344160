//! What the application receives.
//!
//! The provider's request as it was, so that the application's own signature check
//! still works, at the target's path, with what oncegate knows of the event added.
//! What a provider sent under the names we add is removed: an application may trust them
//! (names with an underscore, which could pass for ours, were dropped at the door).

use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, InvalidHeaderValue,
    TRANSFER_ENCODING,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;

use super::Attempt;
use super::headers::end_to_end;
use crate::verify::{Delivery, Verifier};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const SOURCE: HeaderName = HeaderName::from_static("oncegate-source");
const KEY: HeaderName = HeaderName::from_static("oncegate-key");
const ATTEMPT: HeaderName = HeaderName::from_static("oncegate-attempt");
const RECEIVED: HeaderName = HeaderName::from_static("oncegate-received");
/// Which element of which batch an event is: stored with it, as one that a provider sent is
/// removed before.
pub const BATCH: HeaderName = HeaderName::from_static("oncegate-batch");
const UNKNOWN: HeaderName = HeaderName::from_static("oncegate-unknown");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Why no request could be made of an event. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsendable {
    #[error("the event's key cannot be a header")]
    Header(#[from] InvalidHeaderValue),
    #[error("it cannot be signed: a header that is signed is missing")]
    Signature,
    #[error("the query cannot be sent: {0}")]
    Query(#[from] http::uri::InvalidUri),
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
}

/// The request of one attempt.
pub(super) fn build(
    target: &Uri,
    host: &HeaderValue,
    signer: Option<&Verifier>,
    attempt: &Attempt<'_>,
) -> Result<Request<Full<Bytes>>, Unsendable> {
    let passes = |name: &str| is_the_providers(name) || name == BATCH.as_str();
    let mut sent = Delivery {
        headers: end_to_end(&attempt.delivery.headers, passes),
        ..attempt.delivery.clone()
    };
    if let Some(signer) = signer {
        sent.headers = end_to_end(&sent.headers, |name| !name.starts_with("webhook-"));
        // A dot in the id becomes %2E: in Standard Webhooks it separates what is signed.
        signer.sign(&mut sent, attempt.id, attempt.now).map_err(|_| Unsendable::Signature)?;
    }
    let mut headers = sent.headers;
    headers.insert(HOST, host.clone());
    if !sent.body.is_empty() || !matches!(sent.method, Method::GET | Method::HEAD) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(sent.body.len()));
    }
    name_the_event(&mut headers, attempt)?;
    name_the_sender(&mut headers, attempt)?;
    let mut request = Request::builder()
        .method(sent.method)
        .uri(path(target, sent.query.as_deref())?)
        .body(Full::new(sent.body))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Whether a header of the provider's request reaches the application.
fn is_the_providers(name: &str) -> bool {
    !is_ours(name)
        && name != HOST.as_str()
        && name != CONTENT_LENGTH.as_str()
        && name != TRANSFER_ENCODING.as_str()
        // The body is in hand: there is nothing to wait for.
        && name != EXPECT.as_str()
}

/// Whether a header, named in either case, is one that no `Connection` may remove: ours, and
/// those that say what the request is.
pub fn matters(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !is_the_providers(&name) || name == CONTENT_TYPE.as_str() || name == CONTENT_ENCODING.as_str()
}

/// Whether an application may take the header, named in lower case, for our word.
fn is_ours(name: &str) -> bool {
    name.starts_with("oncegate-")
        || name.starts_with("x-forwarded-")
        || name == "forwarded"
        || name == IDEMPOTENCY_KEY.as_str()
}

/// The target's path, its own query, then the provider's.
fn path(target: &Uri, query: Option<&str>) -> Result<Uri, http::uri::InvalidUri> {
    let queries: Vec<&str> =
        [target.query(), query].into_iter().flatten().filter(|it| !it.is_empty()).collect();
    let path = match target.path() {
        "" => "/",
        path => path,
    };
    let whole =
        if queries.is_empty() { path.to_owned() } else { format!("{path}?{}", queries.join("&")) };
    PathAndQuery::try_from(whole).map(Uri::from)
}

/// Which event this is, and what is known of earlier attempts.
fn name_the_event(
    headers: &mut HeaderMap,
    attempt: &Attempt<'_>,
) -> Result<(), InvalidHeaderValue> {
    let (source, key) = attempt.id.split_once(':').unwrap_or((attempt.id, ""));
    headers.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(format!("\"{}\"", attempt.id))?);
    headers.insert(SOURCE, HeaderValue::from_str(source)?);
    headers.insert(KEY, HeaderValue::from_str(key)?);
    headers.insert(ATTEMPT, HeaderValue::from(attempt.number));
    headers.insert(RECEIVED, HeaderValue::try_from(attempt.received.to_string())?);
    if attempt.doubt {
        headers.insert(UNKNOWN, HeaderValue::from_static("true"));
    }
    Ok(())
}

/// Who sent the delivery and how it was addressed, as far as that is still known.
fn name_the_sender(
    headers: &mut HeaderMap,
    attempt: &Attempt<'_>,
) -> Result<(), InvalidHeaderValue> {
    if let Some(origin) = attempt.origin {
        headers.insert(FORWARDED_FOR, HeaderValue::try_from(origin.address.to_string())?);
        let scheme = if origin.https { "https" } else { "http" };
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    if let Some(host) = attempt.delivery.headers.get(HOST) {
        headers.insert(FORWARDED_HOST, host.clone());
    }
    Ok(())
}
