//! What came of each event, a line each.

use super::application::{End, Seen};
use super::promise::Played;

/// The table.
pub(super) fn lines(played: &[Played]) -> Vec<String> {
    let mut lines =
        vec![line("event", "deliveries", "attempts", "duplicates", "the application saw")];
    let mut source = "";
    for play in played {
        if play.event.source != source {
            source = play.event.source;
            lines.push(heading(source).to_owned());
        }
        lines.push(line(
            &format!("  {}", play.event.kind),
            &play.answers.len().to_string(),
            &play.attempts().to_string(),
            &play.outcomes("duplicate").to_string(),
            &saw(&play.seen),
        ));
    }
    lines.push(String::new());
    lines.push("duplicates: answered 2xx by oncegate alone, without another attempt".to_owned());
    lines.push(String::new());
    lines
}

fn line(event: &str, deliveries: &str, attempts: &str, duplicates: &str, saw: &str) -> String {
    format!("{event:<28}  {deliveries:>10}  {attempts:>8}  {duplicates:>10}  {saw}")
}

fn heading(source: &str) -> &'static str {
    match source {
        "stripe" => "Stripe, proxy mode: the provider gets the application's own answer",
        _ => "Standard Webhooks, queue mode: stored and acknowledged first, delivered after",
    }
}

/// `1x`, `2x (first failed)`, `2x (second flagged unknown)`.
fn saw(seen: &[Seen]) -> String {
    let note = seen.iter().zip(1_usize..).find_map(|(seen, number)| match seen.end {
        Some(End::Failed) => Some(format!(" ({} failed)", ordinal(number))),
        _ if seen.flagged => Some(format!(" ({} flagged unknown)", ordinal(number))),
        _ => None,
    });
    format!("{}x{}", seen.len(), note.unwrap_or_default())
}

fn ordinal(number: usize) -> String {
    match number {
        1 => "first".to_owned(),
        2 => "second".to_owned(),
        3 => "third".to_owned(),
        _ => format!("attempt {number}"),
    }
}
