//! The command line: parse, dispatch, exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use oncegate::config::Config;
use oncegate::server::Bound;
use oncegate::telemetry;
use tokio::signal::unix::{SignalKind, signal};

mod command;

use command::{Cli, Command, Failure};

fn main() -> ExitCode {
    let Cli { config, command } = Cli::parse();
    let config = config.as_deref();
    command::exit(match command.unwrap_or(Command::Serve) {
        Command::Serve => Config::open(config)
            .map_err(Failure::from)
            .and_then(|config| run(async { Ok(serve(config).await?) })),
        other => run(other.run(config)),
    })
}

fn run(future: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::new)?;
    let ran = runtime.block_on(future);
    // A repair of the file may still run: a stop does not wait for it, the next start does.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ran
}

async fn serve(config: Config) -> anyhow::Result<()> {
    telemetry::install_logging(&config.log)?;
    for warning in config.report().warnings {
        tracing::warn!("{warning}");
    }
    let metrics = telemetry::install_metrics()?;
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    };
    Bound::bind(config, Some(metrics)).await?.run(stop).await
}
