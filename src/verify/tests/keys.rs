//! With what a signature is checked: private keys and public ones, secrets that are written
//! otherwise, tokens, passwords.

use super::wider::{NOW, OTHER, SECRET, called, changed, sample, signed};
use super::*;

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
fn a_public_key_is_no_secret() {
    let hmac = spec("scheme = 'hmac-sha256'\nheader = 'x-sig'");
    for public in [
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE",
        "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ] {
        assert_eq!(Verifier::new(&hmac, vec![secret(public)]).unwrap_err().field, "secrets");
    }
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
