//! `oncegate compact`: gives the file's free space back to the disk.

use std::path::Path;
use std::time::Duration;

use oncegate::store::compact_file;
use serde::Deserialize;
use serde_json::json;

use super::client::{Client, UNREACHABLE, parse};
use super::failure::Failure;
use super::out;

/// Some hundred megabytes a second are moved; a file of terabytes is not this gateway's.
const TIME: Duration = Duration::from_hours(1);

#[derive(Debug, Deserialize)]
struct Compacted {
    before: u64,
    after: u64,
    paused_ms: u64,
}

/// Asks the running gateway to; with none running, does it.
pub(crate) async fn run(config: Option<&Path>) -> Result<(), Failure> {
    let client = Client::open(config)?;
    match client.post("/api/v1/compact", &json!({}), Some(TIME)).await {
        Ok(document) => {
            let Compacted { before, after, paused_ms } = parse(&document)?;
            let paused = out::thousands(paused_ms);
            tell(before, after, &format!("the gateway paused for {paused} ms"))
        },
        Err(why) if why.is(UNREACHABLE) => {
            // A gateway that runs elsewhere has the file, which is then refused.
            let storage = &client.outline.storage;
            let done = tokio::task::block_in_place(|| compact_file(storage));
            let (before, after) = done.map_err(Failure::new)?;
            tell(before, after, "no gateway was running")
        },
        Err(why) => Err(why),
    }
}

fn tell(before: u64, after: u64, how: &str) -> Result<(), Failure> {
    let (before, after) = (out::thousands(before), out::count(after, "byte", "bytes"));
    out::line(format_args!("{before} before, {after} after; {how}"))
}
