//! How many webhooks a second, against a bare axum handler in the same program.
//!
//! ```text
//! cargo bench --bench load -- --quick
//! ```
//!
//! A closed loop: each of N keep-alive connections sends its next request when the last is
//! answered, so what is measured is what N patient providers get, not what an open flood
//! does. Every request is signed as Stripe signs, has an id of its own (but for the case
//! `duplicates`) and about 1 KiB of body; every answer is checked. The gateway is the real
//! one, on a real disk, with its metrics on and its log at `error`. Provider, gateway and
//! application share this machine's cores, which makes the ratios worth more than the rates.
//! The cases run one after the other, round by round, so that a disturbance meets all.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "it reports to a person, or dies")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;

/// The binary's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod baselines;
mod provider;
mod report;
mod servers;

use provider::{Load, Run};
use report::{Meter, Report};
use servers::{Application, Gateway};

/// The longest the queue may take to deliver what was accepted.
const DRAIN: Duration = Duration::from_mins(2);

/// Measures the gateway against a bare axum handler.
#[derive(Debug, Parser)]
struct Args {
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds a case is measured for, after the warm-up.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How often all cases are run.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The setting `concurrency` of the sources; unset: the gateway's default.
    #[arg(long)]
    concurrency: Option<usize>,
    /// One short round: shows that it works, measures little.
    #[arg(long)]
    quick: bool,
    /// Only these of the gateway's cases.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is sent where, and what a right answer is.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    /// `Oncegate-Outcome` of a right answer; none is expected of the bare handler.
    outcome: Option<&'static str>,
    /// Each connection sends one event over and over.
    same: bool,
    /// When the application gets it.
    reaches: Reaches,
    /// What its rate is divided by.
    base: &'static str,
}

/// When an event reaches the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaches {
    /// Before the provider is answered.
    Before,
    /// After.
    Later,
    /// Not while it is measured: the application hangs over the first.
    Never,
}

impl Case {
    /// A server that is not the gateway.
    const fn baseline(name: &'static str) -> Self {
        Self { name, outcome: None, same: false, reaches: Reaches::Before, base: "bare" }
    }

    /// Whether its handler is the application's.
    fn is_counted(&self) -> bool {
        self.outcome.is_some() || self.name == "bare"
    }

    const fn gateway(
        name: &'static str,
        outcome: &'static str,
        reaches: Reaches,
        base: &'static str,
    ) -> Self {
        Self { name, outcome: Some(outcome), same: false, reaches, base }
    }
}

const CASES: [Case; 8] = [
    // Reads the body, answers 200.
    Case::baseline("bare"),
    // Checks the signature, too.
    Case::baseline("hmac"),
    // Checks it, and answers once a log of all bodies, synced together, is on disk.
    Case::baseline("log"),
    // Sends the request on to the application, and its answer back.
    Case::baseline("pass"),
    Case::gateway("accept", "queued", Reaches::Never, "bare"),
    Case::gateway("queue", "queued", Reaches::Later, "bare"),
    Case::gateway("proxy", "processed", Reaches::Before, "pass"),
    Case { same: true, ..Case::gateway("duplicates", "duplicate", Reaches::Before, "hmac") },
];

fn main() {
    let mut args = Args::parse();
    if args.quick {
        (args.rounds, args.seconds) = (1, args.seconds.min(1.0));
    }
    let metrics = oncegate::telemetry::install_metrics().expect("the recorder");
    let meter = Meter::new(metrics);
    let application = Application::start();
    let gateway = Gateway::start(&application, args.concurrency);
    let runtime = servers::runtime("provider");
    println!("{}", report::machine(gateway.folder(), args.connections, args.seconds));
    let mut reports: Vec<Report> = CASES
        .into_iter()
        .filter(|case| {
            let asked = args.only.is_empty() || args.only.iter().any(|name| name == case.name);
            asked || case.outcome.is_none()
        })
        .map(Report::new)
        .collect();
    for _ in 0..args.rounds {
        let mut rates = HashMap::new();
        for report in &mut reports {
            let case = report.case;
            let load = load(&args, case, &application, &gateway);
            let delivered = application.count(case.name);
            let before = meter.read();
            let begun = Instant::now();
            let run = runtime.block_on(provider::run(load));
            let commits = meter.read().since(before);
            if case.reaches == Reaches::Later {
                let all = delivered + run.accepted;
                report.drained.push(drain(&application, case, delivered, all, begun));
            }
            rates.insert(case.name, run.rate());
            let base = rates.get(case.base).copied().unwrap_or(f64::NAN);
            report.add(&run, base, commits);
        }
    }
    println!("{}", report::table(&reports));
    gateway.stop();
}

fn load(args: &Args, case: Case, application: &Application, gateway: &Gateway) -> Load {
    let to = if case.outcome.is_none() { application.address } else { gateway.public };
    Load {
        to,
        path: format!("/hooks/{}", case.name),
        source: Arc::clone(gateway.source(case.name)),
        outcome: case.outcome,
        same: case.same,
        connections: args.connections,
        warm_up: Duration::from_millis(500),
        measured: Duration::from_secs_f64(args.seconds),
    }
}

/// Waits until the application has what was accepted; events a second, from the first.
fn drain(app: &Application, case: Case, had: u64, all: u64, begun: Instant) -> f64 {
    let deadline = Instant::now() + DRAIN;
    while app.count(case.name) < all {
        assert!(Instant::now() < deadline, "the queue still owes events after {DRAIN:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Run::per_second(all - had, begun.elapsed())
}
