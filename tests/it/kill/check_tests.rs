//! The checker has teeth: each broken promise, fabricated, is found under its name.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::app::{Did, Receipt};
use super::check::{
    AGAIN, ANSWERS, Evidence, FOREIGN, FORGED, HELD, INVENTED, LOST, Line, NUMBER, OVERLAP, STUCK,
    Story, UNFLAGGED, UNHEARD, check,
};
use super::load::{Got, Sent};

const ID: &str = "stripe:evt_1";

struct Times(Instant);

impl Times {
    fn at(&self, ms: u64) -> Instant {
        self.0 + Duration::from_millis(ms)
    }

    fn sent(&self, begun: u64, ended: u64, answer: Option<(u16, &str, &'static str)>) -> Sent {
        let answer = answer.map(|(status, outcome, body)| Got {
            status,
            outcome: outcome.to_owned(),
            retry_after: false,
            body: Bytes::from_static(body.as_bytes()),
        });
        let (begun, ended) = (self.at(begun), self.at(ended));
        Sent { id: ID.to_owned(), sha256: [1; 32], forged: false, begun, ended, answer }
    }

    fn receipt(&self, attempt: u32, begun: u64, ended: u64, status: u16) -> Receipt {
        let body = Bytes::from(format!("answer {attempt}"));
        Receipt {
            id: ID.to_owned(),
            attempt,
            flagged: false,
            sha256: [1; 32],
            begun: self.at(begun),
            ended: Some((self.at(ended), Did::Answered(status, body))),
        }
    }

    /// Cut once, then attempted again, flagged, then a copy: as it should be.
    fn good(&self) -> Evidence {
        let mut again = self.receipt(2, 50, 60, 200);
        again.flagged = true;
        let claimed = |attempt| Line::Claimed { attempt };
        let settled = |attempt, result: &str| Line::Settled { attempt, result: result.to_owned() };
        let story = Story {
            state: "done".to_owned(),
            lines: vec![claimed(1), settled(1, "unknown"), claimed(2), settled(2, "success")],
        };
        Evidence {
            proxy: true,
            holds: false,
            sent: vec![
                self.sent(0, 30, None),
                self.sent(40, 70, Some((200, "processed", "answer 2"))),
                self.sent(80, 90, Some((200, "duplicate", "answer 2"))),
            ],
            receipts: vec![self.receipt(1, 10, 20, 200), again],
            stories: [(ID.to_owned(), story)].into(),
        }
    }
}

fn found(evidence: &Evidence) -> Vec<&'static str> {
    let mut rules: Vec<_> = check(evidence).broken.into_iter().map(|it| it.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

#[test]
fn what_held_is_not_called_broken() {
    let evidence = Times(Instant::now()).good();
    assert_eq!(check(&evidence).broken, []);
}

#[test]
fn every_broken_promise_is_found_under_its_name() {
    let times = Times(Instant::now());
    let expect = |rule: &'static str, spoil: &dyn Fn(&mut Evidence)| {
        let mut evidence = times.good();
        spoil(&mut evidence);
        let found = found(&evidence);
        assert!(found.contains(&rule), "{rule} was not found, but {found:?}");
    };
    let story = |it: &mut Evidence| it.stories.remove(ID).unwrap();
    expect(LOST, &|it| drop(story(it)));
    expect(LOST, &|it| it.stories.get_mut(ID).unwrap().state = "open".to_owned());
    expect(LOST, &|it| it.stories.get_mut(ID).unwrap().state = "dead".to_owned());
    expect(LOST, &|it| it.stories.get_mut(ID).unwrap().state = "held".to_owned());
    expect(LOST, &|it| it.receipts.clear());
    expect(STUCK, &|it| it.stories.get_mut(ID).unwrap().state = "in_flight".to_owned());
    expect(UNHEARD, &|it| it.sent.truncate(1));
    expect(FOREIGN, &|it| it.receipts[1].sha256 = [2; 32]);
    expect(FOREIGN, &|it| it.receipts[0].id = "stripe:evt_2".to_owned());
    expect(FORGED, &|it| it.sent[1].forged = true);
    expect(OVERLAP, &|it| {
        it.receipts[0].ended = None;
        it.receipts[1].flagged = false;
    });
    expect(NUMBER, &|it| it.receipts[1].attempt = 1);
    expect(UNFLAGGED, &|it| it.receipts[1].flagged = false);
    // Flagged, but the story knows no cause; a claim that was never recorded.
    expect(UNFLAGGED, &|it| drop(it.stories.get_mut(ID).unwrap().lines.remove(1)));
    expect(UNFLAGGED, &|it| drop(it.stories.get_mut(ID).unwrap().lines.remove(2)));
    expect(ANSWERS, &|it| it.sent[2].answer.as_mut().unwrap().body = Bytes::from_static(b"x"));
    expect(INVENTED, &|it| {
        let body = Bytes::from_static(b"of nobody");
        it.sent[1].answer.as_mut().unwrap().body = body.clone();
        it.sent[2].answer.as_mut().unwrap().body = body;
    });
    expect(AGAIN, &|it| it.receipts.push(times.receipt(3, 100, 110, 200)));
    expect(HELD, &|it| it.holds = true);
}

#[test]
fn a_refused_attempt_may_be_followed_by_a_plain_one_and_no_other() {
    let times = Times(Instant::now());
    let mut evidence = times.good();
    evidence.receipts = vec![times.receipt(1, 10, 20, 500), times.receipt(2, 50, 60, 200)];
    let story = evidence.stories.get_mut(ID).unwrap();
    story.lines[1] = Line::Settled { attempt: 1, result: "failed".to_owned() };
    assert_eq!(check(&evidence).broken, []);
    evidence.receipts[0].ended = Some((times.at(20), Did::HungUp));
    assert_eq!(found(&evidence), [UNFLAGGED]);
}
