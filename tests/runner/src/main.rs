//! Every test of the project, behind `make test`.
//!
//! The stages, in order: `check` (formatting, lints, layers), `host` (the unit and integration tests of all crates),
//! `loom` (lock-free code under every interleaving), and then in the virtual machine `binaries` (small programs against
//! the host's Linux), `qemu` (streams, statuses, signals, machines, bad input), `net` (the network device and its link), `apps`
//! (real programs against the host's Linux), `servers` (real servers, used from the host) and `bench` (counts of instructions). `ONLY=text` runs the tests
//! whose name, such as `binaries/hello`, contains the text; `check`, `host` and `loom`
//! run only if the text begins with their names.
//!
//! The last line is `N passed, N failed`; the status is 1 if anything failed or nothing ran.

mod apps;
mod bench;
mod binaries;
mod cargo;
mod case;
mod network;
mod notation;
mod observe;
mod powercut;
mod process;
mod qemu;
mod schedule;
mod servers;
mod terminal;
mod tools;
mod vsock;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use schedule::{Report, Selection};
use tools::Tools;

/// Set once the descriptors that somebody left open are closed.
const IS_CLEAN: &str = "RUNNER_HAS_NO_STRAY_DESCRIPTORS";
/// Takes usual limits and file permissions, closes every descriptor but the standard ones, and becomes the program that is
/// named first. `env` lets signals through that the caller ignores.
const CLOSE_STRAYS: &str = "umask 022; ulimit -S -s 8192; ulimit -S -n 1024; ulimit -S -c 0; \
                            for fd in /proc/self/fd/*; do fd=${fd##*/}; \
                            if [ \"$fd\" -gt 2 ]; then eval \"exec $fd>&-\"; fi; done 2>/dev/null; exec \"$0\"";

fn main() -> ExitCode {
    // Programs on the host would inherit what a shell, make or cargo left open, and see other numbers than in the machine.
    if std::env::var_os(IS_CLEAN).is_none()
        && let Ok(this) = std::env::current_exe()
    {
        let clean = ["--default-signal", "bash", "-c", CLOSE_STRAYS];
        let error = Command::new("env").args(clean).arg(this).env(IS_CLEAN, "1").exec();
        eprintln!("env: {error}");
        return ExitCode::FAILURE;
    }
    if let Some(status) = servers::inside() {
        return status;
    }
    let selection = Selection::from_environment();
    let mut report = Report::new();
    report.stage("check", |report| cargo::check(&selection, report));
    report.stage("host", |report| cargo::host_tests(&selection, report));
    report.stage("loom", |report| cargo::loom(&selection, report));
    if selection.needs_machine() {
        match Tools::build() {
            Ok(tools) => {
                report.stage("binaries", |report| schedule::run(binaries::tests(&tools), &selection, report));
                report.stage("qemu", |report| {
                    schedule::run(
                        [qemu::tests(&tools), observe::tests(&tools), powercut::tests(&tools)]
                            .into_iter()
                            .flatten()
                            .collect(),
                        &selection,
                        report,
                    )
                });
                report.stage("net", |report| schedule::run(network::tests(&tools), &selection, report));
                report.stage("apps", |report| schedule::run(apps::tests(&tools, &selection), &selection, report));
                report.stage("servers", |report| schedule::run(servers::tests(&tools, &selection), &selection, report));
                report.stage("bench", |report| schedule::run(bench::tests(&tools), &selection, report));
            }
            Err(error) => report.fail("build", &error),
        }
    }
    report.finish()
}
