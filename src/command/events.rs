//! `oncegate events`: what is on record, the story of one event, and what an operator may do
//! about it.

use std::fmt;
use std::path::Path;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use oncegate::record::Label;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, parse, segment};
use super::failure::Failure;
use super::out;

mod list;
mod show;

pub(super) use list::to_seconds;

const LIST: &str = "\
Examples:
  oncegate events list --state dead
  oncegate events list --source stripe --since 2h
  oncegate events list --key 'order-*' --all --json | jq -r '.events[].key'";

const SHOW: &str = "\
Examples:
  oncegate events show stripe evt_1
  oncegate events show stripe:evt_1        # as in the header Idempotency-Key";

const REDELIVER: &str = "\
Examples:
  oncegate events redeliver stripe:evt_1
  oncegate events redeliver stripe:evt_1 --force --note 'refund was lost, see #812'";

const SETTLE: &str = "\
Examples:
  oncegate events settle stripe:evt_1 --as done --note 'seen in the ledger'
  oncegate events settle stripe:evt_1 --as queued";

const ADMIT: &str = "\
Then have the provider send it again, under the same id:
  oncegate events admit github:72d3162e-cc78-11e3-81ab-4c9367dc0958 --note 'for the new handler'

The copy that comes next is attempted as a first one; those after it are duplicates again.";

/// `oncegate events ..`.
#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// List events, newest first.
    #[command(after_help = LIST)]
    List(List),
    /// Tell the whole story of one event.
    #[command(after_help = SHOW)]
    Show {
        #[command(flatten)]
        event: Name,
        /// As the API tells it.
        #[arg(long)]
        json: bool,
    },
    /// Attempt an event again, with a fresh budget of attempts.
    #[command(after_help = REDELIVER)]
    Redeliver {
        #[command(flatten)]
        event: Name,
        /// Although it is done: the application sees it once more.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        note: Note,
    },
    /// Decide what became of a held event.
    #[command(after_help = SETTLE)]
    Settle {
        #[command(flatten)]
        event: Name,
        /// Done: never attempted again. Queued: attempted again.
        #[arg(long = "as", value_name = "STATE")]
        state: Settled,
        #[command(flatten)]
        note: Note,
    },
    /// Let the next copy of a done event through, once.
    #[command(after_help = ADMIT)]
    Admit {
        #[command(flatten)]
        event: Name,
        #[command(flatten)]
        note: Note,
    },
    /// Forget an event: its next copy is an event of its own.
    Forget {
        #[command(flatten)]
        event: Name,
        /// Although it is queued: it will not be delivered.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        note: Note,
    },
}

/// Which events.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Of this source.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// In this state; newest change first.
    #[arg(long, value_parser = PossibleValuesParser::new(Label::ALL.map(Label::word)))]
    state: Option<String>,
    /// With this key, or with keys that begin so: `order-*`.
    #[arg(long)]
    key: Option<String>,
    /// Received at or after: 2026-11-23T20:00:00Z, or 2h for two hours ago.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Received before.
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 50,
        value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// All of them.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Where an earlier list ended.
    #[arg(long)]
    cursor: Option<String>,
    /// Pages as the API tells them, one after another.
    #[arg(long)]
    json: bool,
}

/// One event: `SOURCE KEY`, or `SOURCE:KEY`.
#[derive(Debug, Args)]
pub(crate) struct Name {
    /// Its source; or SOURCE:KEY, as in the header Idempotency-Key.
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Its key.
    #[arg(value_name = "KEY")]
    key: Option<String>,
}

/// Why an operator acts.
#[derive(Debug, Args)]
pub(crate) struct Note {
    /// Why, for the story; 200 bytes at most.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Settled {
    Done,
    Queued,
}

impl Events {
    /// Does it.
    pub(crate) async fn run(self, config: Option<&Path>) -> Result<(), Failure> {
        let client = Client::open(config)?;
        match self {
            Self::List(list) => list::run(&client, list).await,
            Self::Show { event, json } => {
                let event = event.parse()?;
                let told = client.get(&event.path("")).await;
                let story = told.map_err(|why| event.not_found(&client, why))?;
                if json { out::json(&story) } else { show::print(&parse(&story)?) }
            },
            Self::Redeliver { event, force, note } => {
                let body = json!({ "force": force, "note": note.note });
                act(&client, event, "redeliver", &body).await
            },
            Self::Settle { event, state, note } => {
                let state = match state {
                    Settled::Done => "done",
                    Settled::Queued => "queued",
                };
                act(&client, event, "settle", &json!({ "as": state, "note": note.note })).await
            },
            Self::Admit { event, note } => {
                act(&client, event, "admit", &json!({ "note": note.note })).await
            },
            Self::Forget { event, force, note } => {
                let body = json!({ "force": force, "note": note.note });
                act(&client, event, "forget", &body).await
            },
        }
    }
}

/// What an act came to.
#[derive(Debug, Deserialize)]
struct Acted {
    state: String,
}

async fn act(client: &Client, event: Name, verb: &str, body: &Value) -> Result<(), Failure> {
    let event = event.parse()?;
    let done = client.post(&event.path(&format!("/{verb}")), body, None).await;
    let done = done.map_err(|why| event.not_found(client, why))?;
    let Acted { state } = parse(&done)?;
    out::line(format_args!("{event} is {}", out::plain(&state)))
}

/// The identity of one event.
#[derive(Debug)]
struct Id {
    source: String,
    key: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.key)
    }
}

impl Name {
    /// Neither a source's name nor a key's text has a colon in it.
    fn parse(self) -> Result<Id, Failure> {
        let Self { source, key } = self;
        if let Some(key) = key {
            return Ok(Id { source, key });
        }
        // The header's value is a quoted string.
        match source.trim_matches('"').split_once(':') {
            Some((source, key)) => Ok(Id { source: source.to_owned(), key: key.to_owned() }),
            None => Err(Failure::usage(format!("\"{source}\" names no event: its key is missing"))
                .mend(format!("write `{source} KEY` or `{source}:KEY`"))),
        }
    }
}

/// What is never in a key's text, where parts are percent-encoded; `%` itself is, `=` and `,`
/// stand between parts, `+` in numbers.
const UNWRITTEN: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'!')
    .add(b'"')
    .add(b'#')
    .add(b'$')
    .add(b'&')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'*')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

impl Id {
    /// Where the API has it.
    fn path(&self, more: &str) -> String {
        format!("/api/v1/events/{}/{}{more}", segment(&self.source), segment(&self.key))
    }

    /// With what to try instead, where there is no such event.
    fn not_found(&self, client: &Client, why: Failure) -> Failure {
        if !why.is("no_such_event") {
            return why;
        }
        let why = Failure::new(format!("there is no event {self}"));
        let written = utf8_percent_encode(&self.key, UNWRITTEN).to_string();
        let mend = if let Some(unknown) = client.unknown_source(&self.source) {
            format!("{}; {}", unknown.cause(), unknown.advice())
        } else if written != self.key {
            format!("a key is written percent-encoded: try {}:{written}", self.source)
        } else {
            format!("`oncegate events list --source {}` lists what there is", self.source)
        };
        why.mend(mend)
    }
}
