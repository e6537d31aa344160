//! `oncegate compact`: gives the file's free space back to the disk.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::client::{Client, parse};
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

/// Asks the running gateway to.
pub(crate) async fn run(config: Option<&Path>) -> Result<(), Failure> {
    let client = Client::open(config)?;
    let document = client.post("/api/v1/compact", &json!({}), Some(TIME)).await?;
    let Compacted { before, after, paused_ms } = parse(&document)?;
    out::line(format_args!(
        "{} before, {} after; new events had to wait for {} ms",
        out::count(before, "byte", "bytes"),
        out::count(after, "byte", "bytes"),
        out::thousands(paused_ms),
    ))
}
