//! What was promised, and whether it held: judged from what the providers were answered and
//! what the application saw; the gateway's own account is only compared with that.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::Value;

use super::application::{End, Seen};
use super::call::Answer;
use super::event::{Event, First};
use super::provider::is_success;

/// One event and all that came of it.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) event: Arc<Event>,
    /// What the provider was answered; `None` is no answer.
    pub(super) answers: Vec<Option<Answer>>,
    /// What the application saw.
    pub(super) seen: Vec<Seen>,
    /// What the admin API tells.
    pub(super) story: Value,
}

impl Played {
    /// Attempts, as the gateway counts them.
    pub(super) fn attempts(&self) -> u64 {
        self.story.get("attempts").and_then(Value::as_u64).unwrap_or_default()
    }

    /// The lines of the story of one kind.
    fn entries<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        let story = self.story.get("story").and_then(Value::as_array).into_iter().flatten();
        story.filter(move |line| line.get("event").is_some_and(|it| it == kind))
    }

    /// How many deliveries were answered with `outcome`.
    pub(super) fn outcomes(&self, outcome: &str) -> usize {
        let is =
            |headers: &HeaderMap| headers.get("oncegate-outcome").is_some_and(|it| it == outcome);
        self.answers.iter().flatten().filter(|answer| is(&answer.headers)).count()
    }
}

/// What is to be said, and whether all of it is good.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) lines: Vec<String>,
    pub(super) held: bool,
}

/// A promise in plain words, and its check: why it does not hold for an event.
struct Promise {
    words: &'static str,
    broken: fn(&Played) -> Option<String>,
}

const PROMISES: [Promise; 6] = [
    Promise { words: "one attempt per event, and another only for a recorded cause", broken: once },
    Promise { words: "never two attempts of one event at the same time", broken: apart },
    Promise {
        words: "attempt numbers rise, the Idempotency-Key stays, doubt is flagged",
        broken: labelled,
    },
    Promise { words: "the application got the signed bytes; its own check passed", broken: signed },
    Promise { words: "every copy was answered 2xx in the end, all of them alike", broken: alike },
    Promise {
        words: "nothing is left in flight, and every delivery is in the story",
        broken: done,
    },
];

/// Checks every promise for every event.
pub(super) fn check(played: &[Played], strays: u64) -> Verdict {
    let mut lines = vec!["Promised:".to_owned()];
    let mut broken = 0_usize;
    for promise in &PROMISES {
        let whys: Vec<String> = played
            .iter()
            .filter_map(|play| Some(format!("{}: {}", play.event.name(), (promise.broken)(play)?)))
            .collect();
        let word = if whys.is_empty() { "held" } else { "BROKEN" };
        lines.push(format!("  {word:<6}  {}", promise.words));
        broken += usize::from(!whys.is_empty());
        lines.extend(whys.into_iter().map(|why| format!("          {why}")));
    }
    if strays > 0 {
        broken += 1;
        lines.push(format!("  BROKEN  the application saw {strays} bodies that nobody sent"));
    }
    lines.push(String::new());
    lines.push(closing(played, broken));
    Verdict { lines, held: broken == 0 }
}

fn closing(played: &[Played], broken: usize) -> String {
    let deliveries: usize = played.iter().map(|play| play.answers.len()).sum();
    let attempts: usize = played.iter().map(|play| play.seen.len()).sum();
    let repeated: usize = played.iter().map(|play| play.seen.len().saturating_sub(1)).sum();
    let events = played.len();
    if broken > 0 {
        return format!("{broken} of the promises did NOT hold. This is a bug: please report it.");
    }
    format!(
        "Every promise held: {deliveries} deliveries of {events} events became {attempts} attempts, {repeated} of them\n\
         because the application had failed or hung up."
    )
}

/// Once it worked nothing more came, and nothing came without a cause.
fn once(play: &Played) -> Option<String> {
    let count = play.seen.len();
    let told = play.attempts();
    let causes =
        play.seen.iter().filter(|seen| matches!(seen.end, Some(End::Failed | End::HungUp))).count();
    let worked = play.seen.iter().position(|seen| seen.end == Some(End::Worked));
    if worked.map(|place| place + 1) != Some(count) || count != causes + 1 {
        return Some(format!("{count} attempts, {causes} causes for another"));
    }
    let recorded = play.entries("settled").filter(|it| it.get("result") != Some(&"success".into()));
    let recorded = recorded.count();
    (told != count as u64 || recorded != causes).then(|| {
        format!("the application saw {count} and gave {causes} causes, recorded are {told} and {recorded}")
    })
}

fn apart(play: &Played) -> Option<String> {
    play.seen.iter().any(|seen| seen.overlaps).then(|| "two at the same time".to_owned())
}

fn labelled(play: &Played) -> Option<String> {
    let key = format!("\"{}\"", play.event.name());
    let mut doubt = false;
    for (seen, number) in play.seen.iter().zip(1_usize..) {
        if seen.attempt != number.to_string() {
            return Some(format!("attempt {number} was numbered {}", seen.attempt));
        }
        if seen.key != key {
            return Some(format!("attempt {number} had the key {}", seen.key));
        }
        if seen.flagged != doubt {
            return Some(format!("attempt {number}: Oncegate-Unknown: {}", seen.flagged));
        }
        doubt |= seen.end == Some(End::HungUp);
    }
    (play.event.first == First::HangsUp && !doubt).then(|| "it never hung up".to_owned())
}

fn signed(play: &Played) -> Option<String> {
    (!play.seen.iter().all(|seen| seen.signed)).then(|| "a signature was not valid".to_owned())
}

fn alike(play: &Played) -> Option<String> {
    let last: Vec<&Answer> =
        play.answers.iter().flatten().filter(|answer| is_success(Some(answer))).collect();
    if last.len() != super::COPIES {
        return Some(format!("{} of {} copies were answered 2xx", last.len(), super::COPIES));
    }
    let first = comparable(last.first()?);
    last.iter().any(|answer| comparable(answer) != first).then(|| "answers differ".to_owned())
}

/// An answer less what tells the copies apart on purpose, and the time of day.
fn comparable(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    for name in ["oncegate-outcome", "idempotency-replayed", "date"] {
        answer.headers.remove(name);
    }
    answer
}

fn done(play: &Played) -> Option<String> {
    let state = play.story.get("state").and_then(Value::as_str).unwrap_or("not stored");
    if state != "done" {
        return Some(format!("it is {state}"));
    }
    let told = play.story.pointer("/deliveries/total").and_then(Value::as_u64).unwrap_or_default();
    let sent = play.answers.len();
    (told != sent as u64).then(|| format!("{sent} deliveries were sent, {told} are told of"))
}
