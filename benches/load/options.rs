//! What can be asked of the suite on the command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::figures::FIGURES;

/// Measures the gateway beside servers that do a part of its work, and compares every figure
/// with its floor and its goal.
///
/// Needs about 25 GiB of disk and three quarters of an hour. `--quick` needs a minute.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --bench load --", after_help = after_help())]
pub(crate) struct Command {
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What a child process of the suite does.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// The application and the baselines.
    #[command(hide = true)]
    Serve {
        /// Where the log of a baseline goes.
        #[arg(long)]
        folder: PathBuf,
        /// Where the pass-through sends what it is sent.
        #[arg(long)]
        to: Option<SocketAddr>,
    },
    /// Becomes another program, which dies with its parent.
    #[command(hide = true)]
    Guard {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        program: Vec<OsString>,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Only these figures.
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    pub(crate) only: Vec<String>,
    /// How often baseline and gateway take turns.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) rounds: usize,
    /// Seconds that each case is measured for in each round, after a warm-up.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Seconds for which the backlog must stay flat in `delivered`.
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    pub(crate) confirm: f64,
    /// Everything once, with little data: shows that it works, measures nothing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Events stored for `duplicates`, `ready-1m` and `expiry`.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub(crate) million: u64,
    /// Events stored for `stored` and `ready-10m`.
    #[arg(long, default_value_t = 10_000_000, value_name = "N")]
    pub(crate) stored: u64,
    /// Events in a simulated minute of `day`.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub(crate) minute: u64,
    /// Bytes of a body.
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    pub(crate) body: usize,
    /// The share of an accept load that is copies of events sent before: 0 to 1.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub(crate) copies: f64,
    /// Connections of `overload`. The gateway refuses once 4,096 claims wait.
    #[arg(long, default_value_t = 6_000, value_name = "N")]
    pub(crate) crowd: usize,
    /// The setting `concurrency` of the sources that deliver; unset: the gateway's default.
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<usize>,
    /// The setting `log.level`, but for `duplicates`.
    #[arg(long, default_value = "error")]
    pub(crate) level: String,
    /// Where figures.md and figures.svg are written; unset: `bench` in the target folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Bytes of a body that are there whatever its length is.
const LEAST_BODY: usize = 256;

impl Options {
    /// The options, `--quick` applied, or what is wrong with them.
    pub(crate) fn checked(mut self) -> anyhow::Result<Self> {
        for name in &self.only {
            let known = FIGURES.iter().any(|figure| figure.name == name);
            anyhow::ensure!(known, "--only: there is no figure `{name}`; see --help");
        }
        let seconds = 0.1..=3600.0;
        let lengths = [("--seconds", self.seconds), ("--confirm", self.confirm)];
        for (option, length) in lengths {
            anyhow::ensure!(seconds.contains(&length), "{option} is 0.1 to 3600");
        }
        anyhow::ensure!((0.0..1.0).contains(&self.copies), "--copies is a share: 0 up to 1");
        anyhow::ensure!(self.body >= LEAST_BODY, "--body is at least {LEAST_BODY}");
        anyhow::ensure!(self.body <= 256 << 10, "--body is at most 262144: more is refused");
        let counts = [
            ("--rounds", self.rounds),
            ("--crowd", self.crowd),
            ("--concurrency", self.concurrency.unwrap_or(1)),
        ];
        for (option, count) in counts {
            anyhow::ensure!((1..=10_000).contains(&count), "{option} is 1 to 10000");
        }
        for (option, count) in
            [("--million", self.million), ("--stored", self.stored), ("--minute", self.minute)]
        {
            anyhow::ensure!(count > 0, "{option} is at least 1");
        }
        if self.quick {
            self.rounds = 1;
            self.seconds = self.seconds.min(1.0);
            self.confirm = self.confirm.min(3.0);
            self.million = self.million.min(20_000);
            self.stored = self.stored.min(20_000);
            self.minute = self.minute.min(20);
        }
        Ok(self)
    }

    pub(crate) fn wants(&self, figure: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == figure)
    }
}

fn after_help() -> String {
    let lines: Vec<_> =
        FIGURES.iter().map(|figure| format!("  {:17} {}", figure.name, figure.what)).collect();
    format!("Figures:\n{}", lines.join("\n"))
}
