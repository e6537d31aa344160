//! One attempt upstream, and what its answer means.
//!
//! Everything hangs on one question: may the application have acted? *Failed* says no,
//! for sure (it was never reached, or its answer says so) and the event may be attempted
//! again freely. *Unknown* says nobody can tell. So nothing here retries, follows a
//! redirect or guesses. The one exception retries nothing: a resting connection that
//! turned out closed before a byte of the request left is replaced by another.

use std::net::IpAddr;
use std::time::Duration;

use http::header::LOCATION;
use http::response::Parts;
use http::{HeaderValue, Uri};
use tokio::time::Instant;

use crate::config::Source;
use crate::record::{OnUnknown, Verdict};
use crate::time::Millis;
use crate::verify::{Delivery, Verifier};

mod answer;
mod dial;
mod headers;
mod idle;
mod line;
mod request;
#[cfg(test)]
mod tests;

pub use answer::{KEPT, PASSED, Report, provider_answer};
#[cfg(test)]
pub(crate) use dial::client;
pub use dial::{BadTarget, Trust};
#[doc(hidden)]
pub use headers::end_to_end;
pub use headers::nominated;
pub use request::{BATCH, matters};

use answer::Body;
use dial::Place;
use idle::Idle;
use line::Line;

/// What is sent, and what the application is told about it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// `<source>:<key>`.
    pub id: &'a str,
    /// 1, 2, ...
    pub number: u32,
    /// Whether an earlier attempt's outcome is unknown.
    pub doubt: bool,
    /// When the event's first copy arrived.
    pub received: Millis,
    /// The true wall-clock time, for the signature.
    pub now: Millis,
    /// The provider's request as it was stored.
    pub delivery: &'a Delivery,
    /// Where it came from; `None` where that is no longer known.
    pub origin: Option<Origin>,
}

/// Where a delivery came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The provider's address.
    pub address: IpAddr,
    /// Whether it came over https.
    pub https: bool,
}

/// The application behind one source.
#[derive(Debug)]
pub struct Upstream {
    source: String,
    target: Uri,
    place: Place,
    timeout: Duration,
    finals: Vec<u16>,
    signer: Option<Verifier>,
    /// `None` where every attempt has a connection of its own.
    idle: Option<Idle>,
}

impl Upstream {
    /// The application behind `source`. Nothing is connected yet.
    pub fn new(source: &Source, trust: &Trust) -> Result<Self, BadTarget> {
        Ok(Self {
            source: source.name.clone(),
            target: source.target.clone(),
            place: Place::new(&source.target, trust)?,
            timeout: source.timeout,
            finals: source.final_statuses.clone(),
            signer: source.signer.clone(),
            // A reused connection may break just as the request leaves. Where an unknown
            // outcome needs a person, a handshake is cheaper.
            idle: (source.policy.on_unknown == OnUnknown::Redeliver).then(Idle::default),
        })
    }

    /// Attempts once. Takes at most the source's `timeout`, from connecting to the end of
    /// the answer; then the connection is closed. So it is when the future is dropped.
    pub async fn attempt(&self, attempt: &Attempt<'_>) -> Report {
        let deadline = Instant::now() + self.timeout;
        let host: &HeaderValue = &self.place.authority;
        let request = match request::build(&self.target, host, self.signer.as_ref(), attempt) {
            Ok(request) => request,
            Err(error) => return Report::without(Verdict::Failed, error.to_string()),
        };
        loop {
            let (mut line, rested) = match self.line(deadline).await {
                Ok(line) => line,
                Err(why) => return Report::without(Verdict::Failed, why),
            };
            match line.send(request.clone(), deadline).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let body = Body::read(body, &mut line, deadline).await;
                    self.rest(line, &body).await;
                    self.tell_of_redirect(&head);
                    return Report::with(&head, body, &self.finals);
                },
                Err(lost) if lost.sent => return Report::without(Verdict::Unknown, lost.why),
                // Closed by the application while it rested; nothing was sent.
                Err(_) if rested => {},
                Err(lost) => return Report::without(Verdict::Failed, lost.why),
            }
        }
    }

    /// A connection, and whether it rested before.
    async fn line(&self, deadline: Instant) -> Result<(Line, bool), String> {
        if let Some(idle) = &self.idle
            && let Some(line) = idle.take().await
        {
            return Ok((line, true));
        }
        Ok((self.place.dial(deadline).await?, false))
    }

    /// Keeps a connection for the next attempt, if it can be used again.
    async fn rest(&self, line: Line, body: &Body) {
        if let Some(idle) = &self.idle
            && body.is_whole()
        {
            idle.put(line).await;
        }
    }

    /// A redirect is never followed: the body and its signature were meant for the target.
    fn tell_of_redirect(&self, head: &Parts) {
        if !head.status.is_redirection() {
            return;
        }
        let location = head.headers.get(LOCATION).and_then(|it| it.to_str().ok()).unwrap_or("-");
        tracing::warn!(
            source = self.source,
            status = head.status.as_u16(),
            location = location.split('?').next(),
            "the application redirects and webhooks are not sent on: set `target` to where it leads"
        );
    }
}
