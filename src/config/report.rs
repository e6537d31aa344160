//! What `check` prints: the settings in force and what to think about. Secrets appear as
//! counts only.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::values::{write_duration, write_size};
use super::{Config, Log, LogFormat, Server, Source, Storage, Tls};
use crate::record::{Mode, OnMismatch, OnUnknown, Retry};
use crate::verify;

mod advice;

/// The settings in force and what to think about.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    file: Option<String>,
    sections: Vec<Section>,
    /// What works as it is set, but is likely not meant.
    pub warnings: Vec<String>,
    /// What a provider does that is good to know of, and no setting mends.
    pub notes: Vec<String>,
}

/// One table of the settings.
#[derive(Clone, Debug, PartialEq)]
struct Section {
    name: Vec<String>,
    rows: Vec<(&'static str, Value)>,
}

impl Report {
    pub(super) fn new(config: &Config) -> Self {
        let mut sections = vec![server(&config.server), storage(&config.storage), log(&config.log)];
        for source in &config.sources {
            sections.push(self::source(source));
            sections.push(verify(source));
            sections.push(key(source));
            sections.extend(batch(source));
            sections.push(retry(source));
        }
        Self {
            file: config.file.as_ref().map(|file| file.display().to_string()),
            sections,
            warnings: advice::warnings(config),
            notes: advice::notes(config),
        }
    }

    /// The report as JSON: `file`, `settings` by section, `warnings`, `notes`.
    pub fn to_json(&self) -> Value {
        let mut settings = Map::new();
        for section in &self.sections {
            let mut table = &mut settings;
            for name in &section.name {
                let inner = table.entry(name.clone()).or_insert_with(|| json!({}));
                let Value::Object(inner) = inner else { return Value::Null };
                table = inner;
            }
            table
                .extend(section.rows.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        }
        settings.entry("sources").or_insert_with(|| json!({}));
        let Self { file, warnings, notes, .. } = self;
        json!({ "file": file, "settings": settings, "warnings": warnings, "notes": notes })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => writeln!(f, "settings of {file}, the environment and defaults")?,
            None => writeln!(f, "settings of the environment and defaults; no file")?,
        }
        for section in &self.sections {
            writeln!(f, "\n[{}]", section.name.join("."))?;
            for (key, value) in &section.rows {
                writeln!(f, "{key} = {value}")?;
            }
        }
        if !self.warnings.is_empty() || !self.notes.is_empty() {
            writeln!(f)?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

fn server(server: &Server) -> Section {
    let mut rows = vec![
        ("listen", json!(server.listen.to_string())),
        ("admin", json!(server.admin.to_string())),
        ("admin_token", json!(server.admin_token.is_some())),
        ("admin_hosts", json!(server.admin_hosts)),
        (
            "tls",
            server.tls.as_ref().map_or(json!(false), |Tls { cert, key }| {
                json!({ "cert": cert.display().to_string(), "key": key.display().to_string() })
            }),
        ),
        (
            "trusted_proxies",
            json!(server.trusted_proxies.iter().map(IpNet::to_string).collect::<Vec<_>>()),
        ),
        ("header_timeout", length(server.header_timeout)),
        ("body_timeout", length(server.body_timeout)),
        ("idle_timeout", length(server.idle_timeout)),
        ("max_connections", json!(server.max_connections)),
        ("drain", length(server.drain)),
    ];
    rows.extend(server.public_url.as_ref().map(|url| ("public_url", json!(url))));
    Section { name: vec!["server".to_owned()], rows }
}

fn storage(storage: &Storage) -> Section {
    let rows = vec![
        ("path", json!(storage.path.display().to_string())),
        ("cache", json!(write_size(storage.cache as u64))),
        ("reserve", json!(write_size(storage.reserve))),
        ("two_phase", json!(storage.two_phase)),
    ];
    Section { name: vec!["storage".to_owned()], rows }
}

fn log(log: &Log) -> Section {
    let format = match log.format {
        LogFormat::Auto => "auto",
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    let rows = vec![("level", json!(log.level)), ("format", json!(format))];
    Section { name: vec!["log".to_owned()], rows }
}

fn source(source: &Source) -> Section {
    let policy = &source.policy;
    let mode = match policy.mode {
        Mode::Proxy => "proxy",
        Mode::Queue => "queue",
    };
    let on_unknown = match policy.on_unknown {
        OnUnknown::Redeliver => "redeliver",
        OnUnknown::Hold => "hold",
    };
    let on_mismatch = match policy.on_mismatch {
        OnMismatch::Flag => "flag",
        OnMismatch::Refuse => "refuse",
        OnMismatch::Ignore => "ignore",
    };
    let handshakes = source.handshakes.iter().map(|it| match &it.is {
        Some(word) => json!(format!("{} = {word}", it.when)),
        None => json!(it.when.to_string()),
    });
    let mut rows = vec![
        ("provider", json!(source.provider)),
        ("secrets", json!(source.secrets)),
        ("path", json!(source.path)),
        ("mode", json!(mode)),
        ("target", json!(source.target.to_string())),
        ("timeout", length(source.timeout)),
        ("wait", length(source.wait)),
        ("concurrency", json!(source.concurrency)),
        ("max_body", json!(write_size(source.max_body as u64))),
        ("ttl", length(policy.ttl)),
        ("keep", length(policy.keep)),
        ("dead_ttl", policy.dead_ttl.map_or_else(|| json!("never"), length)),
        ("final", json!(source.final_statuses)),
        ("on_unknown", json!(on_unknown)),
        ("on_mismatch", json!(on_mismatch)),
        ("replay_guard", json!(source.replay_guard.word())),
        ("signed", json!(source.signer.is_some())),
        ("retries", json!(source.provider_retries)),
        ("acknowledgement", json!(source.acknowledgement.status)),
        ("handshakes", handshakes.collect()),
    ];
    if !source.was.is_empty() {
        rows.push(("was", json!(source.was)));
    }
    Section { name: vec!["sources".to_owned(), source.name.clone()], rows }
}

/// How a delivery is checked: what is not in use is left out.
fn verify(source: &Source) -> Section {
    let spec = &source.verify_spec;
    let mut rows = vec![("scheme", json!(spec.scheme.word()))];
    match (spec.scheme, source.verifier.names()) {
        (verify::Scheme::AwsSns, topics) => rows.push(("topics", json!(topics))),
        (verify::Scheme::Paypal, [id]) => rows.push(("webhook_id", json!(id))),
        _ => {},
    }
    if !spec.is_open() {
        match &spec.signature {
            Some(place) => rows.push(("signature", json!(place))),
            None if spec.scheme == verify::Scheme::Basic => {},
            None => rows.push(("header", json!(spec.header))),
        }
        if !spec.families.is_empty() {
            rows.push(("families", json!(spec.families)));
        }
        if spec.signs() {
            rows.push(("signed", json!(spec.signed)));
        }
        let places = [
            ("each", &spec.each),
            ("id", &spec.id),
            ("key_id", &spec.key_id),
            ("timestamp", &spec.timestamp),
        ];
        for (name, place) in places {
            rows.extend(place.as_ref().map(|place| (name, json!(place))));
        }
        if spec.timestamp.is_some() {
            rows.push(("timestamp_format", json!(spec.timestamp_format.word())));
            rows.push(("tolerance", length(spec.tolerance.unwrap_or(verify::Spec::TOLERANCE))));
        }
    }
    Section { name: vec!["sources".to_owned(), source.name.clone(), "verify".to_owned()], rows }
}

/// Which event it is.
fn key(source: &Source) -> Section {
    let spec = &source.key_spec;
    let mut rows = vec![
        ("parts", json!(spec.parts)),
        ("fallback", json!(<&'static str>::from(spec.fallback))),
    ];
    if !spec.ignore.is_empty() {
        rows.push(("ignore", json!(spec.ignore)));
    }
    Section { name: vec!["sources".to_owned(), source.name.clone(), "key".to_owned()], rows }
}

/// Where its events are, if a delivery has several.
fn batch(source: &Source) -> Option<Section> {
    let rows = vec![("elements", json!(source.batch.as_ref()?.elements.to_string()))];
    let name = vec!["sources".to_owned(), source.name.clone(), "batch".to_owned()];
    Some(Section { name, rows })
}

fn retry(source: &Source) -> Section {
    let retry = &source.policy.retry;
    let nominal = nominal(retry);
    let expected = if retry.jitter { nominal / 2 } else { nominal };
    let rows = vec![
        ("attempts", json!(retry.attempts)),
        ("first", length(retry.first)),
        ("factor", json!(retry.factor)),
        ("max", length(retry.max)),
        ("jitter", json!(retry.jitter)),
        ("nominal", json!(roughly(nominal))),
        ("expected", json!(roughly(expected))),
    ];
    let name = vec!["sources".to_owned(), source.name.clone(), "retry".to_owned()];
    Section { name, rows }
}

/// All delays between the attempts together, before jitter. Full jitter draws each evenly
/// from zero to its length, so half of this is expected.
fn nominal(retry: &Retry) -> Duration {
    (1..retry.attempts).fold(Duration::ZERO, |sum, failures| {
        sum.saturating_add(retry.delay(failures, 1.0).min(retry.max))
    })
}

fn length(length: Duration) -> Value {
    json!(write_duration(length))
}

/// A long duration in its two largest units: `2d 23h`.
fn roughly(length: Duration) -> String {
    let seconds = length.as_secs();
    let parts = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut words = Vec::new();
    for (scale, unit) in parts {
        if rest >= scale && words.len() < 2 {
            words.push(format!("{}{unit}", rest / scale));
        }
        rest %= scale;
    }
    if words.is_empty() { write_duration(length) } else { words.join(" ") }
}
