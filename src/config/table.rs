//! Reading one table of the settings: each key is asked for by name, what was not asked for
//! is unknown. A value that cannot be used is noted and its default goes on in its place, so
//! that one reading finds every mistake; [`Findings`] then refuses the whole.

use figment::value::{Dict, Value};

use super::layers::join;
use super::problem::{Findings, Wrong, wrong};

/// Settings of the contract that this version does not have.
const LATER: [&str; 3] = ["claim_token", "order", "was"];

/// One table being read.
#[derive(Debug)]
pub(super) struct Table<'a> {
    path: String,
    values: Dict,
    known: Vec<&'static str>,
    findings: &'a Findings,
}

impl<'a> Table<'a> {
    /// The table of `values` that stands at `path`.
    pub(super) fn new(path: String, values: Dict, findings: &'a Findings) -> Self {
        Self { path, values, known: Vec::new(), findings }
    }

    /// The path of `key` in this table; of the table itself, if `key` is empty.
    pub(super) fn path(&self, key: &str) -> String {
        if key.is_empty() { self.path.clone() } else { join(&self.path, key) }
    }

    /// Where problems are noted.
    pub(super) fn findings(&self) -> &'a Findings {
        self.findings
    }

    /// Notes what is wrong with `key`.
    pub(super) fn add(&self, key: &str, wrong: Wrong) {
        self.findings.add(&self.path(key), wrong);
    }

    /// Whether `key` is set.
    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The value of `key`, left where it is.
    pub(super) fn peek(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The value of `key` as it stands.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.values.remove(key)
    }

    /// The value of `key` read by `parse`; `None` if it is absent or wrong.
    pub(super) fn find<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, Wrong>,
    ) -> Option<T> {
        let value = self.take(key)?;
        parse(&value).map_err(|wrong| self.add(key, wrong)).ok()
    }

    /// The value of `key` read by `parse`, or `default`.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&Value) -> Result<T, Wrong>,
    ) -> T {
        self.find(key, parse).unwrap_or(default)
    }

    /// The value of `key`, which must be there.
    pub(super) fn need<T>(
        &mut self,
        key: &'static str,
        mend: &str,
        parse: impl FnOnce(&Value) -> Result<T, Wrong>,
    ) -> Option<T> {
        if !self.has(key) {
            self.known.push(key);
            self.add(key, wrong("is missing", mend));
            return None;
        }
        self.find(key, parse)
    }

    /// The table at `key`; empty if absent or no table.
    pub(super) fn table(&mut self, key: &'static str) -> Table<'a> {
        let values = match self.take(key) {
            Some(Value::Dict(_, values)) => values,
            Some(other) => {
                self.add(key, wrong(format!("must be a table, not {}", kind(&other)), ""));
                Dict::new()
            },
            None => Dict::new(),
        };
        Table::new(self.path(key), values, self.findings)
    }

    /// What was not asked for yet.
    pub(super) fn rest(&mut self) -> Dict {
        std::mem::take(&mut self.values)
    }

    /// Notes every key that was not asked for.
    pub(super) fn finish(self) {
        for key in self.values.keys() {
            self.add(key, unknown(key, &self.known));
        }
    }
}

/// What to say of a key that does not exist among `known` ones.
pub(super) fn unknown(key: &str, known: &[&str]) -> Wrong {
    if LATER.contains(&key) {
        return wrong("is not in this version", "remove it");
    }
    let mend = match nearest(key, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    wrong("is not a setting", mend)
}

/// The one of `known` that `word` is likely a slip of.
pub fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// What kind of value this is, in words, without the value.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(..) | Value::Char(..) => "text",
        Value::Bool(..) => "true or false",
        Value::Num(..) => "a number",
        Value::Empty(..) => "nothing",
        Value::Dict(..) => "a table",
        Value::Array(..) => "a list",
    }
}
