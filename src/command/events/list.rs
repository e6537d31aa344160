//! `oncegate events list`: the pages of the API as one table.

use serde::Deserialize;
use serde_json::Value;

use super::super::client::{Client, parse, segment};
use super::super::failure::Failure;
use super::super::out;
use super::super::table::{Cell, Side, Table};
use super::List;

/// The longest page of the API.
const PAGE: u64 = 200;

/// A page.
#[derive(Debug, Deserialize)]
struct Page {
    events: Vec<Line>,
    cursor: Option<String>,
}

/// One event of a page.
#[derive(Debug, Deserialize)]
struct Line {
    source: String,
    key: String,
    state: String,
    received: String,
    due: Option<String>,
    attempts: u64,
    unknown: bool,
    bytes: u64,
}

/// Prints what fits the filters: page by page, so that any number of events fits in memory.
pub(super) async fn run(client: &Client, list: List) -> Result<(), Failure> {
    let mut left = if list.all { u64::MAX } else { list.limit };
    let mut cursor = list.cursor.clone();
    let mut told = 0;
    loop {
        let path = path(&list, left.min(PAGE), cursor.as_deref());
        let document: Value = client.get(&path).await?;
        let page: Page = parse(&document)?;
        let count = page.events.len() as u64;
        if told == 0
            && count == 0
            && let Some(unknown) = list.source.as_ref().and_then(|name| client.unknown_source(name))
        {
            return Err(unknown);
        }
        if list.json {
            out::json(&document)?;
        } else if count > 0 {
            print(&page.events)?;
        }
        told += count;
        left = left.saturating_sub(count);
        cursor = page.cursor;
        // A page without events that goes on would never end.
        if cursor.is_none() || left == 0 || count == 0 {
            break;
        }
    }
    if !list.json && told == 0 {
        out::note("no events fit");
    } else if let Some(cursor) = cursor {
        let shown = out::count(told, "event", "events");
        out::note(&format!(
            "\n{shown} shown, there are more: add --all, or --cursor {}",
            out::plain(&cursor)
        ));
    }
    Ok(())
}

fn path(list: &List, limit: u64, cursor: Option<&str>) -> String {
    let mut path = format!("/api/v1/events?limit={limit}");
    for (name, value) in [
        ("source", list.source.as_deref()),
        ("state", list.state.as_deref()),
        ("key", list.key.as_deref()),
        ("since", list.since.as_deref()),
        ("until", list.until.as_deref()),
        ("cursor", cursor),
    ] {
        if let Some(value) = value {
            path = format!("{path}&{name}={}", segment(value));
        }
    }
    path
}

/// Each page is aligned by itself.
fn print(events: &[Line]) -> Result<(), Failure> {
    let mut table = Table::new(&[
        ("RECEIVED", Side::Left),
        ("SOURCE", Side::Left),
        ("KEY", Side::Left),
        ("STATE", Side::Left),
        ("ATTEMPTS", Side::Right),
        ("BYTES", Side::Right),
        ("NOTE", Side::Left),
    ]);
    for event in events {
        let mut notes = Vec::new();
        if let Some(due) = &event.due {
            notes.push(format!("due {}", to_seconds(due)));
        }
        if event.unknown {
            notes.push("an outcome is unknown".to_owned());
        }
        table.row([
            to_seconds(&event.received).into(),
            Cell::from(&event.source),
            Cell::from(&event.key),
            Cell::state(&event.state),
            event.attempts.to_string().into(),
            event.bytes.to_string().into(),
            notes.join(", ").into(),
        ]);
    }
    table.print()
}

/// A moment of the API less its fraction of a second; still RFC 3339.
pub(in crate::command) fn to_seconds(at: &str) -> String {
    at.split_once('.').map_or_else(|| at.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}
