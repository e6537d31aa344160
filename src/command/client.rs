//! Asking the running gateway: the admin listener that the settings name, with their token.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use oncegate::config::{Listen, Outline};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::Value;

use super::call::{Answer, Call, Peer};
use super::failure::Failure;

/// An answer from memory or the file takes milliseconds; a gateway that is busy, some more.
const TIME: Duration = Duration::from_secs(30);

/// The word of a failure to connect: there is likely no gateway.
pub(crate) const UNREACHABLE: &str = "unreachable";

/// What a path segment and a query's value are written in: RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `text` as a path segment or a query's value.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// How the API tells what is wrong.
#[derive(Debug, Deserialize)]
struct Told {
    error: String,
    #[serde(default)]
    detail: String,
}

/// Asks the gateway that these settings are of.
#[derive(Debug)]
pub(crate) struct Client {
    /// The settings.
    pub(crate) outline: Outline,
    peer: Peer,
    host: HeaderValue,
    token: Option<HeaderValue>,
}

impl Client {
    /// For the gateway of the settings in `file`.
    pub(crate) fn open(file: Option<&Path>) -> Result<Self, Failure> {
        let outline = Outline::open(file)?;
        let peer = match &outline.admin {
            Listen::Unix(path) => Peer::Unix(path.clone()),
            Listen::Tcp(address) => {
                let address = reachable(*address);
                Peer::Tcp(address.ip().to_string(), address.port())
            },
        };
        let host = match &peer {
            Peer::Unix(_) => "localhost".to_owned(),
            Peer::Tcp(..) => peer.to_string(),
        };
        let host = HeaderValue::try_from(host).map_err(Failure::new)?;
        let token = outline.admin_token.as_ref().map(|token| {
            let value = [b"Bearer ", token.expose_secret()].concat();
            HeaderValue::from_maybe_shared(Bytes::from(value)).map(|mut value| {
                value.set_sensitive(true);
                value
            })
        });
        let wrong = |_shows_it| {
            Failure::new("server.admin_token cannot be sent: it has control characters")
                .mend("make a new one of letters and digits")
        };
        let token = token.transpose().map_err(wrong)?;
        Ok(Self { outline, peer, host, token })
    }

    /// Where it asks.
    pub(crate) fn place(&self) -> String {
        self.peer.to_string()
    }

    /// What is wrong with `name` if no source of the settings has it.
    pub(crate) fn unknown_source(&self, name: &str) -> Option<Failure> {
        let known: Vec<&str> = self.outline.sources.iter().map(String::as_str).collect();
        (!known.contains(&name)).then(|| Failure::unknown("source", name, &known))
    }

    /// The document at `path`.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.read(path, &self.send(Method::GET, path, None, TIME).await?)
    }

    /// What came of asking for something to be done.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: &Value,
        time: Option<Duration>,
    ) -> Result<Value, Failure> {
        let answer = self.send(Method::POST, path, Some(body), time.unwrap_or(TIME)).await?;
        self.read(path, &answer)
    }

    /// Any answer, within `time`.
    pub(crate) async fn fetch(&self, path: &str, time: Duration) -> Result<Answer, Failure> {
        self.send(Method::GET, path, None, time).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        time: Duration,
    ) -> Result<Answer, Failure> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.host);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let body = match body {
            None => Bytes::new(),
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            },
        };
        let request = request.body(Full::new(body)).map_err(Failure::new)?;
        let call = Call::connect(&self.peer).await;
        let call = call.map_err(|why| self.silent(&why).word(UNREACHABLE))?;
        call.send(request, time).await.map_err(|why| self.silent(&why))
    }

    fn silent(&self, why: &anyhow::Error) -> Failure {
        let settings = match &self.outline.file {
            Some(file) => format!("`server.admin` of {}", file.display()),
            None => "`server.admin`, as no settings were found".to_owned(),
        };
        Failure::new(format!("the gateway does not answer at {}: {why:#}", self.peer)).mend(
            format!("start it with `oncegate serve`; the address is {settings} (see --config)"),
        )
    }

    /// The document that is the answer, or what it says is wrong.
    fn read(&self, path: &str, answer: &Answer) -> Result<Value, Failure> {
        if answer.status.is_success()
            && let Ok(document) = serde_json::from_slice(&answer.body)
        {
            return Ok(document);
        }
        let Ok(Told { error, detail }) = serde_json::from_slice(&answer.body) else {
            let status = answer.status.as_u16();
            return Err(Failure::new(format!(
                "what answers at {} is not oncegate's admin listener: HTTP {status} for {path}",
                self.peer
            ))
            .mend("`server.admin` is the address of this command's gateway; see --config"));
        };
        let cause = if detail.is_empty() { error.clone() } else { detail };
        Err(Failure::new(cause).mend(self.mend(answer.status, &error)).word(&error))
    }

    /// What to do about an error of the API, where its own words cannot know the command line.
    fn mend(&self, status: StatusCode, error: &str) -> String {
        match (status, error) {
            (StatusCode::UNAUTHORIZED, _) if self.token.is_none() => {
                "these settings have no server.admin_token; see --config".to_owned()
            },
            (StatusCode::UNAUTHORIZED, _) => {
                "server.admin_token of these settings is not the gateway's; see --config".to_owned()
            },
            (_, "needs_force") => "add --force".to_owned(),
            (_, "no_such_path") => {
                "the gateway is of another version: restart it with this one".to_owned()
            },
            _ => String::new(),
        }
    }
}

/// A listener on every address is reached on loopback.
pub(crate) fn reachable(mut address: std::net::SocketAddr) -> std::net::SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Reads a document of the gateway.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(document: &Value) -> Result<T, Failure> {
    T::deserialize(document).map_err(|why| {
        Failure::new(format!("the gateway's answer is not understood: {why}"))
            .mend("it is of another version: restart it with this one, or see --json")
    })
}
