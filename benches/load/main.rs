//! Every figure that is promised of the gateway's cost, as a ratio measured in one run.
//!
//! ```text
//! cargo bench --bench load -- --quick
//! cargo bench --bench load -- --only accept-64,one --rounds 5
//! ```
//!
//! Rates say much about a machine and little about the gateway, so each figure is a ratio of two
//! cases that are measured in turns: baseline, gateway, baseline, gateway. The gateway is the
//! real release binary, a process with settings of its own and a store on a real disk. The
//! application, which is the baseline too, is a process as well, and the provider is this one:
//! all three share the machine, and the CPU that each took is told beside the figures. Every
//! request is signed as Stripe signs, and every answer is checked.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it reports to a person")]
#![expect(clippy::expect_used, reason = "a broken invariant of a benchmark ends it")]

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

mod bench;
mod disk;
mod figures;
mod net;
mod options;
mod process;
mod report;
mod serve;
mod store;

use bench::Bench;
use options::{Command, Role};

/// The binary's own, so that the baselines have it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Command { role, options } = Command::parse();
    let ran = match role {
        Some(Role::Serve { folder, to }) => serve::run(&folder, to),
        Some(Role::Guard { program }) => Err(process::become_guarded(&program)),
        None => options.checked().and_then(|options| runtime().block_on(suite(options))),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        },
    }
}

/// A runtime with a thread a core.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

/// Measures what is asked, and writes the report. A signal ends it as an error does: every
/// child is killed and every file of the run removed on the way out.
async fn suite(options: options::Options) -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate()).context("signals")?;
    let mut int = signal(SignalKind::interrupt()).context("signals")?;
    let mut bench = Bench::start(options)?;
    tokio::select! {
        ran = figures::run(&mut bench) => ran?,
        _ = term.recv() => anyhow::bail!("stopped by a signal"),
        _ = int.recv() => anyhow::bail!("stopped by a signal"),
    }
    println!("{}", report::write(&bench)?);
    let failed = bench.failed();
    anyhow::ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}
