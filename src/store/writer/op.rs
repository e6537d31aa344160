//! What waits for the writer, and where its answer goes.

use std::collections::HashMap;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::record::{Act, Copy, Label, Refused, Settled, Settlement, Token};
use crate::store::codec::Encoded;
use crate::store::rows::Failure;
use crate::store::verbs::Batch;
use crate::store::{Arrived, Compacted, Deliveries, Swept, Taken, Unavailable};

/// Events whose notes are written in one batch: a few milliseconds of the writer's time.
pub(in crate::store) const NOTES: usize = 1024;

/// Where a verb's answer goes, once its transaction is on disk.
#[derive(Debug)]
pub(in crate::store) struct Reply<T> {
    to: Option<To<T>>,
    pub(super) with: Option<T>,
}

/// Who waits for an answer.
#[derive(Debug)]
enum To<T> {
    Task(oneshot::Sender<Result<T, Unavailable>>),
    Thread(Sender<Result<T, Unavailable>>),
}

impl<T> Reply<T> {
    pub(in crate::store) fn new() -> (Self, oneshot::Receiver<Result<T, Unavailable>>) {
        let (to, receiver) = oneshot::channel();
        (Self { to: Some(To::Task(to)), with: None }, receiver)
    }

    /// For a thread that waits.
    pub(in crate::store) fn blocking() -> (Self, Receiver<Result<T, Unavailable>>) {
        let (to, receiver) = crossbeam_channel::bounded(1);
        (Self { to: Some(To::Thread(to)), with: None }, receiver)
    }

    pub(super) fn nobody() -> Self {
        Self { to: None, with: None }
    }

    /// Nobody may be waiting any more: what was decided stands all the same.
    pub(super) fn send(&mut self, result: Result<(), Unavailable>) {
        let Some(to) = self.to.take() else { return };
        let answer = result.and_then(|()| self.with.take().ok_or(Unavailable::Stopped));
        match to {
            To::Task(to) => drop(to.send(answer)),
            To::Thread(to) => drop(to.send(answer)),
        }
    }
}

/// One verb, waiting.
#[derive(Debug)]
pub(in crate::store) enum Op {
    Arrive {
        copy: Copy,
        payload: Option<Encoded>,
        /// Whether it comes with a free slot.
        slot: bool,
        reply: Reply<Arrived>,
    },
    /// The elements of a batch. An operation is never parted: they are written together.
    ArriveAll {
        elements: Vec<(Copy, Option<Encoded>)>,
        reply: Reply<Vec<Arrived>>,
    },
    Settle {
        id: String,
        token: Token,
        settlement: Settlement,
        reply: Reply<Settled>,
    },
    Take {
        source: String,
        limit: usize,
        reply: Reply<Taken>,
    },
    Operate {
        id: String,
        act: Act,
        note: String,
        reply: Reply<Result<Label, Refused>>,
    },
    Sweep {
        reply: Reply<Swept>,
    },
    /// Writes the notes of these ids, and of some others.
    Note {
        of: Vec<String>,
        taken: HashMap<String, Deliveries>,
        reply: Reply<()>,
    },
    Alive {
        reply: Reply<()>,
    },
    /// Done after the batch it comes with: all that is durable goes to the redb file.
    Checkpoint {
        reply: Reply<()>,
    },
    /// The same, and then it is compacted.
    Compact {
        begun: Instant,
        reply: Reply<Compacted>,
    },
    Stop {
        reply: Reply<()>,
    },
}

impl Op {
    pub(super) fn apply(&mut self, batch: &mut Batch<'_>, noted: &Noted) -> Result<(), Failure> {
        match self {
            Self::Arrive { copy, payload, slot, reply } => {
                // Encoded again nowhere: a batch is applied once, and not repeated for claims.
                let mut arrived = batch.arrive(copy, payload.take())?;
                if *slot {
                    batch.take_newborn(&mut arrived)?;
                }
                reply.with = Some(arrived);
            },
            Self::ArriveAll { elements, reply } => {
                let all =
                    elements.iter_mut().map(|(copy, payload)| batch.arrive(copy, payload.take()));
                reply.with = Some(all.collect::<Result<_, _>>()?);
            },
            Self::Settle { id, token, settlement, reply } => {
                reply.with = Some(batch.settle(id, *token, settlement)?);
            },
            Self::Take { source, limit, reply } => {
                reply.with = Some(batch.take_due(source, *limit)?);
            },
            Self::Operate { id, act, note, reply } => {
                reply.with = Some(batch.operate(id, *act, note)?);
            },
            Self::Sweep { reply } => reply.with = Some(batch.sweep()?),
            Self::Note { of, taken, reply } => {
                *taken = some(&mut noted.lock(), of);
                batch.note(taken)?;
                reply.with = Some(());
            },
            Self::Alive { reply } | Self::Checkpoint { reply } | Self::Stop { reply } => {
                reply.with = Some(());
            },
            Self::Compact { .. } => {},
        }
        Ok(())
    }

    /// How many copies arrive with it, and the bytes of their bodies.
    pub(super) fn brings(&self) -> (usize, usize) {
        let length = |payload: &Option<Encoded>| payload.as_ref().map_or(0, Encoded::len);
        match self {
            Self::Arrive { payload, .. } => (1, length(payload)),
            Self::ArriveAll { elements, .. } => {
                (elements.len(), elements.iter().map(|(_, payload)| length(payload)).sum())
            },
            Self::Settle { .. }
            | Self::Take { .. }
            | Self::Operate { .. }
            | Self::Sweep { .. }
            | Self::Note { .. }
            | Self::Alive { .. }
            | Self::Checkpoint { .. }
            | Self::Compact { .. }
            | Self::Stop { .. } => (0, 0),
        }
    }

    /// Whether it is done once the redb file has everything.
    pub(super) fn asks_more(&self) -> bool {
        matches!(self, Self::Checkpoint { .. } | Self::Compact { .. } | Self::Stop { .. })
    }

    pub(super) fn is_stop(&self) -> bool {
        matches!(self, Self::Stop { .. })
    }

    pub(super) fn send(&mut self, result: Result<(), Unavailable>) {
        match self {
            Self::Arrive { reply, .. } => reply.send(result),
            Self::ArriveAll { reply, .. } => reply.send(result),
            Self::Settle { reply, .. } => reply.send(result),
            Self::Take { reply, .. } => reply.send(result),
            Self::Operate { reply, .. } => reply.send(result),
            Self::Sweep { reply } => reply.send(result),
            Self::Compact { reply, .. } => reply.send(result),
            Self::Note { reply, .. }
            | Self::Alive { reply }
            | Self::Checkpoint { reply }
            | Self::Stop { reply } => reply.send(result),
        }
    }

    /// What must be done again once there is room: nothing of a batch that was not written
    /// is true, so only what is known besides is kept, an attempt's end.
    pub(super) fn repeat(self) -> Option<Self> {
        let Self::Settle { id, token, settlement, .. } = self else { return None };
        Some(Self::Settle { id, token, settlement, reply: Reply::nobody() })
    }
}

/// Takes the notes of these ids, and of so many others that nobody waits long for it.
fn some(noted: &mut HashMap<String, Deliveries>, of: &[String]) -> HashMap<String, Deliveries> {
    let mut some: HashMap<_, _> = of.iter().filter_map(|id| noted.remove_entry(id)).collect();
    some.extend(noted.extract_if(|_, _| true).take(NOTES));
    some
}

/// Deliveries that wait to be written.
pub(in crate::store) type Noted = Mutex<HashMap<String, Deliveries>>;
