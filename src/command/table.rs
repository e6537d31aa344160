//! Aligned columns under a heading.

use anstyle::{AnsiColor, Style};

use super::failure::Failure;
use super::out;

/// Between two columns.
const GAP: &str = "  ";

/// Where the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// A table of text.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<Cell>>,
    /// Of the columns, as printed so far; empty before the heading is.
    widths: Vec<usize>,
}

/// One piece of text; how it is coloured does not change how wide it is.
#[derive(Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

/// Two columns without a heading: names, and what they are.
pub(crate) fn pairs(
    pairs: impl IntoIterator<Item = (&'static str, Option<String>)>,
) -> Result<(), Failure> {
    let mut table = Table::new(&[("", Side::Left), ("", Side::Left)]);
    for (name, text) in pairs {
        if let Some(text) = text {
            table.row([name.into(), text.into()]);
        }
    }
    table.print()
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: out::plain(text.as_ref()).into_owned(), style: Style::new() }
    }
}

impl Cell {
    /// The word of a state, in its colour: what is well, what goes on, what needs somebody.
    pub(crate) fn state(word: &str) -> Self {
        let colour = match word {
            "done" => Some(AnsiColor::Green),
            "in_flight" | "queued" => Some(AnsiColor::Cyan),
            "held" => Some(AnsiColor::Yellow),
            "dead" => Some(AnsiColor::Red),
            _ => None,
        };
        Self { style: Style::new().fg_color(colour.map(Into::into)), ..Self::from(word) }
    }
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(columns: &[(&'static str, Side)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), widths: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// How many rows wait to be printed.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Prints the heading, the first time, and the rows since the last time. A long table is
    /// printed in parts, each at least as wide as the one before. A table without headings
    /// has none.
    pub(crate) fn print(&mut self) -> Result<(), Failure> {
        let mut rows = std::mem::take(&mut self.rows);
        if self.widths.is_empty() {
            self.widths = vec![0; self.columns.len()];
            if self.columns.iter().any(|(name, _)| !name.is_empty()) {
                let style = Style::new().bold();
                let heading = self.columns.iter().map(|(name, _)| Cell { style, ..(*name).into() });
                rows.insert(0, heading.collect());
            }
        }
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        rows.iter().try_for_each(|row| out::line(self.line(row)))
    }

    /// Nothing follows the last text of a line.
    fn line(&self, row: &[Cell]) -> String {
        let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or_default();
        let mut line = String::new();
        let columns = self.columns.iter().zip(&self.widths).zip(row).enumerate().take(last + 1);
        for (at, (((_, side), width), cell)) in columns {
            let Cell { text, style } = cell;
            let space = " ".repeat(width.saturating_sub(cell.width()));
            let gap = if at == 0 { "" } else { GAP };
            let styled = format!("{style}{text}{style:#}");
            line += gap;
            line += &match side {
                Side::Right => space + &styled,
                Side::Left if at == last => styled,
                Side::Left => styled + &space,
            };
        }
        line
    }
}

impl Cell {
    /// In letters: what is printed here is close to ASCII.
    fn width(&self) -> usize {
        self.text.chars().count()
    }
}
