//! The storage boundary, in the domain's verbs. Each verb is one atomic transition, durable
//! when it returns, or one read.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use wincode::{SchemaRead, SchemaWrite};

use crate::record::{
    Act, Answer, Arrival, Copy, Entry, Event, Label, Lead, Refused, Settled, Settlement, Token,
};
use crate::time::Millis;
use crate::verify::Delivery;

mod check;
mod checkpoint;
mod codec;
mod due;
mod file;
mod filter;
#[doc(hidden)]
pub mod fuzz;
mod key_rules;
mod layers;
mod list;
mod log;
mod mend;
mod orphans;
mod read;
mod redb;
mod rows;
mod rules;
mod signals;
mod start;
mod totals;
mod verbs;
mod writer;
mod young;

#[cfg(test)]
mod tests;

#[doc(hidden)]
pub use file::paced::Paced;
pub use file::{Medium, OpenError, Progress, Step, compact_file};
pub use list::{Filter, KeyFilter, ListError, Page};
pub use orphans::{Orphans, orphans};
pub use redb::RedbStore;
pub use rules::SourceRules;

/// Where events are kept.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// What a copy meets, if a read is enough to tell; `None`: it must [`Store::arrive`].
    fn look(&self, copy: &Copy) -> Result<Option<Arrived>, Unavailable>;

    /// A copy arrives. [`Store::look`] first: it answers most, and a damaged page that it
    /// meets is its error, where here it would be the writer's end.
    async fn arrive(&self, copy: Copy, payload: &Payload) -> Result<Arrived, Unavailable>;

    /// The same of a copy that comes with a free slot: an event that is due with it, and nothing
    /// else before it, is claimed as well, as [`Store::take_due`] would.
    async fn arrive_with_slot(&self, copy: Copy, payload: &Payload)
    -> Result<Arrived, Unavailable>;

    /// The elements of a batch arrive, in order: all of them in one transaction, so that after
    /// whatever happens all are stored or none is. Each meets what those before it left.
    async fn arrive_all(&self, elements: Vec<(Copy, Payload)>)
    -> Result<Vec<Arrived>, Unavailable>;

    /// Records what came of the attempt that `token` fenced. Never refused for lack of room.
    async fn settle(
        &self,
        id: &str,
        token: Token,
        settlement: Settlement,
    ) -> Result<Settled, Unavailable>;

    /// Claims up to `limit` due events of `source`, in one transaction.
    async fn take_due(&self, source: &str, limit: usize) -> Result<Taken, Unavailable>;

    /// Does what an operator asks.
    async fn operate(
        &self,
        id: &str,
        act: Act,
        note: &str,
    ) -> Result<Result<Label, Refused>, Unavailable>;

    /// Removes a small batch of what has expired.
    async fn sweep(&self) -> Result<Swept, Unavailable>;

    /// Remembers a delivery for the event's story; written within a second.
    fn note(&self, id: &str, seen: Seen);

    /// Writes the remembered deliveries.
    async fn flush(&self) -> Result<(), Unavailable>;

    /// The whole story of an event, all that was answered before included.
    async fn story(&self, id: &str) -> Result<Option<Story>, Unavailable>;

    /// The event of an id, or of what that was under the names its source had before.
    fn event(&self, id: &str) -> Result<Option<Event>, Unavailable>;

    /// The delivery that the attempts of an event carry, if it is held and can be read.
    fn body(&self, id: &str) -> Result<Option<Payload>, Unavailable>;

    /// One page of the events of `filter`, after `cursor`; `limit` is the most events. Blocks
    /// for some milliseconds.
    fn list(&self, filter: &Filter, cursor: Option<&str>, limit: usize) -> Result<Page, ListError>;

    /// Gives the file's unused room back to the disk. Meanwhile nothing is claimed and nothing
    /// read; what was claimed before is settled after.
    async fn compact(&self) -> Result<Compacted, Unavailable>;

    /// How many events stand where.
    fn stats(&self) -> Stats;

    /// Why the store stopped for good; resolves when it did.
    async fn failed(&self) -> String;

    /// Whether the store takes writes now.
    fn health(&self) -> Health;

    /// Returns once the writer has answered: never, while it hangs. A writer that waits for
    /// room on the disk answers.
    async fn alive(&self) -> Result<(), Unavailable>;

    /// Writes what waits and closes the file.
    async fn close(&self);
}

/// The store cannot do this now; nothing was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// More claims wait than fit.
    #[error("too many claims are waiting")]
    Overloaded,
    /// Free space is below `storage.reserve`.
    #[error("the disk has less free space than `storage.reserve`")]
    DiskLow,
    /// A write failed for lack of space; the store reopens when there is room.
    #[error("the disk is full")]
    DiskFull,
    /// The file is being compacted.
    #[error("the file is being compacted")]
    Compacting,
    /// The file cannot be compacted while it is read.
    #[error("a read of the whole file goes on: try again when it has ended")]
    Reading,
    /// The store failed or is closed.
    #[error("the store does not take requests")]
    Stopped,
}

/// Whether the store takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Ready,
    /// Only settlements and sweeping: free space is below the reserve.
    DiskLow,
    /// Not until there is room.
    DiskFull,
    /// Not until the file is compacted.
    Compacting,
    /// Not any more.
    Stopped,
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// The size of the file before, in bytes.
    pub before: u64,
    /// And after.
    pub after: u64,
    /// How long nothing was claimed.
    pub paused: Duration,
}

/// What a copy met, and the recorded answer if that is what it gets.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// What the copy met.
    pub arrival: Arrival,
    /// The recorded answer.
    pub answer: Option<Answer>,
    /// The claim of the slot that it came with.
    pub taken: Option<Lead>,
}

/// Due events, claimed.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// What to attempt.
    pub events: Vec<TakenEvent>,
    /// When the next event of the source falls due, if one waits.
    pub next_due: Option<Millis>,
}

/// A due event, claimed.
#[derive(Clone, Debug)]
pub struct TakenEvent {
    /// `<source>:<key>`.
    pub id: String,
    /// The claim.
    pub lead: Lead,
    /// What to send.
    pub payload: Payload,
}

/// What a batch of the sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Events forgotten, by source.
    pub forgotten: Vec<(String, u64)>,
    /// Dead events among them, by id: each gets a line in the log.
    pub dead: Vec<String>,
    /// Whether more has expired.
    pub more: bool,
}

/// One delivery as the story tells it.
#[derive(Clone, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Seen {
    /// When it was answered.
    pub at: Millis,
    /// What became of it: a word of SPEC's outcomes.
    pub outcome: String,
    /// The status it was answered with.
    pub status: u16,
    /// Same key, other body.
    pub mismatch: bool,
}

/// How many deliveries a story keeps from each end.
pub const SEEN_LIMIT: usize = 32;

/// The deliveries of an event: exact counts, the first 32 and the last 32.
#[derive(Clone, Debug, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Deliveries {
    /// Exact counts by outcome.
    pub counts: Vec<(String, u64)>,
    /// The first of them.
    pub first: Vec<Seen>,
    /// The last of them, after the first.
    pub last: Vec<Seen>,
}

impl Deliveries {
    /// Counts one more delivery.
    pub fn add(&mut self, seen: Seen) {
        match self.counts.iter_mut().find(|(outcome, _)| *outcome == seen.outcome) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.counts.push((seen.outcome.clone(), 1)),
        }
        self.keep(seen);
    }

    /// Adds what was counted elsewhere meanwhile.
    pub fn merge(&mut self, later: Self) {
        for (outcome, more) in later.counts {
            match self.counts.iter_mut().find(|(known, _)| *known == outcome) {
                Some((_, count)) => *count = count.saturating_add(more),
                None => self.counts.push((outcome, more)),
            }
        }
        for seen in later.first.into_iter().chain(later.last) {
            self.keep(seen);
        }
    }

    fn keep(&mut self, seen: Seen) {
        if self.first.len() < SEEN_LIMIT {
            self.first.push(seen);
        } else {
            if self.last.len() >= SEEN_LIMIT {
                self.last.remove(0);
            }
            self.last.push(seen);
        }
    }
}

/// The whole story of an event.
#[derive(Clone, Debug)]
pub struct Story {
    /// The event as it stands.
    pub event: Event,
    /// The source it belongs to now; `None`: its source is not configured.
    pub source: Option<String>,
    /// Every attempt, state and settlement, in order.
    pub entries: Vec<Entry>,
    /// Lines of the story that could not be read.
    pub damaged_entries: u32,
    /// The deliveries.
    pub deliveries: Deliveries,
    /// The recorded answer.
    pub answer: Option<Answer>,
}

/// How many events stand where, and how the store does.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Events by source and state, of the sources that are configured.
    pub counts: Vec<(String, Label, u64)>,
    /// Events of sources that are not.
    pub orphaned: Vec<(String, Label, u64)>,
    /// How long the oldest due event of each source has been due.
    pub oldest: Vec<(String, Duration)>,
    /// The size of the file in bytes.
    pub bytes: u64,
}

/// A delivery as it is stored, to be sent as it was received.
#[derive(Clone, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Payload {
    /// The method.
    pub method: String,
    /// The query, without the question mark.
    pub query: Option<String>,
    /// The headers, in the order received.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The raw body.
    pub body: Vec<u8>,
    /// The address the delivery came from, as text.
    pub from: Option<String>,
    /// Whether it came over TLS.
    pub https: bool,
}

impl Payload {
    /// The delivery as it is stored.
    pub fn new(delivery: &Delivery, from: Option<IpAddr>, https: bool) -> Self {
        let headers = delivery.headers.iter();
        Self {
            from: from.map(|address| address.to_string()),
            https,
            method: delivery.method.to_string(),
            query: delivery.query.clone(),
            headers: headers.map(|(n, v)| (n.to_string(), v.as_bytes().to_vec())).collect(),
            body: delivery.body.to_vec(),
        }
    }
}

impl From<Payload> for Delivery {
    fn from(payload: Payload) -> Self {
        let mut headers = HeaderMap::with_capacity(payload.headers.len());
        for (name, value) in payload.headers {
            // Both were made from valid ones; what could not be read back was damaged before.
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                headers.append(name, value);
            }
        }
        Self {
            method: Method::from_bytes(payload.method.as_bytes()).unwrap_or(Method::POST),
            query: payload.query,
            headers,
            body: Bytes::from(payload.body),
        }
    }
}
