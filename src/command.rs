//! The command line: what each command is called, what it takes, and who does it.
//!
//! Everything but `serve`, `check` and `demo` is a small program of its own, which asks the
//! running gateway or the settings and prints what it learns. All the printing is here.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use oncegate::demo;

mod call;
mod check;
mod client;
mod compact;
mod events;
mod failure;
mod health;
mod keypair;
mod manual;
mod out;
mod providers;
mod sign;
mod sources;
mod table;

pub(crate) use failure::Failure;

const EXAMPLES: &str = "\
Examples:
  oncegate demo                            # see it work, without any settings
  oncegate check                           # are the settings right?
  oncegate                                 # run the gateway
  oncegate sign stripe --send              # send it a signed event
  oncegate events list                     # what it has on record

Exit codes: 0 done, 1 failed, 2 usage, 3 settings, 4 unhealthy";

const SIGN: &str = "\
Examples:
  oncegate sign github                     # a command that sends a sample, to be pasted
  oncegate sign stripe event.json --send
  oncegate sign stripe --send --times 50 --concurrent
  oncegate sign stripe --send --tamper     # done if it is answered 401";

const HEALTH: &str = "\
Exits 0 if the gateway is ready, else 4. As the health check of a container:
  HEALTHCHECK CMD [\"oncegate\", \"health\"]";

const COMPLETIONS: &str = "\
Examples:
  oncegate completions bash > /etc/bash_completion.d/oncegate
  oncegate completions zsh > ~/.zfunc/_oncegate
  oncegate completions fish > ~/.config/fish/completions/oncegate.fish";

const MAN: &str = "\
Examples:
  oncegate man | man -l -
  oncegate man --out /usr/local/share/man/man1";

/// Every webhook, once: a durable idempotency gateway in one binary.
#[derive(Debug, Parser)]
#[command(name = "oncegate", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The settings; else `config.toml`, then `/etc/oncegate/config.toml`.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// A command.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, for a moment")]
pub(crate) enum Command {
    /// Run the gateway (the default).
    Serve,
    #[command(flatten)]
    Task(Task),
}

/// A command that does one thing and ends.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Print the settings in force, or everything that is wrong with them.
    Check {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show it work: a gateway, an application, and events sent many times at once.
    Demo {
        /// Exit after the table instead of staying up until Ctrl-C.
        #[arg(long)]
        once: bool,
    },
    /// List events, tell their stories, and decide what becomes of them.
    #[command(subcommand)]
    Events(events::Events),
    /// Show how each source fares, and what was rejected at its door.
    #[command(args_conflicts_with_subcommands = true)]
    Sources {
        /// As the API tells it.
        #[arg(long)]
        json: bool,
        #[command(subcommand)]
        command: Option<sources::Sources>,
    },
    /// Sign a request as a source's provider does; print it as a command, or send it.
    #[command(after_help = SIGN)]
    Sign(sign::Sign),
    /// Make a pair of keys, for trying out a provider that keeps the private one.
    Keypair(keypair::Keypair),
    /// Show the providers that oncegate knows.
    #[command(args_conflicts_with_subcommands = true)]
    Providers {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// As a page in Markdown, with all that is known of each.
        #[arg(long, conflicts_with = "json")]
        markdown: bool,
        #[command(subcommand)]
        command: Option<providers::Providers>,
    },
    /// Ask whether the gateway is ready.
    #[command(after_help = HEALTH)]
    Health {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give the free space in the gateway's file back to the disk.
    Compact,
    /// Print the completions of a shell.
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write every page to a folder.
    #[command(after_help = MAN)]
    Man {
        /// The folder, such as a man1.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

impl Task {
    /// Does it, with the settings in `config`.
    pub(crate) async fn run(self, config: Option<&Path>) -> Result<(), Failure> {
        match self {
            Self::Check { json } => check::run(config, json),
            Self::Demo { once } => demo(once).await,
            Self::Events(events) => events.run(config).await,
            Self::Sources { command: Some(command), .. } => command.run(config).await,
            Self::Sources { command: None, json } => sources::list(config, json).await,
            Self::Sign(sign) => sign.run(config).await,
            Self::Keypair(keypair) => keypair.run(),
            Self::Providers { command: Some(command), .. } => command.run(),
            Self::Providers { command: None, json, markdown } => providers::list(json, markdown),
            Self::Health { json } => health::run(config, json).await,
            Self::Compact => compact::run(config).await,
            Self::Completions { shell } => manual::completions(Cli::command(), shell),
            Self::Man { out } => manual::man(Cli::command(), out.as_deref()),
        }
    }
}

async fn demo(once: bool) -> Result<(), Failure> {
    // Whoever reads may have gone, as `head` does: the demo goes on to its end.
    let kept = demo::run(once, |line| drop(out::line(line))).await?;
    if kept { Ok(()) } else { Err(Failure::new("a promise was broken")) }
}

/// The exit code, once a failure was told.
pub(crate) fn exit(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}
