//! The one row that every commit writes: the counter of sequence numbers and tokens, the
//! last time the store saw, and how many events stand where.

use wincode::{SchemaRead, SchemaWrite};

use crate::record::{Event, Label, Token};
use crate::time::Millis;

/// What the store knows without looking at events.
#[derive(Clone, Debug, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub(super) struct Totals {
    /// The next number to draw, for sequence numbers and tokens alike.
    pub(super) next: u64,
    /// The last time the store saw.
    pub(super) seen: Millis,
    /// Events by source, in the order of [`Label::ALL`].
    counts: Vec<(String, [u64; Label::ALL.len()])>,
}

impl Totals {
    pub(super) fn draw(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        self.next
    }

    pub(super) fn draw_token(&mut self) -> Token {
        Token(self.draw())
    }

    /// Moves one event from where it stood to where it stands.
    pub(super) fn moved(&mut self, before: Option<&Event>, after: Option<&Event>) {
        if let Some(event) = before {
            self.lose(event.source(), event.label());
        }
        if let Some(event) = after {
            let count = self.count(event.source(), event.label());
            *count = count.saturating_add(1);
        }
    }

    /// One event less stands there.
    pub(super) fn lose(&mut self, source: &str, label: Label) {
        let count = self.count(source, label);
        *count = count.saturating_sub(1);
    }

    /// Events by source and state.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, Label, u64)> {
        self.counts.iter().flat_map(|(source, counts)| {
            Label::ALL
                .iter()
                .zip(counts)
                .map(move |(label, count)| (source.as_str(), *label, *count))
        })
    }

    fn count(&mut self, source: &str, label: Label) -> &mut u64 {
        let known = self.counts.iter().position(|(name, _)| name == source);
        let at = known.unwrap_or_else(|| {
            self.counts.push((source.to_owned(), [0; Label::ALL.len()]));
            self.counts.len() - 1
        });
        let place = Label::ALL.iter().position(|known| *known == label).unwrap_or(0);
        #[expect(clippy::indexing_slicing, reason = "both were found or made just above")]
        &mut self.counts[at].1[place]
    }
}
