//! Which event of before is this a copy of? After a change of the key rule, events keep the
//! key they were born with, and copies of them are looked up by the old rules as well.
//!
//! An old rule may have been changed because it was wrong: too coarse, so that it took two
//! events for one. To go on trusting it would go on losing the second. So what it finds
//! counts only if the bytes are the same, and if the rule of today, asked about the stored
//! delivery, does not tell the two apart. Where the stored delivery is gone (`keep`) and the
//! rule of today reads more than the body, it does not count: a duplicate is what the
//! application would have got without a gateway, a loss is not.

use aws_lc_rs::digest;
use uuid::Uuid;

use super::Gate;
use crate::key::{Key, Scope};
use crate::record::Event;
use crate::store::{Store, Unavailable};
use crate::verify::{Delivery, Verified};

impl Gate {
    /// The id of the stored event that so much of `delivery`, whose key is `key` now, is a copy
    /// of by a key rule of before. For `none` and `coalesce` there is none: equal bytes are different
    /// events then.
    pub fn earlier(
        &self,
        store: &dyn Store,
        delivery: &Verified,
        scope: Scope<'_>,
        key: &Key,
    ) -> Result<Option<String>, Unavailable> {
        if !key.identifies() {
            return Ok(None);
        }
        for rule in &self.old_keys {
            // A rule that makes no key, or one of `none` or `coalesce`, finds nothing.
            let Ok(old) = rule.derive_of(delivery, scope, Uuid::nil) else { continue };
            if !old.identifies() || old.text == key.text {
                continue;
            }
            let id = format!("{}:{}", self.source.name, old.text);
            if let Some(event) = store.event(&id)?
                && self.is_the_same(store, &event, delivery, scope, key)?
            {
                return Ok(Some(event.id));
            }
        }
        Ok(None)
    }

    fn is_the_same(
        &self,
        store: &dyn Store,
        event: &Event,
        delivery: &Verified,
        scope: Scope<'_>,
        key: &Key,
    ) -> Result<bool, Unavailable> {
        // A damaged record is Held: nothing is swallowed by it.
        if event.body.is_unknown() {
            return Ok(true);
        }
        let bytes = match scope {
            Scope::Element(element) => element,
            Scope::Whole | Scope::Elements(_) | Scope::NoBatch(_) => &delivery.delivery().body,
        };
        let sha256 = digest::digest(&digest::SHA256, bytes);
        if event.body.sha256 != sha256.as_ref() {
            return Ok(false);
        }
        if self.source.key.reads_only_the_body() {
            return Ok(true);
        }
        let Some(stored) = store.body(&event.id)? else { return Ok(false) };
        let stored = self.source.verifier.recall(Delivery::from(stored));
        // Its body has the same bytes, so it is as much of it.
        Ok(self.source.key.derive_of(&stored, scope, Uuid::nil).as_ref() == Ok(key))
    }
}
