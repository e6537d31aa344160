//! `oncegate sources`: how each source fares, and what was rejected at its door.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Subcommand;
use serde::Deserialize;

use super::client::{Client, parse, segment};
use super::events::to_seconds;
use super::failure::Failure;
use super::out;
use super::table::{Cell, Side, Table};

/// `oncegate sources ..`.
#[derive(Debug, Subcommand)]
pub(crate) enum Sources {
    /// Show a source's recent rejections.
    Show {
        /// The source.
        name: String,
        /// At most this many of them.
        #[arg(long, value_name = "N", default_value_t = 20,
            value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
        /// As the API tells it.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Deserialize)]
struct All {
    sources: Vec<Source>,
}

#[derive(Debug, Deserialize)]
struct Source {
    name: String,
    provider: Option<String>,
    mode: Option<String>,
    path: Option<String>,
    target: Option<String>,
    orphaned: bool,
    events: BTreeMap<String, u64>,
    last_delivery: Option<String>,
    rejected: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Rejections {
    rejections: Vec<Rejection>,
}

#[derive(Debug, Deserialize)]
struct Rejection {
    at: String,
    reason: String,
    from: Option<String>,
    bytes: Option<u64>,
}

/// Every source.
pub(crate) async fn list(config: Option<&Path>, json: bool) -> Result<(), Failure> {
    let client = Client::open(config)?;
    let document = client.get("/api/v1/sources").await?;
    if json {
        return out::json(&document);
    }
    let All { sources } = parse(&document)?;
    if sources.is_empty() {
        out::note("there are no sources: add a [sources.NAME] to the settings");
        return Ok(());
    }
    let mut table = Table::new(&[
        ("SOURCE", Side::Left),
        ("PROVIDER", Side::Left),
        ("MODE", Side::Left),
        ("PATH", Side::Left),
        ("TARGET", Side::Left),
        ("LAST DELIVERY", Side::Left),
        ("REJECTED", Side::Right),
        ("EVENTS", Side::Left),
    ]);
    for source in sources {
        let mode = if source.orphaned { Some("orphaned".to_owned()) } else { source.mode };
        let events = source.events.iter().filter(|(_, count)| **count > 0);
        let events: Vec<String> =
            events.map(|(state, count)| format!("{} {state}", out::thousands(*count))).collect();
        let last = source.last_delivery.map(|at| to_seconds(&at));
        table.row([
            source.name.into(),
            or_dash(source.provider),
            or_dash(mode),
            or_dash(source.path),
            or_dash(source.target),
            or_dash(last),
            or_dash(source.rejected.map(|count| count.to_string())),
            or_dash((!events.is_empty()).then(|| events.join(", "))),
        ]);
    }
    table.print()
}

fn or_dash(text: Option<String>) -> Cell {
    text.unwrap_or_else(|| "-".to_owned()).into()
}

impl Sources {
    /// Does it.
    pub(crate) async fn run(self, config: Option<&Path>) -> Result<(), Failure> {
        let Self::Show { name, limit, json } = self;
        let client = Client::open(config)?;
        let path = format!("/api/v1/sources/{}/rejections?limit={limit}", segment(&name));
        let document = client.get(&path).await?;
        if json {
            return out::json(&document);
        }
        let Rejections { rejections } = parse(&document)?;
        if rejections.is_empty() {
            out::note("nothing was rejected since the gateway started");
            return Ok(());
        }
        let mut table = Table::new(&[
            ("REJECTED", Side::Left),
            ("REASON", Side::Left),
            ("FROM", Side::Left),
            ("BYTES", Side::Right),
        ]);
        for Rejection { at, reason, from, bytes } in rejections {
            let bytes = or_dash(bytes.map(|bytes| bytes.to_string()));
            table.row([at.into(), reason.into(), or_dash(from), bytes]);
        }
        table.print()
    }
}
