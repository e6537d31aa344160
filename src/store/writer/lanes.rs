//! The ways to the writer, and who is turned away when too much waits.

use crossbeam_channel::Sender;

use super::{Op, Reply};
use crate::store::Unavailable;

/// Claims that may wait; a further one is refused at once.
const CLAIMS_WAITING: usize = 4096;
/// Operations of upkeep that may wait.
const UPKEEP_WAITING: usize = 64;

/// The sending ends of the three lanes.
///
/// All are unbounded channels, bounded by what is sent on them: crossbeam's bounded ones
/// keep what waits when the last receiver goes, and whoever waits for a reply would wait
/// for ever. These let go of it, so every reply ends.
#[derive(Clone, Debug)]
pub(in crate::store) struct Lanes {
    /// One settlement an open attempt, a few takes a source.
    pub(super) own: Sender<Op>,
    pub(super) claims: Sender<Op>,
    pub(super) upkeep: Sender<Op>,
}

impl Lanes {
    /// Never refused while the writer runs.
    pub(in crate::store) fn own(&self, op: Op) -> Result<(), Unavailable> {
        self.own.send(op).map_err(|_| Unavailable::Stopped)
    }

    pub(in crate::store) fn claim(&self, op: Op) -> Result<(), Unavailable> {
        send_below(&self.claims, CLAIMS_WAITING, op)
    }

    pub(in crate::store) fn upkeep(&self, op: Op) -> Result<(), Unavailable> {
        send_below(&self.upkeep, UPKEEP_WAITING, op)
    }

    /// Asks the writer to end, after what waits.
    pub(in crate::store) fn stop(&self, reply: Reply<()>) -> Result<(), Unavailable> {
        self.upkeep.send(Op::Stop { reply }).map_err(|_| Unavailable::Stopped)
    }
}

/// A few more than `limit` may wait: as many as send at the same moment.
fn send_below(lane: &Sender<Op>, limit: usize, op: Op) -> Result<(), Unavailable> {
    if lane.len() >= limit {
        return Err(Unavailable::Overloaded);
    }
    lane.send(op).map_err(|_| Unavailable::Stopped)
}
