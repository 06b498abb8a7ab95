//! What `scripts/bench-net.sh` measured, as tables: files `SYSTEM.PROCESSORS.ROUND` hold lines of "row NAME VALUE", where more
//! is better unless the name ends in `_us`; `shares.SYSTEM` holds lines of "share NAME KERNEL PROGRAM", instructions a request.
//! `notes` holds what the reader must know.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::measurement::{self, parse_goals};

/// In the order of the columns.
const SYSTEMS: [&str; 3] = ["native", "linux", "nacre"];

/// The values of one row on one system, one for each round, in order.
type Values = Vec<f64>;

/// One row on all systems.
#[derive(Debug, Default)]
struct Row {
    name: String,
    /// In the order of `SYSTEMS`.
    values: [Values; 3],
}

/// What a request takes in each guest, in the order of `SYSTEMS`: instructions of the kernel and of the program.
#[derive(Debug, Default)]
struct Share {
    name: String,
    counts: [Option<(f64, f64)>; 3],
}

/// What of Linux's kernel a request may take of ours.
const KERNEL_SHARE_GOAL: f64 = 1.0 / 3.0;

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// The guests' number of processors, and the rows.
    tables: Vec<(u32, Vec<Row>)>,
    shares: Vec<Share>,
    goals: HashMap<String, f64>,
    notes: Vec<String>,
}

impl Results {
    /// Reads the files in `directory`, and the goals.
    pub(crate) fn read(directory: &Path, goals: &Path) -> Result<Self, String> {
        let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        let mut results = Self::default();
        let entries = fs::read_dir(directory).map_err(|error| failed(directory, error))?;
        // In the order of rounds, so that rows are in the order in which the script takes them.
        let names: BTreeSet<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        for name in names {
            let path = directory.join(&name);
            let text = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
            let name = name.to_string_lossy();
            let parts: Vec<&str> = name.split('.').collect();
            match *parts.as_slice() {
                ["notes"] => results.notes = text.lines().map(str::to_owned).collect(),
                ["shares", system] => {
                    if let Some(system) = SYSTEMS.iter().position(|known| *known == system) {
                        results.add_shares(system, &text)?;
                    }
                }
                [system, cpus, _] => {
                    let system = SYSTEMS.iter().position(|known| *known == system);
                    if let (Some(system), Ok(cpus)) = (system, cpus.parse()) {
                        results.add(system, cpus, &text)?;
                    }
                }
                _ => {}
            }
        }
        results.tables.sort_by_key(|(cpus, _)| *cpus);
        let text = fs::read_to_string(goals).map_err(|error| failed(goals, error))?;
        results.goals = parse_goals(&text)?;
        Ok(results)
    }

    fn add(&mut self, system: usize, cpus: u32, text: &str) -> Result<(), String> {
        let table = self.tables.iter().position(|(known, _)| *known == cpus).unwrap_or_else(|| {
            self.tables.push((cpus, Vec::new()));
            self.tables.len() - 1
        });
        let rows = &mut self.tables[table].1;
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let ["row", name, value] = *words.as_slice() else { return Err(format!("not a row: {line}")) };
            let value: f64 = value.parse().map_err(|_| format!("not a figure: {line}"))?;
            let row = rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
                rows.push(Row { name: name.to_owned(), ..Row::default() });
                rows.len() - 1
            });
            let values = &mut rows[row].values[system];
            let place = values.partition_point(|other| *other < value);
            values.insert(place, value);
        }
        Ok(())
    }

    fn add_shares(&mut self, system: usize, text: &str) -> Result<(), String> {
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let ["share", name, kernel, program] = *words.as_slice() else {
                return Err(format!("not a share: {line}"));
            };
            let number = |word: &str| word.parse::<f64>().map_err(|_| format!("not a figure: {line}"));
            let counts = (number(kernel)?, number(program)?);
            let share = self.shares.iter().position(|share| share.name == name).unwrap_or_else(|| {
                self.shares.push(Share { name: name.to_owned(), ..Share::default() });
                self.shares.len() - 1
            });
            self.shares[share].counts[system] = Some(counts);
        }
        Ok(())
    }

    fn rounds(&self) -> usize {
        let rows = self.tables.iter().flat_map(|(_, rows)| rows);
        rows.flat_map(|row| &row.values).map(Vec::len).max().unwrap_or(0)
    }
}

/// docs/NET-FIGURES.md. `closing` is what a person has to say.
pub(crate) fn markdown(results: &Results, closing: &str) -> String {
    let mut text = String::from("# Figures of the network\n\n");
    let _ = writeln!(
        text,
        "Made by `make bench-net`: the same static servers on this machine's Linux (native, over a pair of virtual interfaces), in a \
         Linux 6.1 guest\n(Debian's cloud kernel, `mitigations=off`) and on Nacre, in turn. The guests run in QEMU with TCG, machine \
         q35, 1 GB, virtio-net over TAP\nwithout vhost, and are loaded from this machine. Medians of up to {} rounds, with the least \
         and the largest in brackets. More is better but\nin rows of microseconds (`_us`); streams are bytes a second. The goals are \
         absolute, of one processor: compare the ratio elsewhere.",
        results.rounds()
    );
    for note in &results.notes {
        let _ = writeln!(text, "\n{note}");
    }
    for (cpus, rows) in &results.tables {
        let guests =
            if *cpus == 1 { "guests of one processor".to_owned() } else { format!("guests of {cpus} processors") };
        let _ =
            writeln!(text, "\n| {guests} | native | Linux | Nacre | Nacre / Linux | goal |\n|---|---|---|---|---|---|");
        for row in rows {
            let [native, linux, nacre] = &row.values;
            let goal = results.goals.get(&row.name).filter(|_| *cpus == 1);
            let goal = goal.map_or_else(String::new, |goal| short(*goal));
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {goal} |",
                row.name,
                cell(native),
                cell(linux),
                cell(nacre),
                ratio(linux, nacre)
            );
        }
    }
    shares_table(&mut text, &results.shares);
    if !closing.is_empty() {
        let _ = write!(text, "\n{closing}");
    }
    text
}

fn shares_table(text: &mut String, shares: &[Share]) {
    if shares.is_empty() {
        return;
    }
    text.push_str(
        "\nInstructions a request, counted by a plugin of QEMU (`tests/bench/plugins/shares.c`) in guests of one processor:\n\n\
         | instructions a request | Linux: kernel | program | Nacre: kernel | program | kernel, Nacre / Linux | goal |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for share in shares {
        let [_, linux, nacre] = share.counts;
        let cells = |counts: Option<(f64, f64)>| {
            counts.map_or_else(|| "- | -".to_owned(), |(kernel, program)| format!("{kernel:.0} | {program:.0}"))
        };
        let ratio = match (linux, nacre) {
            (Some((linux, _)), Some((nacre, _))) if linux > 0.0 => format!("{:.2}", nacre / linux),
            _ => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {ratio} | {KERNEL_SHARE_GOAL:.2} |",
            share.name,
            cells(linux),
            cells(nacre)
        );
    }
}

/// The same for programs.
pub(crate) fn json(results: &Results) -> Value {
    let mut tables = Map::new();
    for (cpus, rows) in &results.tables {
        let rows = rows.iter().map(|row| {
            let mut object = Map::new();
            for (system, values) in SYSTEMS.iter().zip(&row.values) {
                object.insert((*system).to_owned(), json!({ "median": median(values), "all": values }));
            }
            object.insert("goal".to_owned(), json!(results.goals.get(&row.name).filter(|_| *cpus == 1)));
            (row.name.clone(), Value::Object(object))
        });
        tables.insert(format!("processors_{cpus}"), Value::Object(rows.collect()));
    }
    let shares = results.shares.iter().map(|share| {
        let counts = SYSTEMS.iter().zip(share.counts).filter_map(|(system, counts)| {
            let (kernel, program) = counts?;
            Some(((*system).to_owned(), json!({ "kernel": kernel, "program": program })))
        });
        (share.name.clone(), Value::Object(counts.collect()))
    });
    tables.insert("instructions_per_request".to_owned(), Value::Object(shares.collect()));
    tables.insert("notes".to_owned(), json!(results.notes));
    Value::Object(tables)
}

fn median(values: &Values) -> Option<f64> {
    measurement::median(values)
}

fn cell(values: &Values) -> String {
    match (values.as_slice(), median(values)) {
        ([least, .., largest], Some(median)) => format!("{} ({} to {})", short(median), short(*least), short(*largest)),
        (_, Some(median)) => short(median),
        (_, None) => "-".to_owned(),
    }
}

fn ratio(linux: &Values, nacre: &Values) -> String {
    match (median(linux), median(nacre)) {
        (Some(linux), Some(nacre)) if linux > 0.0 => format!("{:.2}", nacre / linux),
        _ => "-".to_owned(),
    }
}

/// A figure of about four digits.
fn short(value: f64) -> String {
    match value {
        _ if value >= 1e9 => format!("{:.2} G", value / 1e9),
        _ if value >= 1e6 => format!("{:.0} M", value / 1e6),
        _ if value >= 1e5 => format!("{:.0} k", value / 1e3),
        _ if value >= 1e4 => format!("{:.1} k", value / 1e3),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_give_medians_and_spreads() {
        let mut results = Results { goals: HashMap::from([("rr".to_owned(), 9000.0)]), ..Results::default() };
        for (system, text) in
            [(1, "row rr 100\n"), (1, "row rr 300\n"), (1, "row rr 200\n"), (2, "row rr 400\nrow x_us 7\n")]
        {
            results.add(system, 1, text).unwrap();
        }
        results.add(2, 2, "row stream 123456789\n").unwrap();
        let text = markdown(&results, "More could be done.\n");
        assert!(text.contains("\n| rr | - | 200 (100 to 300) | 400 | 2.00 | 9000 |\n"), "{text}");
        assert!(text.contains("\n| x_us | - | - | 7 | - |  |\n"), "{text}");
        assert!(text.contains("\n| stream | - | - | 123 M | - |  |\n"), "{text}");
        let value = json(&results);
        assert_eq!(value["processors_1"]["rr"]["linux"]["median"], 200.0);
        assert_eq!(value["processors_1"]["rr"]["linux"]["all"][2], 300.0);
        assert_eq!(value["processors_1"]["rr"]["native"]["median"], Value::Null);
        assert_eq!(value["processors_1"]["rr"]["goal"], 9000.0);
        assert_eq!(value["processors_2"]["stream"]["goal"], Value::Null);
    }

    #[test]
    fn shares_stand_beside_each_other() {
        let mut results = Results::default();
        results.add_shares(1, "share get 9000 1000\n").unwrap();
        results.add_shares(2, "share get 2700 1010\nshare set 1 2\n").unwrap();
        let text = markdown(&results, "");
        assert!(text.contains("\n| get | 9000 | 1000 | 2700 | 1010 | 0.30 | 0.33 |\n"), "{text}");
        assert!(text.contains("\n| set | - | - | 1 | 2 | - | 0.33 |\n"), "{text}");
        assert_eq!(json(&results)["instructions_per_request"]["get"]["nacre"]["kernel"], 2700.0);
        assert!(results.add_shares(1, "share get 1\n").is_err());
    }

    #[test]
    fn other_lines_are_refused() {
        let mut results = Results::default();
        assert!(results.add(0, 1, "row a\n").is_err());
        assert!(results.add(0, 1, "row a b\n").is_err());
    }
}
