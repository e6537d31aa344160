//! What is due: taken as slots are free, attempted, settled, until nothing waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::gate::{Gate, Life};
use crate::record::{Label, Settled};
use crate::store::TakenEvent;
use crate::time::{self, Millis};

/// The longest sleep. A new event and a settlement wake the queue; what a full disk gave back,
/// or a task that died, is found by this.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// The pause after the store refused a take.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);

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
    let ended = gate.attempt(life, &id, &lead, payload, slot).await;
    let settlement = &ended.report.settlement;
    let state = match ended.settled {
        Ok(Settled::Now(label)) => label.word(),
        Ok(Settled::Stale) => "stale",
        Err(_) => "unrecorded",
    };
    tracing::info!(
        source = gate.source.name,
        key = id.split_once(':').map(|(_, key)| key),
        attempt = lead.attempt,
        token = lead.token.0,
        result = settlement.verdict.word(),
        upstream_status = settlement.answer.as_ref().map(|answer| answer.status),
        detail = settlement.detail,
        state,
        duration_ms = time::millis(ended.took),
        "attempt"
    );
    if ended.settled == Ok(Settled::Now(Label::Dead)) {
        tracing::error!(event = id, "an event is dead: its attempts are spent");
    }
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
