//! A chart of the instructions as an SVG file: a group of bars for each row that has a goal, on a logarithmic scale, and the goal
//! as a line across its group.

use std::fmt::Write;

use crate::measurement::{Results, Row, SYSTEMS};

/// In the order of `SYSTEMS`: Linux is grey, ours are shades of one colour.
const COLOURS: [&str; SYSTEMS.len()] = ["#d0d0d0", "#9a9a9a", "#8fb8de", "#3f7fbf", "#1b4f8a"];
const GOAL_COLOUR: &str = "#d1495b";
const WIDTH: f64 = 960.0;
/// Where the names of rows end and bars begin.
const LEFT: f64 = 210.0;
/// Kept free for the figures behind the bars.
const RIGHT: f64 = 90.0;
const TOP: f64 = 84.0;
const BAR: f64 = 9.0;
const GAP: f64 = 9.0;
/// Fewer instructions than this have no length.
const SCALE_START: f64 = 10.0;

/// The chart, as a file.
pub(crate) fn svg(results: &Results) -> String {
    let rows: Vec<&Row> =
        results.tables.first().into_iter().flatten().filter(|row| results.goals.contains_key(&row.name)).collect();
    let systems: Vec<usize> =
        (0..SYSTEMS.len()).filter(|system| rows.iter().any(|row| row.figures[*system].is_some())).collect();
    let figures = rows.iter().flat_map(|row| row.figures.iter().flatten()).map(|figure| figure.least);
    let scale = Scale::up_to(figures.fold(SCALE_START * 10.0, f64::max));
    let group = BAR * as_f64(systems.len()) + GAP;
    let bottom = TOP + group * as_f64(rows.len());
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {:.0}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"16\" font-weight=\"bold\">Instructions per operation</text>\n\
         <text x=\"12\" y=\"42\" fill=\"#555\">one processor, logarithmic scale: less is better</text>",
        bottom + 28.0
    );
    legend(&mut out, &systems);
    for power in 0..=scale.decades {
        let value = SCALE_START * 10_f64.powi(power);
        let x = scale.x(value);
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"#e4e4e4\"/>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#777\">{}</text>",
            bottom + 15.0,
            short(value)
        );
    }
    for (index, row) in rows.iter().enumerate() {
        let y = TOP + group * as_f64(index) + GAP / 2.0;
        draw_row(&mut out, row, &systems, &scale, y, results.goals.get(&row.name).copied());
    }
    out.push_str("</svg>\n");
    out
}

fn legend(out: &mut String, systems: &[usize]) {
    let mut x = LEFT;
    for system in systems {
        let (colour, title) = (COLOURS[*system], SYSTEMS[*system].1);
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"54\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"64\">{title}</text>",
            x + 17.0
        );
        x += 40.0 + 6.2 * as_f64(title.len());
    }
    let _ = writeln!(
        out,
        "<line x1=\"{0:.1}\" y1=\"52\" x2=\"{0:.1}\" y2=\"68\" stroke=\"{GOAL_COLOUR}\" stroke-width=\"2\"/>\
         <text x=\"{1:.1}\" y=\"64\">goal</text>",
        x + 4.0,
        x + 12.0
    );
}

fn draw_row(out: &mut String, row: &Row, systems: &[usize], scale: &Scale, y: f64, goal: Option<f64>) {
    let height = BAR * as_f64(systems.len());
    let name = row.name.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
        LEFT - 8.0,
        y + height / 2.0 + 4.0
    );
    for (place, system) in systems.iter().enumerate() {
        let top = y + BAR * as_f64(place);
        let Some(figure) = row.figures[*system] else { continue };
        let end = scale.x(figure.least);
        let _ = writeln!(
            out,
            "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"9\" fill=\"#333\">{}</text>",
            (end - LEFT).max(1.0),
            BAR - 1.0,
            COLOURS[*system],
            end + 4.0,
            top + BAR - 1.5,
            short(figure.least)
        );
    }
    if let Some(goal) = goal {
        let x = scale.x(goal);
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"{GOAL_COLOUR}\" stroke-width=\"2\"/>",
            y - 2.0,
            y + height + 1.0
        );
    }
}

/// From instructions to places.
struct Scale {
    decades: i32,
}

impl Scale {
    /// One that has room for `largest`.
    fn up_to(largest: f64) -> Self {
        let decades = (1..9).find(|power| SCALE_START * 10_f64.powi(*power) >= largest).unwrap_or(9);
        Self { decades }
    }

    fn x(&self, value: f64) -> f64 {
        let part = (value / SCALE_START).max(1.0).log10() / f64::from(self.decades);
        LEFT + part * (WIDTH - LEFT - RIGHT)
    }
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// A figure of three or four digits.
fn short(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{:.3} M", value / 1e6).replace(".000", ""),
        _ if value >= 1e5 => format!("{:.0} k", value / 1e3),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::measurement::Figure;

    #[test]
    fn rows_with_a_goal_have_bars() {
        let figure = |least| Some(Figure { least, median: least, spread: (least, least) });
        let row =
            |name: &str| Row { name: name.to_owned(), figures: [None, figure(1000.0), figure(100.0), None, None] };
        let results = Results {
            tables: vec![vec![row("a"), row("without")]],
            whole: Vec::new(),
            goals: HashMap::from([("a".to_owned(), 50.0)]),
            notes: Vec::new(),
            rounds: 1,
        };
        let chart = svg(&results);
        assert!(chart.contains(">a</text>") && !chart.contains("without"));
        assert_eq!(chart.matches("height=\"8.0\"").count(), 2, "{chart}");
        assert!(chart.contains("Nacre, trapped") && !chart.contains("rewritten"));
        // Half of two decades is the middle.
        assert!(chart.contains(&format!("width=\"{:.1}\"", (WIDTH - LEFT - RIGHT) / 2.0)), "{chart}");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [55.4, 17_560.0, 464_591.0, 22_413_969.0, 1e6].map(short),
            ["55", "17560", "465 k", "22.414 M", "1 M"]
        );
    }
}
