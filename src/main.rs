//! The command line: parse, dispatch, exit code; the only printing.
#![expect(clippy::print_stderr, reason = "this is what prints")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use oncegate::config::Config;
use oncegate::server::{Bound, Handed};
use oncegate::store::{self, Orphans};
use oncegate::{demo, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Failed.
const FAILED: u8 = 1;
/// The settings are wrong.
const SETTINGS: u8 = 3;

/// Every webhook, once: a durable idempotency gateway in one binary.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// The settings; else `config.toml`, then `/etc/oncegate/config.toml`.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (the default).
    Serve,
    /// Print the settings in force, or everything that is wrong with them.
    Check {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what oncegate does: a gateway, an application, and events sent many times at once.
    Demo {
        /// Exit after the table instead of staying up until Ctrl-C.
        #[arg(long)]
        once: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => with_config(cli.config.as_deref(), |config| {
            exit(Handed::take().and_then(|handed| run(serve(handed, config))))
        }),
        Command::Check { json } => with_config(cli.config.as_deref(), |config| {
            let mut report = config.report();
            report.warnings.extend(orphaned(&config));
            if json {
                say(&format!("{:#}", report.to_json()));
            } else {
                say(&report.to_string());
            }
            ExitCode::SUCCESS
        }),
        Command::Demo { once } => match run(demo::run(once, say)) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(FAILED),
            Err(error) => exit(Err(error)),
        },
    }
}

/// Prints a line; whoever reads may have gone, as `head` does.
fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// What `check` says about events of sources that are not configured any more.
fn orphaned(config: &Config) -> Vec<String> {
    let sources = config.sources.iter();
    let names = sources.flat_map(|it| it.was.iter().chain([&it.name]).cloned()).collect();
    match store::orphans(&config.storage.path, &names) {
        Orphans::Known(found) => found
            .into_iter()
            .map(|(source, events)| {
                format!(
                    "{events} events are of the source {source}, which is not configured: they are \
                     kept; configure it again, or name it in `was` of the source that goes on for it"
                )
            })
            .collect(),
        Orphans::Unknown(why) => vec![format!("whether events are of removed sources: {why}")],
    }
}

fn with_config(file: Option<&Path>, act: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    match Config::open(file) {
        Ok(config) => act(config),
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::from(SETTINGS)
        },
    }
}

fn run<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ran = runtime.block_on(future);
    // A repair of the file may still run: a stop does not wait for it, the next start does.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ran
}

fn exit(ran: anyhow::Result<()>) -> ExitCode {
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oncegate: {error:#}");
            ExitCode::from(FAILED)
        },
    }
}

async fn serve(handed: Handed, config: Config) -> anyhow::Result<()> {
    telemetry::install_logging(&config.log)?;
    for warning in config.report().warnings {
        tracing::warn!("{warning}");
    }
    let metrics = telemetry::install_metrics()?;
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let bound = Bound::with(handed, config, Some(metrics)).await?;
    let (stop, cut) = (CancellationToken::new(), bound.cut());
    let asked = stop.clone();
    tokio::spawn(async move {
        // The first signal drains, the second cuts that short.
        for token in [asked, cut] {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            token.cancel();
        }
    });
    bound.run(stop.cancelled_owned()).await
}
