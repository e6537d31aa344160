//! Every way to break a signed request.

use aws_lc_rs::hmac;

use super::*;

const NOW: u64 = 1_492_774_577;

fn good() -> (Verifier, Vector) {
    let vector = stripe();
    (verifier(&preset("stripe"), &[&vector.secret]), vector)
}

fn stripe_signature(value: &str, now: u64) -> Result<(), Rejection> {
    let (verifier, vector) = good();
    verdict(&verifier, vector.having("Stripe-Signature", value), now)
}

/// The Stripe vector's signature.
fn hex() -> String {
    stripe().header("Stripe-Signature").split_once("v1=").unwrap().1.to_owned()
}

fn webhook() -> (Verifier, Vector, u64) {
    let vector = standard().remove(0);
    let now = vector.header("webhook-timestamp").parse().unwrap();
    (verifier(&preset("standard-webhooks"), &[&vector.secret]), vector, now)
}

fn webhook_signature(value: &str) -> Result<(), Rejection> {
    let (verifier, vector, now) = webhook();
    verdict(&verifier, vector.having("webhook-signature", value), now)
}

#[test]
fn a_missing_empty_or_repeated_header_is_refused() {
    let (verifier, vector, now) = webhook();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        assert_eq!(verdict(&verifier, vector.lacking(name), now), Err(Rejection::Missing));
        assert_eq!(verdict(&verifier, vector.having(name, ""), now), Err(Rejection::Missing));
        let twice = with(vector.delivery(), &[(name, vector.header(name))]);
        assert_eq!(verdict(&verifier, twice, now), Err(Rejection::Repeated));
        let empty_too = with(vector.delivery(), &[(name, "")]);
        assert_eq!(verdict(&verifier, empty_too, now), Err(Rejection::Repeated));
    }
}

#[test]
fn a_signature_cut_or_changed_at_any_byte_is_refused() {
    let cases = [(good().0, stripe(), "Stripe-Signature", NOW), {
        let (verifier, vector, now) = webhook();
        (verifier, vector, "webhook-signature", now)
    }];
    for (verifier, vector, name, now) in cases {
        let value = vector.header(name).to_owned();
        for at in 0..value.len() {
            let cut = vector.having(name, &value[..at]);
            assert!(verdict(&verifier, cut, now).is_err(), "cut at {at}");
            let cut = vector.having(name, &value[at + 1..]);
            assert!(verdict(&verifier, cut, now).is_err(), "cut before {at}");
            for bit in 0..7 {
                let mut bytes = value.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(flipped) = HeaderValue::from_bytes(&bytes) else { continue };
                let mut sent = vector.delivery();
                sent.headers.insert(HeaderName::try_from(name).unwrap(), flipped);
                assert!(verdict(&verifier, sent, now).is_err(), "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn a_changed_id_timestamp_body_or_secret_is_refused() {
    let (verifier, vector, now) = webhook();
    let wrong = |delivery| assert_eq!(verdict(&verifier, delivery, now), Err(Rejection::Wrong));
    wrong(vector.having("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJeK"));
    wrong(vector.having("webhook-timestamp", "1614265331"));
    // The same number, but not written as it is.
    let zero = vector.having("webhook-timestamp", "01614265330");
    assert_eq!(verdict(&verifier, zero, now), Err(Rejection::Malformed));
    for at in 0..vector.body.len() {
        let mut sent = vector.delivery();
        let mut body = sent.body.to_vec();
        body[at] ^= 1;
        sent.body = body.into();
        wrong(sent);
    }
    for body in ["", "{\"test\":2432232314}", "{\"test\": 2432232314}\n"] {
        let mut sent = vector.delivery();
        sent.body = Bytes::from_static(body.as_bytes());
        wrong(sent);
    }
    let other = super::verifier(&preset("standard-webhooks"), &[&standard()[1].secret]);
    assert_eq!(verdict(&other, vector.delivery(), now), Err(Rejection::Wrong));
}

#[test]
fn a_timestamp_outside_the_tolerance_is_refused_either_way() {
    let (verifier, vector) = good();
    let at = |now: Millis| verifier.check(vector.delivery(), now).map(|_verified| ());
    assert_eq!(at(seconds(NOW + 300)), Ok(()));
    assert_eq!(at(Millis((NOW + 300) * 1000 + 999)), Ok(()));
    assert_eq!(at(seconds(NOW + 301)), Err(Rejection::Stale));
    assert_eq!(at(seconds(NOW - 300)), Ok(()));
    assert_eq!(at(seconds(NOW - 301)), Err(Rejection::Future));
    assert_eq!(at(Millis(0)), Err(Rejection::Future));
    assert_eq!(at(Millis(u64::MAX)), Err(Rejection::Stale));
}

#[test]
fn a_timestamp_that_is_not_digits_is_refused_though_it_is_signed() {
    let spec = spec(
        "scheme = 'hmac-sha256'\nheader = 'x-sig'\nsigned = '{timestamp}.{body}'\ntimestamp = 'header:x-time'",
    );
    let verifier = verifier(&spec, &["0123456789abcdef"]);
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
    let check = |stamp: &str| {
        let tag = hmac::sign(&key, format!("{stamp}.body").as_bytes());
        let signature = data_encoding::HEXLOWER.encode(tag.as_ref());
        let sent = with(delivery("body"), &[("x-time", stamp), ("x-sig", &signature)]);
        verdict(&verifier, sent, NOW)
    };
    assert_eq!(check("1492774577"), Ok(()));
    let over = "18446744073709551616";
    for stamp in
        ["+1492774577", "-1", "1492774577.0", "1492774577 ", "0x58f9e7b1", "1e9", over, "now"]
    {
        assert_eq!(check(stamp), Err(Rejection::Malformed), "{stamp:?}");
    }
    assert_eq!(check("18446744073709551615"), Err(Rejection::Future));
    assert_eq!(check(""), Err(Rejection::Missing));
}

#[test]
fn only_v1_of_stripe_counts() {
    let hex = hex();
    assert_eq!(stripe_signature(&format!("t={NOW},v0={hex}"), NOW), Err(Rejection::Unsupported));
    assert_eq!(stripe_signature(&format!("t={NOW},V1={hex}"), NOW), Err(Rejection::Unsupported));
    assert_eq!(stripe_signature(&format!("t={NOW}"), NOW), Err(Rejection::Unsupported));
    assert_eq!(stripe_signature(&format!("v1={hex}"), NOW), Err(Rejection::Missing));
    assert_eq!(stripe_signature(&format!("t=,v1={hex}"), NOW), Err(Rejection::Missing));
    assert_eq!(stripe_signature(&format!("t={NOW},v1="), NOW), Err(Rejection::Malformed));
    assert_eq!(stripe_signature(&format!("v9=x,v0=00,v1={hex},t={NOW},,="), NOW), Ok(()));
}

#[test]
fn a_timestamp_written_twice_is_refused() {
    let (hex, old) = (hex(), NOW - 9000);
    for value in [
        format!("t={NOW},t={NOW},v1={hex}"),
        format!("t={NOW},v1={hex},t={old}"),
        format!("t={old},t={NOW},v1={hex}"),
    ] {
        assert_eq!(stripe_signature(&value, NOW), Err(Rejection::Repeated));
    }
}

#[test]
fn a_bad_signature_beside_a_good_one_is_skipped() {
    let hex = hex();
    for bad in ["bad_signature", "", "00", &"0".repeat(64), &hex[..62], &format!("{hex}00")] {
        for value in [format!("t={NOW},v1={bad},v1={hex}"), format!("t={NOW},v1={hex},v1={bad}")] {
            assert_eq!(stripe_signature(&value, NOW), Ok(()), "{value}");
        }
    }
}

#[test]
fn hex_of_the_other_case_or_of_another_length_is_refused() {
    let hex = hex();
    let malformed = [
        hex.to_uppercase(),
        hex[..32].to_owned(),
        format!("{hex}00"),
        format!("0x{hex}"),
        "zz".repeat(32),
    ];
    for bad in malformed {
        assert_eq!(stripe_signature(&format!("t={NOW},v1={bad}"), NOW), Err(Rejection::Malformed));
    }
    // As if the bytes themselves were sent.
    assert_eq!(
        stripe_signature(&format!("t={NOW},v1={}", "\u{e9}".repeat(32)), NOW),
        Err(Rejection::Malformed)
    );
}

#[test]
fn base64_has_one_spelling() {
    let (_, vector, _) = webhook();
    let signature = vector.header("webhook-signature");
    assert!(signature.ends_with("OE="));
    let bare = signature.trim_end_matches('=');
    let bits = signature.replace("OE=", "OF=");
    let url_safe = signature.replace('+', "-").replace('/', "_");
    let no_version = &signature[3..];
    for bad in [bare, &bits, &url_safe, &format!("{bare}=="), "v1,", "v1,AA==", "v1,!"] {
        assert_eq!(webhook_signature(bad), Err(Rejection::Malformed), "{bad}");
    }
    for bad in [no_version, "v1", ",", "v2,AAAA", &signature.replace("v1,", "v1a,")] {
        assert_eq!(webhook_signature(bad), Err(Rejection::Unsupported), "{bad}");
    }
    assert_eq!(webhook_signature(&format!("v1a,AAAA v1, v9,? {signature}")), Ok(()));
}

#[test]
fn a_published_v1a_signature_is_not_taken_for_v1() {
    let vector =
        standard().into_iter().find(|vector| vector.provider == "standard-webhooks-v1a").unwrap();
    let (verifier, _, now) = webhook();
    assert_eq!(verdict(&verifier, vector.delivery(), now), Err(Rejection::Unsupported));
}

#[test]
fn signatures_without_end_are_refused_though_one_is_right() {
    let (hex, many) = (hex(), |count| "v1=00,".repeat(count));
    assert_eq!(stripe_signature(&format!("t={NOW},{}v1={hex}", many(15)), NOW), Ok(()));
    assert_eq!(
        stripe_signature(&format!("t={NOW},{}v1={hex}", many(16)), NOW),
        Err(Rejection::TooLarge)
    );
    assert_eq!(
        stripe_signature(&format!("v1={hex},{}t={NOW}", many(600)), NOW),
        Err(Rejection::TooLarge)
    );
    let padded = format!("t={NOW},v1={hex},x={}", "x".repeat(MAX_HEADER));
    assert_eq!(stripe_signature(&padded, NOW), Err(Rejection::TooLarge));
    let signature = webhook().1.header("webhook-signature").to_owned();
    assert_eq!(
        webhook_signature(&format!("{signature} {}", "v1, ".repeat(1000))),
        Err(Rejection::TooLarge)
    );
    let (verifier, vector, now) = webhook();
    let long = vector.having("webhook-id", &"x".repeat(MAX_HEADER + 1));
    assert_eq!(verdict(&verifier, long, now), Err(Rejection::TooLarge));
}

/// Else `a.1614265330` at `5` and `a` at `1614265330.5` would be one message.
#[test]
fn an_id_with_a_dot_is_refused_though_it_is_signed() {
    let (verifier, vector, now) = webhook();
    let key = hmac::Key::new(
        hmac::HMAC_SHA256,
        &data_encoding::BASE64.decode(&vector.secret.as_bytes()["whsec_".len()..]).unwrap(),
    );
    for (id, expected) in [("msg_1", Ok(())), ("msg.1", Err(Rejection::Malformed))] {
        let tag = hmac::sign(&key, format!("{id}.{now}.{{}}").as_bytes());
        let signature = format!("v1,{}", data_encoding::BASE64.encode(tag.as_ref()));
        let headers = [
            ("webhook-id", id),
            ("webhook-timestamp", &now.to_string()),
            ("webhook-signature", &signature),
        ];
        assert_eq!(verdict(&verifier, with(delivery("{}"), &headers), now), expected);
    }
}

#[test]
fn header_sets_are_used_whole_and_never_mixed() {
    let (_, vector, now) = webhook();
    let both = verifier(&preset("svix"), &[&vector.secret]);
    let svix = |names: &[&str]| -> Vec<(String, String)> {
        let own = |name: &&str| {
            (format!("svix-{name}"), vector.header(&format!("webhook-{name}")).to_owned())
        };
        names.iter().map(own).collect()
    };
    let send = |base: Delivery, headers: &[(String, String)]| {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        both.check(with(base, &headers), seconds(now))
            .map(|verified| verified.signed_id().map(str::to_owned))
    };
    let id = Ok(Some(vector.header("webhook-id").to_owned()));
    assert_eq!(send(delivery(&vector.body), &svix(&["id", "timestamp", "signature"])), id);
    // A part of a set is no set.
    for missing in ["id", "timestamp", "signature"] {
        let rest: Vec<_> =
            ["id", "timestamp", "signature"].into_iter().filter(|name| *name != missing).collect();
        let other = vector.lacking(&format!("webhook-{}", rest[0]));
        assert_eq!(send(other, &svix(&rest)), Err(Rejection::Missing));
    }
    // An unsigned svix-id beside a signed webhook-id changes nothing.
    let stray = [("svix-id".to_owned(), "msg_other".to_owned())];
    assert_eq!(send(vector.delivery(), &stray), id);
    // The whole svix set goes first, even if the other would pass.
    let mut forged = svix(&["timestamp", "signature"]);
    forged.push(("svix-id".to_owned(), "msg_other".to_owned()));
    assert_eq!(send(vector.delivery(), &forged), Err(Rejection::Wrong));
}
