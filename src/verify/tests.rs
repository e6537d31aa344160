//! Each published vector passes, and every way to break one is refused for its own reason.

#![expect(clippy::string_slice, reason = "a test may panic, and the text is ASCII")]

use std::collections::BTreeMap;

use http::HeaderValue;
use secrecy::SecretSlice;
use serde::Deserialize;

use super::*;

mod broken;
mod certified;
mod keys;
mod signing;
mod specs;
mod token;
mod wider;

/// One published request.
#[derive(Clone, Debug, Deserialize)]
struct Vector {
    provider: String,
    /// When it was signed, in Unix seconds.
    #[serde(default)]
    at: Option<u64>,
    #[serde(default)]
    secret: String,
    /// In its place, where the provider signs with a private key.
    #[serde(default)]
    public_key: Option<String>,
    /// What was called, with its query, where that is signed.
    #[serde(default)]
    url: Option<String>,
    body: String,
    headers: BTreeMap<String, String>,
}

fn vectors(json: &str) -> Vec<Vector> {
    serde_json::from_str(json).unwrap()
}

fn standard() -> Vec<Vector> {
    vectors(include_str!("../../tests/vectors/standard-webhooks.json"))
}

fn stripe() -> Vector {
    vectors(include_str!("../../tests/vectors/stripe.json")).remove(0)
}

fn custom() -> Vec<Vector> {
    vectors(include_str!("../../tests/vectors/custom.json"))
}

fn spec(text: &str) -> Spec {
    toml::from_str(text).unwrap()
}

fn preset(name: &str) -> Spec {
    crate::preset::find(name).unwrap().verify.clone()
}

fn secret(text: &str) -> SecretSlice<u8> {
    SecretSlice::from(text.as_bytes().to_vec())
}

fn verifier(spec: &Spec, secrets: &[&str]) -> Verifier {
    Verifier::new(spec, secrets.iter().map(|text| secret(text)).collect()).unwrap()
}

fn delivery(body: &str) -> Delivery {
    Delivery {
        method: Method::POST,
        query: None,
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn with(mut delivery: Delivery, headers: &[(&str, &str)]) -> Delivery {
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        delivery.headers.append(HeaderName::try_from(*name).unwrap(), value);
    }
    delivery
}

impl Vector {
    fn delivery(&self) -> Delivery {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut delivery = with(delivery(&self.body), &headers);
        let query = self.url.as_ref().and_then(|url| url.split_once('?'));
        delivery.query = query.map(|(_, query)| query.to_owned());
        delivery
    }

    /// The verifier of `spec` that the vector is for.
    fn verifier(&self, spec: &Spec) -> Verifier {
        let secret = self.public_key.as_ref().unwrap_or(&self.secret);
        let url = self.url.as_deref().unwrap_or_default();
        verifier(spec, &[secret]).at(url.split('?').next().unwrap())
    }

    /// The vector with one header replaced.
    fn having(&self, name: &str, value: &str) -> Delivery {
        let mut changed = self.clone();
        assert!(changed.headers.insert(name.to_owned(), value.to_owned()).is_some());
        changed.delivery()
    }

    /// The vector without one header.
    fn lacking(&self, name: &str) -> Delivery {
        let mut changed = self.clone();
        assert!(changed.headers.remove(name).is_some());
        changed.delivery()
    }

    fn header(&self, name: &str) -> &str {
        &self.headers[name]
    }
}

fn seconds(at: u64) -> Millis {
    Millis(at * 1000)
}

fn verdict(verifier: &Verifier, delivery: Delivery, now: u64) -> Result<(), Rejection> {
    verifier.check(delivery, seconds(now)).map(|_verified| ())
}

#[test]
fn published_standard_webhooks_pass_under_both_presets() {
    for vector in standard().iter().filter(|vector| vector.provider == "standard-webhooks") {
        let now = seconds(vector.header("webhook-timestamp").parse().unwrap());
        for name in ["standard-webhooks", "svix"] {
            let verifier = verifier(&preset(name), &[&vector.secret]);
            let verified = verifier.check(vector.delivery(), now).unwrap();
            assert_eq!(verified.signed_id(), Some(vector.header("webhook-id")));
            assert_eq!(verified.into_delivery().body, vector.body);
        }
    }
}

#[test]
fn the_stripe_vector_passes() {
    let vector = stripe();
    let verifier = verifier(&preset("stripe"), &[&vector.secret]);
    let verified = verifier.check(vector.delivery(), seconds(1_492_774_577)).unwrap();
    assert_eq!(verified.signed_id(), None);
}

#[test]
fn published_vectors_of_plain_hmac_pass_with_custom_settings() {
    let settings = |provider: &str| match provider {
        "github" => "scheme = 'hmac-sha256'\nheader = 'X-Hub-Signature-256'\nprefix = 'sha256='",
        "bitbucket" => "scheme = 'hmac-sha256'\nheader = 'X-Hub-Signature'\nprefix = 'sha256='",
        "slack" => {
            "scheme = 'hmac-sha256'\nheader = 'X-Slack-Signature'\nprefix = 'v0='
             signed = 'v0:{timestamp}:{body}'\ntimestamp = 'header:X-Slack-Request-Timestamp'"
        },
        "paddle" => {
            "scheme = 'hmac-sha256'\nheader = 'Paddle-Signature'\nlayout = 'pairs'\nversion = 'h1'
             separator = ';'\nsigned = '{timestamp}:{body}'\ntimestamp = 'key:ts'\nsecret_min = 12"
        },
        "adyen-platform" => {
            "scheme = 'hmac-sha256'\nheader = 'hmacsignature'\nencoding = 'base64'
             secret_format = 'hex'"
        },
        other => panic!("no settings for {other}"),
    };
    let vectors = custom();
    assert_eq!(vectors.len(), 6);
    for vector in vectors {
        let now = vector.at.unwrap_or_default();
        let verifier = verifier(&spec(settings(&vector.provider)), &[&vector.secret]);
        assert_eq!(verdict(&verifier, vector.delivery(), now), Ok(()), "{vector:?}");
        let mut other = vector.delivery();
        other.body = Bytes::from_static(b"other");
        assert_eq!(verdict(&verifier, other, now), Err(Rejection::Wrong), "{vector:?}");
    }
}

#[test]
fn vectors_pass_under_the_preset_of_their_provider() {
    let files = [
        include_str!("../../tests/vectors/custom.json"),
        include_str!("../../tests/vectors/shopify.json"),
        include_str!("../../tests/vectors/presets.json"),
    ];
    let mut seen = Vec::new();
    for vector in files.into_iter().flat_map(vectors) {
        let Some(preset) = crate::preset::find(&vector.provider) else { continue };
        seen.push(vector.provider.clone());
        // Published secrets are short now and then.
        let spec = Spec { secret_min: 1, ..preset.verify.clone() };
        let verifier = vector.verifier(&spec);
        let now = vector.at.unwrap_or_default();
        assert_eq!(verdict(&verifier, vector.delivery(), now), Ok(()), "{vector:?}");
        for body in ["other", "", "{}", "[]"] {
            let mut other = vector.delivery();
            other.body = Bytes::from_static(body.as_bytes());
            assert!(verdict(&verifier, other, now).is_err(), "{vector:?}");
        }
        let of_scheme: Vec<_> = verifier.headers().cloned().collect();
        for name in vector.headers.keys().filter(|name| of_scheme.contains(&name.parse().unwrap()))
        {
            let sent = vector.lacking(name);
            assert_eq!(verdict(&verifier, sent, now), Err(Rejection::Missing), "{name}");
            let sent = vector.having(name, "");
            assert_eq!(verdict(&verifier, sent, now), Err(Rejection::Missing), "{name}");
            let twice = with(vector.delivery(), &[(name, vector.header(name))]);
            assert_eq!(verdict(&verifier, twice, now), Err(Rejection::Repeated), "{name}");
        }
    }
    seen.sort_unstable();
    let of_vectors = crate::preset::all().iter().filter(|preset| {
        let elsewhere = ["standard-webhooks", "svix"].contains(&preset.name.as_str());
        preset.facts.confidence == crate::preset::Confidence::Vectors && !elsewhere
    });
    for preset in of_vectors {
        assert!(seen.contains(&preset.name), "{}: no vector is checked", preset.name);
    }
}

/// RFC 2202 case 2 and RFC 4231 case 2: key `Jefe`, the same text.
#[test]
fn each_algorithm_is_the_one_it_is_called() {
    let cases = [
        ("hmac-sha1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        ("hmac-sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            "hmac-sha512",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ];
    for (scheme, signature) in cases {
        let spec = spec(&format!("scheme = '{scheme}'\nheader = 'x-sig'\nsecret_min = 4"));
        let verifier = verifier(&spec, &["Jefe"]);
        for (_, other) in cases {
            let sent = with(delivery("what do ya want for nothing?"), &[("x-sig", other)]);
            let expected = if other == signature { Ok(()) } else { Err(Rejection::Malformed) };
            assert_eq!(verdict(&verifier, sent, 0), expected, "{scheme}");
        }
    }
}

#[test]
fn every_rejection_has_its_own_word() {
    let words: std::collections::BTreeSet<_> = Rejection::ALL.iter().map(|r| r.word()).collect();
    assert_eq!(words.len(), Rejection::ALL.len());
}
