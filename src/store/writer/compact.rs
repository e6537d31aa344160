//! Compaction while the gateway runs. redb compacts only what nothing else holds, so readers
//! and claims are turned away first; settlements wait in their lane and are written after.

use std::sync::atomic::Ordering;

use redb::CompactionError;
use tokio::time::Instant;

use super::{Op, Reply, Shared, Writer, number};
use crate::store::layers::Base;
use crate::store::rows::is_no_space;
use crate::store::{Compacted, Health, Unavailable};

/// A compaction that was asked for, and since when nothing is claimed.
#[derive(Debug)]
pub(super) struct Asked {
    begun: Instant,
    reply: Reply<Compacted>,
}

impl Asked {
    /// Takes the compaction out of a batch; there is one at most.
    pub(super) fn take(ops: &mut Vec<Op>) -> Option<Self> {
        let at = ops.iter().position(|op| matches!(op, Op::Compact { .. }))?;
        let Op::Compact { begun, reply } = ops.remove(at) else { return None };
        Some(Self { begun, reply })
    }

    pub(super) fn refuse(mut self, why: Unavailable) {
        self.reply.send(Err(why));
    }
}

impl Shared {
    /// Pauses what needs the file, if it is open now.
    pub(in crate::store) fn begin_compacting(&self) -> Result<(), Unavailable> {
        self.change_health(Health::Ready, Health::Compacting).map_err(|health| match health {
            Health::Compacting => Unavailable::Compacting,
            Health::Stopped => Unavailable::Stopped,
            Health::Ready | Health::DiskLow | Health::DiskFull => Unavailable::DiskFull,
        })
    }

    /// Goes on, unless the disk became full or the store stopped meanwhile: that stays.
    pub(in crate::store) fn end_compacting(&self) {
        if let Err(health) = self.change_health(Health::Compacting, Health::Ready) {
            tracing::debug!(?health, "the compaction's end is not the pause's");
        }
    }

    fn change_health(&self, from: Health, to: Health) -> Result<(), Health> {
        let (from, to) = (number(from), number(to));
        let changed = self.health.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        if changed.is_ok() { Ok(()) } else { Err(self.health()) }
    }
}

impl Writer {
    /// Compacts the file. `later` gets what came meanwhile and must be done next. A failure
    /// is what a failed commit is: a full disk is waited out, anything else stops the store.
    pub(super) fn compact(&mut self, mut asked: Asked, later: &mut Vec<Op>) -> Result<(), String> {
        self.turn_away(later);
        let mut db = match self.take_database() {
            Ok(Some(db)) => db,
            Ok(None) => return Err("there is no file to compact".to_owned()),
            Err(still_read) => {
                self.shared.layers.write().base = Some(still_read);
                self.shared.end_compacting();
                asked.refuse(Unavailable::Reading);
                return Ok(());
            },
        };
        // Those that were under way when the pause began.
        self.turn_away(later);
        let before = self.medium.bytes();
        tracing::info!(bytes = before, "compacting the file: nothing is claimed meanwhile");
        let compacted = db.compact();
        let after = self.medium.bytes();
        match compacted {
            Ok(_) => {},
            Err(CompactionError::Storage(redb::StorageError::Io(error))) if is_no_space(&error) => {
                tracing::error!(%error, "the disk became full during the compaction");
                self.shared.set_health(Health::DiskFull);
                drop(db);
                asked.refuse(Unavailable::DiskFull);
                *later = self.give_back(std::mem::take(later));
                return self.wait_for_room(later);
            },
            Err(error @ CompactionError::Storage(_)) => {
                asked.refuse(Unavailable::Stopped);
                return Err(format!("compaction: {error}"));
            },
            // It looked before it touched anything.
            Err(error) => tracing::error!(%error, "the file cannot be compacted"),
        }
        let base = Base::new(db.into()).map_err(|error| error.to_string())?;
        self.shared.layers.write().base = Some(base.into());
        self.shared.end_compacting();
        let paused = asked.begun.elapsed();
        tracing::info!(before, after, paused_ms = paused.as_millis(), "compacted the file");
        asked.reply.with = Some(Compacted { before, after, paused });
        asked.reply.send(Ok(()));
        Ok(())
    }

    /// Answers the claims that wait, and the watchdog; the rest of ours goes to `later`.
    fn turn_away(&self, later: &mut Vec<Op>) {
        for mut op in self.claims.try_iter() {
            op.send(Err(Unavailable::Compacting));
        }
        for mut op in self.own.try_iter() {
            if matches!(op, Op::Alive { .. }) {
                op.send(Err(Unavailable::Compacting));
            } else {
                later.push(op);
            }
        }
    }
}
