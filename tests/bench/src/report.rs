//! Tables of the results, for people and for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::measurement::{Figure, KINDS, LINUX, Results, Row, SYSTEMS};

/// Before the name of a row, what the program takes that calls the library of the shim.
const CALLED: &str = "called_";

/// docs/bench/README.md. `chart` is the file beside it that shows the instructions; `closing` what a person has to say.
pub(crate) fn markdown(results: &Results, chart: &str, closing: &str) -> String {
    let mut text = String::from("# Figures\n\n");
    let _ = writeln!(
        text,
        "Made by `make bench`: the same static program on this machine's Linux (native), on Linux 6.1 (Debian's cloud kernel, \
         `mitigations=off`)\nand on Nacre: with all system calls trapped, with call sites rewritten, and linked with the shim. The \
         guests run in turn in QEMU with TCG,\nmachine microvm, processor `max,-erms`. Instructions are counted by `-icount \
         shift=0,sleep=off` and repeat within a percent. Times are of\nwhatever machine this was, {} boots of each system in turn: \
         the least of all, the median of the boots' medians, and their spread. Compare\nonly figures of one table. Ratios are \
         what a program gets that is not linked with the shim, to Linux's.",
        results.rounds
    );
    for note in &results.notes {
        let _ = writeln!(text, "\n{note}");
    }
    let _ = writeln!(text, "\n![Instructions per operation]({chart})");
    for ((kind, title), rows) in KINDS.iter().zip(&results.tables) {
        if !rows.is_empty() {
            table(&mut text, *kind == "instructions", title, rows, results);
        }
    }
    text.push_str("\n| whole system | Linux | Nacre | goal |\n|---|---|---|---|\n");
    for whole in &results.whole {
        let [linux, nacre] = &whole.figures;
        let _ = writeln!(text, "| {} | {linux} | {nacre} | {} |", whole.name, whole.goal);
    }
    if !closing.is_empty() {
        let _ = write!(text, "\n{closing}");
    }
    text
}

/// docs/DISK-FIGURES.md.
pub(crate) fn disk_markdown(results: &Results) -> String {
    let mut text = String::from("# Figures of disks\n\n");
    let _ = writeln!(
        text,
        "Made by `make bench-disk`: the same static program (tests/bench/disk) on ext4 over virtio-blk, on Linux 6.1 (Debian's cloud \
         kernel,\n`mitigations=off`) and on Nacre, each with a new disk of the same make. The guests run in turn in QEMU with TCG, \
         machine q35, one\nprocessor, 512 MB. The disk is a file in the host's memory.\n\
         Times are of whatever machine this was, {} boots of each system in turn: the least of all, the median of \
         the boots' medians, and their\nspread.\n\nReads in order are of a file that was put out of memory; reads at random go past \
         the cache (`O_DIRECT`). Writes in order and at random\nend with one `fsync`; `write_4k_fdatasync` and `append_4k_fsync` make \
         each write stable. Small files are 10,000 in 100 folders.",
        results.rounds
    );
    for note in &results.notes {
        let _ = writeln!(text, "\n{note}");
    }
    for ((kind, title), rows) in KINDS.iter().zip(&results.tables) {
        if !rows.is_empty() {
            table(&mut text, *kind == "instructions", title, rows, results);
        }
    }
    text
}

/// One kind of boots; systems that did not run are left out.
fn table(text: &mut String, are_instructions: bool, title: &str, rows: &[Row], results: &Results) {
    let systems: Vec<usize> =
        (0..SYSTEMS.len()).filter(|system| rows.iter().any(|row| row.figures[*system].is_some())).collect();
    let _ = write!(text, "\n| {title} |");
    for system in &systems {
        let _ = write!(text, " {} |", SYSTEMS[*system].1);
    }
    text.push_str(if are_instructions { " ratio | goal |\n|---|" } else { " ratio, least | ratio, median |\n|---|" });
    let _ = writeln!(text, "{}", "---|".repeat(systems.len() + 2));
    for row in rows {
        let _ = write!(text, "| {} |", row.name);
        for system in &systems {
            let figure = row.figures[*system];
            let cell = if are_instructions { number(figure.map(|figure| figure.least)) } else { time(figure) };
            let _ = write!(text, " {cell} |");
        }
        let (linux, ours) = (row.figures[LINUX], row.ours());
        let _ = write!(text, " {} |", ratio(linux, ours, |figure| figure.least));
        let last = if are_instructions { goals(row, results) } else { ratio(linux, ours, |figure| figure.median) };
        let _ = writeln!(text, " {last} |");
    }
}

/// What a row may take, and what by call, where that is a goal of its own.
fn goals(row: &Row, results: &Results) -> String {
    let by_call = results.goals.get(&format!("{CALLED}{}", row.name));
    let mut text = results.goals.get(&row.name).map_or(String::new(), f64::to_string);
    if let Some(by_call) = by_call {
        let _ = write!(text, ", by call {by_call}");
    }
    text
}

/// The same for programs.
pub(crate) fn json(results: &Results) -> Value {
    let mut tables = Map::new();
    for ((kind, _), rows) in KINDS.iter().zip(&results.tables) {
        let rows = rows.iter().map(|row| (row.name.clone(), row_json(row, results))).collect();
        tables.insert((*kind).to_owned(), Value::Object(rows));
    }
    let whole = results.whole.iter().map(|whole| {
        let [linux, nacre] = &whole.figures;
        (whole.name.clone(), json!({ "linux": linux.parse::<f64>().ok(), "nacre": nacre.parse::<f64>().ok() }))
    });
    tables.insert("system".to_owned(), Value::Object(whole.collect()));
    tables.insert("notes".to_owned(), json!(results.notes));
    tables.insert("rounds".to_owned(), json!(results.rounds));
    Value::Object(tables)
}

fn row_json(row: &Row, results: &Results) -> Value {
    let mut object = Map::new();
    for ((system, _), figure) in SYSTEMS.iter().zip(row.figures) {
        if let Some(Figure { least, median, spread: (low, high) }) = figure {
            let value = json!({ "least": least, "median": median, "median_least": low, "median_largest": high });
            object.insert((*system).to_owned(), value);
        }
    }
    for (key, name) in [("goal", row.name.clone()), ("goal_by_call", format!("{CALLED}{}", row.name))] {
        if let Some(goal) = results.goals.get(&name) {
            object.insert(key.to_owned(), json!(goal));
        }
    }
    Value::Object(object)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
}

fn time(figure: Option<Figure>) -> String {
    let Some(Figure { least, median, spread: (low, high) }) = figure else { return "-".to_owned() };
    let spread = if low < high { format!(" ({low:.0} to {high:.0})") } else { String::new() };
    format!("{least:.0}, {median:.0}{spread}")
}

fn ratio(linux: Option<Figure>, nacre: Option<Figure>, part: impl Fn(Figure) -> f64) -> String {
    match (linux.map(&part), nacre.map(&part)) {
        (Some(linux), Some(nacre)) if linux > 0.0 => format!("{:.2}", nacre / linux),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::measurement::Whole;

    fn results() -> Results {
        let figure = |least, median| Some(Figure { least, median, spread: (median, median + 1.0) });
        let row = |name: &str, linux, trapped, rewritten| Row {
            name: name.to_owned(),
            figures: [None, linux, trapped, rewritten, None],
        };
        Results {
            tables: vec![
                vec![row("getppid", figure(325.2, 326.0), figure(55.0, 55.0), None)],
                vec![
                    row("yield", figure(10.0, 20.0), None, None),
                    row("read", figure(10.0, 20.0), figure(5.0, 5.0), figure(4.0, 2.0)),
                ],
                Vec::new(),
            ],
            whole: vec![Whole {
                name: "boot".to_owned(),
                figures: [String::new(), "63".to_owned()],
                goal: "60".to_owned(),
            }],
            goals: HashMap::from([("getppid".to_owned(), 60.0), ("called_getppid".to_owned(), 20.0)]),
            notes: vec!["Take care.".to_owned()],
            rounds: 3,
        }
    }

    #[test]
    fn tables_have_a_line_a_row() {
        let text = markdown(&results(), "chart.svg", "More could be done.\n");
        assert!(text.contains(" | Linux | Nacre, trapped | ratio | goal |\n|---|---|---|---|---|\n"), "{text}");
        assert!(text.contains("\n| getppid | 325 | 55 | 0.17 | 60, by call 20 |\n"), "{text}");
        assert!(text.contains("\n| yield | 10, 20 (20 to 21) | - | - | - | - |\n"), "{text}");
        assert!(text.contains(" | 5, 5 (5 to 6) | 4, 2 (2 to 3) | 0.40 | 0.10 |\n"), "{text}");
        assert!(text.contains("\n| boot |  | 63 | 60 |\n"), "{text}");
        assert!(text.contains("\nTake care.\n") && text.contains("(chart.svg)"));
        assert!(text.ends_with("\n\nMore could be done.\n"));
        assert!(!text.contains("two processors"), "an empty table is left out");
    }

    #[test]
    fn programs_get_numbers() {
        let value = json(&results());
        assert_eq!(value["instructions"]["getppid"]["trapped"]["least"], 55.0);
        assert_eq!(value["instructions"]["getppid"]["goal"], 60.0);
        assert_eq!(value["instructions"]["getppid"]["goal_by_call"], 20.0);
        assert_eq!(value["ns"]["read"]["linux"]["median_largest"], 21.0);
        assert_eq!(value["ns"]["yield"]["trapped"], Value::Null);
        assert_eq!(value["system"]["boot"]["nacre"], 63.0);
    }
}
