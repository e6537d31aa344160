//! A naive model of an event: nothing but the list of what happened to it. Where the
//! event should stand is read out of that list anew each time it is asked.

use std::collections::BTreeSet;

use super::*;

/// Something that happened to an event's state.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fact {
    /// A copy was stored for the queue.
    Accepted,
    /// A copy gave a Dead event one more attempt.
    Revived,
    /// An attempt began.
    Began(Token),
    /// The open attempt ended.
    Ended(Verdict),
    /// The newest attempt, given up before, was heard of again.
    Late(Verdict),
    /// An operator acted.
    Asked(Act),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) at: Millis,
    pub(super) fact: Fact,
    /// Where the event stood afterwards.
    pub(super) then: Label,
}

/// An event from its first copy to its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    pub(super) lines: Vec<Line>,
    pub(super) body: u8,
    /// When the body was stored; `None` while it is gone.
    pub(super) held: Option<Millis>,
    pub(super) kept: BTreeSet<u8>,
}

impl Life {
    pub(super) fn state(&self) -> Label {
        self.lines.last().unwrap().then
    }

    pub(super) fn received(&self) -> Millis {
        self.lines[0].at
    }

    /// Queued and Held are for owed events only, and owed is for good.
    pub(super) fn owed(&self) -> bool {
        self.lines.iter().any(|line| matches!(line.then, Label::Queued | Label::Held))
    }

    pub(super) fn doubt(&self) -> bool {
        self.lines.iter().any(|line| matches!(line.fact, Fact::Ended(Verdict::Unknown)))
    }

    pub(super) fn admitted(&self) -> bool {
        self.lines.iter().any(|line| matches!(line.fact, Fact::Asked(Act::Admit)))
    }

    fn began(&self) -> impl DoubleEndedIterator<Item = Token> {
        self.lines.iter().filter_map(|line| match line.fact {
            Fact::Began(token) => Some(token),
            Fact::Accepted | Fact::Revived | Fact::Ended(_) | Fact::Late(_) | Fact::Asked(_) => {
                None
            },
        })
    }

    pub(super) fn attempts(&self) -> u32 {
        u32::try_from(self.began().count()).unwrap()
    }

    pub(super) fn newest(&self) -> Token {
        self.began().next_back().unwrap_or(Token::NONE)
    }

    /// Attempts granted by the last refresh, and spent since.
    fn budget(&self, attempts: u32) -> (u32, u32) {
        let (mut granted, mut begun, mut released) = (0, 0, 0);
        for line in &self.lines {
            match line.fact {
                Fact::Accepted | Fact::Asked(Act::Redeliver { .. } | Act::SettleQueued) => {
                    (granted, begun, released) = (attempts, 0, 0);
                },
                Fact::Revived => (granted, begun, released) = (1, 0, 0),
                Fact::Began(_) => begun += 1,
                Fact::Ended(Verdict::NotSent) => released += 1,
                Fact::Ended(_) | Fact::Late(_) | Fact::Asked(_) => {},
            }
        }
        (granted, begun - released)
    }

    pub(super) fn left(&self, policy: &Policy) -> u32 {
        let (granted, spent) = self.budget(policy.retry.attempts);
        if granted == 0 {
            return 0;
        }
        granted.checked_sub(spent).expect("no more attempts than the budget")
    }

    pub(super) fn changed(&self) -> Millis {
        let entered =
            |line: &&Line| !matches!(line.fact, Fact::Late(_)) || line.then == Label::Done;
        self.lines.iter().rfind(entered).unwrap().at
    }

    /// When a Queued event may be taken.
    pub(super) fn due(&self, policy: &Policy) -> Millis {
        let entered = self.lines.iter().rfind(|line| !matches!(line.fact, Fact::Late(_))).unwrap();
        if let Fact::Ended(Verdict::Failed | Verdict::Unknown) = entered.fact {
            let (_, failures) = self.budget(policy.retry.attempts);
            let delay = [100, 200, 300][failures.min(3) as usize - 1];
            Millis(entered.at.0 + delay)
        } else {
            entered.at
        }
    }

    pub(super) fn finish(&self) -> Option<Finish> {
        let done = self.lines.iter().position(|line| line.then == Label::Done)?;
        let until = Self { lines: self.lines[..=done].to_vec(), ..Self::default() };
        Some(if until.owed() { Finish::Acknowledged } else { Finish::Answered })
    }

    /// The answer that must be on disk.
    pub(super) fn answer(&self) -> Option<Answer> {
        let done = self.lines.iter().find(|line| line.then == Label::Done)?;
        match (self.finish()?, done.fact) {
            (Finish::Answered, Fact::Ended(verdict) | Fact::Late(verdict)) => {
                settlement(verdict).answer
            },
            (..) => None,
        }
    }

    /// Where the newest attempt's end leads; by whether the event is owed, was Done before,
    /// and has attempts left.
    #[expect(clippy::match_same_arms, reason = "a table, one row a rule")]
    pub(super) fn after(&self, verdict: Verdict, policy: &Policy) -> Label {
        let hold = policy.on_unknown == OnUnknown::Hold;
        let finished = self.finish().is_some();
        let row = (self.owed(), finished, self.left(policy) > 0);
        match (self.state(), verdict, row) {
            (_, Verdict::Success, _) => Label::Done,
            (Label::InFlight, Verdict::Unknown, _) if hold => Label::Held,
            (Label::InFlight, Verdict::Final, (false, _, _)) => Label::Done,
            (Label::InFlight, Verdict::Final, (true, true, _)) => Label::Done,
            (Label::InFlight, Verdict::Final, (true, false, _)) => Label::Dead,
            (Label::InFlight, _, (false, _, _)) => Label::Open,
            (Label::InFlight, Verdict::NotSent, (true, _, _)) => Label::Queued,
            (Label::InFlight, _, (true, _, true)) => Label::Queued,
            (Label::InFlight, _, (true, true, false)) => Label::Done,
            (Label::InFlight, _, (true, false, false)) => Label::Dead,
            (given_up, _, _) => given_up,
        }
    }

    /// What a copy meets that neither is the first nor meets an Open event.
    pub(super) fn meets(&self) -> Meets {
        match (self.finish(), self.state(), self.owed()) {
            (Some(Finish::Answered), ..) => Meets::Duplicate(Finish::Answered),
            (_, Label::Done | Label::Queued, _) | (_, Label::InFlight, true) => {
                Meets::Duplicate(Finish::Acknowledged)
            },
            (_, Label::InFlight, false) => Meets::InFlight,
            (_, Label::Held, _) => Meets::Held,
            (_, Label::Dead, _) => Meets::Queued,
            (_, Label::Open, _) => panic!("an Open event attempts again"),
        }
    }

    /// What an operator is told.
    pub(super) fn refusal(&self, act: Act) -> Option<Refused> {
        let state = self.state();
        let no_body = self.held.is_none().then_some(Refused::NoBody);
        match (act, state) {
            (_, Label::InFlight) => Some(Refused::InFlight),
            (Act::Forget { force: false }, Label::Queued)
            | (Act::Redeliver { force: false }, Label::Done) => Some(Refused::NeedsForce(state)),
            (Act::Forget { .. }, _)
            | (Act::SettleDone, Label::Held)
            | (Act::Admit, Label::Done) => None,
            (Act::Redeliver { .. }, _) | (Act::SettleQueued, Label::Held) => no_body,
            (Act::Admit, _) => Some(Refused::NotDone(state)),
            (Act::SettleDone | Act::SettleQueued, _) => Some(Refused::NotHeld(state)),
        }
    }

    pub(super) fn expiry(&self, now: Millis, policy: &Policy) -> Expiry {
        let over = |since: Millis, span: Duration| now.0 >= since.0 + span.as_secs() * 1000;
        let gone = match self.state() {
            Label::Done | Label::Open => over(self.changed(), policy.ttl),
            Label::Dead => policy.dead_ttl.is_some_and(|ttl| over(self.changed(), ttl)),
            Label::Queued | Label::Held | Label::InFlight => false,
        };
        let body_gone = self.state() == Label::Done
            && self.held.is_some_and(|at| over(at.max(self.changed()), policy.keep));
        match (gone, body_gone) {
            (true, _) => Expiry::Forget,
            (false, true) => Expiry::DropBody,
            (false, false) => Expiry::Stays,
        }
    }

    /// What a copy does to the bytes on disk. `taken`: it becomes the body.
    pub(super) fn bytes(&mut self, body: u8, taken: bool, now: Millis, flagged: bool) {
        let mut kept = self.kept.clone();
        if flagged && taken {
            // Gone where it was admitted after `keep` took it: there is nothing to keep.
            if self.held.is_some() && !kept.contains(&self.body) {
                kept.remove(&body);
                kept.insert(self.body);
            }
        } else if flagged {
            kept.insert(body);
        }
        if kept.len() <= KEPT_COPIES {
            self.kept = kept;
        }
        if taken || (self.held.is_none() && body == self.body) {
            (self.body, self.held) = (body, Some(now));
        }
    }

    /// What holds for every history, whatever the rules.
    pub(super) fn check_promises(&self) {
        let (mut open, mut answered, mut last) = (false, false, Token::NONE);
        for line in &self.lines {
            match line.fact {
                Fact::Began(token) => {
                    assert!(!open, "at most one attempt is open");
                    assert!(!answered, "no attempt after an answer, unless an operator asks");
                    assert!(token > last, "tokens grow");
                    (open, last) = (true, token);
                },
                Fact::Ended(_) => {
                    assert!(open, "what ended was open");
                    open = false;
                },
                Fact::Asked(Act::Redeliver { .. } | Act::SettleQueued | Act::Admit) => {
                    answered = false;
                },
                Fact::Accepted | Fact::Revived | Fact::Late(_) | Fact::Asked(_) => {},
            }
            answered |= line.then == Label::Done;
        }
        assert_eq!(open, self.state() == Label::InFlight);
    }
}
