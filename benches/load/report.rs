//! What is printed.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::Case;
use crate::provider::Run;

/// All rounds of one case.
pub(crate) struct Report {
    pub(crate) case: Case,
    /// Events a second that reached the application, until it had them all.
    pub(crate) drained: Vec<f64>,
    rates: Vec<f64>,
    ratios: Vec<f64>,
    latency: Histogram<u64>,
    wrong: u64,
    commits: Commits,
}

impl Report {
    pub(crate) fn new(case: Case) -> Self {
        Self {
            case,
            drained: Vec::new(),
            rates: Vec::new(),
            ratios: Vec::new(),
            latency: Histogram::new(3).expect("a right precision"),
            wrong: 0,
            commits: Commits::default(),
        }
    }

    pub(crate) fn add(&mut self, run: &Run, base: f64, commits: Commits) {
        self.rates.push(run.rate());
        self.ratios.push(run.rate() / base);
        self.latency.add(&run.latency).expect("a histogram that grows");
        self.wrong += run.wrong;
        self.commits = self.commits.plus(commits);
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of a benchmark")]
    fn line(&self) -> String {
        let ms = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1000.0;
        let least = self.rates.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.rates.iter().copied().fold(0.0, f64::max);
        format!(
            "| {} | {least:.0} | {:.0} | {most:.0} | {:.2} | {:.2} | {} | {:.2} | {:.2}-{:.2} | {} |",
            self.case.name,
            median(&self.rates),
            ms(0.5),
            ms(0.99),
            self.case.base,
            median(&self.ratios),
            self.ratios.iter().copied().fold(f64::INFINITY, f64::min),
            self.ratios.iter().copied().fold(0.0, f64::max),
            self.wrong
        )
    }
}

/// The table and what is worth knowing beside it.
pub(crate) fn table(reports: &[Report]) -> String {
    let mut text = String::from(
        "| case | events/s min | median | max | p50 ms | p99 ms | of | ratio | spread | wrong |\n\
         |---|---:|---:|---:|---:|---:|---|---:|---:|---:|\n",
    );
    for report in reports {
        text += &report.line();
        text.push('\n');
    }
    for report in reports {
        let Commits { count, operations, seconds } = report.commits;
        if count > 0.0 {
            let (name, batch, ms) =
                (report.case.name, operations / count, seconds / count * 1000.0);
            write!(text, "\n{name}: {count:.0} commits of {batch:.1} operations, {ms:.2} ms each")
                .expect("memory");
        }
        if !report.drained.is_empty() {
            write!(text, "; {:.0} events/s delivered", median(&report.drained)).expect("memory");
        }
    }
    text
}

/// What it ran on: the sync is what a durable store cannot be faster than.
pub(crate) fn machine(folder: &Path, connections: usize, seconds: f64) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let sync = sync(folder).as_secs_f64() * 1000.0;
    format!(
        "{connections} connections, {seconds} s each; {cores} cores for provider, gateway and \
         application; fdatasync of 4 KiB: {sync:.2} ms (median of 100)\n"
    )
}

fn sync(folder: &Path) -> Duration {
    let path = folder.join("sync");
    let mut file = File::create_new(&path).expect("a file");
    let mut times: Vec<Duration> = (0_u8..100)
        .map(|byte| {
            let begun = Instant::now();
            file.rewind().expect("a file");
            file.write_all(&[byte; 4096]).expect("room");
            file.sync_data().expect("a disk");
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The store's transactions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Commits {
    count: f64,
    operations: f64,
    seconds: f64,
}

impl Commits {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            count: self.count - before.count,
            operations: self.operations - before.operations,
            seconds: self.seconds - before.seconds,
        }
    }

    fn plus(self, more: Self) -> Self {
        Self {
            count: self.count + more.count,
            operations: self.operations + more.operations,
            seconds: self.seconds + more.seconds,
        }
    }
}

/// Reads the gateway's own metrics.
pub(crate) struct Meter(PrometheusHandle);

impl Meter {
    pub(crate) fn new(metrics: PrometheusHandle) -> Self {
        Self(metrics)
    }

    pub(crate) fn read(&self) -> Commits {
        let text = self.0.render();
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            let found = lines.find(|(it, _)| *it == name).map(|(_, value)| value.parse());
            found.and_then(Result::ok).unwrap_or_default()
        };
        Commits {
            count: value("oncegate_commit_batch_size_count"),
            operations: value("oncegate_commit_batch_size_sum"),
            seconds: value("oncegate_commit_duration_seconds_sum"),
        }
    }
}
