//! `oncegate health`: is the gateway ready? For a container's health check and a script.

use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::client::Client;
use super::failure::Failure;
use super::out;

/// A gateway that takes longer to say so is not healthy.
const TIME: Duration = Duration::from_secs(5);

/// Asks `/readyz`.
pub(crate) async fn run(config: Option<&Path>, json: bool) -> Result<(), Failure> {
    let client = Client::open(config)?;
    let (alive, failure) = match client.fetch("/readyz", TIME).await {
        Err(failure) => (false, Some(failure.into_unhealthy())),
        Ok(answer) if answer.status == StatusCode::OK => (true, None),
        Ok(answer) => {
            let why = match answer.status {
                StatusCode::SERVICE_UNAVAILABLE => String::from_utf8_lossy(&answer.body),
                other => format!("HTTP {}", other.as_u16()).into(),
            };
            let place = client.place();
            let why = format!("the gateway at {place} is not ready: {}", why.trim());
            (true, Some(Failure::unhealthy(why)))
        },
    };
    let reason = failure.as_ref().map(Failure::cause);
    if json {
        out::json(&json!({ "ready": failure.is_none(), "alive": alive, "reason": reason }))?;
    } else if failure.is_none() {
        out::line("ready")?;
    }
    failure.map_or(Ok(()), Err)
}
