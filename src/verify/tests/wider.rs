//! What no header over the body says: public keys, fields, URLs, elements, several headers, and
//! the traps that providers publish.

use super::*;
use crate::key::MAX_ELEMENTS;

pub(super) const SECRET: &str = "44782def547aaa06c910c43932b1eb0c71fc68d9d0c05755";
pub(super) const OTHER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";
pub(super) const NOW: u64 = 1_764_000_000;

pub(super) fn signed(verifier: &Verifier, mut delivery: Delivery) -> Delivery {
    verifier.sign(&mut delivery, "id-1", seconds(NOW)).unwrap();
    delivery
}

pub(super) fn sample(name: &str) -> Delivery {
    crate::preset::find(name).unwrap().sample.delivery("7").unwrap()
}

/// The body with `old` in place of `new`, which must be in it.
pub(super) fn changed(mut delivery: Delivery, old: &str, new: &str) -> Delivery {
    let body = str::from_utf8(&delivery.body).unwrap();
    assert!(body.contains(old), "{body}");
    delivery.body = body.replace(old, new).into();
    delivery
}

pub(super) fn called(id: &str, text: &str) -> Secret {
    Secret { value: secret(text), id: Some(id.to_owned()) }
}

#[test]
fn numbered_headers_pass_if_any_of_them_is_right() {
    let spec = spec("scheme = 'hmac-sha256'\nheader = 'x-sig-#'\nencoding = 'base64'");
    let verifier = verifier(&spec, &[SECRET]);
    let right = signed(&verifier, delivery("{}")).headers["x-sig-1"].to_str().unwrap().to_owned();
    let wrong = signed(&super::verifier(&spec, &[OTHER]), delivery("{}")).headers["x-sig-1"]
        .to_str()
        .unwrap()
        .to_owned();
    let sent = |headers: &[(&str, &str)]| verdict(&verifier, with(delivery("{}"), headers), NOW);
    assert_eq!(sent(&[("x-sig-1", &wrong), ("x-sig-3", &right)]), Ok(()));
    assert_eq!(sent(&[("x-sig-16", &right)]), Ok(()));
    assert_eq!(sent(&[("x-sig-17", &right)]), Err(Rejection::Missing));
    assert_eq!(sent(&[("x-sig-1", &wrong)]), Err(Rejection::Wrong));
    assert_eq!(sent(&[("x-sig-1", &right), ("x-sig-1", &right)]), Err(Rejection::Repeated));
}

#[test]
fn a_header_may_come_twice_only_where_the_scheme_says_so() {
    let text = "scheme = 'hmac-sha256'\nheader = 'x-sig'\nprefix = 'sha256='";
    let (once, often) = (spec(text), spec(&format!("{text}\nrepeats = true")));
    let right = signed(&verifier(&once, &[SECRET]), delivery("{}")).headers["x-sig"].clone();
    let wrong = signed(&verifier(&once, &[OTHER]), delivery("{}")).headers["x-sig"].clone();
    let (right, wrong) = (right.to_str().unwrap(), wrong.to_str().unwrap());
    let sent = |spec: &Spec, values: &[&str]| {
        let headers: Vec<_> = values.iter().map(|value| ("x-sig", *value)).collect();
        verdict(&verifier(spec, &[SECRET]), with(delivery("{}"), &headers), NOW)
    };
    assert_eq!(sent(&once, &[wrong, right]), Err(Rejection::Repeated));
    assert_eq!(sent(&often, &[wrong, right]), Ok(()));
    assert_eq!(sent(&often, &["nonsense", right]), Ok(()));
    assert_eq!(sent(&often, &[wrong]), Err(Rejection::Wrong));
    assert_eq!(sent(&often, &[right; MAX_CANDIDATES + 1]), Err(Rejection::TooLarge));
}

/// "Only those 8 fields are authenticated", and a colon is not escaped.
#[test]
fn adyens_fields_are_covered_and_no_text_can_move_between_them() {
    let verifier = verifier(&preset("adyen-standard"), &[SECRET]);
    let sent = signed(&verifier, sample("adyen-standard"));
    assert_eq!(verdict(&verifier, sent.clone(), NOW), Ok(()));
    let item = "/notificationItems/0/NotificationRequestItem";
    let pointer = |field: &str| format!("{item}/{field}");
    let body: serde_json::Value = serde_json::from_slice(&sent.body).unwrap();
    let having = |changes: &[(&str, serde_json::Value)]| {
        let mut body = body.clone();
        for (field, value) in changes {
            let (parent, name) = pointer(field).rsplit_once('/').map_or_else(
                || panic!("{field}"),
                |(parent, name)| (parent.to_owned(), name.to_owned()),
            );
            body.pointer_mut(&parent).unwrap()[name] = value.clone();
        }
        Delivery { body: body.to_string().into(), ..sent.clone() }
    };
    let reference = body.pointer(&pointer("pspReference")).unwrap().as_str().unwrap();
    for (field, value) in [
        ("pspReference", "other".into()),
        ("amount/value", 1.into()),
        ("merchantReference", "other".into()),
        ("success", "false".into()),
        ("eventCode", "REFUND".into()),
    ] {
        assert!(verdict(&verifier, having(&[(field, value)]), NOW).is_err(), "{field}");
    }
    // Null and missing are alike: an empty text.
    let null = having(&[("originalReference", serde_json::Value::Null)]);
    assert_eq!(verdict(&verifier, null, NOW), Ok(()));
    // The same message, cut elsewhere.
    let moved = having(&[
        ("pspReference", format!("{reference}:").into()),
        ("originalReference", serde_json::Value::Null),
    ]);
    assert_eq!(verdict(&verifier, moved, NOW), Err(Rejection::Malformed));
    // A merchant's own reference may have a colon.
    let own = body.pointer(&pointer("merchantReference")).unwrap().as_str().unwrap().to_owned();
    let colon = signed(&verifier, changed(sample("adyen-standard"), &own, ":with: colons:"));
    assert_eq!(verdict(&verifier, colon, NOW), Ok(()));
}

/// One signature, another key: a text is no number, nor a boolean.
#[test]
fn a_signed_field_is_sent_in_one_way_only() {
    let verifier = verifier(&preset("adyen-standard"), &[SECRET]);
    let sent = signed(&verifier, sample("adyen-standard"));
    for (old, new) in
        [("\"success\": \"true\"", "\"success\": true"), ("\"value\": 1130", "\"value\": \"1130\"")]
    {
        let other = changed(sent.clone(), old, new);
        assert_eq!(verdict(&verifier, other, NOW), Err(Rejection::Malformed), "{new}");
    }
}

/// `::` overlaps itself, and a zero more is still the time.
#[test]
fn nothing_moves_over_the_edge_of_what_is_signed() {
    let text = "scheme = 'hmac-sha256'\nheader = 'x-sig'\nsigned = '{header:x-id}::{body}'";
    let verifier = verifier(&spec(text), &[SECRET]);
    let sent = signed(&verifier, with(delivery(":b"), &[("x-id", "a")]));
    assert_eq!(verdict(&verifier, sent.clone(), NOW), Ok(()));
    let mut moved = Delivery { body: "b".into(), ..sent };
    moved.headers.insert("x-id", HeaderValue::from_static("a:"));
    assert_eq!(verdict(&verifier, moved, NOW), Err(Rejection::Malformed));

    let text = "scheme = 'hmac-sha256'\nheader = 'x-sig'\nsigned = '{body}{timestamp}'
        timestamp = 'header:x-time'";
    let verifier = super::verifier(&spec(text), &[SECRET]);
    let sent = signed(&verifier, delivery("a=10"));
    assert_eq!(verdict(&verifier, sent.clone(), NOW), Ok(()));
    let mut moved = Delivery { body: "a=1".into(), ..sent };
    let later = HeaderValue::try_from(format!("0{NOW}")).unwrap();
    moved.headers.insert("x-time", later);
    assert_eq!(verdict(&verifier, moved, NOW), Err(Rejection::Malformed));
}

/// The answer to a challenge is an HMAC like that of a payload.
#[test]
fn a_signature_of_braintrees_challenge_is_that_of_no_event() {
    let verifier = verifier(&preset("braintree"), &[SECRET]);
    let forged = |challenge: &str| {
        let mac = verifier.mac(challenge).unwrap();
        let body =
            format!("bt_signature=any%7C{mac}&bt_payload={}", challenge.replace('\n', "%0A"));
        Delivery { body: body.into(), ..delivery("") }
    };
    for challenge in ["00112233445566778899aabb", &"0".repeat(32), &format!("{}\n", "a".repeat(32))]
    {
        let verdict = verdict(&verifier, forged(challenge), NOW);
        assert_eq!(verdict, Err(Rejection::Malformed), "{challenge}");
    }
    let payload = format!("{}\n", "PG5vdGlmaWNhdGlvbj4K".repeat(4));
    assert_eq!(verdict(&verifier, forged(&payload), NOW), Ok(()));
    // Less its last line end it is another text.
    let cut = changed(forged(&payload), "%0A", "");
    assert_eq!(verdict(&verifier, cut, NOW), Err(Rejection::Wrong));
}

#[test]
fn every_element_must_be_signed() {
    let verifier = verifier(&preset("adyen-standard"), &[SECRET]);
    let sent = signed(&verifier, sample("adyen-standard"));
    let body: serde_json::Value = serde_json::from_slice(&sent.body).unwrap();
    let item = body["notificationItems"][0].clone();
    let with_items = |items: Vec<serde_json::Value>| {
        let mut body = body.clone();
        body["notificationItems"] = items.into();
        Delivery { body: body.to_string().into(), ..sent.clone() }
    };
    assert_eq!(verdict(&verifier, with_items(vec![item.clone(); 2]), NOW), Ok(()));
    let mut forged = item.clone();
    forged["NotificationRequestItem"]["pspReference"] = "forged".into();
    let second = with_items(vec![item.clone(), forged.clone()]);
    assert_eq!(verdict(&verifier, second, NOW), Err(Rejection::Wrong));
    assert_eq!(verdict(&verifier, with_items(vec![forged, item]), NOW), Err(Rejection::Wrong));
    assert_eq!(verdict(&verifier, with_items(Vec::new()), NOW), Err(Rejection::Missing));
    let endless = vec![serde_json::json!(1); MAX_ELEMENTS + 1];
    assert_eq!(verdict(&verifier, with_items(endless), NOW), Err(Rejection::Malformed));
    for body in ["", "{}", "[]", "{\"notificationItems\":{}}"] {
        let sent = Delivery { body: body.into(), ..sent.clone() };
        assert!(verdict(&verifier, sent, NOW).is_err(), "{body}");
    }
}

#[test]
fn the_url_is_ours_and_where_the_body_follows_it_no_query_passes() {
    let square = preset("square");
    let verifier = verifier(&square, &[SECRET]).at("https://shop.example/hooks/square");
    let sent = signed(&verifier, sample("square"));
    assert_eq!(verdict(&verifier, sent.clone(), NOW), Ok(()));
    let elsewhere = super::verifier(&square, &[SECRET]).at("https://shop.example/hooks/squar");
    assert_eq!(verdict(&elsewhere, sent.clone(), NOW), Err(Rejection::Wrong));
    // Else the body's beginning could be moved into the query.
    let asked = Delivery { query: Some(String::new()), ..sent };
    assert_eq!(verdict(&verifier, asked, NOW), Err(Rejection::Malformed));
}

#[test]
fn twilio_signs_every_field_and_no_other_body_goes_uncovered() {
    let verifier = verifier(&preset("twilio"), &[SECRET]).at("https://shop.example:8443/t");
    let form = |body: &str| {
        with(
            delivery(body),
            &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")],
        )
    };
    let sent = signed(&verifier, form("B=2&a=1&B=1&B=2&empty="));
    assert_eq!(verdict(&verifier, sent.clone(), NOW), Ok(()));
    for same in ["a=1&B=2&B=1&empty=", "empty&B=1&B=2&%61=%31"] {
        assert_eq!(verdict(&verifier, Delivery { body: same.into(), ..sent.clone() }, NOW), Ok(()));
    }
    for other in ["B=2&a=1&B=1&empty=1", "B=2&a=1", "b=2&a=1&B=1&empty=", "a=%zz", ""] {
        let other = Delivery { body: other.into(), ..sent.clone() };
        assert!(verdict(&verifier, other, NOW).is_err());
    }
    let json = |body: &str| with(delivery(body), &[("content-type", "application/json")]);
    let sent = signed(&verifier, json("{\"a\":1}"));
    assert!(sent.query.as_deref().unwrap().starts_with("bodySHA256="));
    assert_eq!(verdict(&verifier, sent.clone(), NOW), Ok(()));
    let other = changed(sent.clone(), "1", "2");
    assert_eq!(verdict(&verifier, other, NOW), Err(Rejection::Wrong));
    let unhashed = Delivery { query: None, ..sent };
    assert_eq!(verdict(&verifier, unhashed, NOW), Err(Rejection::Missing));
}

/// "Only webhookTimestamp in the signed body is trusted": a header beside it is not read.
#[test]
fn a_timestamp_in_the_body_is_in_time_or_refused() {
    let verifier = verifier(&preset("linear"), &[SECRET]);
    let sent = signed(&verifier, sample("linear"));
    assert_eq!(verdict(&verifier, sent.clone(), NOW + 60), Ok(()));
    assert_eq!(verdict(&verifier, sent.clone(), NOW + 61), Err(Rejection::Stale));
    assert_eq!(verdict(&verifier, sent.clone(), NOW - 61), Err(Rejection::Future));
    let fresh = with(sent.clone(), &[("linear-timestamp", &format!("{}000", NOW + 500))]);
    assert_eq!(verdict(&verifier, fresh, NOW + 500), Err(Rejection::Stale));
    let later = changed(sent.clone(), &format!("{NOW}000"), &format!("{}000", NOW + 500));
    assert_eq!(verdict(&verifier, later, NOW + 500), Err(Rejection::Wrong));
    let without = changed(sent, "webhookTimestamp", "webhookTimestam");
    assert_eq!(verdict(&verifier, without, NOW), Err(Rejection::Missing));
}

/// Mailgun signs its token and the time alone: known, told, and no more than that.
#[test]
fn mailguns_token_and_time_are_covered_and_its_event_is_not() {
    let spec = preset("mailgun");
    let verifier = verifier(&spec, &[SECRET]);
    let sent = signed(&verifier, sample("mailgun"));
    assert_eq!(verdict(&verifier, sent.clone(), NOW), Ok(()));
    let body: serde_json::Value = serde_json::from_slice(&sent.body).unwrap();
    let token = body["signature"]["token"].as_str().unwrap();
    let other = changed(sent.clone(), token, &token.replace(&token[..1], "Z"));
    assert_eq!(verdict(&verifier, other, NOW), Err(Rejection::Wrong));
    let event = changed(sent.clone(), "event-data", "event-date");
    assert_eq!(verdict(&verifier, event.clone(), NOW), Ok(()));
    assert!(!spec.covers_body() && !spec.covers("json:/event-data/id"));
    // Which is why the guard goes by what is signed.
    let content =
        |delivery| verifier.signed_content(&verifier.check(delivery, seconds(NOW)).unwrap());
    assert!(content(sent.clone()).is_some());
    assert_eq!(content(sent), content(event));
}

#[test]
fn what_a_signature_covers_is_told() {
    for (name, part, covered) in [
        ("stripe", "json:/id", true),
        ("github", "header:X-GitHub-Delivery", false),
        ("standard-webhooks", "signed:id", true),
        ("adyen-standard", "json:/NotificationRequestItem/pspReference", true),
        ("adyen-standard", "json:/NotificationRequestItem/eventDate", false),
        ("twilio", "form:MessageSid", false),
        ("twilio", "query:foo", true),
        ("square", "json:/event_id", true),
        ("stripe", "query:foo", false),
        ("mailgun", "json:/signature/token", true),
        ("braintree", "form:bt_payload", true),
        ("okta", "json:/uuid", false),
        ("adyen-standard", "json:/notificationrequestitem/pspreference", false),
        ("aws-sns", "json:/MessageId", true),
    ] {
        assert_eq!(preset(name).covers(part), covered, "{name} {part}");
    }
}

#[test]
fn the_content_of_a_retry_signed_anew_is_another_and_of_a_copy_the_same() {
    let verifier = verifier(&preset("stripe"), &[SECRET]);
    let at = |now| {
        let mut sent = delivery("{}");
        verifier.sign(&mut sent, "", seconds(now)).unwrap();
        verifier.signed_content(&verifier.check(sent, seconds(now)).unwrap()).unwrap()
    };
    assert_eq!(at(NOW), at(NOW));
    assert_ne!(at(NOW), at(NOW + 1));
    let token = super::verifier(&spec("scheme = 'token'\nheader = 'x-token'"), &[SECRET]);
    let sent = signed(&token, delivery("{}"));
    assert_eq!(token.signed_content(&token.check(sent, seconds(NOW)).unwrap()), None);
}

#[test]
fn settings_of_the_wider_kind_that_could_not_protect_are_refused() {
    let hmac = "scheme = 'hmac-sha256'\n";
    for (text, field) in [
        ("header = 'x'\nsignature = 'json:/s'", "signature"),
        ("signature = 'query:s'", "signature"),
        ("signature = 'header:s'", "signature"),
        ("signature = 'cookie:s'", "signature"),
        ("header = 'x'\neach = 'items'", "each"),
        ("header = 'x'\nkey_id = 'x-key'", "key_id"),
        ("header = 'x'\nsigned = '{method}{url}'", "signed"),
        ("header = 'x'\nsigned = '{header:x-a}.'", "signed"),
        ("header = 'x'\nsigned = '{json:a}{body}'", "signed"),
        ("header = 'x'\nsigned = '{json:/a}{json:/b}'", "signed"),
        ("header = 'x'\nsigned = '{json*:/a}:{json*:/b}'", "signed"),
        ("header = 'x'\nsigned = '{twilio}.{body}'", "signed"),
        ("header = 'x'\nsigned = '{body}{header:x-a}'", "signed"),
        ("header = 'x'\nid = 'header:x-id'\nsigned = '{body}.{id}'", "signed"),
        ("header = 'x'\nsigned = '{body}.{json:/a}'", "signed"),
        ("header = 'x'\ntimestamp = 'json:/t'\nsigned = '{json:/a}'", "timestamp"),
        ("header = 'x-#'\nlayout = 'versioned'\nversion = 'v1'", "layout"),
        ("header = 'x'\nrepeats = true\nlayout = 'piped'", "layout"),
    ] {
        let spec = spec(&format!("{hmac}{text}"));
        assert_eq!(Verifier::new(&spec, vec![secret(SECRET)]).unwrap_err().field, field, "{text}");
        assert_eq!(Verifier::mistakes(&spec)[0].field, field, "{text}");
    }
}
