//! What is promised: every figure with the floor that it must reach and the goal it should.

use crate::bench::{Bench, Row, median};

mod accept;
mod day;
mod delivered;
mod million;
mod overload;
mod proxy;
mod stored;

/// One promise.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// The figure whose measurement brings it: its own name, but for by-products.
    with: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    pub(crate) floor: Option<f64>,
    pub(crate) goal: Option<f64>,
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

use Better::{Less, More};

/// In the order in which they are measured: those that need the largest store come last.
pub(crate) const FIGURES: [Figure; 18] = [
    ratio("accept-64", "accepted, of bare axum, 64 connections", More, 0.30, 0.45),
    ratio("accept-256", "the same, 256 connections", More, 0.30, 0.45),
    ratio("one", "median of one connection, over bare axum and one append", Less, 2.0, 1.6),
    ratio("delivered", "accepted and delivered, backlog flat, of bare axum", More, 0.10, 0.15),
    ratio("proxy", "claim and answer durable, of a plain pass-through", More, 0.40, 0.50),
    Figure {
        unit: "KiB",
        ..ratio("device", "written to the device for each event, settled", Less, 8.0, 5.0)
    },
    ratio("overload", "right answers at twice the peak, of the peak", More, 0.75, 0.90),
    Figure {
        with: "overload",
        unit: "ms",
        goal: None,
        ..ratio("overload-503", "99.9th percentile of its answers 503", Less, 100.0, 0.0)
    },
    Figure {
        with: "overload",
        unit: "MiB",
        goal: None,
        ..ratio(
            "overload-rss",
            "memory then, less 32 KiB and a body for each connection",
            Less,
            300.0,
            0.0,
        )
    },
    Figure {
        goal: None,
        ..ratio("duplicates", "copies of a million, of axum with HMAC, log on", More, 0.60, 0.0)
    },
    Figure { floor: None, ..ratio("duplicates-quiet", "the same, log off", More, 0.0, 0.80) },
    Figure {
        unit: "s",
        goal: None,
        ..ratio("ready-1m", "ready after SIGKILL with a million stored", Less, 5.0, 0.0)
    },
    ratio("expiry", "accepted while a million expires, of the same without", More, 0.75, 0.85),
    Figure {
        with: "expiry",
        ..ratio("expiry-p99", "99th percentile then, over that without", Less, 3.0, 2.0)
    },
    Figure {
        goal: None,
        ..ratio("day", "the file after a day of equal in and out, over live data", Less, 2.0, 0.0)
    },
    ratio("stored", "accepted with ten million stored, of an empty store", More, 0.60, 0.85),
    Figure {
        with: "stored",
        unit: "MiB",
        goal: None,
        ..ratio("stored-rss", "the most memory then", Less, 300.0, 0.0)
    },
    Figure {
        unit: "s",
        ..ratio("ready-10m", "ready after SIGKILL with ten million, cold", Less, 60.0, 3.0)
    },
];

const fn ratio(
    name: &'static str,
    what: &'static str,
    better: Better,
    floor: f64,
    goal: f64,
) -> Figure {
    Figure { name, with: name, what, unit: "", better, floor: Some(floor), goal: Some(goal) }
}

impl Figure {
    /// Whether `value` is at least as good as `mark`.
    fn reaches(&self, value: f64, mark: f64) -> bool {
        match self.better {
            More => value >= mark,
            Less => value <= mark,
        }
    }

    pub(crate) fn verdict(&self, value: f64) -> Verdict {
        if value.is_nan() {
            Verdict::Unmeasured
        } else if self.goal.is_some_and(|goal| self.reaches(value, goal)) {
            Verdict::Goal
        } else if self.floor.is_some_and(|floor| self.reaches(value, floor)) {
            if self.goal.is_none() { Verdict::Only } else { Verdict::Floor }
        } else {
            Verdict::Missed
        }
    }

    /// A value as it is written: three digits that say something.
    pub(crate) fn written(&self, value: f64) -> String {
        if value.is_nan() {
            return "-".to_owned();
        }
        let digits = match value.abs() {
            value if value < 10.0 => 2,
            value if value < 100.0 => 1,
            _ => 0,
        };
        let space = if self.unit.is_empty() { "" } else { " " };
        format!("{value:.digits$}{space}{}", self.unit)
    }

    /// Median, spread and verdict.
    pub(crate) fn said(&self, values: &[f64]) -> String {
        let value = median(values);
        let word = self.verdict(value).word();
        format!("{} ({}), {word};", self.written(value), self.spread(values))
    }

    /// Least and most.
    pub(crate) fn spread(&self, values: &[f64]) -> String {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if least > most {
            return "-".to_owned();
        }
        format!("{}-{}", self.written(least), self.written(most))
    }
}

/// What a value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Goal,
    /// The floor of a figure without a goal.
    Only,
    Floor,
    Missed,
    Unmeasured,
}

impl Verdict {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Goal => "goal reached",
            Self::Only => "reached",
            Self::Floor => "floor reached",
            Self::Missed => "missed",
            Self::Unmeasured => "not measured",
        }
    }
}

/// Measures what is asked. What fails is told, and the rest goes on.
pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    for figure in FIGURES.iter().filter(|figure| figure.with == figure.name) {
        let brought = || FIGURES.iter().filter(|it| it.with == figure.name);
        if !brought().any(|it| bench.options.wants(it.name)) {
            continue;
        }
        eprintln!("{}: {}", figure.name, figure.what);
        if let Err(error) = measure(bench, figure.name).await {
            for missing in brought() {
                if !bench.rows.iter().any(|row| row.name == missing.name) {
                    eprintln!("  {}: not measured: {error:#}", missing.name);
                    let (values, note) = (Vec::new(), format!("{error:#}"));
                    bench.rows.push(Row { name: missing.name, values, note });
                }
            }
        }
    }
    bench.forget_filled()
}

async fn measure(bench: &mut Bench, name: &str) -> anyhow::Result<()> {
    match name {
        "accept-64" => accept::accept(bench, "accept-64", 64).await,
        "accept-256" => accept::accept(bench, "accept-256", 256).await,
        "one" => accept::one(bench).await,
        "delivered" => delivered::delivered(bench).await,
        "proxy" => proxy::proxy(bench).await,
        "device" => proxy::device(bench).await,
        "overload" => overload::overload(bench).await,
        "duplicates" => million::duplicates(bench, "duplicates", "info").await,
        "duplicates-quiet" => million::duplicates(bench, "duplicates-quiet", "error").await,
        "ready-1m" => stored::ready(bench, "ready-1m", bench.options.million).await,
        "expiry" => million::expiry(bench).await,
        "day" => day::day(bench).await,
        "stored" => stored::stored(bench).await,
        "ready-10m" => stored::ready(bench, "ready-10m", bench.options.stored).await,
        _ => anyhow::bail!("nothing measures {name}"),
    }
}
