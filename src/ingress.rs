//! The way of one webhook, in seven steps: read, verify, key, and then, not cancelled by the
//! provider's hanging up, claim, deliver, settle, respond.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::claim::{Claims, Follower, Seat};
use crate::clock::{self, Clock};
use crate::deliver::{matters, nominated};
use crate::gate::{Claimed, Gate, Life, Rejected};
use crate::key::{Key, Scope};
use crate::preset::{self, Asked, WrongToken, may_greet};
use crate::record::{Copy, Finish, Meets, Mode, Token};
use crate::reply::Reply;
use crate::store::{Arrived, Seen, Unavailable};
use crate::telemetry::{self, Outcome};
use crate::time::{self, Millis};
use crate::verify::{Delivery, Rejection};

mod batch;
mod body;
mod certified;
mod identify;
mod lead;
mod sender;
mod suspect;
mod unbroken;

use batch::{Admitted, Batches};
use body::{Held, Room};
use identify::{Claimable, copy};
pub use sender::Sender;
use unbroken::Unbroken;

/// Bytes of bodies in memory at once, of all requests. For a further one the unfinished body
/// that has been coming longest gives way; where all are whole it is refused with 503.
pub const BODIES_IN_FLIGHT: usize = 256 << 20;

/// Characters of an unknown path that the log shows.
const PATH_SHOWN: usize = 100;

/// The public side of the gateway.
#[derive(Debug)]
pub struct Ingress {
    gates: HashMap<String, Arc<Gate>>,
    life: Life,
    clock: Arc<Clock>,
    claims: Claims<Led>,
    bodies: Arc<Room>,
    batches: Batches,
    body_timeout: Duration,
}

/// What a leader leaves to the copies that waited for it.
#[derive(Clone, Debug)]
struct Led {
    reply: Reply,
    /// The event's own id, if one was stored.
    id: Option<String>,
    sha256: [u8; 32],
    /// When the event's first copy arrived, if one was stored.
    received: Option<Millis>,
}

/// What is known of a delivery when it is answered.
#[derive(Debug)]
struct Answered {
    reply: Reply,
    /// The event's own id, if it is known: not that of the copy where the event was born under
    /// another name or key rule, or is a run of a signal.
    id: Option<String>,
    /// When the event's first copy arrived.
    received: Option<Millis>,
    /// Whether this is a later one.
    later: bool,
    attempt: u32,
    token: Token,
    upstream: Option<u16>,
    /// Whether the story has this delivery already: its first line tells of it.
    told: bool,
    /// Whether an event that was stored waits for the queue.
    waits: bool,
}

impl Answered {
    fn new(reply: Reply) -> Self {
        Self {
            reply,
            id: None,
            received: None,
            later: false,
            attempt: 0,
            token: Token::default(),
            upstream: None,
            told: false,
            waits: true,
        }
    }
}

/// A delivery answered before it was claimed, and why, in a word for the log.
struct Turned {
    reply: Reply,
    why: &'static str,
}

impl Turned {
    fn away(outcome: Outcome, why: &'static str) -> Self {
        Self { reply: Reply::refuse(outcome, why), why }
    }
}

impl Ingress {
    /// The public side for `gates`, each at its source's path.
    pub fn new(gates: &[Arc<Gate>], life: Life, clock: Arc<Clock>, body_timeout: Duration) -> Self {
        telemetry::zero_no_source();
        let gates = gates.iter().map(|gate| (gate.source.path.clone(), Arc::clone(gate))).collect();
        let bodies = Room::new(BODIES_IN_FLIGHT);
        let (claims, batches) = (Claims::new(), Batches::new());
        Self { gates, life, clock, claims, bodies, batches, body_timeout }
    }

    /// Answers one request of a provider.
    pub async fn receive(self: Arc<Self>, from: Sender, request: Request<Incoming>) -> Response {
        let begun = Instant::now();
        let Some(gate) = self.gates.get(request.uri().path()).cloned() else {
            telemetry::lost(Outcome::NotFound);
            let path: String = request.uri().path().chars().take(PATH_SHOWN).collect();
            tracing::info!(path, outcome = Outcome::NotFound.word(), "delivery");
            return Reply::refuse(Outcome::NotFound, "no source has this path").into_response();
        };
        let (admitted, room, held) = match self.admit(&gate, from, request).await {
            Ok(admitted) => admitted,
            Err(Turned { reply, why }) => {
                gate.meters.delivered(reply.outcome);
                gate.meters.delivery_duration.record(begun.elapsed());
                tracing::info!(
                    source = gate.source.name,
                    outcome = reply.outcome.word(),
                    reason = why,
                    status = reply.status,
                    duration_ms = time::millis(begun.elapsed()),
                    "delivery"
                );
                return reply.into_response();
            },
        };
        let claimable = match admitted {
            Admitted::One(claimable) => claimable,
            Admitted::Several(batch) => {
                return self.receive_batch(gate, batch, (room, held), begun).await;
            },
        };
        let suspect = claimable.suspect;
        if let Some(mut answered) = self.recall(&gate, &claimable.copy) {
            answered.reply.suspect = suspect;
            let id = answered.id.as_ref().unwrap_or(&claimable.copy.id);
            self.tell(&gate, id, &claimable.key, &answered, begun);
            return answered.reply.into_response();
        }
        // The provider hanging up cancels nothing from here on.
        let ingress = Arc::clone(&self);
        let answering = async move {
            let _held = held;
            let (id, key) = (claimable.copy.id.clone(), claimable.key.clone());
            let mut answered = ingress.claim(&gate, claimable).await;
            answered.reply.suspect = suspect;
            drop(room);
            let id = answered.id.as_ref().unwrap_or(&id);
            ingress.tell(&gate, id, &key, &answered, begun);
            answered.reply
        };
        let Ok(reply) = Unbroken::new(answering, &self.life.tasks).await else {
            tracing::error!("a delivery's handling panicked");
            return Reply::refuse(Outcome::Unavailable, "the gateway failed").into_response();
        };
        reply.into_response()
    }

    /// Steps 1 to 3: read, verify, key.
    async fn admit(
        &self,
        gate: &Gate,
        from: Sender,
        request: Request<Incoming>,
    ) -> Result<(Admitted, Held, TaskTrackerToken), Turned> {
        if request.method() != Method::POST {
            return Err(asked(gate, from.address, request));
        }
        refuse_nominations(gate, request.headers())?;
        self.refuse_when_stopping()?;
        let limit = gate.source.max_body;
        let (delivery, room) = body::read(&self.bodies, limit, self.body_timeout, request).await?;
        // A stop may have been asked for while the body came. Held before that is looked at, so
        // that a drain waits for what passes here.
        let held = self.life.tasks.token();
        self.refuse_when_stopping()?;
        greet(gate, from.address, &delivery, false)?;
        let at = clock::wall();
        let verified = certified::verify(gate, delivery, (from.address, at)).await?;
        gate.seen(self.clock.now());
        certified::confirm(gate, &verified).await?;
        greet(gate, from.address, verified.delivery(), true)?;
        let admitted = match &gate.source.batch {
            None => Admitted::One(self.identify(gate, verified, Scope::Whole, (from, at))?),
            Some(batch) => self.admit_batch(gate, batch, verified, (from, at)).await?,
        };
        Ok((admitted, room, held))
    }

    /// Draining begins nothing new.
    fn refuse_when_stopping(&self) -> Result<(), Turned> {
        if self.life.shut.is_cancelled() {
            return Err(Turned::away(Outcome::Unavailable, "the gateway is stopping"));
        }
        Ok(())
    }

    /// Step 4, for most copies: answered from the record, by a read alone.
    fn recall(&self, gate: &Gate, copy: &Copy) -> Option<Answered> {
        match self.life.store.look(copy) {
            // It waits for the attempt's end.
            Ok(Some(arrived)) if arrived.arrival.meets == Meets::InFlight => None,
            Ok(arrived) => Some(answer(gate, arrived?)),
            Err(error) => Some(Answered::new(unavailable(error))),
        }
    }

    /// Step 4: who attempts, who waits, who is answered from the record.
    async fn claim(&self, gate: &Arc<Gate>, claimable: Claimable) -> Answered {
        if gate.source.policy.mode == Mode::Queue {
            return match gate.spare_slot(&self.life) {
                Some(slot) => self.arrive_with(slot, gate, claimable).await,
                None => self.arrive(gate, &claimable).await,
            };
        }
        match self.claims.join(&claimable.copy.id) {
            Seat::Follow(follower) => Box::pin(self.follow(gate, &claimable, follower)).await,
            Seat::Lead(mut leader) => {
                let sha256 = claimable.copy.sha256;
                // On its own: what waits in a queue's task is small.
                let led = Box::pin(self.lead(gate, &claimable, &mut leader));
                let (answered, for_copies) = led.await;
                let reply = for_copies.unwrap_or_else(|| answered.reply.clone());
                let (id, received) = (answered.id.clone(), answered.received);
                leader.answer(Led { reply, id, sha256, received });
                answered
            },
        }
    }

    /// A copy that starts no attempt of its own: stored, or answered from the record.
    async fn arrive(&self, gate: &Gate, claimable: &Claimable) -> Answered {
        let arrived = match self.store(claimable).await {
            Ok(arrived) => arrived,
            Err(error) => return Answered::new(unavailable(error)),
        };
        self.answer_arrived(gate, arrived).await
    }

    async fn answer_arrived(&self, gate: &Gate, arrived: Arrived) -> Answered {
        if let Meets::Lead(lead) = &arrived.arrival.meets {
            // The event it was a copy of was forgotten meanwhile: the claim is given back.
            gate.release(&self.life, &arrived.arrival.id, lead).await;
        }
        answer(gate, arrived)
    }

    /// The same of a copy that has a slot: a new event is attempted at once, though nobody waits
    /// for that.
    async fn arrive_with(
        &self,
        slot: OwnedSemaphorePermit,
        gate: &Arc<Gate>,
        claimable: Claimable,
    ) -> Answered {
        let Claimable { copy, delivery, from, .. } = claimable;
        let payload = from.payload(&delivery);
        let arrived = match self.life.store.arrive_with_slot(copy, &payload).await {
            Ok(arrived) => arrived,
            Err(error) => return Answered::new(unavailable(error)),
        };
        if let Some(lead) = arrived.taken.clone() {
            let (gate, life, id) =
                (Arc::clone(gate), self.life.clone(), arrived.arrival.id.clone());
            self.life.tasks.spawn(async move {
                let (lead, delivery, origin) = (&lead, &delivery, from.origin());
                let claimed = Claimed { id: &id, lead, delivery, origin };
                gate.attempt_owed(&life, claimed, Some(slot)).await;
            });
        }
        self.answer_arrived(gate, arrived).await
    }

    /// Step 4 on the store's side, durable once it returns.
    async fn store(&self, claimable: &Claimable) -> Result<Arrived, Unavailable> {
        let Claimable { copy, delivery, from, .. } = claimable;
        let payload = from.payload(delivery);
        self.life.store.arrive(copy.clone(), &payload).await
    }

    /// A copy that waits for the leader's answer, and starts nothing of its own.
    async fn follow(&self, gate: &Gate, claimable: &Claimable, leader: Follower<Led>) -> Answered {
        let led = if gate.source.provider_retries {
            timeout(gate.source.wait, leader.wait()).await.ok().flatten()
        } else {
            leader.wait().await
        };
        let Some(led) = led else {
            return Answered::new(Reply::refuse(Outcome::Busy, "an attempt is under way"));
        };
        if led.sha256 != claimable.copy.sha256 && led.reply.is_settled() {
            // Not the leader's body: it is looked at, and kept, as a mismatching copy is.
            return self.arrive(gate, claimable).await;
        }
        let mut answered = Answered::new(led.reply.to_follower());
        answered.reply.mismatch = false;
        (answered.id, answered.received) = (led.id, led.received);
        answered.later = true;
        answered
    }

    /// Step 7 but for the bytes: the story, the metrics, and one line that says it all.
    fn tell(&self, gate: &Gate, id: &str, key: &Key, answered: &Answered, begun: Instant) {
        let Answered { reply, received, later, attempt, token, upstream, .. } = answered;
        let took = begun.elapsed();
        let now = self.clock.now();
        gate.meters.delivered(reply.outcome);
        gate.meters.delivery_duration.record(took);
        if let Some(received) = received.filter(|_| *later) {
            gate.meters.duplicate_lag.record(now.since(received));
        }
        if reply.mismatch {
            gate.meters.mismatches.increment(1);
        }
        if reply.suspect {
            gate.meters.suspects.increment(1);
        }
        if reply.outcome == Outcome::Queued && answered.waits {
            gate.wake.notify_one();
        }
        self.note(id, answered, now);
        tracing::info!(
            source = gate.source.name,
            key = key.text,
            outcome = reply.outcome.word(),
            status = reply.status,
            attempt,
            token = token.0,
            upstream_status = upstream,
            suspect = reply.suspect.then_some(true),
            duration_ms = time::millis(took),
            "delivery"
        );
    }

    /// The story, unless it has this delivery already.
    fn note(&self, id: &str, answered: &Answered, now: Millis) {
        let Answered { reply, told, .. } = answered;
        if !told {
            let outcome = reply.outcome.word().to_owned();
            let (status, mismatch) = (reply.status, reply.mismatch);
            self.life.store.note(id, Seen { at: now, outcome, status, mismatch });
        }
    }
}

/// Answers what is no event: a handshake, before it can be taken for one.
fn greet(
    gate: &Gate,
    from: Option<IpAddr>,
    delivery: &Delivery,
    verified: bool,
) -> Result<(), Turned> {
    let source = &gate.source;
    let (verifier, token) = (&source.verifier, source.verify_token.as_ref());
    let asked = Asked { delivery, verified, verifier, token };
    match preset::greet(source.handshakes, asked) {
        None => Ok(()),
        Some(Ok(greeting)) => Err(Turned { reply: Reply::greet(greeting), why: "no event" }),
        Some(Err(WrongToken)) => {
            let (at, reason, bytes) = (clock::wall(), Rejection::Wrong, delivery.body.len());
            Err(suspect::reject(gate, Rejected { at, reason, from, bytes }))
        },
    }
}

/// The answer to a request that is no POST: of a handshake's method, or of none.
fn asked(gate: &Gate, from: Option<IpAddr>, request: Request<Incoming>) -> Turned {
    let turned = || Turned::away(Outcome::Method, "a webhook is a POST");
    let (head, _no_body_is_read) = request.into_parts();
    if !may_greet(gate.source.handshakes, &head.method) {
        return turned();
    }
    let query = head.uri.query().map(str::to_owned);
    let delivery =
        Delivery { method: head.method, query, headers: head.headers, body: Bytes::new() };
    greet(gate, from, &delivery, false).err().unwrap_or_else(turned)
}

/// A request may not have a header removed that somebody before us went by, that we go by, or
/// that the application does.
fn refuse_nominations(gate: &Gate, headers: &HeaderMap) -> Result<(), Turned> {
    let source = &gate.source;
    let families = || source.verify_spec.families.iter().map(|family| Some(family.as_str()));
    let of_key = || std::iter::once(None).chain(families()).flat_map(|it| source.key.headers(it));
    let ours = || source.verifier.headers().cloned().chain(of_key());
    let matters = |name: &[u8]| {
        let text = str::from_utf8(name).unwrap_or_default();
        matters(text) || ours().any(|it| name.eq_ignore_ascii_case(it.as_str().as_bytes()))
    };
    if nominated(headers).any(matters) {
        let why = "`Connection` names a header that matters";
        return Err(Turned { reply: Reply::refuse(Outcome::Invalid, why).closing(), why });
    }
    Ok(())
}

/// The answer to a copy that does not lead.
fn answer(gate: &Gate, arrived: Arrived) -> Answered {
    let Arrived { arrival, answer, taken } = arrived;
    let acknowledge = |outcome| Reply::acknowledge(&gate.source.acknowledgement, outcome);
    let mut reply = match (arrival.meets, answer) {
        (Meets::Duplicate(Finish::Answered), Some(answer)) => Reply::replay(answer),
        (Meets::Duplicate(_), _) => {
            Reply { replayed: arrival.finished, ..acknowledge(Outcome::Duplicate) }
        },
        (Meets::Queued, _) => acknowledge(Outcome::Queued),
        (Meets::Held, _) => acknowledge(Outcome::Held),
        (Meets::Mismatch, _) => {
            Reply::refuse(Outcome::Mismatch, "the event of this key has another body")
        },
        (Meets::InFlight | Meets::Lead(_), _) => {
            Reply::refuse(Outcome::Busy, "an attempt is under way")
        },
    };
    reply.mismatch = arrival.mismatch;
    let later = reply.outcome != Outcome::Queued || arrival.attempt > 0;
    Answered {
        id: Some(arrival.id),
        received: Some(arrival.first),
        later,
        attempt: arrival.attempt,
        token: Token::default(),
        upstream: None,
        told: !later,
        waits: taken.is_none(),
        reply,
    }
}

fn unavailable(error: Unavailable) -> Reply {
    Reply::refuse(Outcome::Unavailable, &error.to_string())
}
