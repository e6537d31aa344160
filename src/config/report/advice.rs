//! What to think about: settings that work, but are likely not meant, and traps of a provider
//! that no setting mends.

use crate::config::values::write_duration;
use crate::config::{Config, Source, Tls};
use crate::key::Fallback;
use crate::preset::{self, ReplayGuard};
use crate::record::Mode;
use crate::verify::{Scheme, Spec};

/// What works as it is set, but is likely not meant.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.sources.is_empty() {
        warnings.push(
            "no source is set up: there is nothing to receive; add a [sources.NAME]".to_owned(),
        );
    }
    let slowest = config.sources.iter().max_by_key(|source| source.timeout);
    if let Some(source) = slowest
        && config.server.drain <= source.timeout
    {
        warnings.push(format!(
            "server.drain ({}) is not longer than sources.{}.timeout ({}): a stop cuts attempts, whose outcome is then unknown",
            write_duration(config.server.drain),
            source.name,
            write_duration(source.timeout),
        ));
    }
    warnings.extend(config.server.tls.iter().flat_map(Tls::warnings));
    if let Some(all) = config.server.trusted_proxies.iter().find(|net| net.prefix_len() == 0) {
        warnings.push(format!(
            "server.trusted_proxies: {all} is everyone: any client can claim to be any other"
        ));
    }
    for source in &config.sources {
        let about = about(source);
        warnings.extend(about.into_iter().map(|text| format!("sources.{}: {text}", source.name)));
    }
    warnings
}

fn about(source: &Source) -> Vec<String> {
    let mut about = Vec::new();
    let policy = &source.policy;
    if source.verify_spec.is_open() {
        about.push("scheme \"none\": whoever reaches its path can send events".to_owned());
    }
    if !keyed_by_preset(source) {
        about.extend(unsigned(source));
    }
    about.extend(idle_guard(source));
    about.extend(unanswered(source));
    if source.key_spec.parts.is_empty() && source.key_spec.fallback == Fallback::None {
        about.push(
            "the key has no parts and fallback \"none\": no copy is ever known as one".to_owned(),
        );
    }
    if let Some(preset) = preset::find(&source.provider)
        && policy.ttl < preset.horizon
    {
        let (ttl, horizon) = (write_duration(policy.ttl), write_duration(preset.horizon));
        about.push(format!(
            "ttl ({ttl}) is shorter than the {horizon} in which {} may send an event again: such a copy would run twice",
            source.provider,
        ));
    }
    if policy.mode == Mode::Proxy && !source.provider_retries {
        about.push("the provider never sends again: in proxy mode an event that fails is not attempted again by itself; mode = \"queue\" does".to_owned());
    }
    if policy.mode == Mode::Proxy && source.batch.is_some() {
        about.push("in proxy mode a batch is one event, keyed by its elements' keys in order: an element that comes again in another batch runs again; mode = \"queue\" makes each element an event".to_owned());
    }
    if policy.mode == Mode::Proxy && source.wait > source.timeout {
        about.push(
            "wait is longer than timeout: no copy has an attempt to wait for that long".to_owned(),
        );
    }
    about
}

/// A guard against replays that has nothing to guard.
fn idle_guard(source: &Source) -> Option<String> {
    let Source { verify_spec: spec, key_spec, replay_guard: guard, .. } = source;
    if *guard == ReplayGuard::Off || ReplayGuard::is_of_use(spec, key_spec) {
        return None;
    }
    let why = if spec.signs() {
        "the signature covers all that the key is read from"
    } else {
        "nothing is signed"
    };
    Some(format!("replay_guard = \"{}\" guards nothing: {why}", guard.word()))
}

/// Handshakes that lack something of ours to be answered with.
fn unanswered(source: &Source) -> Vec<String> {
    let mut about = Vec::new();
    let asked = source.handshakes.iter().any(|it| it.token.is_some());
    match (asked, source.verify_token.is_some()) {
        (true, false) => about.push(
            "verify_token is not set: the provider's check of the endpoint is refused".to_owned(),
        ),
        (false, true) => {
            about.push("verify_token is set, and the provider never asks for it".to_owned());
        },
        _ => {},
    }
    let mut answers = source.handshakes.iter().filter_map(|it| it.body.as_deref());
    let named = source.verify_spec.key_id.is_some() || answers.any(|it| it.contains("{key_id}"));
    if named && source.verifier.newest_id().is_none() {
        about.push("the newest secret has no id: write { env = \"NAME\", id = \"..\" }, by which the provider calls it".to_owned());
    }
    about
}

/// What a provider does that is good to know of.
pub(super) fn notes(config: &Config) -> Vec<String> {
    let known = config.sources.iter().filter(|source| keyed_by_preset(source));
    known
        .flat_map(|source| {
            let name = &source.name;
            unsigned(source).into_iter().map(move |text| format!("sources.{name}: {text}"))
        })
        .collect()
}

fn keyed_by_preset(source: &Source) -> bool {
    preset::find(&source.provider).is_some_and(|preset| preset.key == source.key_spec)
}

/// The parts of a key that the signature does not cover.
fn unsigned(source: &Source) -> Vec<String> {
    let Source { verify_spec: spec, key_spec, .. } = source;
    if spec.is_open() {
        return Vec::new();
    }
    if !spec.signs() {
        let word = spec.scheme.word();
        return vec![format!(
            "scheme \"{word}\" signs nothing: whoever saw one request can make any other"
        )];
    }
    let mut told = Vec::new();
    if !spec.covers_body() {
        let sns = spec.scheme == Scheme::AwsSns;
        let signed = if sns { "the fields that AWS names" } else { &spec.signed };
        told.push(format!("the signature covers {signed} alone: whoever holds one signed request can change the rest of its body"));
    }
    let within = match spec.timestamp {
        Some(_) => format!(", for {}", write_duration(spec.tolerance.unwrap_or(Spec::TOLERANCE))),
        None => String::new(),
    };
    let guard = match source.replay_guard {
        ReplayGuard::Off => "; `replay_guard` notices that",
        ReplayGuard::Flag => "; replay_guard flags that",
        ReplayGuard::Refuse => "; replay_guard refuses that",
    };
    let parts = key_spec.parts.iter().filter(|part| !spec.covers(part));
    told.extend(parts.map(|part| {
        format!("the key is read from {part}, which is not signed: whoever holds one signed request can send it again under another id{within}{guard}")
    }));
    told
}
