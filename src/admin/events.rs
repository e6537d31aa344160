//! `GET /api/v1/events`: which events there are, page by page.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::query::{Parameters, bad};
use super::{Admin, Refusal, Up, sources};
use crate::clock;
use crate::config::nearest;
use crate::record::{Event, Label, State as Stands};
use crate::store::{Filter, KeyFilter, ListError};
use crate::time::{self, Millis};

const PARAMETERS: [&str; 7] = ["source", "state", "key", "since", "until", "cursor", "limit"];
const LIMIT: usize = 50;
const MOST: usize = 200;

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Json<Value>, Refusal> {
    let up = admin.up()?;
    let given = Parameters::read(&uri, &PARAMETERS)?;
    let now = clock::wall();
    let filter = Filter {
        source: given.get("source").map(str::to_owned),
        state: given.get("state").map(state).transpose()?,
        key: given.get("key").map(key).transpose()?,
        since: given.get("since").map(|text| moment("since", text, now)).transpose()?,
        until: given.get("until").map(|text| moment("until", text, now)).transpose()?,
    };
    let cursor = given.get("cursor").map(str::to_owned);
    let limit = given.limit(LIMIT, MOST)?;
    if let Some(source) = &filter.source {
        sources::known(up, source)?;
    }
    let Ok(reading) = Arc::clone(&admin.reads).try_acquire_owned() else {
        let detail = "as many lists are read as are at once: try again";
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail));
    };
    let store = Arc::clone(&up.life.store);
    let page = tokio::task::spawn_blocking(move || {
        // Until it has been read, also when nobody waits for it any more.
        let _reading = reading;
        store.list(&filter, cursor.as_deref(), limit)
    });
    let page = match page.await {
        Ok(Ok(page)) => page,
        Ok(Err(why @ ListError::BadCursor)) => {
            return Err(Refusal::bad("bad_cursor", why.to_string()));
        },
        Ok(Err(ListError::Unavailable(why))) => return Err(why.into()),
        Err(error) => {
            tracing::error!(%error, "a list could not be read");
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Refusal::new(status, "storage_unavailable", "the list cannot be read"));
        },
    };
    let events: Vec<_> = page.events.iter().map(|event| brief(up, event)).collect();
    Ok(Json(json!({ "events": events, "cursor": page.next })))
}

/// One line of the list.
fn brief(up: &Up, event: &Event) -> Value {
    let (born, key) = event.id.split_once(':').unwrap_or_default();
    // The name that its source has now.
    let source = up.gate(born).map_or(born, |gate| &gate.source.name);
    let due = match event.state {
        Stands::Queued { due } => Some(due.to_string()),
        Stands::Open | Stands::InFlight { .. } | Stands::Done | Stands::Dead | Stands::Held => None,
    };
    json!({
        "source": source,
        "key": key,
        "idempotency_key": event.id,
        "state": event.label().word(),
        "received": event.received.to_string(),
        "changed": event.changed.to_string(),
        "due": due,
        "attempts": event.attempt,
        "owed": event.owed,
        "unknown": event.doubt,
        "bytes": event.body.bytes,
    })
}

fn state(text: &str) -> Result<Label, Refusal> {
    let words = Label::ALL.map(Label::word);
    Label::ALL.into_iter().find(|label| label.word() == text).ok_or_else(|| {
        let mend = nearest(text, words.into_iter()).map_or_else(
            || format!("one of {}", words.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        bad(format!("\"{text}\" is not a state: {mend}"))
    })
}

fn key(text: &str) -> Result<KeyFilter, Refusal> {
    let (start, starred) = text.strip_suffix('*').map_or((text, false), |start| (start, true));
    if start.contains('*') {
        return Err(bad("`*` stands for the rest of a key: only at the end"));
    }
    let start = start.to_owned();
    Ok(if starred { KeyFilter::StartsWith(start) } else { KeyFilter::Is(start) })
}

/// A time, or how long before now.
fn moment(name: &str, text: &str, now: Millis) -> Result<Millis, Refusal> {
    let found = time::moment(text).or_else(|| time::duration(text).map(|ago| now.minus(ago)));
    found.ok_or_else(|| {
        bad(format!(
            "`{name}` is a time such as 2026-01-31T10:00:00Z (a `+` in it is written %2B), or how long ago, such as 2h"
        ))
    })
}
