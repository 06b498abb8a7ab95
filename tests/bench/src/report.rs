//! Tables of the results, for people and for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::measurement::{Figure, KINDS, Results, Row, SYSTEMS};

/// docs/FIGURES.md.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = String::from("# Figures\n\n");
    let _ = writeln!(
        text,
        "Made by `make bench`: the same static program, in turn on Linux 6.1 (Debian's cloud kernel) and on Nacre, both in \
         QEMU with TCG,\nmachine microvm, processor `max,-erms`. Instructions are counted by `-icount shift=0,sleep=off` and \
         repeat within a percent; times are\nof whatever machine this was, {} boots of each system in turn: the least of \
         all, and the median of the boots' medians.",
        results.rounds
    );
    for note in &results.notes {
        let _ = writeln!(text, "\n{note}");
    }
    for ((kind, title), rows) in KINDS.iter().zip(&results.tables) {
        if rows.is_empty() {
            continue;
        }
        if *kind == "instructions" {
            let _ = writeln!(text, "\n| {title} | Linux | Nacre | ratio | goal |\n|---|---|---|---|---|");
            for row in rows {
                let [linux, nacre] = row.figures.map(|figure| figure.map(|figure| figure.least));
                let goal = results.goals.get(&row.name).map_or(String::new(), f64::to_string);
                let (linux_text, nacre_text, ratio) = (number(linux), number(nacre), ratio(linux, nacre));
                let _ = writeln!(text, "| {} | {linux_text} | {nacre_text} | {ratio} | {goal} |", row.name);
            }
        } else {
            let _ = writeln!(
                text,
                "\n| {title} | Linux least | Nacre least | ratio | Linux median | Nacre median | ratio |\n\
                 |---|---|---|---|---|---|---|"
            );
            for row in rows {
                let cells: String = [|figure: Figure| figure.least, |figure: Figure| figure.median]
                    .iter()
                    .map(|part| {
                        let [linux, nacre] = row.figures.map(|figure| figure.map(part));
                        format!(" {} | {} | {} |", number(linux), number(nacre), ratio(linux, nacre))
                    })
                    .collect();
                let _ = writeln!(text, "| {} |{cells}", row.name);
            }
        }
    }
    text.push_str("\n| whole system | Linux | Nacre |\n|---|---|---|\n");
    for whole in &results.whole {
        let [linux, nacre] = &whole.figures;
        let _ = writeln!(text, "| {} | {linux} | {nacre} |", whole.name);
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
    Value::Object(tables)
}

fn row_json(row: &Row, results: &Results) -> Value {
    let mut object = Map::new();
    for (system, figure) in SYSTEMS.iter().zip(row.figures) {
        let value = figure.map(|figure| json!({ "least": figure.least, "median": figure.median }));
        object.insert((*system).to_owned(), json!(value));
    }
    object.insert("goal".to_owned(), json!(results.goals.get(&row.name)));
    Value::Object(object)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
}

fn ratio(linux: Option<f64>, nacre: Option<f64>) -> String {
    match (linux, nacre) {
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
        let figure = |least, median| Some(Figure { least, median });
        Results {
            tables: vec![
                vec![Row { name: "getppid".to_owned(), figures: [figure(325.2, 326.0), figure(55.0, 55.0)] }],
                vec![Row { name: "yield".to_owned(), figures: [figure(10.0, 20.0), None] }],
                Vec::new(),
            ],
            whole: vec![Whole { name: "boot".to_owned(), figures: [String::new(), "63".to_owned()] }],
            goals: HashMap::from([("getppid".to_owned(), 60.0)]),
            notes: vec!["Take care.".to_owned()],
            rounds: 3,
        }
    }

    #[test]
    fn tables_have_a_line_a_row() {
        let text = markdown(&results());
        assert!(text.contains("\n| getppid | 325 | 55 | 0.17 | 60 |\n"), "{text}");
        assert!(text.contains("\n| yield | 10 | - | - | 20 | - | - |\n"), "{text}");
        assert!(text.contains("\n| boot |  | 63 |\n"), "{text}");
        assert!(text.contains("\nTake care.\n"));
        assert!(!text.contains("two processors"), "an empty table is left out");
    }

    #[test]
    fn programs_get_numbers() {
        let value = json(&results());
        assert_eq!(value["instructions"]["getppid"]["nacre"]["least"], 55.0);
        assert_eq!(value["instructions"]["getppid"]["goal"], 60.0);
        assert_eq!(value["ns"]["yield"]["nacre"], Value::Null);
        assert_eq!(value["system"]["boot"]["nacre"], 63.0);
    }
}
