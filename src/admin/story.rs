//! `GET /api/v1/events/{source}/{key}`: all that is known of one event, but for its bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::{Admin, Names, Refusal};
use crate::record::{Act, Answer, Entry, Event, Finish, State as Stands, What};
use crate::store::{Seen, Story};

pub(super) async fn story(
    State(admin): State<Arc<Admin>>,
    Names((source, key)): Names<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let story = admin.up()?.life.store.story(&format!("{source}:{key}")).await?;
    story.map(|story| Json(tell(&story))).ok_or_else(Refusal::no_such_event)
}

/// The story as JSON.
fn tell(story: &Story) -> Value {
    let Event { id, long, received, changed, state, owed, doubt, finish, body, kept, .. } =
        &story.event;
    let (born, key) = id.split_once(':').unwrap_or_default();
    let due = match state {
        Stands::Queued { due } => Some(due.to_string()),
        Stands::Open | Stands::InFlight { .. } | Stands::Done | Stands::Dead | Stands::Held => None,
    };
    json!({
        "source": story.source.as_deref().unwrap_or(born),
        "key": key,
        "long_key": long,
        "idempotency_key": id,
        "state": story.event.label().word(),
        "due": due,
        "owed": owed,
        "unknown": doubt,
        "received": received.to_string(),
        "changed": changed.to_string(),
        "attempts": story.event.attempt,
        "token": story.event.token.0,
        "copies_get": finish.map(|finish| match finish {
            Finish::Answered => "answer",
            Finish::Acknowledged => "acknowledgement",
        }),
        "body": {
            "sha256": HEXLOWER.encode(&body.sha256),
            "bytes": body.bytes,
            "held_since": body.held.map(|held| held.to_string()),
        },
        "mismatching_copies": kept.iter().map(|sha256| HEXLOWER.encode(sha256)).collect::<Vec<_>>(),
        "answer": story.answer.as_ref().map(tell_answer),
        "deliveries": {
            "total": story.deliveries.counts.iter().map(|(_, count)| count).sum::<u64>(),
            "by_outcome": story.deliveries.counts.iter().cloned().collect::<BTreeMap<_, _>>(),
            "first": story.deliveries.first.iter().map(tell_delivery).collect::<Vec<_>>(),
            "last": story.deliveries.last.iter().map(tell_delivery).collect::<Vec<_>>(),
        },
        "story": story.entries.iter().map(tell_entry).collect::<Vec<_>>(),
        "damaged_lines": story.damaged_entries,
    })
}

fn tell_answer(answer: &Answer) -> Value {
    let headers = answer.headers.iter();
    json!({
        "status": answer.status,
        "headers": headers
            .map(|(name, value)| json!([name, String::from_utf8_lossy(value)]))
            .collect::<Vec<_>>(),
        "bytes": answer.body.len(),
        "truncated": answer.truncated,
    })
}

fn tell_delivery(seen: &Seen) -> Value {
    json!({
        "at": seen.at.to_string(),
        "outcome": seen.outcome,
        "status": seen.status,
        "mismatch": seen.mismatch,
    })
}

fn tell_entry(entry: &Entry) -> Value {
    let mut line = match &entry.what {
        What::Stored { .. } => json!({ "event": "stored" }),
        What::Claimed { token, attempt } => {
            json!({ "event": "claimed", "token": token.0, "attempt": attempt })
        },
        What::Settled { attempt, result, status, detail, late } => json!({
            "event": "settled",
            "attempt": attempt,
            "result": result.word(),
            "status": status,
            "detail": detail,
            "late": late,
        }),
        What::Operated { act, note } => {
            let act = match act {
                Act::Redeliver { .. } => "redeliver",
                Act::SettleDone => "settle_done",
                Act::SettleQueued => "settle_queued",
                Act::Forget { .. } => "forget",
                Act::Admit => "admit",
            };
            json!({ "event": "operated", "act": act, "note": note })
        },
        What::Mismatch { slot } => json!({ "event": "mismatch_kept", "slot": slot }),
        What::BodyRestored => json!({ "event": "body_restored" }),
        What::BodyDropped => json!({ "event": "body_dropped" }),
        What::Damaged => json!({ "event": "damaged" }),
    };
    if let Some(line) = line.as_object_mut() {
        line.insert("at".to_owned(), json!(entry.at.to_string()));
        line.insert("state".to_owned(), json!(entry.state.word()));
    }
    line
}
