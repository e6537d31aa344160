//! A header that has the secret itself, and timestamps that are not plain seconds.

use aws_lc_rs::hmac;

use super::*;

const SECRET: &str = "glpat-0123456789abcdef";
const NOW: u64 = 1_616_648_967;

fn token(more: &str) -> Spec {
    spec(&format!("scheme = 'token'\nheader = 'X-Gitlab-Token'\n{more}"))
}

fn sent(values: &[&str]) -> Delivery {
    let headers: Vec<_> = values.iter().map(|value| ("x-gitlab-token", *value)).collect();
    with(delivery("{}"), &headers)
}

#[test]
fn a_token_passes_whole_once_and_under_any_secret_of_a_rotation() {
    let verifier = verifier(&token(""), &[SECRET, "another-token-0123456789"]);
    let told = |values: &[&str]| verdict(&verifier, sent(values), 0);
    assert_eq!(told(&[SECRET]), Ok(()));
    assert_eq!(told(&["another-token-0123456789"]), Ok(()));
    assert_eq!(told(&[]), Err(Rejection::Missing));
    assert_eq!(told(&[""]), Err(Rejection::Missing));
    assert_eq!(told(&[SECRET, SECRET]), Err(Rejection::Repeated));
    let longer = format!("{SECRET}x");
    for wrong in [&SECRET[1..], &SECRET[..SECRET.len() - 1], &longer, "glpat-0123456789abcdeg"] {
        assert_eq!(told(&[wrong]), Err(Rejection::Wrong), "{wrong}");
    }
    assert_eq!(told(&["\u{e9}"]), Err(Rejection::Malformed));
    assert_eq!(told(&[&"x".repeat(MAX_HEADER + 1)]), Err(Rejection::TooLarge));
}

#[test]
fn a_token_that_passed_is_shown_by_nobody_who_prints_the_delivery() {
    let verifier = verifier(&token(""), &[SECRET]);
    let passed = verifier.check(sent(&[SECRET]), seconds(0)).unwrap();
    assert!(!format!("{passed:?}").contains(SECRET));
}

#[test]
fn a_token_may_have_a_prefix_that_is_needed() {
    let spec = spec("scheme = 'token'\nheader = 'Authorization'\nprefix = 'Bearer '");
    let verifier = verifier(&spec, &[SECRET]);
    let mut signed = delivery("{}");
    verifier.sign(&mut signed, "1", seconds(NOW)).unwrap();
    assert_eq!(signed.headers["authorization"], format!("Bearer {SECRET}"));
    assert!(!format!("{signed:?}{verifier:?}").contains(SECRET), "it is never printed");
    assert_eq!(verdict(&verifier, signed.clone(), 0), Ok(()));
    signed.headers.insert("authorization", HeaderValue::from_str(SECRET).unwrap());
    assert_eq!(verdict(&verifier, signed, 0), Err(Rejection::Malformed));
    assert_eq!(verifier.headers().map(HeaderName::as_str).collect::<Vec<_>>(), ["authorization"]);
}

#[test]
fn what_only_a_signature_has_is_refused_beside_a_token() {
    for (field, more) in [
        ("timestamp", "timestamp = 'header:x-time'"),
        ("tolerance", "tolerance = '5m'"),
        ("id", "id = 'header:x-id'"),
        ("layout", "layout = 'pairs'"),
        ("version", "version = 'v1'"),
        ("families", "families = ['a']"),
        ("encoding", "encoding = 'base64'"),
        ("signed", "signed = 'v0:{body}'"),
        ("timestamp_format", "timestamp_format = 'rfc3339'"),
        ("prefix", "prefix = \"\\u00e9\""),
    ] {
        let spec = token(more);
        assert_eq!(Verifier::new(&spec, vec![secret(SECRET)]).unwrap_err().field, field);
        assert_eq!(Verifier::mistakes(&spec).remove(0).field, field);
    }
    let starred = spec("scheme = 'token'\nheader = '*-token'");
    assert_eq!(Verifier::mistakes(&starred).remove(0).field, "header");
    for wrong in ["", "short", "has a space 0123456789", "line\nbreak-0123456789"] {
        assert_eq!(Verifier::new(&token(""), vec![secret(wrong)]).unwrap_err().field, "secrets");
    }
    assert!(!token("").covers("json:/id") && !token("").covers("header:x-id"));
}

/// What is said of one stamp and body where others were signed.
fn moment(stamp: &str, body: &str, signed: &str, signed_body: &str) -> Result<(), Rejection> {
    let spec = spec(
        "scheme = 'hmac-sha256'\nheader = 'x-sig'\nsigned = '{timestamp}{body}'
         timestamp = 'header:x-time'\ntimestamp_format = 'rfc3339'",
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, format!("{signed}{signed_body}").as_bytes());
    let signature = data_encoding::HEXLOWER.encode(tag.as_ref());
    let sent = with(delivery(body), &[("x-time", stamp), ("x-sig", &signature)]);
    verdict(&verifier(&spec, &[SECRET]), sent, NOW)
}

/// What is said of a stamp in digits.
fn stamped(format: &str, stamp: &str) -> Result<(), Rejection> {
    let spec = spec(&format!(
        "scheme = 'hmac-sha256'\nheader = 'x-sig'\nsigned = '{{timestamp}}{{body}}'\n\
         timestamp = 'header:x-time'\ntimestamp_format = '{format}'"
    ));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, format!("{stamp}{{}}").as_bytes());
    let signature = data_encoding::HEXLOWER.encode(tag.as_ref());
    let sent = with(delivery("{}"), &[("x-time", stamp), ("x-sig", &signature)]);
    verdict(&verifier(&spec, &[SECRET]), sent, NOW)
}

#[test]
fn no_part_of_a_moment_can_be_moved_into_the_body() {
    let told = |stamp, body| moment(stamp, body, "2021-03-25T05:09:27Z", "{\"id\":1}");
    assert_eq!(told("2021-03-25T05:09:27Z", "{\"id\":1}"), Ok(()));
    for (stamp, body) in [
        ("2021-03-25T05:09:27", "Z{\"id\":1}"),
        ("2021-03-25T05:09:2", "7Z{\"id\":1}"),
        ("2021-03-25", "T05:09:27Z{\"id\":1}"),
        ("2021-03-25T05:09:27Z{", "\"id\":1}"),
        ("1616648967", "{\"id\":1}"),
    ] {
        assert_eq!(told(stamp, body), Err(Rejection::Malformed), "{stamp}");
    }
    // One moment has other ways to be written, some of them the beginning of another.
    for (stamp, body) in [
        ("2021-03-25T06:09:27+01:00", "{}"),
        ("2021-03-25T05:09:27.5Z", "{}"),
        ("2021-03-25T06:09:27.123456789+01:00", "{}"),
    ] {
        assert_eq!(moment(stamp, body, stamp, body), Ok(()), "{stamp}");
    }
    for (stamp, body) in [
        ("2021-03-25T06:09:27+01", ":00{}"),
        ("2021-03-25T06:09:27+0100", "{}"),
        ("2021-03-25T05:09:27.Z", "{}"),
        ("2021-03-25T05:09:27Z[null]", "{}"),
        ("2021-03-25 05:09:27Z", "{}"),
        ("2021-03-25t05:09:27z", "{}"),
    ] {
        assert_eq!(moment(stamp, body, stamp, body), Err(Rejection::Malformed), "{stamp}");
    }
    // The same moment in other words is another message.
    assert_eq!(told("2021-03-25T06:09:27+01:00", "{\"id\":1}"), Err(Rejection::Wrong));
}

#[test]
fn milliseconds_are_no_seconds() {
    let at = |stamp: u64| stamped("millis", &stamp.to_string());
    assert_eq!(at(NOW * 1000 + 999), Ok(()));
    assert_eq!(at((NOW - 301) * 1000), Err(Rejection::Stale));
    assert_eq!(at((NOW + 301) * 1000), Err(Rejection::Future));
    assert_eq!(at(NOW), Err(Rejection::Stale));
    assert_eq!(stamped("seconds", &(NOW * 1000).to_string()), Err(Rejection::Future));
    assert_eq!(stamped("millis", "1616648967000.0"), Err(Rejection::Malformed));
}

#[test]
fn a_signed_delivery_passes_whatever_its_timestamp_is_written_like() {
    for format in ["seconds", "millis", "rfc3339"] {
        let spec = spec(&format!(
            "scheme = 'hmac-sha256'\nheader = 'x-sig'\nsigned = '{{timestamp}}{{body}}'\n\
             timestamp = 'header:x-time'\ntimestamp_format = '{format}'"
        ));
        let verifier = verifier(&spec, &[SECRET]);
        let mut signed = delivery("{}");
        verifier.sign(&mut signed, "1", Millis(NOW * 1000 + 5)).unwrap();
        assert_eq!(verdict(&verifier, signed, NOW), Ok(()), "{format}");
    }
}
