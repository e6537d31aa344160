//! `oncegate check`: the settings in force, what to think about, and events of sources that
//! are not configured any more.

use std::path::Path;

use oncegate::config::{Config, Problem};
use oncegate::store::{self, Orphans};
use serde_json::{Value, json};

use super::failure::Failure;
use super::out;

/// Reads the settings, and the file if no gateway has it. Mistakes are told on the error
/// stream, and as JSON on the output where it is asked for.
pub(crate) fn run(config: Option<&Path>, json: bool) -> Result<(), Failure> {
    let config = Config::open(config).inspect_err(|errors| {
        if json {
            // What cannot be written here is told on the other stream, too.
            drop(out::json(&json!({ "errors": errors.0.iter().map(told).collect::<Vec<_>>() })));
        }
    })?;
    let mut report = config.report();
    report.warnings.extend(orphaned(&config));
    if json { out::json(&report.to_json()) } else { out::line(report) }
}

fn told(problem: &Problem) -> Value {
    let place = problem.origin.to_string();
    let place = place.trim_end_matches(": ");
    json!({ "place": place, "key": problem.key, "cause": problem.cause, "mend": problem.mend })
}

fn orphaned(config: &Config) -> Vec<String> {
    let sources = config.sources.iter();
    let names = sources.flat_map(|it| it.was.iter().chain([&it.name]).cloned()).collect();
    match store::orphans(&config.storage.path, &names) {
        Orphans::Known(found) => found
            .into_iter()
            .map(|(source, events)| {
                format!(
                    "{events} events are of the source {source}, which is not configured: they are \
                     kept; configure it again, or name it in `was` of the source that goes on for it"
                )
            })
            .collect(),
        Orphans::Unknown(why) => vec![format!("whether events are of removed sources: {why}")],
    }
}
