//! The layers of the settings: the file below, the environment above it, merged by figment.
//!
//! The file is parsed by the `toml` crate, which knows the line of every key; figment only
//! merges. A variable's text is never guessed at: each setting reads its own kind from text,
//! so a secret made of digits stays the text it is, with its leading zeros.

use std::collections::BTreeMap;
use std::path::Path;

use figment::Figment;
use figment::providers::Serialized;
use figment::value::Dict;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Findings, Origin, Problem, wrong};

/// The environment: names and values.
pub type Environment = BTreeMap<String, String>;

/// What the names of our variables begin with.
const PREFIX: &str = "ONCEGATE_";

/// Keys whose text is never read as a list, whatever it looks like.
const SECRETS: [&str; 3] = ["secrets", "sign_with", "admin_token"];

/// Reads and merges the layers. `None`: something is so wrong that nothing else can be judged.
pub(super) fn read(
    findings: &mut Findings,
    path: Option<&Path>,
    env: &Environment,
) -> Option<Dict> {
    findings.file = path.map(Path::to_owned);
    let file = match path {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let wrong = |error| findings.add("", wrong(format!("cannot be read: {error}"), ""));
            let text = text.map_err(wrong).ok()?;
            parse(findings, path, &text)?
        },
        None => toml::Table::new(),
    };
    merge(findings, file, env)
}

/// Reads `text` as a file's, and merges the layers.
pub(super) fn read_text(findings: &mut Findings, text: &str, env: &Environment) -> Option<Dict> {
    let path = Path::new("config.toml");
    findings.file = Some(path.to_owned());
    let file = parse(findings, path, text)?;
    merge(findings, file, env)
}

fn merge(findings: &mut Findings, file: toml::Table, env: &Environment) -> Option<Dict> {
    let variables = variables(findings, env);
    let merged = Figment::new()
        .merge(Serialized::defaults(file))
        .merge(Serialized::defaults(variables))
        .extract();
    // Not the error's own text, here and below: it quotes values, and one may be a secret.
    merged
        .map_err(|_quotes| findings.add("", wrong("cannot be merged with the environment", "")))
        .ok()
}

fn parse(findings: &mut Findings, path: &Path, text: &str) -> Option<toml::Table> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        // Only the message: the error's own text quotes the line, which may hold a secret.
        findings.push(not_toml(path, text, error, error.message()));
    }
    if !errors.is_empty() {
        return None;
    }
    note_lines(&mut findings.lines, text, "", table.get_ref());
    toml::Table::deserialize(toml::Deserializer::from(table))
        .map_err(|error| {
            let cause = "a value cannot be held, such as a number of too many digits";
            findings.push(not_toml(path, text, &error, cause));
        })
        .ok()
}

fn not_toml(path: &Path, text: &str, error: &toml::de::Error, cause: &str) -> Problem {
    let place = error.span().map(|span| position(text, span.start));
    Problem {
        origin: Origin::File {
            path: path.to_owned(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
        },
        key: String::new(),
        cause: format!("not TOML: {cause}"),
        mend: String::new(),
    }
}

/// Notes the line of every key of `table`, which stands at `path`.
fn note_lines(lines: &mut BTreeMap<String, usize>, text: &str, path: &str, table: &DeTable<'_>) {
    for (key, value) in table {
        let path = join(path, key.get_ref());
        lines.insert(path.clone(), position(text, key.span().start).0);
        note_value(lines, text, &path, value);
    }
}

fn note_value(
    lines: &mut BTreeMap<String, usize>,
    text: &str,
    path: &str,
    value: &Spanned<DeValue<'_>>,
) {
    if let Some(table) = value.get_ref().as_table() {
        note_lines(lines, text, path, table);
    }
    for (index, item) in value.get_ref().as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}[{index}]");
        lines.insert(path.clone(), position(text, item.span().start).0);
        note_value(lines, text, &path, item);
    }
}

/// The line and column, from 1, of the byte at `offset`.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before.get(line_start..).map_or(1, |part| part.chars().count() + 1))
}

/// The settings made by variables: `ONCEGATE_SERVER__LISTEN` is `server.listen`.
///
/// Only names with `__` after the prefix are settings. An empty variable is one that is not
/// set, as compose files write `${X:-}`. In a source's name `_` stands for `-`.
fn variables(findings: &mut Findings, env: &Environment) -> toml::Table {
    let mut settings = toml::Table::new();
    for (name, text) in env {
        let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) else {
            continue;
        };
        if text.is_empty() {
            continue;
        }
        let mut keys: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
        if let [section, source, ..] = keys.as_mut_slice()
            && section == "sources"
        {
            *source = source.replace('_', "-");
        }
        findings.variables.insert(keys.join("."), name.clone());
        if !insert(&mut settings, &keys, value(&keys, text)) {
            findings.add(
                &keys.join("."),
                wrong(
                    "another variable sets the same setting, or a part of it",
                    "keep one of them",
                ),
            );
        }
    }
    settings
}

/// What a variable's text is: a list if it is written as one, else text.
fn value(keys: &[String], text: &str) -> toml::Value {
    let secret = keys.iter().any(|key| SECRETS.contains(&key.as_str()));
    if !secret && text.starts_with('[') {
        let list: Result<toml::Table, _> = toml::from_str(&format!("list = {text}"));
        if let Some(list @ toml::Value::Array(_)) =
            list.ok().and_then(|mut table| table.remove("list"))
        {
            return list;
        }
    }
    toml::Value::String(text.to_owned())
}

/// Puts `value` at the path `keys`; `false` if something else stands there.
fn insert(table: &mut toml::Table, keys: &[String], value: toml::Value) -> bool {
    match keys {
        [] => false,
        [last] => !table.contains_key(last) && table.insert(last.clone(), value).is_none(),
        [first, rest @ ..] => table
            .entry(first.clone())
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .is_some_and(|inner| insert(inner, rest, value)),
    }
}

/// `key` below `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
