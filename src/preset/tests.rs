//! Every file can be read, and says nothing that contradicts itself.

use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

use super::*;
use crate::key::{Rule, Scope, Split};
use crate::time::Millis;
use crate::verify::{Certificate, Private, Rejection, Scheme, Secret, Verifier};

mod handshakes;
mod traps;

#[test]
fn every_file_is_a_preset() {
    for file in FILES {
        if let Err(error) = toml::from_str::<Preset>(file) {
            panic!("{error}");
        }
    }
    assert_eq!(all().len(), FILES.len());
    assert!(all().is_sorted_by(|a, b| a.name < b.name));
    assert!(find("custom").is_none());
    assert_eq!(find("stripe").unwrap().title, "Stripe");
}

/// A secret in every format that presets have: text, base64 and hexadecimal.
const SECRET: &[u8] = b"44782def547aaa06c910c43932b1eb0c71fc68d9d0c05755";

/// A private key, and the certificate that is taken for the provider's.
static ISSUED: LazyLock<(SecretString, Certificate)> = LazyLock::new(|| {
    let (private, certificate) = verify::made();
    (private, Certificate::from_pem(certificate.as_bytes()).unwrap())
});

/// One that signs as the provider does too, whatever the scheme.
fn verifier(preset: &Preset) -> Verifier {
    let spec = &preset.verify;
    let url = "https://shop.example/hooks/x";
    if spec.is_open() {
        return Verifier::new(spec, Vec::<Secret>::new()).unwrap();
    }
    if spec.scheme.is_certified() {
        let private = Private::from_pem(spec.scheme, ISSUED.0.expose_secret()).unwrap();
        let ours = "arn:aws:sns:us-east-1:123456789012:orders".to_owned();
        let verifier = Verifier::new(spec, Vec::<Secret>::new()).unwrap();
        return verifier.named(vec![ours]).holding(private);
    }
    if spec.scheme.is_asymmetric() {
        let (private, _pem) = Private::generate(spec.scheme).unwrap();
        let public = SecretSlice::from(private.public(spec).unwrap().into_bytes());
        let public = Secret { value: public, id: Some("sample".to_owned()) };
        return Verifier::new(spec, vec![public]).unwrap().at(url).holding(private);
    }
    let basic = spec.scheme == Scheme::Basic;
    let secret = if basic { b"shop:correct horse battery" as &[u8] } else { SECRET }.to_vec();
    let secret = Secret { value: SecretSlice::from(secret), id: Some("sample".to_owned()) };
    Verifier::new(spec, vec![secret]).unwrap().at(url)
}

/// `delivery`, signed and verified.
fn verified(preset: &Preset, mut delivery: verify::Delivery) -> verify::Verified {
    let verifier = verifier(preset);
    verifier.sign(&mut delivery, "sample-1", Millis(0)).unwrap();
    verifier.check_by(delivery, Millis(0), Some(&ISSUED.1)).unwrap()
}

/// What `delivery` is greeted with, once its signature was checked.
fn greeted(preset: &Preset, delivery: &verify::Verified) -> Option<Greeting> {
    let (verifier, delivery) = (verifier(preset), delivery.delivery());
    let asked = Asked { delivery, verified: true, verifier: &verifier, token: None };
    greet(&preset.handshakes, asked).transpose().unwrap()
}

/// The key of the delivery, or of the one element that it has.
fn key(preset: &Preset, verified: &verify::Verified) -> String {
    let mut keys = keys(preset, verified);
    assert_eq!(keys.len(), 1, "{}: a sample is one event", preset.name);
    keys.remove(0)
}

/// The keys of the delivery's events.
fn keys(preset: &Preset, verified: &verify::Verified) -> Vec<String> {
    let rule = Rule::new(&preset.key).unwrap();
    let body = &verified.delivery().body;
    let split = preset.batch.as_ref().map(|batch| batch.split(body).unwrap());
    let scopes: Vec<_> = match &split {
        None => vec![Scope::Whole],
        Some(Split::Elements(elements)) => elements.iter().map(|it| Scope::Element(it)).collect(),
        Some(other) => panic!("{}: no batch but {other:?}", preset.name),
    };
    let key = |scope| rule.derive_of(verified, scope, uuid::Uuid::nil).unwrap().text;
    scopes.into_iter().map(key).collect()
}

#[test]
fn every_preset_verifies_the_sample_it_signs_and_keys_it() {
    for preset in all() {
        let name = &preset.name;
        let sample = verified(preset, preset.sample.delivery("sample-1").unwrap());
        let text = key(preset, &sample);
        match preset.key.parts.as_slice() {
            [] => assert!(text.starts_with('='), "{name}: {text}"),
            // The payload itself, which is long.
            [part] if part == "form:bt_payload" => {},
            _ => assert!(text.contains("sample-1"), "{name}: {text}"),
        }
        assert_eq!(greeted(preset, &sample), None, "{name}");
        let kind = sample.delivery().headers["content-type"].to_str().unwrap();
        let form = kind.starts_with("application/x-www-form-urlencoded");
        let body: Result<serde_json::Value, _> = serde_json::from_slice(&sample.delivery().body);
        assert_eq!(body.is_err(), form, "{name}: {body:?}");

        let other = verified(preset, preset.sample.delivery("sample-2").unwrap());
        let same = preset.key.parts == ["signed:id"] || text.starts_with("=once.");
        assert_eq!(key(preset, &other) == text, same, "{name}: only a signed id is the signer's");
    }
}

/// Why `delivery` does not pass.
fn verdict(verifier: &Verifier, delivery: verify::Delivery) -> Option<Rejection> {
    verifier
        .certificate(&delivery, Millis(0))
        .and_then(|_address| verifier.check_by(delivery, Millis(0), Some(&ISSUED.1)))
        .err()
}

#[test]
fn every_preset_refuses_what_lacks_has_empty_or_doubles_a_header_of_its_scheme() {
    for preset in all() {
        let (name, verifier) = (&preset.name, verifier(preset));
        let mut sent = preset.sample.delivery("sample-1").unwrap();
        verifier.sign(&mut sent, "sample-1", Millis(0)).unwrap();
        let there: Vec<_> =
            verifier.headers().filter(|name| sent.headers.contains_key(*name)).cloned().collect();
        assert!(!there.is_empty() || preset.verify.header.is_empty(), "{name}");
        for header in there {
            let mut lacking = sent.clone();
            let value = lacking.headers.remove(&header).unwrap();
            assert_eq!(verdict(&verifier, lacking.clone()), Some(Rejection::Missing), "{name}");
            lacking.headers.insert(&header, "".parse().unwrap());
            assert_eq!(verdict(&verifier, lacking), Some(Rejection::Missing), "{name}");
            let mut doubled = sent.clone();
            doubled.headers.append(&header, value);
            let twice = verdict(&verifier, doubled);
            let of_many = header.as_str().eq_ignore_ascii_case(&preset.verify.header);
            let allowed = preset.verify.repeats && of_many;
            assert_eq!(twice, (!allowed).then_some(Rejection::Repeated), "{name}: {header}");
        }
    }
}

#[test]
fn every_preset_takes_the_old_secret_beside_the_new_and_no_other() {
    const NEW: &[u8] = b"99aa11def547aaa06c910c43932b1eb0c71fc68d9d0c0575";
    for preset in all().iter().filter(|preset| !preset.verify.scheme.is_asymmetric()) {
        let (name, spec) = (&preset.name, &preset.verify);
        if spec.is_open() || spec.scheme.is_certified() {
            continue;
        }
        let of = |secrets: &[&[u8]]| {
            let secrets: Vec<_> =
                secrets.iter().map(|secret| SecretSlice::from(secret.to_vec())).collect();
            Verifier::new(spec, secrets).unwrap().at("https://shop.example/hooks/x")
        };
        let (old, new): (&[u8], &[u8]) = if spec.scheme == Scheme::Basic {
            (b"shop:correct horse battery", b"shop:another horse battery")
        } else {
            (SECRET, NEW)
        };
        let mut sent = preset.sample.delivery("sample-1").unwrap();
        of(&[old]).sign(&mut sent, "sample-1", Millis(0)).unwrap();
        assert_eq!(verdict(&of(&[new, old]), sent.clone()), None, "{name}");
        assert_eq!(verdict(&of(&[new]), sent), Some(Rejection::Wrong), "{name}");
    }
}

#[test]
fn a_sample_completes_a_delivery_and_replaces_nothing() {
    let github = find("github").unwrap();
    let mut delivery = find("stripe").unwrap().sample.delivery("7").unwrap();
    delivery.headers.insert("x-github-event", "issues".parse().unwrap());
    let body = delivery.body.clone();
    github.sample.complete(&mut delivery, "8").unwrap();
    assert_eq!(delivery.headers["x-github-event"], "issues");
    assert_eq!(delivery.headers["x-github-delivery"], "8");
    assert_eq!(delivery.body, body);
    assert!(
        github
            .sample
            .complete(&mut find("stripe").unwrap().sample.delivery("7").unwrap(), "a\nb")
            .is_err()
    );
}

#[test]
fn shopify_is_keyed_by_the_set_of_headers_that_was_verified() {
    let shopify = find("shopify").unwrap();
    let verifier = verifier(shopify);
    assert_eq!(verifier.family(), Some("X-Shopify"));
    let mut first = shopify.sample.delivery("first").unwrap();
    verifier.sign(&mut first, "", Millis(0)).unwrap();
    first.headers.insert("shopify-webhook-id", "second".parse().unwrap());
    assert_eq!(key(shopify, &verifier.check(first.clone(), Millis(0)).unwrap()), "first");
    // The same with the signature in the other set.
    let signature = first.headers.remove("x-shopify-hmac-sha256").unwrap();
    first.headers.insert("shopify-hmac-sha256", signature);
    assert_eq!(key(shopify, &verifier.check(first.clone(), Millis(0)).unwrap()), "second");
    // An id of another set is no id.
    first.headers.remove("shopify-webhook-id");
    assert!(key(shopify, &verifier.check(first, Millis(0)).unwrap()).starts_with("=body."));
}

fn delivery(body: &str) -> verify::Delivery {
    let mut delivery = find("slack").unwrap().sample.delivery("1").unwrap();
    delivery.body = bytes::Bytes::copy_from_slice(body.as_bytes());
    delivery
}

#[test]
fn slack_is_answered_its_challenge_and_github_its_ping() {
    let slack = find("slack").unwrap();
    let body = r#"{"token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
    let asked = verified(slack, delivery(body));
    let greeting = greeted(slack, &asked).unwrap();
    assert_eq!(greeting.body, "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P");
    let headers = [("content-type", "text/plain"), ("x-content-type-options", "nosniff")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!((greeting.status, greeting.headers), (200, headers.to_vec()));

    let github = find("github").unwrap();
    let mut ping = github.sample.delivery("1").unwrap();
    ping.headers.insert("x-github-event", "ping".parse().unwrap());
    let greeting = greeted(github, &verified(github, ping.clone())).unwrap();
    assert_eq!((greeting.status, greeting.body.as_str()), (200, "pong"));
    // Said twice, it is not said.
    ping.headers.append("x-github-event", "ping".parse().unwrap());
    assert_eq!(greeted(github, &verified(github, ping)), None);
}

#[test]
fn a_challenge_without_a_text_to_echo_is_no_handshake() {
    let slack = find("slack").unwrap();
    let long = |length: usize| {
        format!(r#"{{"type":"url_verification","challenge":"{}"}}"#, "x".repeat(length))
    };
    for body in [
        r#"{"type":"url_verification"}"#,
        r#"{"type":"url_verification","challenge":""}"#,
        r#"{"type":"url_verification","challenge":null}"#,
        r#"{"type":"url_verification","challenge":{"a":1}}"#,
        r#"{"type":"url_verification","challenge":"a","challenge":"b"}"#,
        r#"{"type":"url_verification","type":"event_callback","challenge":"a"}"#,
        r#"{"type":"url_verification","challenge":"a""#,
        r#"{"type":"URL_verification","challenge":"a"}"#,
        r#"{"event":{"type":"url_verification"},"type":"event_callback","challenge":"a"}"#,
        "type=url_verification&challenge=a",
        &long(1025),
    ] {
        assert_eq!(greeted(slack, &verified(slack, delivery(body))), None, "{body}");
    }
    assert!(greeted(slack, &verified(slack, delivery(&long(1024)))).is_some());
}

#[test]
fn what_slack_sends_without_an_event_id_is_an_event_of_its_own() {
    let slack = find("slack").unwrap();
    let command = delivery("command=%2Fdeploy&trigger_id=398738663015.47445629121.803a0bc8");
    assert!(key(slack, &verified(slack, command)).starts_with("=once."));
}

#[test]
fn every_preset_is_sound() {
    for preset in all() {
        let name = &preset.name;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(name.bytes().all(plain), "{name}");
        assert!(preset.ttl > preset.horizon, "{name}: a copy could come after its key is gone");
        assert!(
            preset.wait >= Duration::from_millis(500) && preset.wait <= Duration::from_secs(30),
            "{name}"
        );
        assert!((200..300).contains(&preset.acknowledgement.status), "{name}");
        let kept = preset.retries || preset.answers || preset.mode == Mode::Queue;
        assert!(kept, "{name}: what fails would be lost");
        let rule = Rule::new(&preset.key).unwrap();
        let sound = preset.mode == Mode::Queue && rule.mistake_in_a_batch().is_none();
        assert!(preset.batch.is_none() || sound, "{name}: its elements are no events");
        assert!(preset.max_body >= 64 * 1024, "{name}");
        assert!(preset.secret_min() >= 16, "{name}");
        assert!(!preset.facts.sources.is_empty(), "{name}");
        assert!(preset.facts.sources.iter().all(|url| url.starts_with("https://")), "{name}");
        for handshake in &preset.handshakes {
            assert!((200..300).contains(&handshake.status), "{name}");
            let answer = handshake.body.as_deref().unwrap_or_default();
            let free = !handshake.signed || handshake.method != Asking::Post;
            if free && answer.contains("{hmac}") {
                let known = handshake.shape == Shape::Challenge && preset.verify.signed_min > 33;
                assert!(known, "{name}: it would sign an event for whoever asks");
            }
        }
        assert!(preset.facts.date.len() == 7 && !preset.facts.notes.is_empty(), "{name}");
        let told = preset.facts.notes.iter().all(|note| !note.starts_with("Unconfirmed"));
        assert!(told, "{name}: what is not confirmed has a place of its own");
        let reported = preset.facts.confidence == Confidence::Reports;
        assert!(!reported || !preset.facts.unconfirmed.is_empty(), "{name}");
    }
}

#[test]
fn the_data_file_of_the_documents_is_a_preset() {
    let page = include_str!("../../docs/adding-a-provider.md");
    let blocks: Vec<_> = page.split("```toml\n").skip(1).collect();
    let file = blocks[1].split("```").next().unwrap();
    let shown: Preset = toml::from_str(file).unwrap_or_else(|error| panic!("{error}"));
    let real = find("bitbucket").unwrap();
    assert_eq!((&shown.verify, &shown.key), (&real.verify, &real.key));
    assert_eq!((shown.wait, shown.ttl, shown.horizon), (real.wait, real.ttl, real.horizon));
}

#[test]
fn custom_passes_nothing_until_the_settings_name_a_header() {
    let custom = Preset::custom();
    assert!(!custom.verify.is_open());
    let secret = SecretSlice::from(vec![b'x'; 32]);
    assert_eq!(Verifier::new(&custom.verify, vec![secret]).unwrap_err().field, "header");
    assert!(Rule::new(&custom.key).is_ok());
    assert!(custom.ttl > custom.horizon);
}
