//! Instruction counts that were committed, and whether a kernel still keeps to them. The file has lines of NAME and a count, and a
//! line `# compiler: ` with the compiler that made the kernel: another one makes other counts.

use std::collections::HashMap;
use std::fmt::Write;

use crate::measurement::{Boot, parse_goals};

/// What a count may grow by: more than it varies from boot to boot.
const GROWTH_MAX: f64 = 0.02;
const COMPILER: &str = "# compiler: ";

/// What came of a comparison.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing grew; the text says what shrank enough to be committed.
    Kept(String),
    /// It says what grew.
    Grown(String),
    /// The counts are those of another compiler.
    OtherCompiler(String),
}

/// The least of several boots. Where the program and its memory lie differs from boot to boot, and with it what some rows take.
pub(crate) fn least(boots: impl IntoIterator<Item = Boot>) -> Boot {
    let mut least = Boot::new();
    for (name, figure) in boots.into_iter().flatten() {
        match least.iter_mut().find(|(known, _)| *known == name) {
            None => least.push((name, figure)),
            Some((_, known)) => {
                if known.is_none_or(|known| figure.is_some_and(|figure| figure.least < known.least)) {
                    *known = figure;
                }
            }
        }
    }
    least
}

/// The counts of a boot, to be committed.
pub(crate) fn to_commit(boot: &Boot, compiler: &str) -> String {
    let mut text = format!(
        "# Instructions of one operation on Nacre, one processor, counted as docs/bench tells: what `make bench-check` and the tests \
         hold\n# the kernel to. Made by `make bench-update`.\n{COMPILER}{compiler}\n"
    );
    for (name, figure) in boot {
        if let Some(figure) = figure {
            let _ = writeln!(text, "{name} {:.1}", figure.least);
        }
    }
    text
}

/// Compares a boot with the committed counts.
pub(crate) fn compare(boot: &Boot, committed: &str, compiler: &str) -> Result<Verdict, String> {
    let old_compiler = committed.lines().find_map(|line| line.strip_prefix(COMPILER)).unwrap_or_default();
    if old_compiler != compiler {
        return Ok(Verdict::OtherCompiler(format!(
            "the committed counts are those of {old_compiler:?}, and this is {compiler:?}"
        )));
    }
    let old = parse_goals(committed)?;
    let new: HashMap<&str, f64> =
        boot.iter().filter_map(|(name, figure)| Some((name.as_str(), (*figure)?.least))).collect();
    let (mut grown, mut shrunk) = (String::new(), String::new());
    let mut names: Vec<&String> = old.keys().collect();
    names.sort_unstable();
    for name in names {
        let before = old[name];
        let Some(after) = new.get(name.as_str()).copied() else {
            let _ = writeln!(grown, "  {name}: {before:.1}, and now it cannot be done");
            continue;
        };
        let growth = (after - before) / before;
        let list = match growth {
            _ if growth > GROWTH_MAX => &mut grown,
            _ if growth < -GROWTH_MAX => &mut shrunk,
            _ => continue,
        };
        let _ = writeln!(list, "  {name}: {before:.1} instructions, now {after:.1} ({:+.1}%)", growth * 100.0);
    }
    for (name, _) in boot.iter().filter(|(name, figure)| figure.is_some() && !old.contains_key(name)) {
        let _ = writeln!(shrunk, "  {name}: not committed yet");
    }
    Ok(if grown.is_empty() { Verdict::Kept(shrunk) } else { Verdict::Grown(grown) })
}

/// A boot beside the committed counts, the goals and what Linux takes, as a table for a terminal.
pub(crate) fn table(boot: &Boot, committed: &str, goals: &str, linux: &Boot) -> Result<String, String> {
    let (committed, goals) = (parse_goals(committed)?, parse_goals(goals)?);
    let linux: HashMap<&str, f64> =
        linux.iter().filter_map(|(name, figure)| Some((name.as_str(), (*figure)?.least))).collect();
    let cell = |value: Option<&f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
    let mut text = format!("{:32} {:>12} {:>12} {:>12} {:>12}\n", "", "instructions", "committed", "goal", "Linux");
    for (name, figure) in boot {
        let Some(figure) = figure else { continue };
        let (committed, goal, linux) = (committed.get(name), goals.get(name), linux.get(name.as_str()));
        let least = figure.least;
        let _ = writeln!(
            text,
            "{name:32} {least:12.1} {:>12} {:>12} {:>12}",
            committed.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}")),
            cell(goal),
            cell(linux)
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::parse_boot;

    const COMMITTED: &str = "# compiler: rustc 1\na 100.0\nb 50.0\n";

    fn boot(text: &str) -> Boot {
        parse_boot(&format!("{text}end\n")).expect("these are rows")
    }

    #[test]
    fn growth_beyond_the_noise_is_told() {
        let verdict = compare(&boot("row a 103.0 1 1\nrow b 50.9 1 1\n"), COMMITTED, "rustc 1");
        assert_eq!(verdict, Ok(Verdict::Grown("  a: 100.0 instructions, now 103.0 (+3.0%)\n".to_owned())));
        let verdict = compare(&boot("row a 102.0 1 1\nrow b 40 1 1\nrow c 1 1 1\n"), COMMITTED, "rustc 1");
        let kept = "  b: 50.0 instructions, now 40.0 (-20.0%)\n  c: not committed yet\n";
        assert_eq!(verdict, Ok(Verdict::Kept(kept.to_owned())));
    }

    #[test]
    fn the_least_of_several_boots_counts() {
        let all =
            least([boot("row a 5 5 1\nrow b - none\n"), boot("row a 4 9 1\nrow b 7 7 1\n"), boot("row a 6 6 1\n")]);
        let figures: Vec<_> =
            all.iter().map(|(name, figure)| (name.as_str(), figure.map(|figure| figure.least))).collect();
        assert_eq!(figures, [("a", Some(4.0)), ("b", Some(7.0))]);
    }

    #[test]
    fn what_cannot_be_done_any_more_has_grown() {
        let verdict = compare(&boot("row a 100 1 1\nrow b - No such call\n"), COMMITTED, "rustc 1");
        assert!(matches!(verdict, Ok(Verdict::Grown(text)) if text.contains("b: 50.0")));
    }

    #[test]
    fn counts_of_another_compiler_say_nothing() {
        let verdict = compare(&boot("row a 900 1 1\n"), COMMITTED, "rustc 2");
        assert!(matches!(verdict, Ok(Verdict::OtherCompiler(_))));
        let boot = boot("row a 100.04 1 1\nrow b - none\n");
        let committed = to_commit(&boot, "rustc 2");
        assert!(committed.ends_with("# compiler: rustc 2\na 100.0\n"), "{committed}");
        assert_eq!(compare(&boot, &committed, "rustc 2"), Ok(Verdict::Kept(String::new())));
    }

    #[test]
    fn rows_stand_beside_what_they_are_measured_by() {
        let linux = boot("row a 325 325 1\n");
        let text = table(&boot("row a 90 1 1\n"), COMMITTED, "a 60\n", &linux).expect("all are figures");
        let words: Vec<&str> = text.lines().last().unwrap_or_default().split_whitespace().collect();
        assert_eq!(words, ["a", "90.0", "100.0", "60", "325"]);
    }
}
