//! `GET /api/v1/sources`: what is set up, what is stored of it, and what was turned away.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::query::Parameters;
use super::{Admin, Names, Refusal, Up};
use crate::config::nearest;
use crate::gate::{Gate, Rejected, rejections};
use crate::record::{Label, Mode};

const LIMIT: usize = 50;

/// Events of one source, by state.
type Counts = BTreeMap<&'static str, u64>;

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Json<Value>, Refusal> {
    Parameters::read(&uri, &[])?;
    let up = admin.up()?;
    let mut stored = stored(up);
    let mut sources: Vec<Value> = Vec::new();
    for gate in &up.gates {
        sources.push(tell(gate, &stored.remove(&gate.source.name).unwrap_or_else(none)));
    }
    for (name, events) in stored {
        let orphaned = up.gate(&name).is_none();
        if orphaned && events.values().any(|count| *count > 0) {
            sources.push(json!({
                "name": name,
                "provider": null,
                "mode": null,
                "path": null,
                "target": null,
                "was": [],
                "orphaned": true,
                "events": events,
                "last_delivery": null,
                "rejected": 0,
            }));
        }
    }
    Ok(Json(json!({ "sources": sources })))
}

pub(super) async fn rejections(
    State(admin): State<Arc<Admin>>,
    Names(source): Names<String>,
    uri: Uri,
) -> Result<Json<Value>, Refusal> {
    let up = admin.up()?;
    let limit = Parameters::read(&uri, &["limit"])?.limit(LIMIT, rejections::KEPT)?;
    known(up, &source)?;
    let rejected = up.gate(&source).map(|gate| gate.rejections.newest(limit)).unwrap_or_default();
    let rejected: Vec<_> = rejected.iter().map(tell_rejected).collect();
    Ok(Json(json!({ "rejections": rejected })))
}

/// Refuses a source that is neither set up nor stored: a slip would look like no events.
pub(super) fn known(up: &Up, source: &str) -> Result<(), Refusal> {
    if up.gate(source).is_some() {
        return Ok(());
    }
    let stored = stored(up);
    if stored.contains_key(source) {
        return Ok(());
    }
    let set_up = up.gates.iter().map(|gate| gate.source.name.as_str());
    let near = nearest(source, set_up.chain(stored.keys().map(String::as_str)));
    let mend = near.map_or_else(
        || "`GET /api/v1/sources` lists them".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    let detail = format!("there is no source \"{source}\": {mend}");
    Err(Refusal::new(StatusCode::NOT_FOUND, "no_such_source", detail))
}

fn none() -> Counts {
    Label::ALL.into_iter().map(|label| (label.word(), 0)).collect()
}

/// What the store has, by source.
fn stored(up: &Up) -> BTreeMap<String, Counts> {
    let mut stored: BTreeMap<String, Counts> = BTreeMap::new();
    let stats = up.life.store.stats();
    for (source, label, count) in stats.counts.into_iter().chain(stats.orphaned) {
        stored.entry(source).or_insert_with(none).insert(label.word(), count);
    }
    stored
}

fn tell(gate: &Gate, events: &Counts) -> Value {
    let source = &gate.source;
    json!({
        "name": source.name,
        "provider": source.provider,
        "mode": match source.policy.mode {
            Mode::Proxy => "proxy",
            Mode::Queue => "queue",
        },
        "path": source.path,
        "target": source.target.to_string(),
        "was": source.was,
        "orphaned": false,
        "events": events,
        "last_delivery": gate.last_delivery().map(|at| at.to_string()),
        "rejected": gate.rejections.count(),
    })
}

fn tell_rejected(rejected: &Rejected) -> Value {
    json!({
        "at": rejected.at.to_string(),
        "reason": rejected.reason.word(),
        "from": rejected.from.map(|from| from.to_string()),
        "bytes": rejected.bytes,
    })
}
