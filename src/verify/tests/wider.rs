//! What no header over the body says: public keys, fields, URLs, elements, several headers, and
//! the traps that providers publish.

use super::*;
use crate::key::MAX_ELEMENTS;

const SECRET: &str = "44782def547aaa06c910c43932b1eb0c71fc68d9d0c05755";
const OTHER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_764_000_000;

fn signed(verifier: &Verifier, mut delivery: Delivery) -> Delivery {
    verifier.sign(&mut delivery, "id-1", seconds(NOW)).unwrap();
    delivery
}

fn sample(name: &str) -> Delivery {
    crate::preset::find(name).unwrap().sample.delivery("7").unwrap()
}

/// The body with `old` in place of `new`, which must be in it.
fn changed(mut delivery: Delivery, old: &str, new: &str) -> Delivery {
    let body = str::from_utf8(&delivery.body).unwrap();
    assert!(body.contains(old), "{body}");
    delivery.body = body.replace(old, new).into();
    delivery
}

fn called(id: &str, text: &str) -> Secret {
    Secret { value: secret(text), id: Some(id.to_owned()) }
}

#[test]
fn a_private_key_signs_and_nothing_else_passes_under_its_public_key() {
    for scheme in [Scheme::Ed25519, Scheme::EcdsaP256Sha256, Scheme::RsaSha256] {
        let mut spec = Spec::new(scheme, "x-sig");
        spec.encoding = Encoding::Base64;
        let pair = || Private::generate(scheme).unwrap();
        let ((private, pem), (other, _)) = (pair(), pair());
        let (public, others) = (private.public(&spec).unwrap(), other.public(&spec).unwrap());
        let ours = verifier(&spec, &[&public]);
        let mut unsigned = delivery("{}");
        assert_eq!(
            ours.sign(&mut unsigned, "", Millis(0)),
            Err(Rejection::Unsupported),
            "a public key signs nothing"
        );
        let read = {
            use secrecy::ExposeSecret as _;
            Private::from_pem(scheme, pem.expose_secret()).unwrap()
        };
        let sent = signed(&ours.clone().holding(read), delivery("{}"));
        assert_eq!(verdict(&ours, sent.clone(), NOW), Ok(()), "{scheme:?}");
        // During a rotation either key passes.
        let both = verifier(&spec, &[&others, &public]);
        assert_eq!(verdict(&both, sent.clone(), NOW), Ok(()));
        let wrong = Err(Rejection::Wrong);
        assert_eq!(verdict(&verifier(&spec, &[&others]), sent.clone(), NOW), wrong);
        assert_eq!(verdict(&ours, changed(sent.clone(), "{}", "[]"), NOW), wrong);
        // The public key is no secret: an HMAC made with it is no signature.
        let hmac = Spec { scheme: Scheme::HmacSha512, ..spec.clone() };
        let forged = signed(&verifier(&hmac, &[&public]), delivery("{}"));
        assert!(verdict(&ours, forged, NOW).is_err());
        // With the armour and the lines of PEM it is the same key.
        let lines = format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n");
        if scheme != Scheme::Ed25519 {
            assert_eq!(verdict(&verifier(&spec, &[&lines]), sent, NOW), Ok(()));
        }
        assert_eq!(format!("{private:?}"), "Private(..)");
    }
}

#[test]
fn a_key_of_another_kind_is_refused_by_the_settings() {
    let ecdsa = Private::generate(Scheme::EcdsaP256Sha256).unwrap().0;
    let text = ecdsa.public(&Spec::new(Scheme::EcdsaP256Sha256, "x")).unwrap();
    for scheme in [Scheme::Ed25519, Scheme::RsaSha256] {
        let error = Verifier::new(&Spec::new(scheme, "x-sig"), vec![secret(&text)]).unwrap_err();
        assert_eq!(error.field, "secrets");
        assert!(!error.to_string().contains(&text));
    }
    assert!(Verifier::new(&Spec::new(Scheme::Ed25519, "x-sig"), Vec::<Secret>::new()).is_err());
    assert_eq!(Private::generate(Scheme::HmacSha256).unwrap_err(), NoKey::Scheme);
    assert_eq!(Private::from_pem(Scheme::Ed25519, "no key").unwrap_err(), NoKey::Text);
}

#[test]
fn the_secret_that_a_request_names_is_the_one_that_counts() {
    let spec = spec("scheme = 'hmac-sha256'\nheader = 'x-sig'\nkey_id = 'header:x-key'");
    let secrets = || vec![called("new", SECRET), called("old", OTHER)];
    let both = Verifier::new(&spec, secrets()).unwrap();
    let sent = signed(&both, delivery("{}"));
    assert_eq!(sent.headers["x-key"], "new");
    assert_eq!(verdict(&both, sent.clone(), NOW), Ok(()));
    let naming = |id: &'static str| {
        let mut sent = sent.clone();
        sent.headers.insert("x-key", HeaderValue::from_static(id));
        sent
    };
    assert_eq!(verdict(&both, naming("old"), NOW), Err(Rejection::Wrong));
    assert_eq!(verdict(&both, naming("none"), NOW), Err(Rejection::Wrong));
    assert_eq!(verdict(&both, naming(""), NOW), Err(Rejection::Missing));
    // A secret without an id is tried whatever is named.
    assert_eq!(verdict(&verifier(&spec, &[SECRET]), naming("none"), NOW), Ok(()));
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
        ("twilio", "form:MessageSid", true),
        ("twilio", "query:foo", true),
        ("square", "json:/event_id", true),
        ("stripe", "query:foo", false),
        ("mailgun", "json:/signature/token", true),
        ("braintree", "form:bt_payload", true),
        ("okta", "json:/uuid", false),
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

/// A token of these claims, signed by `private` under `head`.
fn token(private: &Private, head: &str, claims: &str) -> String {
    let encoded = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    let signed = format!("{}.{}", encoded(head), encoded(claims));
    let signature = private.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", data_encoding::BASE64URL_NOPAD.encode(&signature))
}

/// "alg MUST be ES256", `iat` at most five minutes old, and the hash is of the raw body.
#[test]
fn plaids_token_says_its_algorithm_its_key_its_time_and_the_body() {
    let spec = preset("plaid");
    let pair = || Private::generate(Scheme::JwtEs256).unwrap().0;
    let (private, other) = (pair(), pair());
    let public = called("kid-1", &private.public(&spec).unwrap());
    let ours = Verifier::new(&spec, vec![public.clone()]).unwrap();
    let hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let head = r#"{"alg":"ES256","kid":"kid-1","typ":"JWT"}"#;
    let claims = format!(r#"{{"iat":{NOW},"request_body_sha256":"{hash}"}}"#);
    let sent = |token: &str, now| {
        verdict(&ours, with(delivery("{}"), &[("plaid-verification", token)]), now)
    };
    let right = token(&private, head, &claims);
    assert_eq!(sent(&right, NOW + 300), Ok(()));
    assert_eq!(sent(&right, NOW + 301), Err(Rejection::Stale));
    assert_eq!(sent(&right, NOW - 301), Err(Rejection::Future));
    assert_eq!(sent(&token(&other, head, &claims), NOW), Err(Rejection::Wrong));
    for alg in ["none", "HS256", "ES384", "es256", ""] {
        let head = head.replace("ES256", alg);
        assert_eq!(sent(&token(&private, &head, &claims), NOW), Err(Rejection::Unsupported));
    }
    let kid = head.replace("kid-1", "kid-2");
    assert_eq!(sent(&token(&private, &kid, &claims), NOW), Err(Rejection::Wrong));
    let body = claims.replace("44136f", "44136e");
    assert_eq!(sent(&token(&private, head, &body), NOW), Err(Rejection::Wrong));
    let twice = claims.replacen('{', &format!("{{\"request_body_sha256\":\"{hash}\","), 1);
    assert_eq!(sent(&token(&private, head, &twice), NOW), Err(Rejection::Malformed));
    let unsigned = right.rsplit_once('.').unwrap().0;
    for bad in [unsigned, "", ".", "..", &format!("{unsigned}."), &format!("{right}="), "a.b.c.d"] {
        assert!(sent(bad, NOW).is_err(), "{bad}");
    }
    // Its public key alone is no key without an id, and it signs nothing.
    assert_eq!(Verifier::new(&spec, vec![public.value]).unwrap_err().field, "secrets");
    let mut unsigned = delivery("{}");
    assert_eq!(ours.sign(&mut unsigned, "", seconds(NOW)), Err(Rejection::Unsupported));
}

#[test]
fn basic_takes_a_user_and_a_password_in_one_spelling_of_base64() {
    let spec = spec("scheme = 'basic'\nsecret_min = 1");
    let verifier = verifier(&spec, &["shop:pass:word", "old:password"]);
    let sent =
        |value: &str| verdict(&verifier, with(delivery("{}"), &[("authorization", value)]), NOW);
    assert_eq!(sent("Basic c2hvcDpwYXNzOndvcmQ="), Ok(()));
    assert_eq!(sent("basic b2xkOnBhc3N3b3Jk"), Ok(()));
    assert_eq!(sent("Basic c2hvcDpwYXNzOndvcmQ"), Err(Rejection::Wrong));
    assert_eq!(sent("Bearer c2hvcDpwYXNzOndvcmQ="), Err(Rejection::Malformed));
    assert_eq!(sent("Basic"), Err(Rejection::Malformed));
    assert_eq!(sent(""), Err(Rejection::Missing));
    assert_eq!(verdict(&verifier, signed(&verifier, delivery("{}")), NOW), Ok(()));
    for bad in ["no colon in here", ":only-a-password"] {
        assert_eq!(Verifier::new(&spec, vec![secret(bad)]).unwrap_err().field, "secrets");
    }
    let with_header = super::spec("scheme = 'basic'\nheader = 'x'");
    assert_eq!(Verifier::mistakes(&with_header)[0].field, "header");
}

#[test]
fn a_token_may_be_in_the_query_and_in_each_element() {
    let query = spec("scheme = 'token'\nsignature = 'query:token'");
    let verifier = verifier(&query, &[SECRET]);
    let asked = |query: &str| {
        verdict(&verifier, Delivery { query: Some(query.to_owned()), ..delivery("{}") }, NOW)
    };
    assert_eq!(asked(&format!("a=1&token={SECRET}")), Ok(()));
    assert_eq!(asked(&format!("token={OTHER}")), Err(Rejection::Wrong));
    assert_eq!(asked(&format!("token={SECRET}&token={SECRET}")), Err(Rejection::Repeated));
    assert_eq!(asked("token="), Err(Rejection::Missing));
    assert_eq!(verdict(&verifier, signed(&verifier, delivery("{}")), NOW), Ok(()));

    let graph = super::verifier(&preset("microsoft-graph"), &[SECRET]);
    let sent = signed(&graph, sample("microsoft-graph"));
    assert_eq!(verdict(&graph, sent.clone(), NOW), Ok(()));
    assert_eq!(verdict(&graph, changed(sent.clone(), SECRET, OTHER), NOW), Err(Rejection::Wrong));
    let body: serde_json::Value = serde_json::from_slice(&sent.body).unwrap();
    let mut other = body["value"][0].clone();
    other["clientState"] = OTHER.into();
    let both = serde_json::json!({ "value": [body["value"][0], other] });
    let both = Delivery { body: both.to_string().into(), ..sent };
    assert_eq!(verdict(&graph, both, NOW), Err(Rejection::Wrong), "every element");
}

#[test]
fn a_secret_is_what_its_provider_makes_of_it() {
    let of = |format: &str| {
        let text = format!("scheme = 'hmac-sha256'\nheader = 'x-sig'\nsecret_format = '{format}'");
        Spec { secret_min: 1, ..spec(&text) }
    };
    let same = |format: &str, one: &str, other: &str, format_of_other: &str| {
        let sent = signed(&verifier(&of(format), &[one]), delivery("{}"));
        verdict(&verifier(&of(format_of_other), &[other]), sent, NOW) == Ok(())
    };
    assert!(same("nfkd", "s\u{e9}cret", "se\u{301}cret", "utf8"));
    assert!(!same("nfkd", "s\u{e9}cret", "s\u{e9}cret", "utf8"), "the composed form is another");
    assert!(same("html", "a&amp;b&lt;&quot;&#039;&gt;", "a&b<\"'>", "utf8"));
    assert!(same("html", "&amp;amp;", "&amp;", "utf8"), "decoded once");
    assert!(same("html", "&nbsp; & so", "&nbsp; & so", "utf8"));
    assert!(same("sha1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d", "hex"));
    let short = Spec { secret_min: 16, ..of("sha1") };
    assert!(Verifier::new(&short, vec![secret("short")]).is_err(), "before it is hashed");
    for format in ["nfkd", "html"] {
        let binary = vec![SecretSlice::from(vec![0xff; 32])];
        assert_eq!(Verifier::new(&of(format), binary).unwrap_err().field, "secrets");
    }
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
        ("header = 'x'\nor_signed = 'nothing'", "or_signed"),
        ("header = 'x'\ntimestamp = 'json:/t'\nsigned = '{json:/a}'", "timestamp"),
        ("header = 'x-#'\nlayout = 'versioned'\nversion = 'v1'", "layout"),
        ("header = 'x'\nrepeats = true\nlayout = 'piped'", "layout"),
    ] {
        let spec = spec(&format!("{hmac}{text}"));
        assert_eq!(Verifier::new(&spec, vec![secret(SECRET)]).unwrap_err().field, field, "{text}");
        assert_eq!(Verifier::mistakes(&spec)[0].field, field, "{text}");
    }
}
