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

/// Prints what fits the filters: part by part, so that any number of events fits in memory.
/// A page of the API may be short, even empty, and not be the last.
pub(super) async fn run(client: &Client, list: List) -> Result<(), Failure> {
    let mut left = if list.all { u64::MAX } else { list.limit };
    let mut cursor = list.cursor.clone();
    let mut table = table();
    let mut told = 0;
    loop {
        let path = path(&list, left.min(PAGE), cursor.as_deref());
        let document: Value = client.get(&path).await?;
        let page: Page = parse(&document)?;
        let count = page.events.len() as u64;
        told += count;
        left = left.saturating_sub(count);
        let went_on = page.cursor != cursor;
        cursor = page.cursor;
        let ended = cursor.is_none() || left == 0 || !went_on;
        if list.json {
            out::json(&document)?;
        } else {
            page.events.iter().for_each(|event| table.row(row(event)));
            if table.len() as u64 >= PAGE || ended && told > 0 {
                table.print()?;
            }
        }
        if ended {
            break;
        }
    }
    if told == 0 && !list.json {
        out::note("no event fits");
    }
    if let Some(cursor) = cursor {
        let shown = out::count(told, "event", "events");
        let cursor = out::plain(&cursor);
        out::note(&format!("\n{shown}, and there are more: add --all, or --cursor {cursor}"));
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

fn table() -> Table {
    Table::new(&[
        ("RECEIVED", Side::Left),
        ("SOURCE", Side::Left),
        ("KEY", Side::Left),
        ("STATE", Side::Left),
        ("ATTEMPTS", Side::Right),
        ("BYTES", Side::Right),
        ("NOTE", Side::Left),
    ])
}

fn row(event: &Line) -> [Cell; 7] {
    let due = event.due.as_ref().map(|due| format!("due {}", to_seconds(due)));
    let unknown = event.unknown.then(|| "an outcome is unknown".to_owned());
    let notes: Vec<String> = due.into_iter().chain(unknown).collect();
    [
        to_seconds(&event.received).into(),
        Cell::from(&event.source),
        Cell::from(&event.key),
        Cell::state(&event.state),
        event.attempts.to_string().into(),
        event.bytes.to_string().into(),
        notes.join(", ").into(),
    ]
}

/// A moment of the API less its fraction of a second; still RFC 3339.
pub(in crate::command) fn to_seconds(at: &str) -> String {
    at.split_once('.').map_or_else(|| at.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}
