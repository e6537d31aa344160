//! What is due: taken as slots are free, attempted, settled, until nothing waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::deliver::Origin;
use crate::gate::{Claimed, Gate, Life};
use crate::store::{Payload, TakenEvent};
use crate::time::Millis;
use crate::verify::Delivery;

/// The longest sleep. A new event and a settlement wake the queue; what a full disk gave back,
/// or a task that died, is found by this.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// The pause after the store refused a take.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);

/// How many of these run for a source: while one waits for what it took to be synced, another
/// takes with the slots that have become free.
pub const TAKERS: usize = 3;

/// Attempts what is due at `gate`, until a stop is asked for.
pub async fn run(gate: Arc<Gate>, life: Life, clock: Arc<Clock>) {
    loop {
        let mut slots = tokio::select! {
            slots = gate.slots() => slots,
            () = life.stop.cancelled() => return,
        };
        // Draining takes nothing from the queue.
        if life.stop.is_cancelled() {
            return;
        }
        let pause = match life.store.take_due(&gate.source.name, slots.len()).await {
            Ok(taken) => {
                gate.caught_up(taken.events.len() < slots.len());
                for event in taken.events {
                    let slot = slots.pop();
                    let (gate, life_of_task) = (Arc::clone(&gate), life.clone());
                    life.tasks.spawn(async move {
                        attempt(&gate, &life_of_task, event, slot).await;
                    });
                }
                until(taken.next_due, clock.now())
            },
            Err(error) => {
                tracing::debug!(%error, "the queue waits for the store");
                REFUSED_PAUSE
            },
        };
        drop(slots);
        tokio::select! {
            () = gate.wake.notified() => {},
            () = sleep(pause) => {},
            () = life.stop.cancelled() => return,
        }
    }
}

async fn attempt(gate: &Gate, life: &Life, event: TakenEvent, slot: Option<OwnedSemaphorePermit>) {
    let TakenEvent { id, lead, payload } = event;
    let origin = origin(&payload);
    let delivery = Delivery::from(payload);
    let claimed = Claimed { id: &id, lead: &lead, delivery: &delivery, origin };
    gate.attempt_owed(life, claimed, slot).await;
}

/// Where a stored delivery came from.
fn origin(payload: &Payload) -> Option<Origin> {
    let address = payload.from.as_ref()?.parse().ok()?;
    Some(Origin { address, https: payload.https })
}

fn until(due: Option<Millis>, now: Millis) -> Duration {
    due.map_or(LONGEST_SLEEP, |due| due.since(now)).min(LONGEST_SLEEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_sleeps_until_the_next_event_is_due() {
        let now = Millis(1_000);
        assert_eq!(until(None, now), LONGEST_SLEEP);
        assert_eq!(until(Some(Millis(0)), now), Duration::ZERO);
        assert_eq!(until(Some(Millis(1_250)), now), Duration::from_millis(250));
    }
}
