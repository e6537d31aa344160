//! Where an attempt begins in proxy mode: a slot, then the claim. A copy of a signal whose
//! run is in flight waits for its end first, and starts the next run.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Ingress, unavailable};
use crate::gate::Gate;
use crate::record::{Copy, Meets, signal_of};
use crate::reply::Reply;
use crate::store::{Arrived, Payload};
use crate::telemetry::Outcome;

/// How often a copy that waits looks again unasked: what a full disk or a dead task ended
/// wakes nobody.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Ingress {
    /// What the copy meets once a slot is its own.
    pub(super) async fn begin(
        &self,
        gate: &Gate,
        copy: Copy,
        payload: &Payload,
    ) -> Result<(Arrived, OwnedSemaphorePermit), Reply> {
        let waits = signal_of(&copy.id).is_some();
        let end = Instant::now() + gate.source.wait;
        loop {
            // Made before the look, so that no end is missed between the two.
            let run_ended = gate.run_ended.notified();
            if waits {
                let met = self.life.store.look(&copy).map_err(unavailable)?;
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
            let arrived =
                self.life.store.arrive(copy.clone(), payload).await.map_err(unavailable)?;
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
