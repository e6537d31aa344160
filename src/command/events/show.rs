//! `oncegate events show`: the story of one event, first in brief, then line by line.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::failure::Failure;
use super::super::out;
use super::super::table::{Cell, Side, Table, pairs};

/// A story, as the API tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Story {
    idempotency_key: String,
    long_key: Option<String>,
    state: String,
    due: Option<String>,
    owed: bool,
    unknown: bool,
    received: String,
    changed: String,
    attempts: u64,
    copies_get: Option<String>,
    body: Body,
    mismatching_copies: Vec<String>,
    answer: Option<Answer>,
    deliveries: Deliveries,
    #[serde(rename = "story")]
    lines: Vec<Map<String, Value>>,
    damaged_lines: u64,
}

#[derive(Debug, Deserialize)]
struct Body {
    sha256: String,
    bytes: u64,
    held_since: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    status: u16,
    bytes: u64,
    truncated: bool,
}

#[derive(Debug, Deserialize)]
struct Deliveries {
    total: u64,
    by_outcome: BTreeMap<String, u64>,
    first: Vec<Delivery>,
    last: Vec<Delivery>,
}

#[derive(Debug, Deserialize)]
struct Delivery {
    at: String,
    outcome: String,
    status: u16,
    mismatch: bool,
}

/// Prints the story.
pub(super) fn print(story: &Story) -> Result<(), Failure> {
    head(story)?;
    outcomes(&story.deliveries)?;
    timeline(story)
}

fn head(story: &Story) -> Result<(), Failure> {
    let lost = story.damaged_lines;
    let other = &story.mismatching_copies;
    pairs([
        ("event", Some(story.idempotency_key.clone())),
        ("in full", story.long_key.clone()),
        ("state", Some(state(story))),
        ("received", Some(story.received.clone())),
        ("changed", Some(story.changed.clone())),
        ("attempts", Some(story.attempts.to_string())),
        ("body", Some(body(&story.body))),
        ("answer", story.answer.as_ref().map(answer)),
        ("copies get", story.copies_get.as_deref().map(copies)),
        ("other bytes", (!other.is_empty()).then(|| format!("sha256 {}", other.join(", ")))),
        ("damaged", (lost > 0).then(|| out::count(lost, "line is lost", "lines are lost"))),
    ])
}

fn answer(answer: &Answer) -> String {
    let cut = if answer.truncated { ", not kept" } else { "" };
    format!("{}, {}{cut}", answer.status, out::count(answer.bytes, "byte", "bytes"))
}

fn copies(what: &str) -> String {
    if what == "answer" { "the recorded answer".to_owned() } else { format!("the {what}") }
}

fn state(story: &Story) -> String {
    let mut text = story.state.clone();
    if let Some(due) = &story.due {
        text = format!("{text}, due {due}");
    }
    if story.state == "open" && story.copies_get.is_some() {
        text += ", its next copy is let through";
    } else if story.owed && !["done", "dead"].contains(&story.state.as_str()) {
        text += ", oncegate's to see to";
    }
    if story.unknown {
        text += "; the outcome of an earlier attempt is unknown";
    }
    text
}

fn body(body: &Body) -> String {
    let bytes = out::count(body.bytes, "byte", "bytes");
    let kept = if body.held_since.is_some() { "" } else { ", no longer kept" };
    format!("{bytes}{kept}, sha256 {}", body.sha256)
}

/// How many deliveries ended how; of those on record, when.
fn outcomes(deliveries: &Deliveries) -> Result<(), Failure> {
    if deliveries.total == 0 {
        return Ok(());
    }
    out::line("")?;
    let columns = [
        ("DELIVERIES", Side::Right),
        ("OUTCOME", Side::Left),
        ("FIRST", Side::Left),
        ("LAST", Side::Left),
    ];
    let mut table = Table::new(&columns);
    for (outcome, count) in &deliveries.by_outcome {
        let seen = || deliveries.seen().filter(|seen| seen.outcome == *outcome);
        let at = |seen: Option<&Delivery>| seen.map_or("-".to_owned(), |seen| seen.at.clone());
        // Between the first ones and the last ones some are only counted.
        let first = deliveries.first.iter().find(|seen| seen.outcome == *outcome);
        table.row([
            out::thousands(*count).into(),
            outcome.into(),
            at(first).into(),
            at(seen().last()).into(),
        ]);
    }
    table.print()
}

impl Deliveries {
    /// Those on record, in order.
    fn seen(&self) -> impl Iterator<Item = &Delivery> {
        self.first.iter().chain(&self.last)
    }

    /// Those that are only counted.
    fn untold(&self) -> u64 {
        self.total.saturating_sub(self.seen().count() as u64)
    }
}

/// One line of the timeline.
struct Line<'a> {
    at: &'a str,
    /// The state the event was in then; empty for what changes none.
    state: &'a str,
    what: String,
}

fn timeline(story: &Story) -> Result<(), Failure> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for line in &story.lines {
        let (at, state) = (word(line, "at"), word(line, "state"));
        lines.push(Line { at, state, what: told(line) });
    }
    let deliveries = &story.deliveries;
    for seen in deliveries.seen() {
        let other = if seen.mismatch { ", with other bytes" } else { "" };
        let what = format!("delivery answered {}, {}{other}", seen.status, seen.outcome);
        lines.push(Line { at: &seen.at, state: "", what });
    }
    if let (Some(first), untold @ 1..) = (deliveries.first.last(), deliveries.untold()) {
        let what = out::count(untold, "more delivery", "more deliveries, only counted");
        lines.push(Line { at: &first.at, state: "", what });
    }
    // RFC 3339 in UTC with three digits sorts as text; what happened at once stays in order.
    lines.sort_by_key(|line| line.at);
    out::line("")?;
    let columns = [("TIME", Side::Left), ("STATE", Side::Left), ("WHAT", Side::Left)];
    let mut table = Table::new(&columns);
    for Line { at, state, what } in lines {
        table.row([at.into(), Cell::state(state), what.into()]);
    }
    table.print()
}

fn word<'a>(line: &'a Map<String, Value>, name: &str) -> &'a str {
    line.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(line: &Map<String, Value>, name: &str) -> u64 {
    line.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// What happened, in words; a line of a newer version as it is.
fn told(line: &Map<String, Value>) -> String {
    match word(line, "event") {
        "stored" => "stored".to_owned(),
        "claimed" => format!("attempt {} begins", number(line, "attempt")),
        "settled" => settled(line),
        "operated" => operated(line),
        "mismatch_kept" => "a copy with other bytes came, and was kept".to_owned(),
        "body_restored" => "a copy brought the body back".to_owned(),
        "body_dropped" => "the body is no longer kept".to_owned(),
        "damaged" => "the record was found damaged".to_owned(),
        _ => {
            let mut rest = line.clone();
            rest.retain(|name, _| !["at", "state"].contains(&name.as_str()));
            Value::Object(rest).to_string()
        },
    }
}

fn settled(line: &Map<String, Value>) -> String {
    let because = |what: &str| {
        let status = line.get("status").and_then(Value::as_u64);
        match (word(line, "detail"), status) {
            ("", Some(status)) => format!("{what}: answered {status}"),
            ("", None) => what.to_owned(),
            // It tells of the status too.
            (detail, _) => format!("{what}: {detail}"),
        }
    };
    let result = match word(line, "result") {
        "success" => because("succeeded"),
        "final" => because("failed for good"),
        "failed" => because("failed"),
        "unknown" => because("has no known outcome"),
        "not_sent" => because("was not sent"),
        other => because(other),
    };
    let late = if line.get("late") == Some(&Value::Bool(true)) { " (late)" } else { "" };
    format!("attempt {} {result}{late}", number(line, "attempt"))
}

fn operated(line: &Map<String, Value>) -> String {
    let act = match word(line, "act") {
        "redeliver" => "redelivered",
        "settle_done" => "settled as done",
        "settle_queued" => "settled as queued",
        "forget" => "forgotten",
        "admit" => "next copy let through",
        other => other,
    };
    match word(line, "note") {
        "" => format!("{act} by an operator"),
        note => format!("{act} by an operator: {note}"),
    }
}
