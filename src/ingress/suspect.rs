//! A verified delivery at the guard against replays (`replay_guard`), and how deliveries are
//! turned away unclaimed: all alike, so that who tries learns nothing.

use super::{Claimable, Ingress, Turned, unavailable};
use crate::gate::{Content, Gate, Rejected, Replay};
use crate::reply::Reply;
use crate::telemetry::Outcome;
use crate::time::Millis;
use crate::verify::Rejection;

impl Ingress {
    /// Marks a delivery whose signed content was done under another key, or turns it away.
    pub(super) fn guard(
        &self,
        gate: &Gate,
        content: Option<Content>,
        at: Millis,
        claimable: &mut Claimable,
    ) -> Result<(), Turned> {
        let Some(content) = content else { return Ok(()) };
        let Claimable { copy, from, delivery, .. } = &*claimable;
        let id = copy.earlier.as_ref().unwrap_or(&copy.id);
        let judged = gate.judge(&*self.life.store, content, id).map_err(|error| Turned {
            reply: unavailable(error),
            why: "the store cannot be read",
        })?;
        match judged {
            Replay::No => {},
            Replay::Suspect => claimable.suspect = true,
            Replay::Refused => {
                gate.meters.suspects.increment(1);
                let (reason, bytes) = (Rejection::Replayed, delivery.body.len());
                return Err(reject(gate, Rejected { at, reason, from: from.address, bytes }));
            },
        }
        Ok(())
    }
}

/// Counts and keeps a delivery that is turned away, and says so.
pub(super) fn reject(gate: &Gate, rejected: Rejected) -> Turned {
    gate.reject(rejected);
    // The same for every reason: an attacker learns nothing from it.
    let reply = Reply::refuse(Outcome::Rejected, "the signature is missing or not valid");
    Turned { reply, why: rejected.reason.word() }
}
