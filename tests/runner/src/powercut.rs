//! Whether data survives a power cut: `make powercut` with a few points of each scenario.

use std::process::Command;
use std::time::Duration;

use crate::process::{self, Input, shown};
use crate::schedule::{Failure, Test, Verdict};
use crate::tools::Tools;

/// It may build something before it begins.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Where the power is cut, and how often.
const SCENARIOS: [&str; 3] = ["appends", "appends-ext3", "sqlite-wal"];
const POINTS: &str = "40";

/// All tests of this part.
pub(crate) fn tests(tools: &Tools) -> Vec<Test> {
    let test = |scenario: &'static str| {
        let tools = tools.clone();
        Test::new(format!("qemu/powercut-{scenario}"), move || run(&tools, scenario))
    };
    SCENARIOS.into_iter().map(test).collect()
}

fn run(tools: &Tools, scenario: &str) -> Result<Verdict, Failure> {
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "-p", "powercut", "--", POINTS, "1", scenario]);
    command.current_dir(&tools.root).env("KERNEL", tools.kernel()).env_remove("SYSTEM");
    let output = process::run(&mut command, &Input::Empty, TIMEOUT)?;
    match output.status {
        0 => Ok(Verdict::Passed),
        status => Err(format!("{}{}[status {status}]", shown(&output.stdout), shown(&output.stderr))),
    }
}
