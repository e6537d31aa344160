//! What is wrong with the settings: every mistake at once, each with its place, its cause and
//! its mend. No secret's value ever gets here.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Every mistake found: those of the file by line, then those of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<Problem>);

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was made.
    pub origin: Origin,
    /// The path of the setting, such as `sources.stripe.timeout`; empty where the file could
    /// not be read.
    pub key: String,
    /// What is wrong.
    pub cause: String,
    /// What to do about it; may be empty.
    pub mend: String,
}

/// Where a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: Option<usize>,
        /// The column, from 1; only of what is not TOML.
        column: Option<usize>,
    },
    /// By the environment variable of this name.
    Variable(String),
    /// Nowhere: neither a file nor a variable speaks of it.
    Nowhere,
}

impl Origin {
    /// Sorts the file's lines before the environment; what has no line is first.
    fn order(&self) -> (bool, Option<usize>, Option<usize>) {
        match self {
            Self::File { line, column, .. } => (false, *line, *column),
            Self::Variable(_) | Self::Nowhere => (true, None, None),
        }
    }
}

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.cause)?;
        if !self.mend.is_empty() {
            write!(f, "; {}", self.mend)?;
        }
        Ok(())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => {
                write!(f, "{}", path.display())?;
                for number in [line, column].into_iter().flatten() {
                    write!(f, ":{number}")?;
                }
                write!(f, ": ")
            },
            Self::Variable(name) => write!(f, "{name}: "),
            Self::Nowhere => Ok(()),
        }
    }
}

/// Why a value cannot be used, before it is known where it stands.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) cause: String,
    pub(super) mend: String,
}

/// A [`Wrong`] of a cause and a mend.
pub(super) fn wrong(cause: impl Into<String>, mend: impl Into<String>) -> Wrong {
    Wrong { cause: cause.into(), mend: mend.into() }
}

/// Where each setting was made, and what was found wrong so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The file, if there is one.
    pub(super) file: Option<PathBuf>,
    /// The line of each key of the file, by its path.
    pub(super) lines: BTreeMap<String, usize>,
    /// The variable that set each path.
    pub(super) variables: BTreeMap<String, String>,
    // Shared by every table being read, none of which outlives the reading.
    problems: RefCell<Vec<Problem>>,
}

impl Findings {
    /// Notes what is wrong with the setting at `key`.
    pub(super) fn add(&self, key: &str, wrong: Wrong) {
        self.push(Problem {
            origin: self.origin(key),
            key: key.to_owned(),
            cause: wrong.cause,
            mend: wrong.mend,
        });
    }

    /// Notes a problem that knows its place.
    pub(super) fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Whether anything at or below `key` was noted.
    pub(super) fn any_below(&self, key: &str) -> bool {
        self.problems.borrow().iter().any(|problem| {
            problem
                .key
                .strip_prefix(key)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// Forgets every problem whose key is not `wanted`.
    pub(super) fn keep(&self, wanted: impl Fn(&str) -> bool) {
        self.problems.borrow_mut().retain(|problem| wanted(&problem.key));
    }

    /// `value`, if nothing was noted.
    pub(super) fn settle<T>(self, value: T) -> Result<T, Errors> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.origin.order());
        if problems.is_empty() { Ok(value) } else { Err(Errors(problems)) }
    }

    /// Where `key`, or else the nearest table around it, was set.
    fn origin(&self, key: &str) -> Origin {
        // A variable that makes a table of what is one value in the file: it is what is wrong.
        let below = format!("{key}.");
        if !self.lines.keys().any(|path| path.starts_with(&below))
            && let Some(name) = self.variable_below(key)
        {
            return Origin::Variable(name.to_owned());
        }
        let mut path = key;
        loop {
            if let Some(name) = self.variables.get(path) {
                return Origin::Variable(name.clone());
            }
            if let Some(line) = self.lines.get(path) {
                return self.in_file(Some(*line));
            }
            // A source that only the environment speaks of has no line: name one of its variables.
            if let Some(name) = self.variable_below(path) {
                return Origin::Variable(name.to_owned());
            }
            match path.rsplit_once(['.', '[']) {
                Some((parent, _)) => path = parent,
                None => return self.in_file(None),
            }
        }
    }

    /// The first variable that sets something in the table `key`.
    fn variable_below(&self, key: &str) -> Option<&str> {
        let below = format!("{key}.");
        let found = self.variables.iter().find(|(path, _)| path.starts_with(&below));
        found.map(|(_, name)| name.as_str())
    }

    fn in_file(&self, line: Option<usize>) -> Origin {
        match &self.file {
            Some(path) => Origin::File { path: path.clone(), line, column: None },
            None => Origin::Nowhere,
        }
    }

    /// The folder that relative paths of secrets start from: the file's own.
    pub(super) fn folder(&self) -> &Path {
        self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }
}
