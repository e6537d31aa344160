//! Which deliveries share a key, and which never may.

#![expect(clippy::string_slice, reason = "a test may panic, and the text is ASCII")]

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::time::Millis;
use crate::verify::{self, Delivery, Scheme, Secret, Verifier};

mod batches;
mod canonical;
mod corpus;
mod injective;

fn rule(parts: &[&str], fallback: Fallback) -> Rule {
    let parts = parts.iter().map(|part| (*part).to_owned()).collect();
    Rule::new(&Spec { parts, fallback, ..Spec::default() }).unwrap()
}

fn delivery(body: &[u8]) -> Delivery {
    let body = Bytes::copy_from_slice(body);
    Delivery { method: Method::POST, query: None, headers: HeaderMap::new(), body }
}

fn with(mut delivery: Delivery, headers: &[(&str, &[u8])]) -> Delivery {
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value).unwrap();
        delivery.headers.append(HeaderName::try_from(*name).unwrap(), value);
    }
    delivery
}

fn verified(delivery: Delivery) -> Verified {
    let open = verify::Spec::new(Scheme::None, "");
    Verifier::new(&open, Vec::<Secret>::new()).unwrap().check(delivery, Millis(0)).unwrap()
}

/// The key's text, or why there is none, where nothing falls back.
fn text(parts: &[&str], delivery: Delivery) -> Result<String, Unkeyed> {
    let key = rule(parts, Fallback::Reject).derive(&verified(delivery), Uuid::nil)?;
    assert!(key.text.len() <= MAX_TEXT);
    Ok(key.long.unwrap_or(key.text))
}

fn json(pointer: &str, body: impl AsRef<[u8]>) -> Result<String, Unkeyed> {
    text(&[&format!("json:{pointer}")], delivery(body.as_ref()))
}

#[test]
fn headers_json_form_and_query_make_one_key() {
    let mut sent = with(delivery(b"{\"id\":\"evt_1\",\"n\":7,\"live\":true}"), &[("x-id", b"a b")]);
    sent.query = Some("v=2&w=x%20y".to_owned());
    let parts = ["header:X-Id", "json:/id", "json:/n", "json:/live", "query:w"];
    assert_eq!(text(&parts, sent).unwrap(), "a%20b,evt_1,=7,=true,x%20y");
    assert_eq!(text(&["form:id"], delivery(b"a=1&id=%41+b&c")).unwrap(), "A%20b");
}

#[test]
fn a_part_that_occurs_twice_fails_the_rule() {
    let twice = with(delivery(b""), &[("x-id", b"1"), ("x-id", b"1")]);
    assert_eq!(text(&["header:x-id"], twice), Err(Unkeyed::Repeated));
    for body in ["id=1&id=1", "id=1&%69d=2", "id&id=1", "id=1&a&id"] {
        assert_eq!(text(&["form:id"], delivery(body.as_bytes())), Err(Unkeyed::Repeated), "{body}");
        let sent = Delivery { query: Some(body.to_owned()), ..delivery(b"") };
        assert_eq!(text(&["query:id"], sent), Err(Unkeyed::Repeated), "{body}");
    }
    // Names are case-sensitive.
    assert_eq!(text(&["form:id"], delivery(b"id=1&ID=2")).unwrap(), "1");
}

#[test]
fn a_missing_or_empty_part_fails_the_rule() {
    let sent = || with(delivery(b"id=&a=1"), &[("x-id", b"")]);
    assert_eq!(text(&["header:x-id"], sent()), Err(Unkeyed::Empty));
    assert_eq!(text(&["header:x-other"], sent()), Err(Unkeyed::Missing));
    assert_eq!(text(&["form:id"], sent()), Err(Unkeyed::Empty));
    assert_eq!(text(&["form:i"], sent()), Err(Unkeyed::Missing));
    assert_eq!(text(&["query:id"], sent()), Err(Unkeyed::Missing));
    assert_eq!(text(&["signed:id"], sent()), Err(Unkeyed::Missing));
    assert_eq!(text(&["form:a", "header:x-id"], sent()), Err(Unkeyed::Empty));
}

#[test]
fn text_that_is_not_utf8_or_not_escaped_well_fails_the_rule() {
    for body in [&b"id=%FF"[..], b"id=\xFF", b"id=%", b"id=%4", b"id=%4g", b"id=%+1"] {
        assert_eq!(text(&["form:id"], delivery(body)), Err(Unkeyed::Broken), "{body:?}");
    }
    // In another field it does no harm.
    assert_eq!(text(&["form:id"], delivery(b"name=Jos%E9&100%=x&id=1")).unwrap(), "1");
    let sent = with(delivery(b""), &[("x-id", b"\xFF")]);
    assert_eq!(text(&["header:x-id"], sent), Err(Unkeyed::Broken));
    let sent = with(delivery(b""), &[("x-id", "é".as_bytes())]);
    assert_eq!(text(&["header:x-id"], sent).unwrap(), "%C3%A9");
}

#[test]
fn the_fallback_applies_and_is_its_own_kind_of_key() {
    let derive = |fallback, body: &[u8]| {
        rule(&["json:/id"], fallback).derive(&verified(delivery(body)), || Uuid::from_u128(1))
    };
    // printf '{}' | sha256sum
    let body = "=body.44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(derive(Fallback::Body, b"{}").unwrap().text, body);
    assert_eq!(derive(Fallback::Body, b""), Err(Unkeyed::NoBody));
    assert_eq!(derive(Fallback::Reject, b"{}"), Err(Unkeyed::Missing));
    let once = "=once.00000000-0000-0000-0000-000000000001";
    assert_eq!(derive(Fallback::None, b"{}").unwrap().text, once);
    assert_eq!(derive(Fallback::None, b"").unwrap().text, once);
    for fallback in [Fallback::Body, Fallback::None, Fallback::Reject] {
        assert_eq!(derive(fallback, b"{\"id\":1}").unwrap().text, "=1");
    }
    let bare = rule(&[], Fallback::Body).derive(&verified(delivery(b"{}")), Uuid::nil);
    assert_eq!(bare.unwrap().text, body);
    // Text that looks like a fallback is not one.
    let imitation = format!("{{\"id\":\"{body}\"}}");
    assert_eq!(
        derive(Fallback::Body, imitation.as_bytes()).unwrap().text,
        body.replace('=', "%3D")
    );
}

#[test]
fn a_long_key_is_hashed_and_its_full_text_kept() {
    let derive = |length: usize| {
        let sent = with(delivery(b""), &[("x-id", "x".repeat(length).as_bytes())]);
        rule(&["header:x-id"], Fallback::Reject).derive(&verified(sent), Uuid::nil).unwrap()
    };
    assert_eq!(derive(200), Key { text: "x".repeat(200), long: None });
    // python3 -c "print('x' * 201, end='')" | sha256sum
    let hash = "84a0678c90937f5dcf9994d5866668da6b995109c8ad845410559b48a4ecafed";
    let long = derive(201);
    assert_eq!(long.text, format!("=long.{hash}"));
    assert_eq!(long.long.unwrap().len(), 201);
}

#[test]
fn the_signed_id_is_that_of_the_set_that_was_verified() {
    let preset = crate::preset::find("svix").unwrap();
    let secret = secrecy::SecretSlice::from(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_vec());
    let standard = &crate::preset::find("standard-webhooks").unwrap().verify;
    let signer = Verifier::new(standard, vec![secret.clone()]).unwrap();
    let mut sent = delivery(b"{}");
    signer.sign(&mut sent, "msg_1", Millis(0)).unwrap();
    sent.headers.insert("svix-id", HeaderValue::from_static("forged"));
    let verifier = Verifier::new(&preset.verify, vec![secret]).unwrap();
    let verified = verifier.check(sent, Millis(0)).unwrap();
    let key = Rule::new(&preset.key).unwrap().derive(&verified, Uuid::nil).unwrap();
    assert_eq!(key.text, "msg_1");
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    let refused = |part: &str| {
        let spec = Spec { parts: vec![part.to_owned()], ..Spec::default() };
        let error = Rule::new(&spec).unwrap_err();
        assert!(error.problem.contains(part), "{error}");
        error.field
    };
    for part in [
        "id",
        "header:",
        "header:a b",
        "json:",
        "json:id",
        "json:/a~2",
        "json:/a~",
        "body:/id",
        "signed:body",
        "form:",
        "query:",
        "Header:x",
        ":x",
    ] {
        assert_eq!(refused(part), "parts", "{part}");
    }
    let many = Spec { parts: vec!["query:a".to_owned(); 17], ..Spec::default() };
    assert_eq!(Rule::new(&many).unwrap_err().field, "parts");
    let none = Spec { fallback: Fallback::Reject, ..Spec::default() };
    assert_eq!(Rule::new(&none).unwrap_err().field, "parts");
}

#[test]
fn an_unstated_fallback_is_body_and_a_later_one_is_named() {
    let read = |text: &str| toml::from_str::<Spec>(text).map_err(|error| error.to_string());
    assert_eq!(read("parts = ['json:/id']").unwrap().fallback, Fallback::Body);
    assert_eq!(read("fallback = 'none'").unwrap().fallback, Fallback::None);
    assert_eq!(read("fallback = 'coalesce'").unwrap().fallback, Fallback::Coalesce);
    assert!(read("fallback = 'Body'").unwrap_err().contains("unknown fallback"));
    assert!(read("part = []").unwrap_err().contains("unknown field"));
    let spec =
        Spec { parts: vec!["json:/id".to_owned()], fallback: Fallback::None, ignore: Vec::new() };
    assert_eq!(read(&toml::to_string(&spec).unwrap()).unwrap(), spec);
}
