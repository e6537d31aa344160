//! What a preset says, line by line: for `providers show` and for the page.

use oncegate::config::{write_duration, write_size};
use oncegate::preset::{Asking, Handshake, Preset, ReplayGuard};
use oncegate::verify::{Scheme, SecretFormat, Spec};

use super::mode;

/// What is known of `preset`, each with its word.
pub(super) fn of(preset: &Preset) -> Vec<(&'static str, String)> {
    let Preset { verify, acknowledgement, .. } = preset;
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let mut facts = vec![("signature", signature(verify))];
    facts.extend(place(verify).map(|place| ("where", place)));
    facts.extend(stamp(verify).map(|stamp| ("timestamp", stamp)));
    facts.extend(secret(verify).map(|secret| ("secret", secret.to_owned())));
    facts.push(("key", key(preset)));
    facts.push(("key is signed", yes(preset.signs_its_key())));
    if verify.signs() && !verify.covers_body() {
        facts.push(("body is signed", "only what is named".to_owned()));
    }
    if preset.replay_guard != ReplayGuard::Off {
        facts.push(("replay_guard", preset.replay_guard.word().to_owned()));
    }
    facts.extend(preset.order_hint.clone().map(|hint| ("newer by", hint)));
    facts.extend(preset.handshakes.iter().map(|it| ("handshake", handshake(it))));
    let by_itself = if preset.retries { "by itself" } else { "never by itself" };
    let success = match acknowledgement.body.as_str() {
        "" => acknowledgement.status.to_string(),
        body => format!("{} with {body}", acknowledgement.status),
    };
    facts.extend([
        ("retries", by_itself.to_owned()),
        ("mode", mode(preset.mode).to_owned()),
        ("wait", write_duration(preset.wait)),
        ("ttl", write_duration(preset.ttl)),
        ("may repeat", format!("for {}, by hand included", write_duration(preset.horizon))),
        ("max_body", write_size(preset.max_body as u64)),
        ("success", success),
    ]);
    facts
}

/// The least that a source of the provider needs.
pub(super) fn settings(preset: &Preset) -> String {
    let (name, verify) = (&preset.name, &preset.verify);
    let variable = name.to_uppercase().replace('-', "_");
    let kind = if verify.scheme.is_asymmetric() { "PUBLIC_KEY" } else { "SECRET" };
    let secrets = if verify.is_open() {
        String::new()
    } else if verify.scheme == Scheme::AwsSns {
        "topics   = [\"arn:aws:sns:us-east-1:123456789012:orders\"]\n".to_owned()
    } else if verify.scheme == Scheme::Paypal {
        "webhook_id = \"4JH86294D6297924G\"\n".to_owned()
    } else {
        format!("secrets  = [{{ env = \"{variable}_{kind}\" }}]\n")
    };
    let word = if preset.handshakes.iter().any(|it| it.token.is_some()) {
        format!("verify_token = {{ env = \"{variable}_VERIFY_TOKEN\" }}\n")
    } else {
        String::new()
    };
    let server = if verify.signs_url() {
        "[server]\npublic_url = \"https://shop.example\"   # what the provider calls\n"
    } else {
        ""
    };
    format!(
        "{server}[sources.{name}]\nprovider = \"{name}\"\n{secrets}{word}\
         target   = \"http://127.0.0.1:5000/webhooks/{name}\""
    )
}

/// What is signed, and how.
fn signature(verify: &Spec) -> String {
    let word = verify.scheme.word();
    let signed = match verify.signed.as_str() {
        "{twilio}" => "the URL and each field of the form",
        "{sns}" => "the fields that AWS names, a line each",
        signed => signed,
    };
    if verify.is_open() {
        "none: everybody is let in".to_owned()
    } else if verify.signs() {
        format!("{word} of {signed}")
    } else {
        format!("{word}: the secret itself, which signs nothing")
    }
}

/// Where the signature is: its header, in each of its families, or a field.
fn place(verify: &Spec) -> Option<String> {
    let place = match (&verify.signature, verify.families.as_slice()) {
        (Some(place), _) => place.clone(),
        (None, []) if verify.scheme == Scheme::Basic => "header:Authorization".to_owned(),
        (None, []) if verify.header.is_empty() => return None,
        (None, []) => format!("header:{}", verify.header),
        (None, families) => {
            let names = families.iter().map(|family| verify.header.replace('*', family));
            format!("header:{}", names.collect::<Vec<_>>().join(" or header:"))
        },
    };
    Some(match verify.each.as_deref() {
        None => place,
        Some(each) => format!("{place} of each element of {each}"),
    })
}

fn stamp(verify: &Spec) -> Option<String> {
    let tolerance = write_duration(verify.tolerance.unwrap_or(Spec::TOLERANCE));
    let format = verify.timestamp_format.word();
    verify.timestamp.as_ref().map(|at| format!("{at}, {format}, at most {tolerance} from now"))
}

/// What a secret is, if it is not just a text.
fn secret(verify: &Spec) -> Option<&'static str> {
    if verify.scheme.is_certified() {
        return Some("none: the key is in a certificate that is fetched from the provider");
    }
    if verify.scheme.is_asymmetric() {
        return Some("the provider's public key");
    }
    match verify.secret_format {
        _ if verify.scheme == Scheme::Basic => Some("user:password"),
        SecretFormat::Utf8 => None,
        SecretFormat::Base64 => Some("base64, and decoded"),
        SecretFormat::Hex => Some("hex, and decoded"),
        SecretFormat::Nfkd => Some("text, in Unicode's form NFKD"),
        SecretFormat::Html => Some("text, its HTML entities decoded"),
        SecretFormat::Sha1 => Some("text, of which the SHA-1 signs"),
    }
}

/// What tells events apart.
fn key(preset: &Preset) -> String {
    let fallback: &str = preset.key.fallback.into();
    let ignored = match preset.key.ignore.join(", ").as_str() {
        "" => String::new(),
        ignored => format!(" less {ignored}"),
    };
    let key = match preset.key.parts.join(", ").as_str() {
        "" => format!("{fallback}{ignored}"),
        parts => format!("{parts}; else {fallback}{ignored}"),
    };
    match preset.batch.as_ref().map(|batch| batch.elements.to_string()) {
        None => key,
        Some(whole) if whole.is_empty() => format!("{key}; of each element of the body"),
        Some(at) => format!("{key}; of each element of {at}"),
    }
}

/// How a handshake is known.
fn handshake(handshake: &Handshake) -> String {
    let method = match handshake.method {
        Asking::Post => "POST",
        Asking::Get => "GET",
        Asking::Options => "OPTIONS",
    };
    let signed =
        if handshake.signed && handshake.method == Asking::Post { "signed" } else { "not signed" };
    let word = handshake.is.as_ref().map(|word| format!(" = {word}")).unwrap_or_default();
    let token = if handshake.token.is_some() { ", with `verify_token`" } else { "" };
    format!(
        "{method} with {}{word}{token}, {signed}; answered {}",
        handshake.when, handshake.status
    )
}
