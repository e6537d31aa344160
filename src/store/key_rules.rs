//! The key rule of each source, remembered: after a change of settings, copies of events
//! from before are found by the old rule too, until their TTL is over.
//!
//! One row of `meta` a source. An old rule is dropped at the first start after its end: it
//! finds only what is stored, so one that stays longer does no harm.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redb::StorageError;
use wincode::{SchemaRead, SchemaWrite};

use super::rows::{Failure, Key};
use super::verbs::Batch;
use crate::key;
use crate::time::Millis;

/// Old rules that are remembered of a source: each costs a lookup for every new event.
const OLD_RULES: usize = 8;

/// What the names of the rows begin with; a source's name follows.
pub(super) const PREFIX: &str = "key/";

/// The key rule of a source, and those before it.
#[derive(Clone, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub(super) struct KeyRules {
    /// The [`key::Spec`] as JSON: it may gain fields without a change of this format.
    pub(super) spec: String,
    /// Since when it is in force.
    pub(super) since: Millis,
    /// The source's `ttl`, in milliseconds.
    pub(super) ttl: u64,
    /// Those before it.
    pub(super) old: Vec<OldRule>,
}

/// A key rule that is not in force any more.
#[derive(Clone, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub(super) struct OldRule {
    /// The [`key::Spec`] as JSON.
    pub(super) spec: String,
    /// When nothing is left that only this rule finds.
    pub(super) until: Millis,
}

/// What a rule that was stored says; `None`: this version cannot read it.
fn read(spec: &str) -> Option<key::Spec> {
    serde_json::from_str(spec).ok()
}

impl KeyRules {
    /// The rules of a source from `now` on: `spec` is in force, what was stored of it and of
    /// its names before (`before`) is not. `forget`: what has ended by now is dropped.
    fn renew(
        own: Option<&Self>,
        before: &[Self],
        spec: &key::Spec,
        ttl: Duration,
        now: Millis,
        forget: bool,
    ) -> Option<Self> {
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let mut old: Vec<OldRule> = Vec::new();
        for rules in own.into_iter().chain(before) {
            // Events from before live as long as either says.
            let until = Millis(now.0.saturating_add(rules.ttl.max(ttl)));
            let last = OldRule { spec: rules.spec.clone(), until };
            for rule in rules.old.iter().cloned().chain([last]) {
                let known = old.iter_mut().find(|known| read(&known.spec) == read(&rule.spec));
                match known {
                    Some(known) => known.until = known.until.max(rule.until),
                    None => old.push(rule),
                }
            }
        }
        old.retain(|rule| {
            let over = forget && rule.until <= now;
            !over && read(&rule.spec).is_some_and(|old| old != *spec)
        });
        old.sort_by_key(|rule| rule.until);
        old.drain(..old.len().saturating_sub(OLD_RULES));
        let since = own.filter(|own| read(&own.spec).as_ref() == Some(spec)).map(|own| own.since);
        let text = serde_json::to_string(spec).ok()?;
        Some(Self { spec: text, since: since.unwrap_or(now), ttl, old })
    }
}

impl Batch<'_> {
    /// At start: compares each source's key rule with the stored one. Returns the old rules
    /// that are still looked up by.
    pub(super) fn remember_keys(&mut self) -> Result<BTreeMap<String, Vec<key::Spec>>, Failure> {
        let forget = !self.rules.clock_in_doubt.load(Ordering::Relaxed);
        let mut old = BTreeMap::new();
        for (name, source) in &self.rules.sources {
            let Some(spec) = &source.key else { continue };
            let own = self.key_rules(name)?;
            let mut before = Vec::new();
            for was in &source.was {
                if let Some(rules) = self.key_rules(was)? {
                    // They go on under the new name.
                    before.push(rules);
                    self.dirty = true;
                    self.rows.remove(Key::meta(&format!("{PREFIX}{was}")));
                }
            }
            let ttl = source.policy.ttl;
            let rules = KeyRules::renew(own.as_ref(), &before, spec, ttl, self.now, forget);
            let Some(rules) = rules else { continue };
            if own.as_ref() != Some(&rules) {
                self.put_key_rules(name, &rules)?;
            }
            tell(name, own.as_ref(), &before, &rules);
            old.insert(name.clone(), rules.old.iter().filter_map(|it| read(&it.spec)).collect());
        }
        Ok(old)
    }

    fn key_rules(&self, source: &str) -> Result<Option<KeyRules>, StorageError> {
        let key = Key::meta(&format!("{PREFIX}{source}"));
        let Some(rules) = self.rows.view().read::<KeyRules>(&key)? else { return Ok(None) };
        if rules.is_err() {
            tracing::error!(source, "the stored key rules are damaged; the one of now is taken");
        }
        Ok(rules.ok())
    }

    fn put_key_rules(&mut self, source: &str, rules: &KeyRules) -> Result<(), Failure> {
        self.dirty = true;
        self.rows.put(Key::meta(&format!("{PREFIX}{source}")), rules)
    }
}

/// Says what changed.
fn tell(source: &str, own: Option<&KeyRules>, before: &[KeyRules], now: &KeyRules) {
    let had: usize = own.into_iter().chain(before).map(|rules| rules.old.len() + 1).sum();
    for rule in now.old.iter().filter(|_| own.is_none_or(|own| own.old != now.old)) {
        tracing::info!(
            source,
            rule = rule.spec,
            until = %rule.until,
            "copies of older events are looked up by this key rule too"
        );
    }
    if now.old.len() == OLD_RULES && had > OLD_RULES {
        tracing::warn!(source, "only the newest {OLD_RULES} of its old key rules are remembered");
    }
}
