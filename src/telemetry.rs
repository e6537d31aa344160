//! Every metric name, every label value, and logging.
//!
//! Labels come from settings and closed enums only, and every series exists at zero from
//! the start, so that a rate over it is right from the first event.

use std::io::IsTerminal as _;
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{Log, LogFormat};
use crate::record::{Label, Verdict};
use crate::time::Millis;
use crate::verify::Rejection;

/// What became of a delivery: the header `Oncegate-Outcome`, a metric label, a log field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The first copy; the application answered 2xx.
    Processed,
    /// Stored; the queue attempts.
    Queued,
    /// A copy of an event that is seen to.
    Duplicate,
    /// A copy while an attempt is open, and the wait is over.
    Busy,
    /// The application answered otherwise, or was not reachable.
    Failed,
    /// No answer in time, or the connection was lost.
    Unknown,
    /// The event is held for an operator.
    Held,
    /// The application's 2xx could not be recorded: the disk failed.
    Unrecorded,
    /// No event: the provider asked for the endpoint itself, and was answered.
    Handshake,
    /// Refused: same key, other body.
    Mismatch,
    /// The signature is missing, wrong or too old.
    Rejected,
    /// No key can be derived.
    Invalid,
    /// The body is too large.
    TooLarge,
    /// No source has this path.
    NotFound,
    /// The method is not POST.
    Method,
    /// Overloaded, disk low, storage failing, shutting down.
    Unavailable,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 16] = [
        Self::Processed,
        Self::Queued,
        Self::Duplicate,
        Self::Busy,
        Self::Failed,
        Self::Unknown,
        Self::Held,
        Self::Unrecorded,
        Self::Handshake,
        Self::Mismatch,
        Self::Rejected,
        Self::Invalid,
        Self::TooLarge,
        Self::NotFound,
        Self::Method,
        Self::Unavailable,
    ];

    /// The word in the header, in metrics and in logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Queued => "queued",
            Self::Duplicate => "duplicate",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Held => "held",
            Self::Unrecorded => "unrecorded",
            Self::Handshake => "handshake",
            Self::Mismatch => "mismatch",
            Self::Rejected => "rejected",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The source label of deliveries that reached no source; no source can have this name.
pub const NO_SOURCE: &str = "_none";

const SECONDS: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];
const LAG: [f64; 12] = [
    0.1,
    1.0,
    10.0,
    60.0,
    600.0,
    3600.0,
    14_400.0,
    86_400.0,
    259_200.0,
    604_800.0,
    1_296_000.0,
    2_592_000.0,
];
const BATCH: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0];

/// Installs the recorder of this process and describes every metric.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let lag = Matcher::Full("oncegate_duplicate_lag_seconds".to_owned());
    let batch = Matcher::Full("oncegate_commit_batch_size".to_owned());
    let handle = PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .set_buckets_for_metric(lag, &LAG)?
        .set_buckets_for_metric(batch, &BATCH)?
        .install_recorder()?;
    describe();
    counter!("oncegate_stale_settlements_total").increment(0);
    // Making a histogram is what makes its series.
    drop(histogram!("oncegate_commit_duration_seconds"));
    drop(histogram!("oncegate_commit_batch_size"));
    gauge!("oncegate_store_bytes").set(0.0);
    gauge!("oncegate_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

fn describe() {
    describe_counter!(
        "oncegate_deliveries_total",
        "Requests from providers, by what became of them."
    );
    describe_histogram!(
        "oncegate_delivery_duration_seconds",
        Unit::Seconds,
        "From a request's headers to its answer."
    );
    describe_counter!(
        "oncegate_attempts_total",
        "Requests to the application, by what came of them."
    );
    describe_histogram!(
        "oncegate_attempt_duration_seconds",
        Unit::Seconds,
        "From connecting to the end of the application's answer."
    );
    describe_counter!("oncegate_signature_failures_total", "Rejected deliveries, by reason.");
    describe_counter!("oncegate_mismatches_total", "Copies with the key of another body.");
    describe_counter!(
        "oncegate_suspects_total",
        "Deliveries whose signed content was done under another key."
    );
    describe_counter!(
        "oncegate_stale_settlements_total",
        "Results that came after a newer claim, or after the event was done."
    );
    describe_gauge!("oncegate_events", "Stored events, by state.");
    describe_gauge!(
        "oncegate_queue_oldest_seconds",
        Unit::Seconds,
        "How long the queue's first event has been due."
    );
    describe_histogram!(
        "oncegate_duplicate_lag_seconds",
        Unit::Seconds,
        "From an event's first copy to a later one."
    );
    describe_gauge!(
        "oncegate_last_delivery_timestamp_seconds",
        Unit::Seconds,
        "When the last verified delivery arrived."
    );
    describe_histogram!(
        "oncegate_commit_duration_seconds",
        Unit::Seconds,
        "One transaction of the store, its sync included."
    );
    describe_histogram!("oncegate_commit_batch_size", "Operations in one transaction.");
    describe_gauge!("oncegate_store_bytes", Unit::Bytes, "The size of the store's file.");
    describe_counter!("oncegate_swept_total", "Events forgotten after their TTL.");
    describe_gauge!("oncegate_build_info", "1, with the version as a label.");
}

/// The series of one source.
#[derive(Debug)]
pub struct Meters {
    source: String,
    deliveries: Vec<Counter>,
    attempts: Vec<Counter>,
    rejections: Vec<Counter>,
    /// Copies with the key of another body.
    pub mismatches: Counter,
    /// Signed content that was done under another key.
    pub suspects: Counter,
    /// How long deliveries take.
    pub delivery_duration: Histogram,
    /// How long attempts take.
    pub attempt_duration: Histogram,
    /// From the first copy to a later one.
    pub duplicate_lag: Histogram,
    last_delivery: Gauge,
}

impl Meters {
    /// Makes every series of `source`, at zero.
    pub fn new(source: &str) -> Self {
        let label = || source.to_owned();
        for state in Label::ALL {
            gauge!("oncegate_events", "source" => label(), "state" => state.word()).set(0.0);
        }
        gauge!("oncegate_queue_oldest_seconds", "source" => label()).set(0.0);
        counter!("oncegate_swept_total", "source" => label()).increment(0);
        let last_delivery = gauge!("oncegate_last_delivery_timestamp_seconds", "source" => label());
        last_delivery.set(0.0);
        Self {
            deliveries: Outcome::ALL.map(|o| deliveries(source, o)).to_vec(),
            attempts: Verdict::ALL
                .map(|v| counter!("oncegate_attempts_total", "source" => label(), "result" => v.word()))
                .to_vec(),
            rejections: Rejection::ALL
                .iter()
                .map(|r| {
                    let reason = r.word();
                    counter!("oncegate_signature_failures_total", "source" => label(), "reason" => reason)
                })
                .collect(),
            mismatches: counter!("oncegate_mismatches_total", "source" => label()),
            suspects: counter!("oncegate_suspects_total", "source" => label()),
            delivery_duration: histogram!("oncegate_delivery_duration_seconds", "source" => label()),
            attempt_duration: histogram!("oncegate_attempt_duration_seconds", "source" => label()),
            duplicate_lag: histogram!("oncegate_duplicate_lag_seconds", "source" => label()),
            last_delivery,
            source: label(),
        }
    }

    /// Counts a delivery.
    pub fn delivered(&self, outcome: Outcome) {
        pick(&self.deliveries, Outcome::ALL.iter().position(|known| *known == outcome));
    }

    /// Counts an attempt.
    pub fn attempted(&self, verdict: Verdict, took: Duration) {
        pick(&self.attempts, Verdict::ALL.iter().position(|known| *known == verdict));
        self.attempt_duration.record(took);
    }

    /// Counts a rejected delivery.
    pub fn rejected(&self, reason: Rejection) {
        pick(&self.rejections, Rejection::ALL.iter().position(|known| *known == reason));
    }

    /// Notes when a verified delivery arrived.
    pub fn seen(&self, at: Millis) {
        self.last_delivery.set(Duration::from_millis(at.0).as_secs_f64());
    }

    /// The source's name.
    pub fn source(&self) -> &str {
        &self.source
    }
}

fn pick(counters: &[Counter], place: Option<usize>) {
    if let Some(counter) = place.and_then(|place| counters.get(place)) {
        counter.increment(1);
    }
}

fn deliveries(source: &str, outcome: Outcome) -> Counter {
    counter!("oncegate_deliveries_total", "source" => source.to_owned(), "outcome" => outcome.word())
}

/// Counts a delivery that reached no source.
pub fn lost(outcome: Outcome) {
    deliveries(NO_SOURCE, outcome).increment(1);
}

/// Makes the series of what belongs to no source, at zero.
pub fn zero_no_source() {
    show_orphaned(0);
    for outcome in [Outcome::NotFound, Outcome::Invalid, Outcome::Method, Outcome::Unavailable] {
        deliveries(NO_SOURCE, outcome).increment(0);
    }
}

/// Shows how many events of `source` are in `state`.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; 2^53 events are enough")]
pub fn show_events(source: &str, state: Label, count: u64) {
    gauge!("oncegate_events", "source" => source.to_owned(), "state" => state.word())
        .set(count as f64);
}

/// Shows how many events belong to sources that are not configured.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; 2^53 events are enough")]
pub fn show_orphaned(count: u64) {
    gauge!("oncegate_events", "source" => NO_SOURCE, "state" => "orphaned").set(count as f64);
}

/// Shows how long the first event in the queue of `source` has been due.
pub fn show_oldest(source: &str, waits: Duration) {
    gauge!("oncegate_queue_oldest_seconds", "source" => source.to_owned()).set(waits.as_secs_f64());
}

/// Shows the size of the store's file.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; 2^53 bytes are enough")]
pub fn show_bytes(bytes: u64) {
    gauge!("oncegate_store_bytes").set(bytes as f64);
}

/// Counts events that the sweep forgot.
pub fn swept(source: &str, events: u64) {
    counter!("oncegate_swept_total", "source" => source.to_owned()).increment(events);
}

/// Counts a transaction of the store.
#[expect(clippy::cast_precision_loss, reason = "a batch is at most a few thousand")]
pub fn committed(took: Duration, operations: usize) {
    histogram!("oncegate_commit_duration_seconds").record(took);
    histogram!("oncegate_commit_batch_size").record(operations as f64);
}

/// Counts a result that came too late to change anything.
pub fn stale_settlement() {
    counter!("oncegate_stale_settlements_total").increment(1);
}

/// Sets up logging, to standard error.
pub fn install_logging(log: &Log) -> Result<(), ParseError> {
    let filter: EnvFilter = log.level.parse()?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let text = match log.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    // Only a second call can fail; the first one's set-up then stays.
    let installed =
        if text { lines.try_init() } else { lines.json().flatten_event(true).try_init() };
    if let Err(error) = installed {
        tracing::debug!(%error, "logging was set up before");
    }
    Ok(())
}
