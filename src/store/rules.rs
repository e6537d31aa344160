//! What transitions depend on besides the file: the sources that are configured now, and
//! under which names their events were born.

use std::collections::BTreeMap;
use std::iter::once;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use crate::clock::Clock;
use crate::config;
use crate::key;
use crate::record::{
    Boot, Context, Event, Mode, OnMismatch, OnUnknown, Policy, Retry, State, Token, signal_of,
};
use crate::time::Millis;

/// What the store knows of a configured source.
#[derive(Clone, Debug)]
pub struct SourceRules {
    /// What transitions depend on.
    pub policy: Policy,
    /// The names it had before: events that were born under them are its own.
    pub was: Vec<String>,
    /// How its events are told apart now; `None`: as before.
    pub key: Option<key::Spec>,
}

impl From<Policy> for SourceRules {
    fn from(policy: Policy) -> Self {
        Self { policy, was: Vec::new(), key: None }
    }
}

impl From<&config::Source> for SourceRules {
    fn from(source: &config::Source) -> Self {
        let (policy, was) = (source.policy.clone(), source.was.clone());
        Self { policy, was, key: Some(source.key_spec.clone()) }
    }
}

/// What transitions depend on besides the file.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) sources: BTreeMap<String, SourceRules>,
    /// From a name of before to the name of now.
    renamed: BTreeMap<String, String>,
    orphan: Policy,
    pub(super) boot: Boot,
    pub(super) clock: Arc<Clock>,
    /// The clock may be wrong: what it says now must not become the time the next start is
    /// measured against.
    pub(super) clock_in_doubt: AtomicBool,
    /// Which source the next batch of the sweep begins with.
    pub(super) sweep_from: AtomicUsize,
}

impl Rules {
    pub(super) fn new(sources: BTreeMap<String, SourceRules>, clock: Arc<Clock>) -> Self {
        let boot = Boot(uuid::Uuid::new_v4().as_u64_pair().0);
        let names = sources.iter().flat_map(|(name, source)| {
            source.was.iter().map(move |old| (old.clone(), name.clone()))
        });
        Self {
            renamed: names.collect(),
            sources,
            orphan: orphan(),
            boot,
            clock,
            clock_in_doubt: AtomicBool::new(false),
            sweep_from: AtomicUsize::new(0),
        }
    }

    /// The rules for a transition of the event `id`.
    pub(super) fn context(&self, id: &str, token: Token, now: Millis) -> Context<'_> {
        let source = self.configured(source(id)).and_then(|name| self.sources.get(name));
        let policy = source.map_or(&self.orphan, |source| &source.policy);
        let orphaned = source.is_none();
        Context { now, policy, token, orphaned, boot: self.boot, draw: fastrand::f64() }
    }

    /// The name that the source of this name has now; `None`: it is not configured.
    pub(super) fn configured<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        if self.sources.contains_key(name) {
            return Some(name);
        }
        self.renamed.get(name).map(String::as_str)
    }

    /// The name of now and those of before.
    pub(super) fn names<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a str> {
        let was = self.sources.get(source).map_or(&[][..], |source| source.was.as_slice());
        once(source).chain(was.iter().map(String::as_str))
    }

    /// `id`, and what it is under the names that its source had before.
    pub(super) fn ids(&self, id: &str) -> Vec<String> {
        let (name, key) = id.split_once(':').unwrap_or(("", id));
        let before = self.names(name).skip(1).map(|old| format!("{old}:{key}"));
        once(id.to_owned()).chain(before).collect()
    }

    /// The signal that `id` is a run of, under each name of its source, if it is one.
    pub(super) fn signals(&self, id: &str) -> Vec<String> {
        let Some(signal) = signal_of(id) else { return Vec::new() };
        let (name, key) = signal.split_once(':').unwrap_or(("", signal));
        let now = self.configured(name).unwrap_or(name);
        self.ids(&format!("{now}:{key}"))
    }
}

/// The part of an id before the first colon.
fn source(id: &str) -> &str {
    id.split_once(':').map_or("", |(source, _)| source)
}

/// Whether an attempt of `event` is open.
pub(super) fn in_flight(event: &Event) -> bool {
    matches!(event.state, State::InFlight { .. })
}

/// The rules for events of a source that is no longer configured: nothing is given up,
/// nothing expires.
fn orphan() -> Policy {
    Policy {
        mode: Mode::Queue,
        acknowledgement: 200,
        on_unknown: OnUnknown::Redeliver,
        on_mismatch: OnMismatch::Flag,
        retry: Retry {
            attempts: u32::MAX,
            first: Duration::ZERO,
            factor: 1.0,
            max: Duration::ZERO,
            jitter: false,
        },
        ttl: Duration::MAX,
        keep: Duration::MAX,
        dead_ttl: None,
    }
}
