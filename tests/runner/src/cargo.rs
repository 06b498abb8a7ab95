//! The stages that are cargo's: the checks, the tests of all crates on the host, and the models of lock-free code.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{self, Input};
use crate::schedule::{Report, Selection, Verdict, say};
use crate::tools::project_root;

/// Cargo may have to build everything first.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1800);
/// The parts of `make check`.
const CHECKS: [&str; 5] = ["format", "lints", "kernel-lints", "layers", "kernel"];

/// Runs the parts of `make check` one by one.
pub(crate) fn check(selection: &Selection, report: &mut Report) {
    if !selection.wants_stage("check") {
        return;
    }
    for part in CHECKS.iter().filter(|part| selection.within("check").is_none_or(|asked| part.contains(asked))) {
        let start = Instant::now();
        let mut command = Command::new("make");
        command.args(["--no-print-directory", &format!("check-{part}")]).current_dir(project_root());
        let result = process::run(&mut command, &Input::Empty, CHECK_TIMEOUT).and_then(|output| match output.status {
            0 => Ok(Verdict::Passed),
            _ => Err(format!(
                "make check-{part} fails\n{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )),
        });
        report.note(&format!("check/{part}"), result, start.elapsed());
    }
}

/// Runs the tests of all crates.
pub(crate) fn host_tests(selection: &Selection, report: &mut Report) {
    let mut command = Command::new("cargo");
    command.args(["test", "--no-fail-fast", "--"]).args(selection.within("host"));
    count_tests("host", "running the tests of all crates", command, selection, report);
}

/// Runs the tests of lock-free code under every interleaving.
pub(crate) fn loom(selection: &Selection, report: &mut Report) {
    let mut command = Command::new("make");
    command.args(["--no-print-directory", "loom"]);
    count_tests("loom", "running the models of lock-free code", command, selection, report);
}

/// Runs a command that runs test harnesses, and counts their tests.
fn count_tests(stage: &str, announcement: &str, mut command: Command, selection: &Selection, report: &mut Report) {
    if !selection.wants_stage(stage) {
        return;
    }
    say(announcement);
    let child = command.current_dir(project_root()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        report.fail(stage, "the command could not be started");
        return;
    };
    let mut score = Score::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if let Some((name, output)) = score.read(&String::from_utf8_lossy(&line)) {
                report.fail(&format!("{stage}/{name}"), &output);
            }
        }
    }
    let is_success = child.wait().is_ok_and(|status| status.success());
    report.add(score.passed, score.ignored);
    if !is_success && score.failed == 0 {
        report.fail(stage, "it fails without a failed test: see above");
    }
    say(&format!("{stage}: {} passed, {} failed, {} ignored", score.passed, score.failed, score.ignored));
}

/// What the test harness has said so far.
#[derive(Debug, Default)]
struct Score {
    passed: usize,
    failed: usize,
    ignored: usize,
    /// The test whose output is being printed, and that output.
    current: Option<(String, String)>,
}

impl Score {
    /// Takes a line; returns a failed test and its output when that is complete.
    fn read(&mut self, line: &str) -> Option<(String, String)> {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += count_before(result, " passed");
            self.failed += count_before(result, " failed");
            self.ignored += count_before(result, " ignored");
            self.current.take()
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.split(" stdout ----").next()) {
            self.current.replace((name.to_owned(), String::new()))
        } else if line == "failures:" {
            self.current.take()
        } else {
            if let Some((_, output)) = &mut self.current {
                output.push_str(line);
                output.push('\n');
            }
            None
        }
    }
}

/// The number before a word, as in `3 passed; 1 failed`.
fn count_before(text: &str, word: &str) -> usize {
    let before = text.split(word).next().unwrap_or_default();
    before.rsplit(|letter: char| !letter.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harness_output_is_counted() {
        let mut score = Score::default();
        let text = "\nrunning 3 tests\ntest a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\nit broke\n\n\
                    failures:\n    b\n\ntest result: FAILED. 2 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out\n\
                    test result: ok. 10 passed; 0 failed; 0 ignored; 0 measured\n";
        let failures: Vec<_> = text.lines().filter_map(|line| score.read(line)).collect();
        assert_eq!(failures, [("b".to_owned(), "it broke\n\n".to_owned())]);
        assert_eq!((score.passed, score.failed, score.ignored), (12, 1, 4));
    }
}
