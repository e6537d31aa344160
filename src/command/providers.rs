//! `oncegate providers`: what is known of each provider, and from where.

use clap::Subcommand;
use oncegate::config::{write_duration, write_size};
use oncegate::preset::{self, Preset};
use oncegate::record::Mode;
use serde_json::{Value, json};

use super::failure::Failure;
use super::out;
use super::table::{Cell, Side, Table, pairs};

mod facts;
mod page;

/// Of a line of prose.
const WIDTH: usize = 100;

/// `oncegate providers ..`.
#[derive(Debug, Subcommand)]
pub(crate) enum Providers {
    /// Show one provider: its defaults, what to know of it, and where that is from.
    Show {
        /// The provider.
        name: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Every provider.
pub(crate) fn list(json: bool, markdown: bool) -> Result<(), Failure> {
    if markdown {
        let page = page::page().map_err(|error| Failure::new(error.to_string()))?;
        return out::line(page.trim_end());
    }
    if json {
        let all: Vec<Value> = preset::all().iter().map(tell).collect();
        return out::json(&json!({ "providers": all }));
    }
    let mut table = Table::new(&[
        ("PROVIDER", Side::Left),
        ("TITLE", Side::Left),
        ("SCHEME", Side::Left),
        ("RETRIES", Side::Left),
        ("MODE", Side::Left),
        ("WAIT", Side::Right),
        ("TTL", Side::Right),
        ("MAX BODY", Side::Right),
        ("FACTS OF", Side::Left),
        ("CHECKED BY", Side::Left),
    ]);
    for preset in preset::all() {
        table.row([
            Cell::from(&preset.name),
            Cell::from(&preset.title),
            preset.verify.scheme.word().into(),
            if preset.retries { "yes" } else { "no" }.into(),
            mode(preset.mode).into(),
            write_duration(preset.wait).into(),
            write_duration(preset.ttl).into(),
            write_size(preset.max_body as u64).into(),
            Cell::from(&preset.facts.date),
            preset.facts.confidence.word().into(),
        ]);
    }
    table.print()
}

impl Providers {
    /// Does it.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let Self::Show { name, json } = self;
        let Some(preset) = preset::find(&name) else {
            let known: Vec<&str> = preset::all().iter().map(|it| it.name.as_str()).collect();
            return Err(Failure::unknown("provider", &name, &known));
        };
        if json { out::json(&tell(preset)) } else { show(preset) }
    }
}

fn show(preset: &Preset) -> Result<(), Failure> {
    let facts = &preset.facts;
    let sure = facts.confidence.word();
    let mut rows = vec![("provider", format!("{}, {}", preset.name, preset.title))];
    rows.extend(facts::of(preset));
    rows.push(("facts", format!("read {}, checked by {sure}", facts.date)));
    pairs(rows.into_iter().map(|(word, fact)| (word, Some(fact))))?;
    list_of("Notes", &facts.notes)?;
    if !facts.unconfirmed.is_empty() {
        list_of("Unconfirmed", &facts.unconfirmed)?;
    }
    list_of("Sources", &facts.sources)?;
    let settings = facts::settings(preset);
    let lines = settings.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
    out::line(format_args!("\nSettings:\n{lines}"))
}

fn list_of(heading: &str, items: &[String]) -> Result<(), Failure> {
    out::line(format_args!("\n{heading}:"))?;
    items.iter().try_for_each(|item| out::line(indented(item)))
}

/// `text` in lines of a width that can be read.
fn indented(text: &str) -> String {
    let mut lines = String::new();
    let mut width = WIDTH;
    for word in text.split(' ') {
        let length = word.chars().count();
        if width + 1 + length > WIDTH {
            lines += if lines.is_empty() { "  - " } else { "\n    " };
            width = 4;
        } else {
            lines.push(' ');
            width += 1;
        }
        lines += word;
        width += length;
    }
    lines
}

fn tell(preset: &Preset) -> Value {
    let facts = &preset.facts;
    json!({
        "name": preset.name,
        "title": preset.title,
        "scheme": preset.verify.scheme.word(),
        "signed": preset.verify.signed,
        "covers_body": preset.verify.covers_body(),
        "key": preset.key,
        "batch": preset.batch.as_ref().map(|batch| batch.elements.to_string()),
        "key_signed": preset.signs_its_key(),
        "replay_guard": preset.replay_guard.word(),
        "order_hint": preset.order_hint,
        "handshakes": preset.handshakes.iter().map(|it| it.when.to_string()).collect::<Vec<_>>(),
        "retries": preset.retries,
        "answers": preset.answers,
        "mode": mode(preset.mode),
        "wait": write_duration(preset.wait),
        "ttl": write_duration(preset.ttl),
        "horizon": write_duration(preset.horizon),
        "max_body": preset.max_body,
        "acknowledgement": preset.acknowledgement.status,
        "facts": {
            "date": facts.date,
            "confidence": facts.confidence.word(),
            "sources": facts.sources,
            "notes": facts.notes,
            "unconfirmed": facts.unconfirmed,
        },
    })
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Proxy => "proxy",
        Mode::Queue => "queue",
    }
}
