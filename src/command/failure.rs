//! Why a command did not do what was asked, as told to whoever asked: the cause, what to do
//! about it, and the exit code that a script sees.

use std::fmt::Display;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use oncegate::config::{Errors, nearest};

use super::out;

/// What a failure means to a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    /// Whoever read the output wanted no more of it, as `head` does: nothing failed.
    Unread = 0,
    /// What was asked for could not be done.
    Failed = 1,
    /// The command line is wrong, as clap has it.
    Usage = 2,
    /// The settings are wrong.
    Settings = 3,
    /// The gateway is not healthy.
    Unhealthy = 4,
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    cause: String,
    mend: String,
    /// One word for it, mostly the API's; may be empty.
    word: String,
}

impl Failure {
    /// What was asked for could not be done.
    pub(crate) fn new(cause: impl Display) -> Self {
        Self {
            code: Code::Failed,
            cause: cause.to_string(),
            mend: String::new(),
            word: String::new(),
        }
    }

    /// The command line names something that there is not.
    pub(crate) fn usage(cause: impl Display) -> Self {
        Self { code: Code::Usage, ..Self::new(cause) }
    }

    /// The gateway is not healthy.
    pub(crate) fn unhealthy(cause: impl Display) -> Self {
        Self { code: Code::Unhealthy, ..Self::new(cause) }
    }

    /// Whoever read the output is gone.
    pub(super) fn unread() -> Self {
        Self { code: Code::Unread, ..Self::new("") }
    }

    /// `what` is no `name`: names the nearest of `known`, or all of them.
    pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> Self {
        let mend = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => String::new(),
            None => format!("there are: {}", known.join(", ")),
        };
        Self::usage(format!("there is no {what} called \"{name}\"")).mend(mend)
    }

    /// With what to do about it.
    pub(crate) fn mend(self, mend: impl Into<String>) -> Self {
        Self { mend: mend.into(), ..self }
    }

    /// With one word for it.
    pub(crate) fn word(self, word: &str) -> Self {
        Self { word: word.to_owned(), ..self }
    }

    /// Whether that is the word for it.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.word == word
    }

    /// The same, as the gateway's being unhealthy.
    pub(crate) fn into_unhealthy(self) -> Self {
        Self { code: Code::Unhealthy, ..self }
    }

    /// The cause, in words.
    pub(crate) fn cause(&self) -> &str {
        &self.cause
    }

    /// What to do about it; may be empty.
    pub(crate) fn advice(&self) -> &str {
        &self.mend
    }

    /// Tells it, and the code to exit with.
    pub(crate) fn tell(&self) -> ExitCode {
        if self.code == Code::Settings {
            // Each problem names its own place and mend.
            out::note(&self.cause);
        } else if !self.cause.is_empty() {
            let (red, green) =
                (Style::new().fg_color(Some(AnsiColor::Red.into())).bold(), out::TIP);
            out::note(&format!("{red}error:{red:#} {}", out::plain(&self.cause)));
            if !self.mend.is_empty() {
                out::note(&format!("\n  {green}tip:{green:#} {}", out::plain(&self.mend)));
            }
        }
        ExitCode::from(self.code as u8)
    }
}

impl From<Errors> for Failure {
    fn from(errors: Errors) -> Self {
        Self { code: Code::Settings, ..Self::new(errors) }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(format!("{error:#}"))
    }
}
