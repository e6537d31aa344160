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
}

/// One piece of text; how it is coloured does not change how wide it is.
#[derive(Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
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
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it.
    pub(crate) fn print(&self) -> Result<(), Failure> {
        let bold = Style::new().bold();
        let heading = self.columns.iter().map(|(name, _)| Cell { style: bold, ..(*name).into() });
        let heading: Vec<Cell> = heading.collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let rows = self.rows.iter().chain(std::iter::once(&heading));
                rows.filter_map(|row| row.get(at)).map(Cell::width).max().unwrap_or_default()
            })
            .collect();
        for row in std::iter::once(&heading).chain(&self.rows) {
            out::line(self.line(row, &widths))?;
        }
        Ok(())
    }

    /// Nothing follows the last text of a line.
    fn line(&self, row: &[Cell], widths: &[usize]) -> String {
        let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or_default();
        let mut line = String::new();
        let columns = self.columns.iter().zip(widths).zip(row).enumerate().take(last + 1);
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
