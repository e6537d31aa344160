//! The picture: one bar a figure, drawn so that further right is better for each of them. The
//! goal is the same line for all, where there is one, or else the floor is.

use std::fmt::Write as _;

use crate::bench::{Row, median};
use crate::figures::{Better, FIGURES, Figure, Verdict};

const NAMES: f64 = 150.0;
const WIDTH: f64 = 860.0;
/// Where the line of the goals is.
const GOAL: f64 = 560.0;
/// Where the longest bar ends.
const LONGEST: f64 = 690.0;
const TOP: f64 = 60.0;
const LINE: f64 = 26.0;
const BAR: f64 = 14.0;

/// The whole picture.
pub(super) fn draw(rows: &[Row]) -> String {
    let shown: Vec<_> = FIGURES
        .iter()
        .filter_map(|figure| Some((figure, rows.iter().find(|row| row.name == figure.name)?)))
        .collect();
    let lines = shown.len().to_string().parse::<f64>().unwrap_or_default();
    let height = TOP + lines * LINE + 14.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" font-size=\"13\" \
         font-family=\"system-ui, sans-serif\">\n\
         <title>Every figure beside its floor and its goal</title>\n{STYLE}\n\
         <rect class=\"page\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n\
         <text class=\"text\" x=\"14\" y=\"24\" font-size=\"15\" font-weight=\"600\">\
         Further right is better</text>\n{LEGEND}\
         <path class=\"goal\" d=\"M{GOAL} {} V{}\"/>\n",
        TOP - 6.0,
        height - 10.0
    );
    let mut y = TOP;
    for (figure, row) in shown {
        // Writing to a string does not fail.
        write!(text, "{}", bar(figure, median(&row.values), y)).unwrap_or_default();
        y += LINE;
    }
    text + "</svg>\n"
}

fn bar(figure: &Figure, value: f64, y: f64) -> String {
    let middle = y + LINE / 2.0;
    let (top, foot) = (middle - BAR / 2.0, middle + 4.5);
    let verdict = figure.verdict(value);
    let bar = value.is_finite().then(|| {
        let (class, long) = (class(verdict), place(figure, value) - NAMES);
        format!(
            "<rect class=\"{class}\" x=\"{NAMES}\" y=\"{top}\" width=\"{long:.1}\" \
             height=\"{BAR}\" rx=\"2\"/>\n"
        )
    });
    let floor = figure.floor.map(|floor| {
        let (x, from, to) = (place(figure, floor), top - 3.0, top + BAR + 3.0);
        format!("<path class=\"floor\" d=\"M{x:.1} {from:.1} V{to:.1}\"/>\n")
    });
    let said = figure.written(value);
    format!(
        "<text class=\"text\" x=\"{}\" y=\"{foot}\" text-anchor=\"end\">{}</text>\n{}{}\
         <text class=\"text\" x=\"{}\" y=\"{foot}\">{said}\
         <tspan class=\"dim\" dx=\"8\">{}</tspan></text>\n",
        NAMES - 8.0,
        figure.name,
        bar.unwrap_or_default(),
        floor.unwrap_or_default(),
        LONGEST + 14.0,
        verdict.word()
    )
}

/// How far right a value is.
fn place(figure: &Figure, value: f64) -> f64 {
    let whole = figure.goal.or(figure.floor).unwrap_or(1.0);
    let part = match figure.better {
        Better::More => value / whole,
        Better::Less => whole / value,
    };
    (NAMES + part * (GOAL - NAMES)).clamp(NAMES, LONGEST)
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Goal | Verdict::Only => "reached",
        Verdict::Floor => "between",
        Verdict::Missed | Verdict::Unmeasured => "missed",
    }
}

const LEGEND: &str = "\
<g transform=\"translate(14 36)\">\
<rect class=\"reached\" width=\"12\" height=\"12\" rx=\"2\"/>\
<text class=\"dim\" x=\"18\" y=\"10.5\">reached</text>\
<rect class=\"between\" x=\"112\" width=\"12\" height=\"12\" rx=\"2\"/>\
<text class=\"dim\" x=\"130\" y=\"10.5\">floor reached</text>\
<rect class=\"missed\" x=\"226\" width=\"12\" height=\"12\" rx=\"2\"/>\
<text class=\"dim\" x=\"244\" y=\"10.5\">missed</text>\
<path class=\"floor\" d=\"M306 -2 V14\"/>\
<text class=\"dim\" x=\"314\" y=\"10.5\">floor</text>\
<path class=\"goal\" d=\"M362 -2 V14\"/>\
<text class=\"dim\" x=\"370\" y=\"10.5\">goal (the floor, where there is no goal)</text>\
</g>\n";

const STYLE: &str = "<style>\
.page{fill:#fff}.text{fill:#1f2328}.dim{fill:#59636e}\
.reached{fill:#2a8a4a}.between{fill:#c98a12}.missed{fill:#cc3d3d}\
.floor{stroke:#1f2328;stroke-width:2;fill:none}\
.goal{stroke:#59636e;stroke-width:1.5;stroke-dasharray:4 3;fill:none}\
@media (prefers-color-scheme:dark){\
.page{fill:#0d1117}.text{fill:#f0f6fc}.dim{fill:#9198a1}\
.reached{fill:#3fb060}.between{fill:#d9a032}.missed{fill:#e5534b}\
.floor{stroke:#f0f6fc}.goal{stroke:#9198a1}}\
</style>";
