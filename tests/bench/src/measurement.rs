//! What the systems printed, as `program/main.c` describes it, gathered from the files of one run of the benchmark:
//! `SYSTEM.KIND.ROUND` holds the output of one boot, where the kind tells the unit and how many processors there were; `system`
//! holds lines of NAME, Linux's figure and ours.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Where the program runs, as it appears in file names, and the title of its column.
pub(crate) const SYSTEMS: [(&str, &str); SYSTEM_COUNT] = [
    ("native", "native"),
    ("linux", "Linux"),
    ("trapped", "Nacre, trapped"),
    ("rewritten", "Nacre, rewritten"),
    ("shim", "Nacre, by call"),
];
const SYSTEM_COUNT: usize = 5;
/// What others are compared with.
pub(crate) const LINUX: usize = 1;
/// How a user's program runs on Nacre: the last of these that was measured.
const OURS: [usize; 2] = [2, 3];

/// A kind of boots, as it appears in file names, and its title.
pub(crate) const KINDS: [(&str, &str); 3] = [
    ("instructions", "instructions per operation, one processor"),
    ("ns", "wall time per operation in ns, one processor"),
    ("ns2", "wall time per operation in ns, two processors"),
];

/// What one operation took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) least: f64,
    pub(crate) median: f64,
    /// The least and the largest median of a boot.
    pub(crate) spread: (f64, f64),
}

/// One operation on all systems.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// In the order of `SYSTEMS`; `None` where it cannot be done.
    pub(crate) figures: [Option<Figure>; SYSTEM_COUNT],
}

impl Row {
    /// What a user of Nacre gets.
    pub(crate) fn ours(&self) -> Option<Figure> {
        OURS.iter().rev().find_map(|system| self.figures[*system])
    }
}

/// A figure of the whole system.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Whole {
    pub(crate) name: String,
    /// In the order of `SYSTEMS`; empty where there is none.
    pub(crate) figures: [String; 2],
    /// What it is to be, in words; empty where nothing is asked.
    pub(crate) goal: String,
}

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Results {
    /// In the order of `KINDS`.
    pub(crate) tables: Vec<Vec<Row>>,
    pub(crate) whole: Vec<Whole>,
    /// How many instructions an operation may take.
    pub(crate) goals: HashMap<String, f64>,
    /// What the reader must know about how it was measured.
    pub(crate) notes: Vec<String>,
    /// The largest number of boots of one kind.
    pub(crate) rounds: usize,
}

impl Results {
    /// Reads the files in `directory`, and the goals: lines of NAME and a number.
    pub(crate) fn read(directory: &Path, goals: &Path) -> Result<Self, String> {
        let read = |path: &Path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
        let mut results = Self::of_boots(directory)?;
        results.whole = read(&directory.join("system"))?.lines().filter_map(parse_whole).collect();
        results.goals = parse_goals(&read(goals)?)?;
        Ok(results)
    }

    /// Reads what boots with a disk printed: without goals, and without figures of whole systems.
    pub(crate) fn of_disks(directory: &Path) -> Result<Self, String> {
        Self::of_boots(directory)
    }

    fn of_boots(directory: &Path) -> Result<Self, String> {
        let read = |path: &Path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
        let mut rounds = 0;
        let mut tables = Vec::new();
        for (kind, _) in KINDS {
            let mut boots = [const { Vec::new() }; SYSTEM_COUNT];
            for ((system, _), boots) in SYSTEMS.iter().zip(&mut boots) {
                for round in 1.. {
                    let path = directory.join(format!("{system}.{kind}.{round}"));
                    if !path.exists() {
                        break;
                    }
                    boots.push(parse_boot(&read(&path)?).map_err(|error| format!("{}: {error}", path.display()))?);
                }
                rounds = rounds.max(boots.len());
            }
            tables.push(combine(&boots));
        }
        let notes = match read(&directory.join("notes")) {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(_) => Vec::new(),
        };
        Ok(Self { tables, whole: Vec::new(), goals: HashMap::new(), notes, rounds })
    }
}

/// The rows of one boot, in order; `None` for what cannot be done.
pub(crate) type Boot = Vec<(String, Option<Figure>)>;

/// The rows of one boot's output. Other lines are a console's talk.
pub(crate) fn parse_boot(text: &str) -> Result<Boot, String> {
    let mut rows = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words.as_slice() {
            ["end"] => return Ok(rows),
            ["row", name, "-", ..] => rows.push((name.to_owned(), None)),
            ["row", name, least, median, _] => {
                let number = |word: &str| word.parse::<f64>().map_err(|_| format!("not a figure: {line}"));
                let (least, median) = (number(least)?, number(median)?);
                rows.push((name.to_owned(), Some(Figure { least, median, spread: (median, median) })));
            }
            _ => {}
        }
    }
    Err(match rows.last() {
        Some((name, _)) => format!("the benchmark did not end; its last row was {name}"),
        None => "the benchmark printed nothing".to_owned(),
    })
}

/// One row per operation: the least of all boots, and the median of their medians.
fn combine(boots: &[Vec<Boot>; SYSTEM_COUNT]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (system, boots) in boots.iter().enumerate() {
        let mut found: Vec<(&str, Vec<Figure>)> = Vec::new();
        for (name, figure) in boots.iter().flatten() {
            let index = found.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                found.push((name, Vec::new()));
                found.len() - 1
            });
            found[index].1.extend(*figure);
        }
        for (name, figures) in found {
            let index = rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
                rows.push(Row { name: name.to_owned(), figures: [None; SYSTEM_COUNT] });
                rows.len() - 1
            });
            rows[index].figures[system] = summarize(&figures);
        }
    }
    rows.retain(|row| row.figures.iter().any(Option::is_some));
    rows
}

fn summarize(figures: &[Figure]) -> Option<Figure> {
    let least = figures.iter().map(|figure| figure.least).min_by(f64::total_cmp)?;
    let mut medians: Vec<f64> = figures.iter().map(|figure| figure.median).collect();
    medians.sort_by(f64::total_cmp);
    Some(Figure { least, median: median(&medians)?, spread: (*medians.first()?, *medians.last()?) })
}

/// The middle of values in order, or the mean of both in the middle.
pub(crate) fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.get(sorted.len() / 2)?;
    let other = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*other, *middle))
}

fn parse_whole(line: &str) -> Option<Whole> {
    let mut parts = line.split('\t').map(str::to_owned);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut next = || parts.next().unwrap_or_default();
    Some(Whole { name, figures: [next(), next()], goal: next() })
}

/// Reads lines of NAME and a number.
pub(crate) fn parse_goals(text: &str) -> Result<HashMap<String, f64>, String> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let goal = line.split_once(' ').and_then(|(name, goal)| Some((name.to_owned(), goal.trim().parse().ok()?)));
            goal.ok_or_else(|| format!("not a goal: {line}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(least: f64, median: f64) -> Option<Figure> {
        Some(Figure { least, median, spread: (median, median) })
    }

    #[test]
    fn rows_are_read_among_other_talk() {
        let boot = parse_boot("[  0.1] hello\nstart 5\nrow a 1.5 2.0 100\r\nrow b - No such call\nend\nrow c 1 2 3\n");
        assert_eq!(boot, Ok(vec![("a".to_owned(), figure(1.5, 2.0)), ("b".to_owned(), None)]));
    }

    #[test]
    fn a_boot_that_died_is_an_error() {
        assert!(parse_boot("row a 1 2 3\n").is_err_and(|error| error.contains("last row was a")));
        assert!(parse_boot("").is_err());
        assert!(parse_boot("row a 1 x 3\nend\n").is_err());
    }

    #[test]
    fn boots_give_the_least_and_the_median_of_medians() {
        let boot = |least, median| vec![("a".to_owned(), figure(least, median)), ("absent".to_owned(), None)];
        let linux = vec![boot(3.0, 4.0), boot(1.0, 9.0), boot(2.0, 5.0)];
        let nacre = vec![vec![("b".to_owned(), figure(1.0, 1.0))]];
        let rows = combine(&[Vec::new(), linux, nacre, Vec::new(), Vec::new()]);
        let a = Figure { least: 1.0, median: 5.0, spread: (4.0, 9.0) };
        assert_eq!(
            rows,
            [
                Row { name: "a".to_owned(), figures: [None, Some(a), None, None, None] },
                Row { name: "b".to_owned(), figures: [None, None, figure(1.0, 1.0), None, None] },
            ]
        );
        assert_eq!(rows[1].ours(), figure(1.0, 1.0));
    }

    #[test]
    fn an_even_number_has_its_median_in_between() {
        assert_eq!(
            [&[][..], &[3.0], &[3.0, 5.0], &[1.0, 3.0, 9.0]].map(median),
            [None, Some(3.0), Some(4.0), Some(3.0)]
        );
    }

    #[test]
    fn goals_and_whole_figures_are_lines() {
        let goals = parse_goals("# a comment\ngetppid 60\n").expect("these are goals");
        assert_eq!(goals.get("getppid"), Some(&60.0));
        assert!(parse_goals("getppid fast").is_err());
        let whole = parse_whole("boot, ms\t\t63").expect("this is a figure");
        assert_eq!((whole.name.as_str(), whole.figures), ("boot, ms", [String::new(), "63".to_owned()]));
        assert!(whole.goal.is_empty() && parse_whole("boot\t1\t2\t3 ms").is_some_and(|whole| whole.goal == "3 ms"));
    }
}
