//! Signals: deliveries whose equal bytes are different events (`fallback = "coalesce"`).
//!
//! A signal says "look again", and only the newest look counts. So copies of one signal
//! share a run: each run is an event, `<source>:=signal.<sha256>.<token>`, and a copy is
//! seen to by any run that starts after it came. It joins the newest run while that has not
//! started, else it is the next run. No two runs of one signal are in flight at once.

use super::{Arrival, Change, Context, Copy, Event, Meets, Mode, State, arrive};

/// What a signal's key begins with.
const PREFIX: &str = "=signal.";

/// The id that all runs of a signal begin with, if `id` is that of a signal or of a run of
/// one. No key made of parts looks like this: text has no `=`, and after the `=` of a number
/// or a boolean comes no `s`.
pub fn signal_of(id: &str) -> Option<&str> {
    let (_, key) = id.split_once(':')?;
    let run = key.strip_prefix(PREFIX)?.split_once('.').map_or(0, |(_, run)| run.len() + 1);
    id.get(..id.len().checked_sub(run)?)
}

/// What a copy of a signal is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joins {
    /// The newest run: it has not started.
    Newest,
    /// The next run.
    Next,
    /// Nothing yet: its provider waits until the run that is in flight has ended.
    Waits,
}

/// The rule. `in_flight`: a run of the signal is, the newest or (redelivered) an older one.
fn joins(newest: Option<State>, in_flight: bool, mode: Mode) -> Joins {
    match (newest, in_flight, mode) {
        (Some(State::Queued { .. }), _, _)
        | (Some(State::Open), false, _)
        | (Some(State::Open), true, Mode::Queue) => Joins::Newest,
        (_, true, Mode::Proxy) => Joins::Waits,
        _ => Joins::Next,
    }
}

/// Decides what a copy of a signal meets: `newest` is the signal's newest run, `open` the one
/// in flight. The reply's id tells which run it is to.
///
/// A copy that waits is not stored: what answers it is the run that it starts, or `busy`,
/// and a provider that is answered `busy` sends it again.
pub fn join(
    newest: Option<&Event>,
    open: Option<&Event>,
    copy: &Copy,
    cx: &Context<'_>,
) -> Change<Arrival> {
    match (joins(newest.map(|run| run.state), open.is_some(), cx.policy.mode), open) {
        (Joins::Newest, _) => arrive(newest, copy, cx),
        (Joins::Waits, Some(open)) => Change::none(Arrival {
            id: open.id.clone(),
            meets: Meets::InFlight,
            mismatch: false,
            finished: false,
            first: open.received,
            attempt: open.attempt,
        }),
        (Joins::Next | Joins::Waits, _) => arrive(None, copy, cx),
    }
}
