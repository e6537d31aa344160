//! The promises of the state machine: each by itself, and all of them against a naive
//! model under random histories.

use std::time::Duration;

use super::*;

mod copies;
mod model;
mod operators;
mod outcomes;
mod world;

const MILLI: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Defaults as in the contract, with few attempts and no jitter.
fn policy(mode: Mode) -> Policy {
    Policy {
        mode,
        acknowledgement: 200,
        on_unknown: OnUnknown::Redeliver,
        on_mismatch: OnMismatch::Flag,
        retry: Retry {
            attempts: 3,
            first: Duration::from_secs(5),
            factor: 2.0,
            max: MINUTE,
            jitter: false,
        },
        ttl: 35 * DAY,
        keep: 3 * DAY,
        dead_ttl: None,
    }
}

fn sha(body: u8) -> [u8; 32] {
    [body; 32]
}

fn copy(body: u8) -> Copy {
    Copy {
        id: "shop:evt".into(),
        earlier: None,
        long: None,
        sha256: sha(body),
        bytes: u64::from(body),
    }
}

fn settlement(verdict: Verdict) -> Settlement {
    let status = match verdict {
        Verdict::Success => Some(200),
        Verdict::Final => Some(422),
        Verdict::Failed => Some(500),
        Verdict::Unknown | Verdict::NotSent => None,
    };
    let answer = status.map(|status| Answer {
        status,
        headers: Vec::new(),
        body: b"as said".to_vec(),
        truncated: false,
    });
    Settlement { verdict, answer, detail: verdict.word().into() }
}

/// One event under one policy, driven by hand; every accepted change is stored.
struct Desk {
    policy: Policy,
    now: Millis,
    drawn: u64,
    event: Option<Event>,
    /// What the last change wrote.
    writes: Writes,
}

impl Desk {
    fn new(mode: Mode) -> Self {
        Self {
            policy: policy(mode),
            now: Millis(1_000_000),
            drawn: 0,
            event: None,
            writes: Writes::default(),
        }
    }

    fn proxy() -> Self {
        Self::new(Mode::Proxy)
    }

    fn queue() -> Self {
        Self::new(Mode::Queue)
    }

    /// The same desk after a copy of body 1.
    fn with_copy(mut self) -> Self {
        self.copy(1);
        self
    }

    fn wait(&mut self, by: Duration) {
        self.now = self.now.plus(by);
    }

    fn run<R>(&mut self, decide: impl FnOnce(Option<&Event>, &Context<'_>) -> Change<R>) -> R {
        self.drawn += 1;
        let token = Token(self.drawn);
        let cx = Context {
            now: self.now,
            policy: &self.policy,
            token,
            orphaned: false,
            boot: Boot(1),
            draw: 0.5,
        };
        let change = decide(self.event.as_ref(), &cx);
        self.writes = change.writes;
        if change.event.is_some() {
            self.event = change.event;
        } else {
            assert_eq!(self.writes, Writes::default(), "nothing is written without its event");
        }
        change.reply
    }

    fn copy(&mut self, body: u8) -> Arrival {
        self.run(|stored, cx| arrive(stored, &copy(body), cx))
    }

    fn meets(&mut self, body: u8) -> Meets {
        self.copy(body).meets
    }

    fn leads(&mut self, body: u8) -> Lead {
        let meets = self.meets(body);
        let Meets::Lead(lead) = meets else {
            panic!("the copy should lead, but meets {meets:?}");
        };
        lead
    }

    /// Takes the event now, whether due or not.
    fn take(&mut self) -> Lead {
        if let State::Queued { due } = self.event().state {
            self.now = self.now.max(due);
        }
        self.run(|stored, cx| take(stored.unwrap(), cx).expect("the event is due"))
    }

    fn settle_token(&mut self, token: Token, verdict: Verdict) -> Settled {
        self.run(|stored, cx| settle(stored, token, &settlement(verdict), cx))
    }

    /// Settles the newest attempt, open or given up.
    fn settle(&mut self, verdict: Verdict) -> Settled {
        self.settle_token(self.event().token, verdict)
    }

    fn operate(&mut self, act: Act) -> Result<Label, Refused> {
        let token = Token(self.drawn + 1);
        let cx = Context {
            now: self.now,
            policy: &self.policy,
            token,
            boot: Boot(1),
            orphaned: false,
            draw: 0.5,
        };
        let change = operate(self.event.as_ref(), act, "because", &cx)?;
        self.event = change.event;
        self.writes = change.writes;
        Ok(change.reply)
    }

    fn redeliver(&mut self, force: bool) -> Result<Label, Refused> {
        self.operate(Act::Redeliver { force })
    }

    fn expire(&self) -> Expiry {
        let token = Token(self.drawn + 1);
        let cx = Context {
            now: self.now,
            policy: &self.policy,
            token,
            boot: Boot(1),
            orphaned: false,
            draw: 0.5,
        };
        expire(self.event(), &cx)
    }

    fn drop_body(&mut self) {
        let now = self.now;
        self.run(|stored, _| stored.unwrap().without_body(now));
    }

    fn event(&self) -> &Event {
        self.event.as_ref().expect("the event is stored")
    }

    fn label(&self) -> Label {
        self.event().label()
    }

    fn kept(&self) -> Vec<u8> {
        self.event().kept.iter().map(|sha256| sha256[0]).collect()
    }

    /// The event in each state it can rest in, with a word for it.
    fn in_every_state() -> Vec<(Label, Self)> {
        let open = {
            let mut desk = Self::proxy().with_copy();
            desk.settle(Verdict::Failed);
            desk
        };
        let done = {
            let mut desk = Self::proxy().with_copy();
            desk.settle(Verdict::Success);
            desk
        };
        let held = {
            let mut desk = Self::proxy();
            desk.policy.on_unknown = OnUnknown::Hold;
            desk.copy(1);
            desk.settle(Verdict::Unknown);
            desk
        };
        let dead = {
            let mut desk = Self::queue().with_copy();
            desk.take();
            desk.settle(Verdict::Final);
            desk
        };
        let all = vec![
            (Label::Open, open),
            (Label::InFlight, Self::proxy().with_copy()),
            (Label::Queued, Self::queue().with_copy()),
            (Label::Done, done),
            (Label::Dead, dead),
            (Label::Held, held),
        ];
        for (label, desk) in &all {
            assert_eq!(*label, desk.label());
        }
        all
    }
}
