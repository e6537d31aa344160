//! Signature headers: what passes was signed, and nothing of it can be changed.

use oncegate::preset;
use oncegate::time::Millis;
use oncegate::verify::{Delivery, Encoding, Layout, Scheme, Secret, Spec, Verifier};

/// The secret that the corpus is signed with, in a format that most presets read.
const SECRET: &[u8] = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &[u8] = b"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// The time the corpus was signed at.
const NOW: Millis = Millis(1_800_000_000_000);

/// The first line names a preset or one of the schemes below. The body's first byte chooses
/// what is changed.
pub fn run(data: &[u8]) {
    let (name, delivery) = crate::request(data);
    let Some(spec) = spec(name.trim()) else { return };
    let verifier = |secret: &[u8]| {
        let id = Some("sample".to_owned());
        let secret = Secret { value: secret.to_vec().into(), id };
        Verifier::new(&spec, vec![secret])
    };
    // A preset may want secrets in a format of its own.
    let (Ok(ours), Ok(others)) = (verifier(SECRET), verifier(OTHER)) else { return };

    let in_body = |place: &Option<String>| {
        place.as_deref().is_some_and(|at| at.starts_with("json:") || at.starts_with("form:"))
    };
    // What is in the body has to be there before it can be signed.
    let whole = spec.covers_body()
        && !spec.repeats
        && !spec.signs_url()
        && !in_body(&spec.timestamp)
        && !in_body(&spec.signature)
        && spec.each.is_none();
    if ours.check(delivery.clone(), NOW).is_ok() {
        rejects(&others, &delivery, "signed with another secret");
        if whole {
            all_of_it_counts(&ours, &delivery);
        }
    }
    let mut signed = delivery;
    let choice = signed.body.first().copied().unwrap_or_default();
    if ours.sign(&mut signed, "evt_1", NOW).is_err() {
        return;
    }
    let passes = ours.check(signed.clone(), NOW);
    if passes.is_ok() && !spec.is_open() {
        rejects(&others, &signed, "signed with another secret");
    }
    if !whole {
        return;
    }
    passes.expect("what was signed here passes");
    all_of_it_counts(&ours, &signed);
    no_byte_can_be_changed(&ours, &signed, choice);
}

fn spec(name: &str) -> Option<Spec> {
    if let Some(preset) = preset::find(name) {
        return Some(preset.verify.clone());
    }
    let plain = Spec::new(Scheme::HmacSha256, "X-Signature");
    Some(match name {
        "plain" => Spec { prefix: "sha256=".to_owned(), ..plain },
        "sha1" => Spec { scheme: Scheme::HmacSha1, ..plain },
        "base64" => Spec { encoding: Encoding::Base64, scheme: Scheme::HmacSha512, ..plain },
        "stamped" => Spec {
            signed: "v0:{timestamp}:{body}".to_owned(),
            timestamp: Some("header:X-Time".to_owned()),
            prefix: "v0=".to_owned(),
            ..plain
        },
        "pairs" => Spec {
            layout: Layout::Pairs,
            version: "h1".to_owned(),
            separator: ';',
            signed: "{timestamp}:{body}".to_owned(),
            timestamp: Some("key:ts".to_owned()),
            ..plain
        },
        _ => return None,
    })
}

fn rejects(verifier: &Verifier, delivery: &Delivery, why: &str) {
    let checked = verifier.check(delivery.clone(), NOW);
    assert!(checked.is_err(), "passed, though {why}: {delivery:?}");
}

/// Another body does not pass, and no other time.
fn all_of_it_counts(verifier: &Verifier, delivery: &Delivery) {
    let mut longer = delivery.clone();
    longer.body = [&longer.body[..], b"!"].concat().into();
    rejects(verifier, &longer, "its body has one more byte");
    for name in verifier.headers() {
        if delivery.headers.contains_key(name) {
            let mut twice = delivery.clone();
            twice.headers.append(name.clone(), delivery.headers[name].clone());
            rejects(verifier, &twice, "a header of the scheme came twice");
        }
    }
}

/// Of what [`Verifier::sign`] wrote, with one secret, every byte counts.
fn no_byte_can_be_changed(verifier: &Verifier, signed: &Delivery, choice: u8) {
    for name in verifier.headers() {
        let Some(value) = signed.headers.get(name) else { continue };
        let mut bytes = value.as_bytes().to_vec();
        let at = usize::from(choice) % bytes.len();
        bytes[at] = if bytes[at] == b'~' { b'!' } else { bytes[at] + 1 };
        if let Ok(value) = http::HeaderValue::from_bytes(&bytes) {
            let mut changed = signed.clone();
            changed.headers.insert(name.clone(), value);
            rejects(verifier, &changed, "a byte of a header was changed");
        }
        let shorter = http::HeaderValue::from_bytes(&value.as_bytes()[..at]).expect("a part of it");
        let mut cut = signed.clone();
        cut.headers.insert(name.clone(), shorter);
        rejects(verifier, &cut, "a header was cut short");
    }
}
