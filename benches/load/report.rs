//! What is left of a run: a table to read and a picture to look at.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::bench::{Bench, Case, median, tmp};
use crate::figures::{FIGURES, Figure};

mod chart;
mod machine;

/// Writes both files; the text is that of the first.
pub(crate) fn write(bench: &Bench) -> anyhow::Result<String> {
    let out = bench.options.out.clone().unwrap_or_else(beside);
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let text = text(bench)?;
    let (table, picture) = (out.join("figures.md"), out.join("figures.svg"));
    fs::write(&table, &text).with_context(|| table.display().to_string())?;
    fs::write(&picture, chart::draw(&bench.rows)).with_context(|| picture.display().to_string())?;
    eprintln!("written: {} and {}", table.display(), picture.display());
    Ok(text)
}

/// `bench` in the target folder.
fn beside() -> PathBuf {
    tmp().parent().unwrap_or_else(|| Path::new(".")).join("bench")
}

fn text(bench: &Bench) -> anyhow::Result<String> {
    let mut text = format!("{}\n\n", machine::line(bench));
    text += "| figure | what | measured | spread | floor | goal | |\n\
             |---|---|---:|---:|---:|---:|---|\n";
    for figure in &FIGURES {
        let Some(row) = bench.rows.iter().find(|row| row.name == figure.name) else { continue };
        let value = median(&row.values);
        let measured = figure.written(value);
        writeln!(
            text,
            "| `{}` | {} | {measured} | {} | {} | {} | {} |",
            figure.name,
            figure.what,
            figure.spread(&row.values),
            mark(figure, figure.floor),
            mark(figure, figure.goal),
            figure.verdict(value).word()
        )?;
    }
    text.push('\n');
    for row in bench.rows.iter().filter(|row| !row.note.is_empty()) {
        writeln!(text, "- `{}`: {}", row.name, row.note)?;
    }
    text += "\nEvery case: right answers a second, latency in milliseconds, CPU in microseconds \
             of a core for each answer.\n\n\
             | case | median/s | least-most | p50 | p99 | p99.9 | provider | server | application |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|\n";
    for case in &bench.cases {
        writeln!(text, "{}", line(case))?;
    }
    Ok(text)
}

fn mark(figure: &Figure, value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| figure.written(value))
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn line(case: &Case) -> String {
    let ms = |quantile| crate::net::ms(&case.latency, quantile);
    let least = case.rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = case.rates.iter().copied().fold(0.0, f64::max);
    let [provider, server, application] =
        case.cpu.map(|time| time.as_secs_f64() * 1e6 / case.answered as f64);
    format!(
        "| {} | {:.0} | {least:.0}-{most:.0} | {:.2} | {:.2} | {:.2} | {provider:.1} | \
         {server:.1} | {application:.1} |",
        case.name,
        median(&case.rates),
        ms(0.5),
        ms(0.99),
        ms(0.999)
    )
}
