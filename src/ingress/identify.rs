//! Step 3, key: which event is a verified delivery, or an element of it?

use aws_lc_rs::digest;
use uuid::Uuid;

use super::{Ingress, Sender, Turned, unavailable};
use crate::deliver::BATCH;
use crate::gate::Gate;
use crate::key::{Key, Scope};
use crate::record::Copy;
use crate::reply::Reply;
use crate::telemetry::Outcome;
use crate::time::Millis;
use crate::verify::{Delivery, Verified};

/// Bytes of a long key's full text that the record keeps; its SHA-256 is its identity.
const LONG_KEY: usize = 16 << 10;

/// A verified delivery with its identity: all that a claim needs.
pub(super) struct Claimable {
    pub(super) copy: Copy,
    pub(super) key: Key,
    pub(super) delivery: Delivery,
    pub(super) from: Sender,
    /// Whether its signed content was done under another key.
    pub(super) suspect: bool,
}

impl Ingress {
    /// Step 3: which event is so much of `verified`, and which was it by a key rule of before?
    pub(super) fn key(
        &self,
        gate: &Gate,
        verified: &Verified,
        scope: Scope<'_>,
    ) -> Result<(Key, Option<String>), Turned> {
        let key = gate.source.key.derive_of(verified, scope, Uuid::new_v4).map_err(|why| {
            let detail = format!("no key can be derived: {why}");
            Turned { reply: Reply::refuse(Outcome::Invalid, &detail), why: why.word() }
        })?;
        let earlier = gate.earlier(&*self.life.store, verified, scope, &key);
        let earlier = earlier.map_err(|error| Turned {
            reply: unavailable(error),
            why: "the store cannot be read",
        })?;
        Ok((key, earlier))
    }

    /// What a claim needs of a verified delivery that is one event. Only a verified one gets here.
    pub(super) fn identify(
        &self,
        gate: &Gate,
        verified: Verified,
        scope: Scope<'_>,
        (from, at): (Sender, Millis),
    ) -> Result<Claimable, Turned> {
        let (key, earlier) = self.key(gate, &verified, scope)?;
        let content = gate.signed_content(&verified, &key);
        let mut delivery = verified.into_delivery();
        from.address(&mut delivery);
        delivery.headers.remove(BATCH);
        let copy = copy(gate, &key, earlier, &delivery.body);
        let mut claimable = Claimable { copy, key, delivery, from, suspect: false };
        self.guard(gate, content, at, &mut claimable)?;
        Ok(claimable)
    }
}

/// A copy of the event `key` with these bytes for a body.
pub(super) fn copy(gate: &Gate, key: &Key, earlier: Option<String>, body: &[u8]) -> Copy {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest::digest(&digest::SHA256, body).as_ref());
    Copy {
        id: format!("{}:{}", gate.source.name, key.text),
        earlier,
        long: key.long.as_deref().map(|text| cut(text).to_owned()),
        sha256,
        bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
    }
}

/// At most [`LONG_KEY`] bytes of a key's full text, which is ASCII.
fn cut(text: &str) -> &str {
    text.get(..LONG_KEY).unwrap_or(text)
}
