//! A batch: several events in one request. In queue mode each element is an event of its own,
//! all are claimed in one transaction, and the delivery is answered for all of them. In proxy
//! mode, where the provider waits for one answer, the batch is one event.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::body::Held;
use super::{Answered, Claimable, Ingress, Sender, Turned, Unbroken, copy, unavailable};
use crate::deliver::BATCH;
use crate::gate::Gate;
use crate::key::{self, MAX_ELEMENTS, Scope, Split};
use crate::record::Copy;
use crate::reply::Reply;
use crate::store::Payload;
use crate::telemetry::Outcome;
use crate::time::{self, Millis};
use crate::verify::{Delivery, Verified};

/// Bytes that what is made of batches takes in memory at once, beside their bodies. A further
/// batch waits until there is room for it.
const BATCHES_IN_FLIGHT: usize = 256 << 20;
/// What room is counted in, in bytes.
const UNIT: usize = 1024;
/// About what an element takes beside its own bytes and the headers, in bytes.
const OF_AN_ELEMENT: usize = 1024;
/// About what a header takes beside its own bytes.
const OF_A_HEADER: usize = 64;
/// The most bytes that the headers of one batch may take: they are stored with each element.
/// 4,000 elements with 2 KiB of headers, the most of any provider, are 8 MiB.
const HEADERS_STORED: usize = 64 << 20;

/// Headers that say something of the body as a whole, and nothing true of an element.
const OF_THE_WHOLE: [HeaderName; 5] = [
    CONTENT_LENGTH,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
];

/// A verified delivery with the identity of each event that it has.
#[expect(clippy::large_enum_variant, reason = "most are one event, and each is moved once")]
pub(super) enum Admitted {
    /// It is one event.
    One(Claimable),
    /// Each of its elements is one.
    Several(Batch),
}

/// A batch, with all that claims need of it.
pub(super) struct Batch {
    /// For each element a copy, and its bytes.
    elements: Vec<(Copy, Bytes)>,
    /// What all have: the delivery without its body and what went with that.
    common: Payload,
    /// Free again when all is answered.
    _room: OwnedSemaphorePermit,
}

/// An element, and what it alone would be answered.
struct Element {
    id: String,
    answered: Answered,
}

/// The room for batches.
#[derive(Debug)]
pub(super) struct Batches(Arc<Semaphore>);

impl Batches {
    /// All of it.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BATCHES_IN_FLIGHT / UNIT)))
    }

    /// Waits for room for as many elements as `delivery` may have.
    async fn enter(&self, delivery: &Delivery) -> Result<OwnedSemaphorePermit, Turned> {
        // The shortest is one digit and a comma.
        let most = (delivery.body.len() / 2 + 1).min(MAX_ELEMENTS);
        let room = Arc::clone(&self.0).acquire_many_owned(units(delivery, most));
        let closed = |_| Turned::away(Outcome::Unavailable, "the gateway is stopping");
        room.await.map_err(closed)
    }
}

/// The room that a batch of so many elements takes.
fn units(delivery: &Delivery, elements: usize) -> u32 {
    let headers = headers(delivery, elements).min(HEADERS_STORED);
    let bytes = headers.saturating_add(elements.saturating_mul(OF_AN_ELEMENT));
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// The bytes of the headers, once an element.
fn headers(delivery: &Delivery, elements: usize) -> usize {
    let bytes = delivery.headers.iter().map(|(n, v)| n.as_str().len() + v.len() + OF_A_HEADER);
    bytes.sum::<usize>().saturating_mul(elements)
}

impl Ingress {
    /// Step 3 of a source whose deliveries are batches: how many events are here, and which?
    pub(super) async fn admit_batch(
        &self,
        gate: &Gate,
        batch: &key::Batch,
        verified: Verified,
        (from, at): (Sender, Millis),
    ) -> Result<Admitted, Turned> {
        let mut room = self.batches.enter(verified.delivery()).await?;
        let body = verified.delivery().body.clone();
        let elements = match batch.split(&body) {
            Ok(Split::Elements(elements)) => elements,
            Ok(Split::Nothing) => {
                let reply = Reply::acknowledge(&gate.source.acknowledgement, Outcome::Handshake);
                return Err(Turned { reply, why: "a batch of nothing" });
            },
            Ok(Split::Whole(why)) => {
                return self
                    .identify(gate, verified, Scope::NoBatch(why), (from, at))
                    .map(Admitted::One);
            },
            Err(why) => {
                let detail = format!("the batch has more than {MAX_ELEMENTS} elements");
                let reply = Reply::refuse(Outcome::Invalid, &detail);
                return Err(Turned { reply, why: why.word() });
            },
        };
        if !gate.source.splits() {
            let scope = Scope::Elements(&elements);
            return self.identify(gate, verified, scope, (from, at)).map(Admitted::One);
        }
        if headers(verified.delivery(), elements.len()) > HEADERS_STORED {
            let why = "the headers, which each element is stored with, are too large";
            return Err(Turned::away(Outcome::TooLarge, why));
        }
        let needed = units(verified.delivery(), elements.len());
        let spare =
            room.num_permits().saturating_sub(usize::try_from(needed).unwrap_or(usize::MAX));
        drop(room.split(spare));
        let copies = elements.iter().map(|element| {
            let (key, earlier) = self.key(gate, &verified, Scope::Element(element))?;
            Ok((copy(gate, &key, earlier, element), body.slice_ref(element)))
        });
        let elements = copies.collect::<Result<_, Turned>>()?;
        let common = common(gate, verified, &from);
        Ok(Admitted::Several(Batch { elements, common, _room: room }))
    }

    /// Steps 4 and 7 of a batch: all its elements are stored at once, or answered from the record.
    pub(super) async fn receive_batch(
        self: Arc<Self>,
        gate: Arc<Gate>,
        batch: Batch,
        (room, held): (Held, TaskTrackerToken),
        begun: Instant,
    ) -> Response {
        if let Some(all) = self.recall_all(&gate, &batch) {
            return self.tell_all(&gate, &all, begun).into_response();
        }
        // The provider hanging up cancels nothing from here on.
        let tasks = self.life.tasks.clone();
        let answering = async move {
            let _held = (room, held);
            let all = self.arrive_all(&gate, batch).await;
            self.tell_all(&gate, &all, begun)
        };
        let Ok(reply) = Unbroken::new(answering, &tasks).await else {
            tracing::error!("a delivery's handling panicked");
            return Reply::refuse(Outcome::Unavailable, "the gateway failed").into_response();
        };
        reply.into_response()
    }

    /// The answers to all elements, if reads are enough.
    fn recall_all(&self, gate: &Gate, batch: &Batch) -> Option<Vec<Element>> {
        let recall = |(copy, _): &(Copy, Bytes)| {
            Some(Element { id: copy.id.clone(), answered: self.recall(gate, copy)? })
        };
        batch.elements.iter().map(recall).collect()
    }

    /// All elements are stored, in one transaction, durable once this returns.
    async fn arrive_all(&self, gate: &Gate, batch: Batch) -> Vec<Element> {
        let Batch { elements, common, _room } = batch;
        let ids: Vec<String> = elements.iter().map(|(copy, _)| copy.id.clone()).collect();
        let count = elements.len();
        let elements = elements.into_iter().enumerate().map(|(at, (copy, body))| {
            let mut payload = Payload { body: body.to_vec(), ..common.clone() };
            let place = format!("{}/{count}", at.saturating_add(1));
            payload.headers.push((BATCH.to_string(), place.into_bytes()));
            (copy, payload)
        });
        let arrived = match self.life.store.arrive_all(elements.collect()).await {
            Ok(arrived) => arrived,
            Err(error) => {
                let refused = |id| Element { id, answered: Answered::new(unavailable(error)) };
                return ids.into_iter().map(refused).collect();
            },
        };
        let mut all = Vec::with_capacity(count);
        for (id, arrived) in ids.into_iter().zip(arrived) {
            all.push(Element { id, answered: self.answer_arrived(gate, arrived).await });
        }
        all
    }

    /// Step 7 but for the bytes: each element's story, and of the delivery, which is one, the
    /// metrics and one line.
    fn tell_all(&self, gate: &Gate, all: &[Element], begun: Instant) -> Reply {
        let (took, now) = (begun.elapsed(), self.clock.now());
        let reply = together(gate, all);
        gate.meters.delivered(reply.outcome);
        gate.meters.delivery_duration.record(took);
        let answers = || all.iter().map(|element| &element.answered);
        let received = answers().filter(|it| it.later).filter_map(|it| it.received).min();
        if let Some(received) = received {
            gate.meters.duplicate_lag.record(now.since(received));
        }
        let mismatches = answers().filter(|it| it.reply.mismatch).count();
        gate.meters.mismatches.increment(u64::try_from(mismatches).unwrap_or(u64::MAX));
        if answers().any(|it| it.reply.outcome == Outcome::Queued) {
            gate.wake.notify_one();
        }
        for Element { id, answered } in all {
            self.note(answered.id.as_ref().unwrap_or(id), answered, now);
        }
        let new = answers().filter(|it| it.reply.outcome == Outcome::Queued && !it.later).count();
        tracing::info!(
            source = gate.source.name,
            elements = all.len(),
            new,
            outcome = reply.outcome.word(),
            status = reply.status,
            duration_ms = time::millis(took),
            "delivery"
        );
        reply
    }
}

/// The payload of every element but for its body and its place.
fn common(gate: &Gate, verified: Verified, from: &Sender) -> Payload {
    let mut delivery = verified.into_delivery();
    from.address(&mut delivery);
    // An element is not what was signed, and is no place for what is as good as the secret.
    for name in gate.source.verifier.headers().chain(&OF_THE_WHOLE).chain([&BATCH]) {
        delivery.headers.remove(name);
    }
    delivery.body = Bytes::new();
    from.payload(&delivery)
}

/// The answer to a delivery for all its elements. One that could not be seen to is not
/// acknowledged with the others: the provider sends all again, and those are copies then.
fn together(gate: &Gate, all: &[Element]) -> Reply {
    let mismatch = all.iter().any(|element| element.answered.reply.mismatch);
    let is = |element: &&Element, outcome| element.answered.reply.outcome == outcome;
    for refusal in [Outcome::Unavailable, Outcome::Busy, Outcome::Mismatch] {
        if let Some(element) = all.iter().find(|element| is(element, refusal)) {
            return Reply { mismatch, ..element.answered.reply.clone() };
        }
    }
    let new = all.iter().any(|element| is(&element, Outcome::Queued));
    let outcome = if new { Outcome::Queued } else { Outcome::Duplicate };
    let replayed = !new && all.iter().all(|element| element.answered.reply.replayed);
    let acknowledgement = Reply::acknowledge(&gate.source.acknowledgement, outcome);
    Reply { replayed, mismatch, ..acknowledgement }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    fn delivery(body: usize, header: usize) -> Delivery {
        let mut headers = HeaderMap::new();
        headers.insert("x-long", "x".repeat(header).parse().unwrap());
        let body = Bytes::from(vec![b'0'; body]);
        Delivery { method: Method::POST, query: None, headers, body }
    }

    #[tokio::test]
    async fn any_batch_finds_room_and_gives_it_back() {
        let batches = Batches::new();
        let all = batches.0.available_permits();
        for (body, header) in [(0, 0), (2, 10), (1 << 20, 100), (25 << 20, 60 << 10)] {
            let delivery = delivery(body, header);
            let room = batches.enter(&delivery).await.map_err(|turned| turned.why).unwrap();
            let taken = all - batches.0.available_permits();
            assert_eq!(taken, room.num_permits());
            assert!(taken >= body.min(MAX_ELEMENTS) * OF_AN_ELEMENT / 2 / UNIT);
            assert!(taken * 3 < all, "one keeps no other out: {taken}");
            drop(room);
            assert_eq!(batches.0.available_permits(), all);
        }
    }
}
