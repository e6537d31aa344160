//! The sources, the bodies and the history of events that crash tests work with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use oncegate::clock::Clock;
use oncegate::config;
use oncegate::record::{
    self, Answer, Boot, Context, Copy, Entry, Event, Mode, OnMismatch, OnUnknown, Policy, Retry,
    Settlement, State, Token, Verdict,
};
use oncegate::store::{Medium, OpenError, Payload, RedbStore, Store as _};
use oncegate::time::Millis;

use super::disk::Disk;

pub(super) const START: Millis = Millis(1_800_000_000_000);
pub(super) const TTL: Duration = Duration::from_hours(100);
pub(super) const KEEP: Duration = Duration::from_hours(10);
pub(super) const FIRST_DELAY: Duration = Duration::from_secs(5);

/// `p` answers at once, `h` holds what is unknown, `q` queues, `d` gives up at once, `b` queues
/// and nobody takes from it: its events come in batches.
pub(super) fn policies() -> BTreeMap<String, Policy> {
    let proxy = Policy {
        mode: Mode::Proxy,
        acknowledgement: 200,
        on_unknown: OnUnknown::Redeliver,
        on_mismatch: OnMismatch::Flag,
        retry: Retry {
            attempts: 3,
            first: FIRST_DELAY,
            factor: 2.0,
            max: Duration::from_secs(60),
            jitter: false,
        },
        ttl: TTL,
        keep: KEEP,
        dead_ttl: None,
    };
    let hold = Policy { on_unknown: OnUnknown::Hold, ..proxy };
    let queue = Policy { mode: Mode::Queue, ..proxy };
    let retry = Retry { attempts: 1, ..queue.retry };
    let once = Policy { retry, dead_ttl: Some(TTL), ..queue };
    [("p", proxy), ("h", hold), ("b", queue.clone()), ("q", queue), ("d", once)]
        .into_iter()
        .map(|(name, policy)| (name.to_owned(), policy))
        .collect()
}

pub(super) fn open(disk: &Disk, clock: &Arc<Clock>) -> Result<RedbStore, OpenError> {
    open_on(disk.medium(), clock)
}

pub(super) fn open_on(medium: Medium, clock: &Arc<Clock>) -> Result<RedbStore, OpenError> {
    // So small that rows go on to the file in the midst of everything.
    let settings =
        config::Storage { path: PathBuf::new(), cache: 256 << 10, reserve: 0, two_phase: false };
    let sources = policies().into_iter().map(|(name, policy)| (name, policy.into())).collect();
    RedbStore::open(medium, &settings, sources, Arc::clone(clock))
}

/// A body of `len` bytes that no other `name` has.
pub(super) fn body(name: &str, len: usize) -> Vec<u8> {
    name.bytes().chain(std::iter::once(b'|')).cycle().take(len).collect()
}

pub(super) fn delivery(id: &str, body: &[u8]) -> (Copy, Payload) {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    let copy = Copy {
        id: id.to_owned(),
        earlier: None,
        long: None,
        sha256: digest.as_ref().try_into().unwrap(),
        bytes: body.len() as u64,
    };
    let payload = Payload {
        method: "POST".to_owned(),
        query: Some("a=1".to_owned()),
        headers: vec![("x-id".to_owned(), id.as_bytes().to_vec())],
        body: body.to_vec(),
        from: None,
        https: false,
    };
    (copy, payload)
}

pub(super) fn settlement(verdict: Verdict, answer: &[u8]) -> Settlement {
    let answer = Answer {
        status: 200,
        headers: vec![("content-type".to_owned(), b"text/plain".to_vec())],
        body: answer.to_vec(),
        truncated: false,
    };
    let answered = matches!(verdict, Verdict::Success | Verdict::Final);
    Settlement { verdict, answer: answered.then_some(answer), detail: format!("{verdict:?}") }
}

/// All that is stored of an event, but for its deliveries.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Snapshot {
    pub(super) event: Event,
    pub(super) entries: Vec<Entry>,
    pub(super) answer: Option<Answer>,
    pub(super) payloads: Vec<(u8, Payload)>,
}

/// What is stored of `id` now, and how many deliveries were noted of it.
pub(super) async fn look(store: &RedbStore, id: &str) -> Result<(Option<Snapshot>, u64), String> {
    let failed = |error| format!("{id}: {error}");
    let Some(story) = store.story(id).await.map_err(failed)? else { return Ok((None, 0)) };
    if story.damaged_entries > 0 {
        return Err(format!("{id}: {} lines are damaged", story.damaged_entries));
    }
    let noted = story.deliveries.counts.iter().map(|(_, count)| count).sum();
    let payloads = store.payloads(id).map_err(failed)?;
    let (event, entries, answer) = (story.event, story.entries, story.answer);
    Ok((Some(Snapshot { event, entries, answer, payloads }), noted))
}

impl Snapshot {
    /// The same event after a start at `now` settled what another boot had in flight.
    pub(super) fn recovered(&self, now: Millis) -> Self {
        if !matches!(self.event.state, State::InFlight { .. }) {
            return self.clone();
        }
        let policies = policies();
        let policy = &policies[self.event.source()];
        let cx =
            Context { now, policy, token: Token(0), orphaned: false, boot: Boot(0), draw: 0.0 };
        let settlement = Settlement {
            verdict: Verdict::Unknown,
            answer: None,
            detail: "the process ended while the attempt ran".to_owned(),
        };
        let change = record::settle(Some(&self.event), self.event.token, &settlement, &cx);
        let mut entries = self.entries.clone();
        entries.extend(change.writes.story);
        Self { event: change.event.unwrap(), entries, ..self.clone() }
    }
}

/// What was known of an event once `ops` operations of the disk were recorded.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) ops: usize,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) noted: u64,
}

/// Every state of every event that was acknowledged, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) events: BTreeMap<String, Vec<Known>>,
    pub(super) tokens: Vec<(usize, Token)>,
    /// Events that came in one batch each: all of them are there or none is.
    pub(super) batches: Vec<Vec<String>>,
}

impl History {
    pub(super) fn add(&mut self, id: &str, known: Known) {
        let states = self
            .events
            .entry(id.to_owned())
            .or_insert_with(|| vec![Known { ops: 0, snapshot: None, noted: 0 }]);
        states.push(known);
    }

    /// Holds `store`, opened at `now` on what was left of the first `cut` operations,
    /// against all that was acknowledged by then.
    pub(super) async fn violations(
        &self,
        store: &RedbStore,
        cut: usize,
        now: Millis,
    ) -> Vec<String> {
        let mut found = Vec::new();
        for (id, states) in &self.events {
            let acked = states.iter().rposition(|known| known.ops <= cut).unwrap_or(0);
            match look(store, id).await {
                Ok((actual, noted)) => {
                    let same = |known: &Known| match (&known.snapshot, &actual) {
                        (Some(known), Some(actual)) => known.recovered(now) == *actual,
                        (known, actual) => known.is_none() && actual.is_none(),
                    };
                    match states[acked..].iter().find(|known| same(known)) {
                        None => found.push(format!(
                            "{id}: at least {:?} was acknowledged, found {:?}",
                            states[acked].snapshot.as_ref().map(|s| (&s.event, s.entries.len())),
                            actual.as_ref().map(|s| (&s.event, s.entries.len())),
                        )),
                        // A forgotten event takes its deliveries along.
                        Some(known) if known.snapshot.is_some() && noted < states[acked].noted => {
                            found.push(format!(
                                "{id}: {noted} deliveries, not {}",
                                states[acked].noted
                            ));
                        },
                        Some(_) => {},
                    }
                },
                Err(error) => found.push(error),
            }
        }
        for batch in &self.batches {
            let there = |id: &&String| store.event(id).is_ok_and(|event| event.is_some());
            let there: Vec<_> = batch.iter().filter(there).collect();
            if !there.is_empty() && there.len() < batch.len() {
                found.push(format!("half a batch: of {batch:?} only {there:?}"));
            }
        }
        match store.check() {
            Ok(problems) => found.extend(problems),
            Err(error) => found.push(format!("check: {error}")),
        }
        let (copy, payload) = delivery("p:after-the-cut", b"new");
        let past = self.tokens.iter().filter(|(ops, _)| *ops <= cut).map(|(_, token)| *token).max();
        match store.arrive(copy, &payload).await.map(|arrived| arrived.arrival.meets) {
            Ok(record::Meets::Lead(lead)) if Some(lead.token) > past => {},
            other => found.push(format!("after token {past:?} a new event met {other:?}")),
        }
        found
    }
}
