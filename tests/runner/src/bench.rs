//! Whether system calls still take no more instructions than was committed: `scripts/bench-counts.sh` against the kernel that the
//! other tests use.

use std::process::Command;
use std::time::Duration;

use crate::process::{self, Input, shown};
use crate::schedule::{Failure, Test, Verdict};
use crate::tools::{self, Tools};

/// The script may build something before it begins.
const TIMEOUT: Duration = Duration::from_secs(600);
/// How the kernel must be built for its counts to be those of users.
const PROFILE: &str = "kernel";
/// The script's status when another compiler made the committed counts.
const STATUS_OTHER_COMPILER: i32 = 3;

/// All tests of this stage.
pub(crate) fn tests(tools: &Tools) -> Vec<Test> {
    let tools = tools.clone();
    vec![Test::new("bench/instructions", move || count(&tools))]
}

fn count(tools: &Tools) -> Result<Verdict, Failure> {
    let profile = tools::kernel_profile();
    if profile != PROFILE {
        return Ok(Verdict::Skipped(format!("the counts are those of KERNEL_PROFILE={PROFILE}, this is {profile}")));
    }
    let mut command = Command::new(tools.root.join("scripts/bench-counts.sh"));
    command.arg("check").env("KERNEL", tools.kernel());
    let output = process::run(&mut command, &Input::Empty, TIMEOUT)?;
    let said = shown(&output.stdout);
    match output.status {
        0 => Ok(Verdict::Passed),
        STATUS_OTHER_COMPILER => Ok(Verdict::Skipped(said.trim_end().to_owned())),
        status => Err(format!("{said}{}[status {status}]", shown(&output.stderr))),
    }
}
