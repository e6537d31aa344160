//! What an operator does: redeliver, settle, admit, forget, compact. Each leaves a line in the
//! log that says who did it.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Asked;
use super::{Admin, Caller, Names, Refusal};
use crate::record::{Act, DETAIL_LIMIT, Label, Refused};
use crate::store::Unavailable;

/// The body of redeliver and forget.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Forced {
    force: bool,
    note: String,
}

/// The body of settle.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settles {
    r#as: As,
    #[serde(default)]
    note: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum As {
    Done,
    Queued,
}

/// The body of admit.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Noted {
    note: String,
}

/// The body of compact: nothing to say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

type Told = Result<Json<Value>, Refusal>;
type Named = Names<(String, String)>;

pub(super) async fn redeliver(
    State(admin): State<Arc<Admin>>,
    Extension(caller): Extension<Caller>,
    Names(event): Named,
    Asked(Forced { force, note }): Asked<Forced>,
) -> Told {
    operate(&admin, caller, &event, Act::Redeliver { force }, &note).await
}

pub(super) async fn settle(
    State(admin): State<Arc<Admin>>,
    Extension(caller): Extension<Caller>,
    Names(event): Named,
    Asked(Settles { r#as, note }): Asked<Settles>,
) -> Told {
    let act = match r#as {
        As::Done => Act::SettleDone,
        As::Queued => Act::SettleQueued,
    };
    operate(&admin, caller, &event, act, &note).await
}

pub(super) async fn admit(
    State(admin): State<Arc<Admin>>,
    Extension(caller): Extension<Caller>,
    Names(event): Named,
    Asked(Noted { note }): Asked<Noted>,
) -> Told {
    operate(&admin, caller, &event, Act::Admit, &note).await
}

pub(super) async fn forget(
    State(admin): State<Arc<Admin>>,
    Extension(caller): Extension<Caller>,
    Names(event): Named,
    Asked(Forced { force, note }): Asked<Forced>,
) -> Told {
    operate(&admin, caller, &event, Act::Forget { force }, &note).await
}

async fn operate(
    admin: &Admin,
    caller: Caller,
    (source, key): &(String, String),
    act: Act,
    note: &str,
) -> Told {
    let up = admin.up()?;
    if note.len() > DETAIL_LIMIT {
        let detail = format!("the note has {} bytes: at most {DETAIL_LIMIT}", note.len());
        return Err(Refusal::bad("bad_note", detail));
    }
    let id = format!("{source}:{key}");
    let done = up.life.store.operate(&id, act, note).await;
    let (word, result) = (act_word(act), told(act, done));
    tracing::info!(by = who(caller), act = word, source, key, note, result, "operator");
    let label = done?.map_err(refusal)?;
    if label == Label::Queued
        && let Some(gate) = up.gate(source)
    {
        gate.wake.notify_one();
    }
    Ok(Json(json!({ "state": result })))
}

pub(super) async fn compact(
    State(admin): State<Arc<Admin>>,
    Extension(caller): Extension<Caller>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Told {
    let store = Arc::clone(&admin.up()?.life.store);
    tracing::info!(by = who(caller), act = "compact", "operator");
    match store.compact().await {
        Ok(done) => {
            let paused = u64::try_from(done.paused.as_millis()).unwrap_or(u64::MAX);
            let (before, after) = (done.before, done.after);
            Ok(Json(json!({ "before": before, "after": after, "paused_ms": paused })))
        },
        Err(why @ Unavailable::Compacting) => {
            let detail = format!("{why} already: its end is in the log");
            Err(Refusal::new(StatusCode::CONFLICT, "compacting", detail))
        },
        Err(why) => Err(why.into()),
    }
}

/// Who asks, for the log.
fn who(caller: Caller) -> String {
    caller.addr.map_or_else(|| "unix".to_owned(), |addr| addr.to_string())
}

fn act_word(act: Act) -> &'static str {
    match act {
        Act::Redeliver { .. } => "redeliver",
        Act::SettleDone => "settle_done",
        Act::SettleQueued => "settle_queued",
        Act::Forget { .. } => "forget",
        Act::Admit => "admit",
    }
}

/// What came of it, in a word: the state, or why not.
fn told(act: Act, done: Result<Result<Label, Refused>, Unavailable>) -> &'static str {
    match done {
        Ok(Ok(_)) if matches!(act, Act::Forget { .. }) => "forgotten",
        Ok(Ok(label)) => label.word(),
        Ok(Err(refused)) => code(refused),
        Err(_) => "storage_unavailable",
    }
}

fn code(refused: Refused) -> &'static str {
    match refused {
        Refused::NotFound => "no_such_event",
        Refused::InFlight => "in_flight",
        Refused::NeedsForce(_) => "needs_force",
        Refused::NoBody => "no_body",
        Refused::NotHeld(_) => "not_held",
        Refused::NotDone(_) => "not_done",
        Refused::NoCopies => "no_copies",
        Refused::Orphaned => "orphaned",
    }
}

fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::NotFound => Refusal::no_such_event(),
        Refused::InFlight
        | Refused::NeedsForce(_)
        | Refused::NoBody
        | Refused::NotHeld(_)
        | Refused::NotDone(_)
        | Refused::NoCopies
        | Refused::Orphaned => {
            Refusal::new(StatusCode::CONFLICT, code(refused), refused.to_string())
        },
    }
}
