//! Where an attempt begins in proxy mode: a slot, then the claim. A copy of a signal whose
//! run is in flight waits for its end first, and starts the next run.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Answered, Claimable, Ingress, Led, answer, unavailable};
use crate::claim::Leader;
use crate::deliver::provider_answer;
use crate::gate::{Claimed, Gate};
use crate::record::{Label, Meets, Settled, Verdict, signal_of};
use crate::reply::Reply;
use crate::store::Arrived;
use crate::telemetry::Outcome;

/// How often a copy that waits looks again unasked: what a full disk or a dead task ended
/// wakes nobody.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Ingress {
    /// Steps 4 to 6 for the copy that leads: a slot, the claim, the attempt, its result.
    /// The second reply is what the copies get, where that differs.
    pub(super) async fn lead(
        &self,
        gate: &Gate,
        claimable: &Claimable,
        leader: &mut Leader<Led>,
    ) -> (Answered, Option<Reply>) {
        let (arrived, slot) = match self.begin(gate, claimable).await {
            Ok(begun) => begun,
            Err(reply) => return (Answered::new(reply), None),
        };
        let Meets::Lead(lead) = &arrived.arrival.meets else {
            return (answer(gate, arrived), None);
        };
        let id = &arrived.arrival.id;
        if signal_of(id).is_some() {
            // Who comes once the attempt has begun is owed a later one.
            leader.depart();
        }
        let (delivery, origin) = (&claimable.delivery, claimable.from.origin());
        let claimed = Claimed { id, lead, delivery, origin };
        let ended = gate.attempt(&self.life, claimed, Some(slot)).await;
        let mut reply = provider_answer(&ended.report);
        let mut for_copies = None;
        match (ended.report.settlement.verdict, ended.settled) {
            (Verdict::Success, Err(_)) => reply.outcome = Outcome::Unrecorded,
            (Verdict::Success | Verdict::Final, Ok(_)) => {
                let recorded = ended.report.settlement.answer.clone().map(Reply::replay);
                for_copies = recorded.filter(|_| reply.outcome == Outcome::Processed);
            },
            (_, Ok(Settled::Now(Label::Held))) => {
                reply = Reply::acknowledge(&gate.source.acknowledgement, Outcome::Held);
            },
            _ => {},
        }
        reply.mismatch = arrived.arrival.mismatch;
        let answered = Answered {
            id: Some(id.clone()),
            received: Some(lead.received),
            later: lead.attempt > 1,
            attempt: lead.attempt,
            token: lead.token,
            upstream: ended.report.settlement.answer.as_ref().map(|answer| answer.status),
            told: false,
            waits: false,
            reply,
        };
        (answered, for_copies)
    }

    /// What the copy meets once a slot is its own.
    async fn begin(
        &self,
        gate: &Gate,
        claimable: &Claimable,
    ) -> Result<(Arrived, OwnedSemaphorePermit), Reply> {
        let copy = &claimable.copy;
        let waits = signal_of(&copy.id).is_some();
        let end = Instant::now() + gate.source.wait;
        loop {
            // Made before the look, so that no end is missed between the two.
            let run_ended = gate.run_ended.notified();
            if waits {
                let met = self.life.store.look(copy).map_err(unavailable)?;
                if met.is_some_and(|met| met.arrival.meets == Meets::InFlight) {
                    self.wait(gate, run_ended, end).await?;
                    continue;
                }
            }
            let Some(slot) = gate.slot(&self.life).await else {
                let detail =
                    "the application is busy with as many attempts as `concurrency` allows";
                return Err(Reply::refuse(Outcome::Unavailable, detail));
            };
            let arrived = self.store(claimable).await.map_err(unavailable)?;
            if waits && arrived.arrival.meets == Meets::InFlight {
                drop(slot);
                self.wait(gate, run_ended, end).await?;
                continue;
            }
            return Ok((arrived, slot));
        }
    }

    /// Waits for a run of a signal to end; a provider that never sends again waits to the end.
    async fn wait(&self, gate: &Gate, ended: Notified<'_>, end: Instant) -> Result<(), Reply> {
        let end = async {
            if gate.source.provider_retries {
                sleep_until(end).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = ended => Ok(()),
            () = sleep(LOOK_AGAIN) => Ok(()),
            () = end => Err(Reply::refuse(Outcome::Busy, "a run of this signal is under way")),
            () = self.life.stop.cancelled() => {
                Err(Reply::refuse(Outcome::Unavailable, "the gateway is stopping"))
            },
        }
    }
}
