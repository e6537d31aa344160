//! The checker: what the providers, the application and the gateway's own stories say,
//! held against each other. Pure, so that fabricated evidence can test it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde_json::Value;

use super::app::Receipt;
use super::load::Sent;

/// What the stories of the gateway tell about one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Story {
    pub(super) state: String,
    pub(super) lines: Vec<Line>,
}

/// A line of a story that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Claimed { attempt: u32 },
    Settled { attempt: u32, result: String },
}

impl Story {
    /// Reads `GET /api/v1/events/{source}/{key}`.
    pub(super) fn read(json: &Value) -> Self {
        let attempt = |line: &Value| u32::try_from(line["attempt"].as_u64().unwrap()).unwrap();
        let read = |line: &Value| match line["event"].as_str().unwrap() {
            "claimed" => Some(Line::Claimed { attempt: attempt(line) }),
            "settled" => Some(Line::Settled {
                attempt: attempt(line),
                result: line["result"].as_str().unwrap().to_owned(),
            }),
            _ => None,
        };
        let lines = json["story"].as_array().unwrap().iter().filter_map(read).collect();
        Self { state: json["state"].as_str().unwrap().to_owned(), lines }
    }

    fn results(&self, of: u32) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(move |line| match line {
            Line::Settled { attempt, result } if *attempt == of => Some(result.as_str()),
            Line::Settled { .. } | Line::Claimed { .. } => None,
        })
    }
}

/// Everything known of a run whose providers were all answered and whose queue is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// Answers pass through; else the acknowledgement is given before the attempt.
    pub(super) proxy: bool,
    /// `on_unknown = "hold"`.
    pub(super) holds: bool,
    pub(super) sent: Vec<Sent>,
    pub(super) receipts: Vec<Receipt>,
    pub(super) stories: BTreeMap<String, Story>,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) rule: &'static str,
    pub(super) id: String,
    pub(super) why: String,
}

/// What a run amounts to.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) kills: usize,
    pub(super) kills_while_starting: usize,
    pub(super) events: usize,
    pub(super) deliveries: usize,
    pub(super) cut: usize,
    pub(super) attempts: usize,
    pub(super) flagged: usize,
    pub(super) held: usize,
    pub(super) forged: usize,
    pub(super) broken: Vec<Broken>,
}

impl Totals {
    pub(super) fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.kills_while_starting += other.kills_while_starting;
        self.events += other.events;
        self.deliveries += other.deliveries;
        self.cut += other.cut;
        self.attempts += other.attempts;
        self.flagged += other.flagged;
        self.held += other.held;
        self.forged += other.forged;
        self.broken.extend(other.broken);
    }

    fn broke(&self, rule: &str) -> usize {
        self.broken.iter().filter(|broken| broken.rule == rule).count()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "kills {} (and {} while starting), events {}, deliveries {} ({} cut by a kill, {} \
             forged), attempts {}, flagged unknown {}, held {}, lost {}, unflagged {}, broken {}",
            self.kills,
            self.kills_while_starting,
            self.events,
            self.deliveries,
            self.cut,
            self.forged,
            self.attempts,
            self.flagged,
            self.held,
            self.broke(LOST),
            self.broke(UNFLAGGED),
            self.broken.len()
        )
    }
}

pub(super) const LOST: &str = "I1 an acknowledged event was lost";
pub(super) const UNHEARD: &str = "a provider was never answered 2xx";
pub(super) const FOREIGN: &str = "I2 the application got what nobody sent";
pub(super) const OVERLAP: &str = "I3 attempts overlap unflagged";
pub(super) const UNFLAGGED: &str = "I4 a second attempt has no cause, or hides it";
pub(super) const NUMBER: &str = "I4 attempt numbers do not rise";
pub(super) const ANSWERS: &str = "I5 copies got different answers";
pub(super) const INVENTED: &str = "I6 a 2xx that the application did not give";
pub(super) const AGAIN: &str = "an attempt after a recorded answer";
pub(super) const HELD: &str = "a held event was attempted again";
pub(super) const FORGED: &str = "a forged delivery was not rejected";
pub(super) const STUCK: &str = "I10 in flight after the drain";

/// All that is known of one event.
#[derive(Default)]
struct Case<'a> {
    sent: Vec<&'a Sent>,
    /// In the order they began.
    receipts: Vec<&'a Receipt>,
    story: Story,
}

/// Holds the evidence against the promises.
pub(super) fn check(evidence: &Evidence) -> Totals {
    let mut cases: BTreeMap<&str, Case<'_>> = BTreeMap::new();
    let mut totals = Totals { attempts: evidence.receipts.len(), ..Totals::default() };
    for sent in &evidence.sent {
        totals.deliveries += 1;
        totals.cut += usize::from(sent.answer.is_none());
        if sent.forged {
            totals.forged += 1;
            let rejected = sent.answer.as_ref().is_none_or(|got| got.status == 401);
            if !rejected {
                totals.broken.push(broken(FORGED, &sent.id, format!("{:?}", sent.answer)));
            }
        } else {
            cases.entry(&sent.id).or_default().sent.push(sent);
        }
    }
    totals.events = cases.len();
    for receipt in &evidence.receipts {
        totals.flagged += usize::from(receipt.flagged);
        cases.entry(&receipt.id).or_default().receipts.push(receipt);
    }
    for (id, mut case) in cases {
        case.receipts.sort_by_key(|receipt| receipt.begun);
        case.story = evidence.stories.get(id).cloned().unwrap_or_default();
        totals.held += usize::from(case.story.state == "held");
        let mut found = Vec::new();
        case.lost(evidence, &mut found);
        case.foreign(&mut found);
        case.repeated(evidence, &mut found);
        case.answers(evidence, &mut found);
        totals.broken.extend(found.into_iter().map(|(rule, why)| broken(rule, id, why)));
    }
    totals
}

fn broken(rule: &'static str, id: &str, why: String) -> Broken {
    Broken { rule, id: id.to_owned(), why }
}

type Found = Vec<(&'static str, String)>;

impl Case<'_> {
    fn accepted(&self) -> bool {
        self.receipts.iter().any(|receipt| receipt.accepted().is_some())
    }

    /// I1 and I10: what was acknowledged reached the application, or is held for a person.
    fn lost(&self, evidence: &Evidence, found: &mut Found) {
        let state = self.story.state.as_str();
        if ["in_flight", "queued"].contains(&state) {
            found.push((STUCK, format!("it is {state}")));
        }
        if !self.sent.iter().any(|sent| sent.acknowledged().is_some()) {
            let last = self.sent.last().map(|sent| &sent.answer);
            found.push((UNHEARD, format!("it is {state:?}, and the last answer was {last:?}")));
            return;
        }
        let seen_to = match state {
            "done" => self.accepted(),
            "held" => evidence.holds,
            _ => false,
        };
        if !seen_to {
            let why = format!("it is {state:?}, and the application saw {:?}", self.receipts);
            found.push((LOST, why));
        }
    }

    /// I2: every request is byte for byte what an authentic provider had sent by then.
    fn foreign(&self, found: &mut Found) {
        for receipt in &self.receipts {
            let same = |sent: &&&Sent| sent.sha256 == receipt.sha256 && sent.begun <= receipt.begun;
            if !self.sent.iter().any(|sent| same(&sent)) {
                found.push((FOREIGN, format!("{receipt:?}")));
            }
        }
    }

    /// I3 and I4: why the application was asked again, and whether it was told.
    fn repeated(&self, evidence: &Evidence, found: &mut Found) {
        for (earlier, later) in self.receipts.iter().zip(self.receipts.iter().skip(1)) {
            if later.attempt <= earlier.attempt {
                found.push((NUMBER, format!("{earlier:?}, then {later:?}")));
            }
        }
        for (place, later) in self.receipts.iter().enumerate() {
            for earlier in self.receipts.iter().take(place) {
                let over = earlier.ended.as_ref().is_some_and(|(end, _)| *end <= later.begun);
                if !over && !later.flagged {
                    found.push((OVERLAP, format!("{earlier:?} is open, then {later:?}")));
                }
                if earlier.refused() && over {
                    continue;
                }
                if !later.flagged {
                    found.push((UNFLAGGED, format!("after {earlier:?} came {later:?}")));
                }
                if evidence.holds {
                    found.push((HELD, format!("after {earlier:?} came {later:?}")));
                }
            }
            self.recorded(later, found);
        }
    }

    /// I4 in the gateway's own words: the request is a claim of the story, every attempt
    /// before it ended without success, and it is flagged if and only if one is unknown.
    fn recorded(&self, receipt: &Receipt, found: &mut Found) {
        let claimed = Line::Claimed { attempt: receipt.attempt };
        if !self.story.lines.contains(&claimed) {
            found.push((UNFLAGGED, format!("no claim is recorded for {receipt:?}")));
            return;
        }
        let mut unknown = false;
        for before in 1..receipt.attempt {
            let results: HashSet<&str> = self.story.results(before).collect();
            unknown |= results.contains("unknown");
            let cause = ["failed", "unknown", "not_sent"].iter().any(|it| results.contains(it));
            if !cause || results.contains("success") {
                let why = format!("attempt {before} is recorded as {results:?}, then {receipt:?}");
                found.push((UNFLAGGED, why));
            }
        }
        if unknown != receipt.flagged {
            let why = format!("unknown before: {unknown}, flagged: {receipt:?}");
            found.push((UNFLAGGED, why));
        }
    }

    /// I5, I6, and nothing after a recorded answer.
    fn answers(&self, evidence: &Evidence, found: &mut Found) {
        let good: Vec<_> =
            self.sent.iter().filter_map(|sent| Some((sent, sent.acknowledged()?))).collect();
        for (sent, got) in &good {
            let recorded = match got.outcome.as_str() {
                "processed" => true,
                "duplicate" => evidence.proxy,
                _ => false,
            };
            let after = self.receipts.iter().find(|receipt| receipt.begun > sent.ended);
            if let Some(receipt) = after.filter(|_| recorded) {
                found.push((AGAIN, format!("{got:?} was answered, then came {receipt:?}")));
            }
            let gave = |receipt: &&Receipt| receipt.accepted() == Some(&got.body);
            if recorded && evidence.proxy && !self.receipts.iter().any(gave) {
                found.push((INVENTED, format!("{got:?}")));
            }
        }
        if let Some(((_, first), rest)) = good.split_first()
            && let Some((_, other)) =
                rest.iter().find(|(_, got)| (got.status, &got.body) != (first.status, &first.body))
        {
            found.push((ANSWERS, format!("{first:?} and {other:?}")));
        }
    }
}
