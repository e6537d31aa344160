//! Who may ask. The operator's browser reaches this listener from any page it has open, so a
//! request must show that no page made it ask: its `Host` is no name that a stranger's DNS
//! could point here, and what changes something does not come from elsewhere.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use secrecy::ExposeSecret as _;

use super::{Admin, Caller, Refusal};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Answered to whatever asks: what probes call by any name, and nothing private.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// Refuses what a stranger's page may have sent.
pub(super) async fn guard(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    match judge(&admin, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Refuses what has not got the token.
pub(super) async fn authorize(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(token) = &admin.token else { return next.run(request).await };
    let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let given = given.and_then(bearer).unwrap_or_default();
    if verify_slices_are_equal(given, token.expose_secret()).is_ok() {
        return next.run(request).await;
    }
    let detail = "send `Authorization: Bearer <server.admin_token>`";
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    let mut response = refusal.into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// The token of a `Bearer` header; the scheme's name may be in either case (RFC 9110 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

fn judge(admin: &Admin, request: &Request) -> Result<(), Refusal> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads && OPEN_PATHS.contains(&request.uri().path()) {
        return Ok(());
    }
    let host = one(request.headers(), &HOST)?.unwrap_or_default();
    // No page can make a browser speak to a unix socket.
    let over_tcp = request.extensions().get::<Caller>().is_none_or(|it| it.addr.is_some());
    if over_tcp && !is_ours(host, &admin.hosts) {
        let detail = format!(
            "\"{host}\" is not a name of this listener: call it by its address or as localhost, \
             or add the name to server.admin_hosts"
        );
        return Err(forbidden(detail));
    }
    if !reads {
        same_origin(request.headers(), host)?;
    }
    Ok(())
}

/// What changes something is not sent by a page of another origin.
fn same_origin(headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
    let mend = "send it from a command line, or from a page of this very listener";
    if let Some(origin) = one(headers, &ORIGIN)? {
        let (scheme, authority) = origin.split_once("://").unwrap_or_default();
        let http = ["http", "https"].contains(&scheme);
        if !http || authority.is_empty() || !authority.eq_ignore_ascii_case(host) {
            return Err(forbidden(format!("the origin \"{origin}\" is not this listener: {mend}")));
        }
    }
    match one(headers, &SEC_FETCH_SITE)? {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => Err(forbidden(format!("a page of another site sent this: {mend}"))),
    }
}

/// Whether `host`, with or without a port, can be no stranger's name for this listener.
fn is_ours(host: &str, named: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || named.iter().any(|named| named.eq_ignore_ascii_case(name))
}

/// The one value of a header, as text.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    text.map(Some).ok_or_else(|| forbidden(format!("send the header {name} once, as text")))
}

fn forbidden(detail: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_localhost_and_the_names_set_are_ours() {
        let named = ["gate.example".to_owned()];
        for host in [
            "127.0.0.1",
            "127.0.0.1:8081",
            "[::1]:8081",
            "[::1]",
            "10.1.2.3",
            "localhost",
            "LocalHost:8081",
            "gate.example",
            "Gate.Example:443",
        ] {
            assert!(is_ours(host, &named), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "gate.example.evil.example",
            "evil.example:8081",
            "user@127.0.0.1",
            "127.0.0.1/",
            "[::1",
            ":8081",
            "0x7f000001.evil",
        ] {
            assert!(!is_ours(host, &named), "{host}");
        }
    }
}
