//! `oncegate check`: the settings in force, what to think about, and events of sources that
//! are not configured any more.

use std::path::Path;

use oncegate::config::Config;
use oncegate::store::{self, Orphans};

use super::failure::Failure;
use super::out;

/// Reads the settings, and the file if no gateway has it.
pub(crate) fn run(config: Option<&Path>, json: bool) -> Result<(), Failure> {
    let config = Config::open(config)?;
    let mut report = config.report();
    report.warnings.extend(orphaned(&config));
    if json { out::json(&report.to_json()) } else { out::line(report) }
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
