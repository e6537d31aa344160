//! The providers: they sign, send many copies at once, and send again what was not answered
//! 2xx.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::Full;
use tokio::time::sleep;

use super::call::{Answer, Call};
use super::event::Event;
use crate::clock;
use crate::config::Source;
use crate::verify::Delivery;

/// How often a copy is sent before its provider gives up.
const TRIES: usize = 6;
/// How long it waits before it sends again.
const PAUSE: Duration = Duration::from_millis(300);

/// Every provider.
#[derive(Debug)]
pub(super) struct Provider {
    /// Where they call.
    pub(super) gateway: SocketAddr,
    /// Whose paths and secrets they use.
    pub(super) sources: Vec<Arc<Source>>,
}

impl Provider {
    /// Sends `copies` copies at once, and those again that were not answered 2xx. Every
    /// answer comes back; `None` is none.
    pub(super) async fn send(&self, event: &Event, copies: usize) -> Vec<Option<Answer>> {
        let mut answers = Vec::new();
        let mut left = copies;
        for _ in 0..TRIES {
            let round = self.round(event, left).await;
            left = round.iter().filter(|answer| !is_success(answer.as_ref())).count();
            answers.extend(round);
            if left == 0 {
                break;
            }
            sleep(PAUSE).await;
        }
        answers
    }

    /// All connect before the first one sends.
    async fn round(&self, event: &Event, copies: usize) -> Vec<Option<Answer>> {
        let mut calls = Vec::new();
        for _ in 0..copies {
            calls.push((Call::connect(self.gateway).await, self.request(event)));
        }
        let sending: Vec<_> = calls
            .into_iter()
            .map(|(call, request)| tokio::spawn(async move { call?.send(request?).await }))
            .collect();
        let mut answers = Vec::new();
        for copy in sending {
            answers.push(copy.await.ok().and_then(anyhow::Result::ok));
        }
        answers
    }

    fn request(&self, event: &Event) -> anyhow::Result<Request<Full<bytes::Bytes>>> {
        let source = self.source(event)?;
        let delivery = sign(source, event)?;
        let mut request = Request::post(&source.path).body(Full::new(delivery.body))?;
        *request.headers_mut() = delivery.headers;
        Ok(request)
    }

    /// A command that sends one more copy of `event`, whose body is in the file `body`.
    pub(super) fn curl(&self, event: &Event, body: &Path) -> anyhow::Result<Vec<String>> {
        let source = self.source(event)?;
        let mut lines = vec![format!("  curl -i http://{}{} \\", self.gateway, source.path)];
        for (name, value) in &sign(source, event)?.headers {
            lines.push(format!("    -H '{name}: {}' \\", value.to_str()?));
        }
        lines.push(format!("    --data-binary @{}", body.display()));
        Ok(lines)
    }

    fn source(&self, event: &Event) -> anyhow::Result<&Source> {
        let source = self.sources.iter().find(|source| source.name == event.source);
        source.map(AsRef::as_ref).context("the event has no source")
    }
}

/// Whether the provider is done with a copy.
pub(super) fn is_success(answer: Option<&Answer>) -> bool {
    answer.is_some_and(|answer| answer.status.is_success())
}

/// Signed as of now: each sending has its own timestamp.
fn sign(source: &Source, event: &Event) -> anyhow::Result<Delivery> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut delivery =
        Delivery { method: Method::POST, query: None, headers, body: event.body.clone() };
    let signed = source.verifier.sign(&mut delivery, &event.id, clock::wall());
    signed.map_err(|why| anyhow!("cannot sign: {why}"))?;
    Ok(delivery)
}
