//! The command line: parse, dispatch, exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use oncegate::config::Config;
use oncegate::server::{Bound, Handed};
use oncegate::telemetry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

mod command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use command::{Cli, Command, Failure};

fn main() -> ExitCode {
    let Cli { config, command } = Cli::parse();
    let config = config.as_deref();
    command::exit(match command.unwrap_or(Command::Serve) {
        Command::Serve => Config::open(config).map_err(Failure::from).and_then(|config| {
            let handed = Handed::take()?;
            run(async { Ok(serve(handed, config).await?) })
        }),
        Command::Task(task) => run(task.run(config)),
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
