//! What came of a load: counts and latencies, of one connection or of all.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::answer::Verdict;

/// Microseconds; the longest latency that is told from longer ones.
const LONGEST: u64 = 120_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Microseconds of right answers: of a closed loop from the first byte sent, of an open one
    /// from when the request was due.
    pub(crate) latency: Histogram<u64>,
    /// The same, of the answers 503, from the first byte sent.
    pub(crate) refusals: Histogram<u64>,
    /// Right answers that came while it was measured.
    pub(crate) right: u64,
    /// Answers 503 that came while it was measured.
    pub(crate) refused: u64,
    /// Those without `Retry-After`.
    pub(crate) silent: u64,
    pub(crate) wrong: u64,
    /// Connections that broke, and how one of them did.
    pub(crate) broken: u64,
    pub(crate) breach: Option<String>,
    /// Requests that were sent, and due, while it was measured.
    pub(crate) sent: u64,
    pub(crate) due: u64,
    /// Right answers, the warm-up's and the latest included.
    pub(crate) accepted: u64,
    /// All answers.
    pub(crate) answered: u64,
    pub(crate) measured: Duration,
}

impl Run {
    pub(super) fn new() -> Self {
        let bounds = || Histogram::new_with_bounds(1, LONGEST, 3).expect("right bounds");
        Self {
            latency: bounds(),
            refusals: bounds(),
            right: 0,
            refused: 0,
            silent: 0,
            wrong: 0,
            broken: 0,
            breach: None,
            sent: 0,
            due: 0,
            accepted: 0,
            answered: 0,
            measured: Duration::ZERO,
        }
    }

    /// One answer; `begun` tells whether its request was due while it was measured, `ended`
    /// whether it came then.
    pub(super) fn count(&mut self, verdict: Verdict, times: Times, begun: bool, ended: bool) {
        self.answered += 1;
        match verdict {
            Verdict::Right => {
                self.accepted += 1;
                self.right += u64::from(ended);
                if begun {
                    self.latency.saturating_record(micros(times.since_due));
                }
            },
            Verdict::Refused { retry_after } => {
                self.refused += u64::from(ended);
                self.silent += u64::from(!retry_after);
                if ended {
                    self.refusals.saturating_record(micros(times.since_sent));
                }
            },
            Verdict::Wrong => self.wrong += 1,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency).expect("the same bounds");
        self.refusals.add(&other.refusals).expect("the same bounds");
        self.right += other.right;
        self.refused += other.refused;
        self.silent += other.silent;
        self.wrong += other.wrong;
        self.broken += other.broken;
        self.breach = self.breach.take().or_else(|| other.breach.clone());
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.answered += other.answered;
    }

    /// Right answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.per_second(self.right)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    pub(crate) fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.measured.as_secs_f64()
    }

    /// A quantile of the latency in milliseconds.
    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        ms(&self.latency, quantile)
    }

    /// Fails if anything was answered wrongly or not at all.
    pub(crate) fn sound(self) -> anyhow::Result<Self> {
        anyhow::ensure!(self.wrong == 0, "{} answers of {} are wrong", self.wrong, self.answered);
        let breach = self.breach.as_deref().unwrap_or_default();
        anyhow::ensure!(self.broken == 0, "{} connections broke: {breach}", self.broken);
        anyhow::ensure!(self.right > 0, "nothing was answered");
        Ok(self)
    }
}

/// How long an answer took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) since_due: Duration,
    pub(super) since_sent: Duration,
}

/// A quantile in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a benchmark")]
pub(crate) fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1000.0
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
}
