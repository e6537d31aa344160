//! Random histories: the transitions against the naive model, and the rows they write
//! against a store of a few variables.

use proptest::prelude::*;

use super::model::{Fact, Life, Line};
use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Copy(u8),
    Take,
    Settle(Claim, Verdict),
    Operate(Act),
    Boot,
    Wait(u64),
    Sweep,
    SwitchMode,
}

/// Whose settlement it is.
#[derive(Clone, Copy, Debug)]
enum Claim {
    Newest,
    Older(u64),
    None,
    Future,
}

/// The event, its rows on disk, and the life it should have had.
struct World {
    policy: Policy,
    now: Millis,
    boot: Boot,
    drawn: u64,
    event: Option<Event>,
    body: Option<u8>,
    slots: [Option<u8>; KEPT_COPIES],
    answer: Option<Answer>,
    story: Vec<Entry>,
    life: Option<Life>,
}

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            policy,
            now: Millis(1_000),
            boot: Boot(1),
            drawn: 0,
            event: None,
            body: None,
            slots: [None; KEPT_COPIES],
            answer: None,
            story: Vec::new(),
            life: None,
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            now: self.now,
            policy: &self.policy,
            token: Token(self.drawn),
            orphaned: false,
            boot: self.boot,
            draw: 0.5,
        }
    }

    fn step(&mut self, step: Step) {
        self.drawn += 1;
        match step {
            Step::Copy(body) => self.copy(body),
            Step::Take => self.take(),
            Step::Settle(claim, verdict) => self.settle(self.token(claim), verdict),
            Step::Operate(act) => self.operate(act),
            Step::Boot => {
                self.boot.0 += 1;
                if let Some(Event { state: State::InFlight { .. }, token, .. }) = self.event {
                    self.settle(token, Verdict::Unknown);
                }
            },
            Step::Wait(millis) => self.now.0 += millis,
            Step::Sweep => self.sweep(),
            Step::SwitchMode => {
                self.policy.mode = match self.policy.mode {
                    Mode::Proxy => Mode::Queue,
                    Mode::Queue => Mode::Proxy,
                }
            },
        }
        self.check();
    }

    fn token(&self, claim: Claim) -> Token {
        let newest = self.life.as_ref().map_or(Token::NONE, Life::newest);
        match claim {
            Claim::Newest => newest,
            Claim::Older(by) => Token(newest.0.saturating_sub(by)),
            Claim::None => Token::NONE,
            Claim::Future => Token(self.drawn + 1),
        }
    }

    fn happened(&mut self, fact: Fact, then: Label) {
        let at = self.now;
        self.life.as_mut().unwrap().lines.push(Line { at, fact, then });
    }

    /// Stores what a transition decided, as the store would.
    fn store<R>(&mut self, change: Change<R>, copy: Option<u8>) -> R {
        let Change { event, writes, reply } = change;
        if let Some(event) = event {
            assert_ne!(Some(&event), self.event.as_ref(), "a change changes something");
            assert!(!writes.story.is_empty(), "every change has a line in the story");
            self.event = Some(event);
        } else {
            assert_eq!(writes, Writes::default(), "nothing is written without its event");
        }
        if let Some(slot) = writes.keep_old {
            self.slots[usize::from(slot) - 1] = Some(self.body.expect("a body to keep"));
        }
        if writes.body {
            self.body = Some(copy.expect("only a copy brings a body"));
        }
        if let Some(slot) = writes.keep_copy {
            self.slots[usize::from(slot) - 1] = Some(copy.expect("only a copy is kept"));
        }
        if writes.answer.is_some() {
            assert_eq!(self.answer, None, "a recorded answer never changes");
            self.answer = writes.answer;
        }
        self.story.extend(writes.story);
        reply
    }

    fn end(&mut self) {
        let World { policy, now, boot, drawn, .. } = self;
        let (now, boot, drawn) = (*now, *boot, *drawn);
        *self = Self { now, boot, drawn, ..Self::new(policy.clone()) };
    }

    fn copy(&mut self, body: u8) {
        let change = arrive(self.event.as_ref(), &copy(body), &self.context());
        let arrival = self.store(change, Some(body));
        let state = self.life.as_ref().map(Life::state);
        let attempts = state.is_none() || state == Some(Label::Open);
        let life = self.life.get_or_insert_with(|| Life { body, ..Life::default() });
        let mismatch = body != life.body && self.policy.on_mismatch != OnMismatch::Ignore;
        assert_eq!(arrival.mismatch, mismatch);
        if mismatch && self.policy.on_mismatch == OnMismatch::Refuse && state == Some(Label::Done) {
            return assert_eq!(arrival.meets, Meets::Mismatch);
        }
        life.bytes(body, attempts, self.now, mismatch);
        let expected = match (attempts, self.policy.mode) {
            (false, _) => life.meets(),
            (true, Mode::Queue) => Meets::Queued,
            (true, Mode::Proxy) if life.owed() => Meets::Queued,
            (true, Mode::Proxy) => Meets::Lead(Lead {
                token: Token(self.drawn),
                attempt: life.attempts() + 1,
                doubt: life.doubt(),
                received: if state.is_none() { self.now } else { life.received() },
                owed: false,
            }),
        };
        assert_eq!(arrival.meets, expected);
        match arrival.meets {
            Meets::Lead(lead) => self.happened(Fact::Began(lead.token), Label::InFlight),
            Meets::Queued if attempts => self.happened(Fact::Accepted, Label::Queued),
            Meets::Queued => self.happened(Fact::Revived, Label::Queued),
            Meets::Duplicate(_) | Meets::InFlight | Meets::Held | Meets::Mismatch => {},
        }
        let life = self.life.as_ref().unwrap();
        assert_eq!((arrival.first, arrival.attempt), (life.received(), life.attempts()));
    }

    fn take(&mut self) {
        let Some(stored) = &self.event else { return };
        let change = take(stored, &self.context());
        let life = self.life.as_ref().unwrap();
        let due = life.state() == Label::Queued && life.due(&self.policy) <= self.now;
        assert_eq!(change.is_some(), due);
        let (attempt, doubt) = (life.attempts() + 1, life.doubt());
        if let Some(change) = change {
            let lead = self.store(change, None);
            assert_eq!((lead.attempt, lead.doubt, lead.owed), (attempt, doubt, true));
            self.happened(Fact::Began(lead.token), Label::InFlight);
        }
    }

    fn settle(&mut self, token: Token, verdict: Verdict) {
        let change = settle(self.event.as_ref(), token, &settlement(verdict), &self.context());
        let stale = self.life.as_ref().is_none_or(|life| {
            token == Token::NONE || token != life.newest() || life.state() == Label::Done
        });
        if stale {
            assert!(change.is_none(), "a stale settlement changes nothing");
        }
        let settled = self.store(change, None);
        if stale {
            return assert_eq!(settled, Settled::Stale);
        }
        let life = self.life.as_ref().unwrap();
        let then = life.after(verdict, &self.policy);
        assert_eq!(settled, Settled::Now(then));
        let open = life.state() == Label::InFlight;
        self.happened(if open { Fact::Ended(verdict) } else { Fact::Late(verdict) }, then);
    }

    fn operate(&mut self, act: Act) {
        let result = operate(self.event.as_ref(), act, "note", &self.context());
        let refusal = match &self.life {
            None => Some(Refused::NotFound),
            Some(life) => life.refusal(act),
        };
        assert_eq!(result.as_ref().err(), refusal.as_ref());
        let Ok(change) = result else { return };
        match act {
            Act::Forget { .. } => {
                assert_eq!(change.event, None);
                return self.end();
            },
            Act::SettleDone => self.happened(Fact::Asked(act), Label::Done),
            Act::Admit => self.happened(Fact::Asked(act), Label::Open),
            Act::Redeliver { .. } | Act::SettleQueued => {
                self.happened(Fact::Asked(act), Label::Queued);
            },
        }
        self.store(change, None);
    }

    fn sweep(&mut self) {
        let Some(stored) = &self.event else { return };
        let expiry = expire(stored, &self.context());
        assert_eq!(expiry, self.life.as_ref().unwrap().expiry(self.now, &self.policy));
        match expiry {
            Expiry::Stays => {},
            Expiry::Forget => self.end(),
            Expiry::DropBody => {
                let change = stored.without_body(self.now);
                self.store(change, None);
                // The kept copies are bodies too.
                self.body = None;
                self.slots = [const { None }; KEPT_COPIES];
                let life = self.life.as_mut().unwrap();
                life.held = None;
                life.kept.clear();
            },
        }
    }

    /// The stored event is the one that its life, as the model reads it, makes.
    fn check(&self) {
        let Some(life) = &self.life else { return assert_eq!(self.event, None) };
        let event = self.event.as_ref().expect("an event never vanishes by itself");
        life.check_promises();
        assert_eq!(event.label(), life.state());
        assert_eq!(event.received, life.received());
        assert_eq!(event.changed, life.changed());
        assert_eq!(event.owed, life.owed());
        assert_eq!(event.doubt, life.doubt());
        assert_eq!(event.finish, life.finish());
        assert_eq!((event.token, event.attempt), (life.newest(), life.attempts()));
        assert_eq!(event.budget, life.left(&self.policy));
        assert_eq!(self.answer, life.answer());
        if let State::Queued { due } = event.state {
            assert_eq!(due, life.due(&self.policy));
        }
        if let State::InFlight { boot } = event.state {
            assert_eq!(boot, self.boot, "an attempt of another boot was settled");
        }
        self.check_bytes(event, life);
        self.check_story(event, life);
    }

    /// The record tells the truth about the bytes on disk.
    fn check_bytes(&self, event: &Event, life: &Life) {
        assert_eq!(event.body.held, life.held);
        assert_eq!(self.body, life.held.map(|_| life.body));
        assert_eq!(event.body.sha256, sha(life.body));
        assert_eq!(event.body.bytes, u64::from(life.body));
        if matches!(event.state, State::Queued { .. } | State::InFlight { .. }) {
            assert!(self.body.is_some(), "what is to be attempted has its bytes");
        }
        let slots: Vec<_> = self.slots.iter().flatten().map(|&body| sha(body)).collect();
        assert_eq!(event.kept, slots);
        let kept: Vec<_> = life.kept.iter().map(|&body| sha(body)).collect();
        let mut distinct = slots;
        distinct.sort_unstable();
        assert_eq!(distinct, kept, "at most three, all different, none the body");
        // A copy that was kept while there was no body may become it, once it is admitted.
        let may_be_kept = self.policy.on_mismatch == OnMismatch::Ignore || life.admitted();
        assert!(may_be_kept || !kept.contains(&event.body.sha256));
    }

    /// Every change has its line, every line is counted.
    fn check_story(&self, event: &Event, life: &Life) {
        assert_eq!(usize::try_from(event.entries).unwrap(), self.story.len());
        let told: Vec<_> = self
            .story
            .iter()
            .filter(|entry| {
                !matches!(
                    entry.what,
                    What::Mismatch { .. } | What::BodyRestored | What::BodyDropped
                )
            })
            .map(|entry| (entry.at, entry.state))
            .collect();
        let lived: Vec<_> = life.lines.iter().map(|line| (line.at, line.then)).collect();
        assert_eq!(told, lived);
        assert_eq!(self.story.last().map(|entry| entry.state), Some(event.label()));
    }
}

fn policies() -> impl Strategy<Value = Policy> {
    (
        prop_oneof![Just(Mode::Proxy), Just(Mode::Queue)],
        prop_oneof![3 => Just(OnUnknown::Redeliver), 2 => Just(OnUnknown::Hold)],
        prop_oneof![
            3 => Just(OnMismatch::Flag),
            1 => Just(OnMismatch::Refuse),
            1 => Just(OnMismatch::Ignore),
        ],
        1..=4_u32,
        any::<bool>(),
    )
        .prop_map(|(mode, on_unknown, on_mismatch, attempts, dies)| Policy {
            mode,
            acknowledgement: 200,
            on_unknown,
            on_mismatch,
            retry: Retry {
                attempts,
                // Halved by the draw: 100, 200, 300 ms.
                first: Duration::from_millis(200),
                factor: 2.0,
                max: Duration::from_millis(600),
                jitter: true,
            },
            ttl: Duration::from_secs(10),
            keep: Duration::from_secs(3),
            dead_ttl: dies.then_some(Duration::from_secs(5)),
        })
}

fn steps() -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![
        2 => Just(Verdict::Success),
        1 => Just(Verdict::Final),
        3 => Just(Verdict::Failed),
        3 => Just(Verdict::Unknown),
        1 => Just(Verdict::NotSent),
    ];
    let claim = prop_oneof![
        8 => Just(Claim::Newest),
        2 => (1..4_u64).prop_map(Claim::Older),
        1 => Just(Claim::None),
        1 => Just(Claim::Future),
    ];
    let act = prop_oneof![
        3 => any::<bool>().prop_map(|force| Act::Redeliver { force }),
        1 => Just(Act::SettleDone),
        1 => Just(Act::SettleQueued),
        2 => Just(Act::Admit),
        1 => prop_oneof![3 => Just(false), 1 => Just(true)]
            .prop_map(|force| Act::Forget { force }),
    ];
    let wait = prop_oneof![
        6 => prop::sample::select(vec![0, 1, 99, 100, 199, 200, 300, 600]),
        2 => prop::sample::select(vec![2_999, 3_000, 5_000]),
        1 => Just(10_000_u64),
    ];
    prop_oneof![
        4 => Just(Step::Copy(1)),
        3 => (2..=6_u8).prop_map(Step::Copy),
        6 => Just(Step::Take),
        8 => (claim, verdict).prop_map(|(claim, verdict)| Step::Settle(claim, verdict)),
        3 => act.prop_map(Step::Operate),
        1 => Just(Step::Boot),
        5 => wait.prop_map(Step::Wait),
        2 => Just(Step::Sweep),
        1 => Just(Step::SwitchMode),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_history_is_the_one_the_naive_model_tells(
        policy in policies(),
        steps in prop::collection::vec(steps(), 1..=60),
    ) {
        let mut world = World::new(policy);
        for step in steps {
            world.step(step);
        }
    }
}
