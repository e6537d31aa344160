//! `oncegate sign`: a request signed as the source's provider signs, printed as a command or
//! sent, for trying a gateway out. The secret is read from the settings and never shown.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use oncegate::clock;
use oncegate::config::{Config, Server, Source, Unsigned};
use oncegate::verify::{Delivery, Scheme, Verifier};
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::reachable;
use super::failure::Failure;
use super::{keypair, out};

mod curl;
mod send;

/// The largest body any source may take.
const MAX_BODY: u64 = 256 << 20;
/// Copies at once: each is a connection, and a process may often have 1,024 files open.
const MAX_TIMES: u64 = 1_000;

/// `oncegate sign SOURCE [FILE]`.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// A source of the settings: its secret signs, and its path is called.
    source: String,
    /// The body; `-` for the standard input. Else a sample of the provider's.
    file: Option<PathBuf>,
    /// The event's id, where the provider has it in a header, or in the sample.
    #[arg(long, value_name = "TEXT")]
    id: Option<String>,
    /// One more header, which the signature covers where the scheme says so.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Where to instead of `server.listen`; without a path, the source's is used.
    #[arg(long)]
    url: Option<Uri>,
    /// The private key that signs, where the settings have the public one: `oncegate keypair`.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Change one byte of the body after signing: the gateway must answer 401.
    #[arg(long)]
    tamper: bool,
    #[command(flatten)]
    sending: Sending,
    /// The request, or every answer, as JSON.
    #[arg(long)]
    json: bool,
}

/// Whether and how it is sent.
#[derive(Clone, Copy, Debug, Args)]
struct Sending {
    /// Send it, and print what is answered.
    #[arg(long)]
    send: bool,
    /// Send so many copies of the one event, each signed anew.
    #[arg(long, value_name = "N", requires = "send", default_value_t = 1,
        hide_default_value = true, value_parser = clap::value_parser!(u64).range(1..=MAX_TIMES))]
    times: u64,
    /// All of them at once.
    #[arg(long, requires = "send")]
    concurrent: bool,
}

/// One event, as it is signed again for each copy.
struct Sample<'a> {
    source: &'a Source,
    /// Signs as the provider does.
    signer: Verifier,
    url: Uri,
    id: String,
    unsigned: Delivery,
    tamper: bool,
}

/// A request that is ready to go.
struct Signed {
    /// With what some schemes put into the query.
    url: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Sign {
    /// Does it.
    pub(crate) async fn run(self, config: Option<&Path>) -> Result<(), Failure> {
        let config = Config::open(config)?;
        let Some(source) = config.sources.iter().find(|source| source.name == self.source) else {
            let known: Vec<&str> = config.sources.iter().map(|it| it.name.as_str()).collect();
            return Err(Failure::unknown("source", &self.source, &known));
        };
        if source.verify_spec.scheme.is_certified() {
            let word = &source.provider;
            let why = format!("{word} signs with a key of its own: nobody else can");
            return Err(Failure::usage(why).mend("have the provider send a test message"));
        }
        if matches!(source.verify_spec.scheme, Scheme::Token | Scheme::Basic) {
            self.refuse_to_show_a_token(source, config.server.tls.is_some())?;
        }
        let sample = self.sample(source, &config.server)?;
        let event = sample.event();
        if self.sending.send {
            return send::run(&sample, event.as_deref(), self.sending, self.json).await;
        }
        let signed = sample.sign()?;
        if self.json {
            return out::json(&sample.tell(&signed, event.as_deref()));
        }
        // A body that is in a file as it is stays there.
        let file = self.file.as_deref().filter(|file| !is_stdin(file) && !self.tamper);
        // What was filled in is not in the file.
        let file = file.filter(|_| signed.body == sample.unsigned.body);
        out::line(curl::command(&signed, file)?)?;
        if let Some(event) = event {
            out::note(&format!("# the event {event}"));
        }
        Ok(())
    }

    /// A token is the secret itself, and signs nothing.
    fn refuse_to_show_a_token(&self, source: &Source, secured: bool) -> Result<(), Failure> {
        let word = source.verify_spec.scheme.word();
        if self.tamper {
            let why = format!("scheme \"{word}\" signs nothing: a changed body passes");
            return Err(Failure::usage(why).mend("leave --tamper out"));
        }
        if !self.sending.send {
            let why = format!(
                "scheme \"{word}\": the request has the secret in it, which is not printed"
            );
            let mend = if secured {
                "call it with curl, and write the header yourself"
            } else {
                "have it sent with --send"
            };
            return Err(Failure::usage(why).mend(mend));
        }
        Ok(())
    }

    fn sample<'a>(&self, source: &'a Source, server: &Server) -> Result<Sample<'a>, Failure> {
        let id = self.id.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        let url = self.url(&source.path, server)?;
        let mut unsigned = Delivery {
            method: Method::POST,
            query: url.query().map(str::to_owned),
            headers,
            body: Bytes::new(),
        };
        match &self.file {
            None => unsigned.body = source.sample.body.replace("{id}", &id).into(),
            Some(file) => {
                unsigned.body = read(file)?;
                if !unsigned.headers.contains_key(CONTENT_TYPE) {
                    let kind = HeaderValue::from_static(kind(&unsigned.body));
                    unsigned.headers.insert(CONTENT_TYPE, kind);
                }
            },
        }
        let signer = match &self.key {
            None => source.verifier.clone(),
            Some(file) => {
                let private = keypair::read(source.verify_spec.scheme, file)?;
                source.verifier.clone().holding(private)
            },
        };
        Ok(Sample { source, signer, url, id, unsigned, tamper: self.tamper })
    }

    /// Where to.
    fn url(&self, path: &str, server: &Server) -> Result<Uri, Failure> {
        let Some(url) = &self.url else {
            let scheme = if server.tls.is_some() { "https" } else { "http" };
            let url = format!("{scheme}://{}{path}", reachable(server.listen));
            return url.parse().map_err(Failure::new);
        };
        let wrong = || {
            Failure::usage(format!("\"{url}\" is not a URL"))
                .mend("write one such as http://127.0.0.1:8080")
        };
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err(wrong());
        }
        if url.path() != "/" {
            return Ok(url.clone());
        }
        let mut parts = url.clone().into_parts();
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        parts.path_and_query = format!("{path}{query}").parse().ok();
        Uri::from_parts(parts).map_err(|_invalid| wrong())
    }
}

impl Sample<'_> {
    /// A copy, signed as of now.
    fn sign(&self) -> Result<Signed, Failure> {
        let mut delivery = self.unsigned.clone();
        let (signer, now) = (&self.signer, clock::wall());
        self.source.sign_by(signer, &mut delivery, &self.id, now).map_err(|why| match why {
            Unsigned::Id(_) => Failure::usage(format!("{why}: \"{}\"", self.id))
                .mend("write --id in letters, digits, - and _"),
            Unsigned::Key => Failure::usage(why)
                .mend("try it with a pair of your own: `oncegate keypair`, then --key FILE"),
            Unsigned::Lacks(_) => Failure::new(why).mend(
                "if it is a header, add it with --header 'NAME: VALUE'; in a body, write {signature} and {timestamp} where the provider has them",
            ),
        })?;
        let mut body = delivery.body;
        if self.tamper {
            body = tampered(&body);
        }
        let mut parts = self.url.clone().into_parts();
        let query = delivery.query.map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{}{query}", self.url.path());
        parts.path_and_query = Some(target.parse().map_err(Failure::new)?);
        let url = Uri::from_parts(parts).map_err(Failure::new)?;
        Ok(Signed { url, headers: delivery.headers, body })
    }

    /// The event that the gateway will make of it; nothing where each copy is its own, or where
    /// it makes several.
    fn event(&self) -> Option<String> {
        let now = clock::wall();
        let mut delivery = self.unsigned.clone();
        self.source.sign_by(&self.signer, &mut delivery, &self.id, now).ok()?;
        let verified = self.source.verifier.check(delivery, now).ok()?;
        let key = self.source.only_key(&verified)?;
        (!key.text.starts_with("=once.")).then(|| format!("{}:{}", self.source.name, key.text))
    }

    fn tell(&self, signed: &Signed, event: Option<&str>) -> Value {
        let headers = signed.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), Value::from(value))
        });
        json!({
            "method": self.unsigned.method.as_str(),
            "url": signed.url.to_string(),
            "headers": headers.collect::<serde_json::Map<_, _>>(),
            "body": std::str::from_utf8(&signed.body).ok(),
            "event": event,
        })
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

fn read(file: &Path) -> Result<Bytes, Failure> {
    let mut body = Vec::new();
    let read = if is_stdin(file) {
        io::stdin().lock().take(MAX_BODY + 1).read_to_end(&mut body)
    } else {
        File::open(file).and_then(|open| open.take(MAX_BODY + 1).read_to_end(&mut body))
    };
    let name =
        if is_stdin(file) { "the standard input".into() } else { file.display().to_string() };
    read.map_err(|why| Failure::new(format!("{name} cannot be read: {why}")))?;
    if body.len() as u64 > MAX_BODY {
        return Err(Failure::new(format!("{name} is over 256 MiB, the most any source takes")));
    }
    Ok(body.into())
}

/// What a body looks like.
fn kind(body: &[u8]) -> &'static str {
    if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
        "application/json"
    } else if std::str::from_utf8(body).is_ok_and(|text| {
        text.contains('=') && !text.contains(|letter: char| letter.is_whitespace() || letter == '<')
    }) {
        "application/x-www-form-urlencoded"
    } else {
        "application/octet-stream"
    }
}

/// Another body of the same length; text stays text.
fn tampered(body: &[u8]) -> Bytes {
    let mut body = body.to_vec();
    match body.last_mut() {
        Some(last) => *last ^= 1,
        None => body.push(b'!'),
    }
    body.into()
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `Name: value`")?;
    let name = HeaderName::try_from(name.trim()).map_err(|why| why.to_string())?;
    let value = HeaderValue::try_from(value.trim()).map_err(|why| why.to_string())?;
    Ok((name, value))
}
