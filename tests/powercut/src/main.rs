//! Cuts the power, and looks whether what was promised is there.
//!
//! A machine runs a program that keeps data on a disk with a file system, and says on a raw partition beside it what it may rely on
//! from now on. The emulator records everything that reaches the disk. From the recording [`cut`] makes what the disk may hold when
//! the power goes at some moment: all that was flushed, and any part of the rest. Each such disk is [judged](judge) twice: repaired
//! and read by the tools of Linux, and mounted and read by the file systems of this kernel, on the host; both must find all that was
//! promised, and nothing that is spoilt.
//!
//! With `SYSTEM=linux` in the environment the same programs run on Linux, which tests the test, and lets
//! this kernel's file system mount what Linux left.
//!
//! Everything follows from the recording and a seed, but the recording itself is new in each run: two processors.

mod cut;
mod judge;
mod machine;
mod nacre;
mod recording;
mod scenario;

use std::process::ExitCode;

use scenario::{SCENARIOS, Scenario};

const USAGE: &str = "\
usage: powercut [POINTS [SEED [SCENARIO...]]]   cuts the power at so many points of each scenario
       powercut mount PARTITION FOLDER          mounts what such a cut left, says what the file system says, and copies the files";
/// Points of each scenario, unless said otherwise.
const POINTS: usize = 1000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [word, partition, folder] if word == "mount" => mount(partition, folder),
        _ => run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("powercut: {text}");
            ExitCode::FAILURE
        }
    }
}

fn mount(partition: &str, folder: &str) -> Result<(), String> {
    if log::set_logger(&Console).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
    let bytes = std::fs::read(partition).map_err(|error| format!("{partition}: {error}"))?;
    nacre::mount_and_copy(&bytes, std::path::Path::new(folder)).map(drop)
}

/// What the file system says goes to standard error.
struct Console;

impl log::Log for Console {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{}", record.args());
    }

    fn flush(&self) {}
}

fn run(arguments: &[String]) -> Result<(), String> {
    let number = |at: usize, default: u64| {
        arguments.get(at).map_or(Ok(default), |text| text.parse::<u64>().map_err(|_| format!("{text}: {USAGE}")))
    };
    let points = usize::try_from(number(0, POINTS as u64)?).map_err(|_| USAGE)?;
    let seed = number(1, 1)?;
    let names = arguments.get(2..).unwrap_or_default();
    if let Some(unknown) = names.iter().find(|name| SCENARIOS.iter().all(|scenario| scenario.name != **name)) {
        let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        return Err(format!("there is no scenario {unknown}, but {}", known.join(", ")));
    }
    let is_wanted = |scenario: &&Scenario| names.is_empty() || names.iter().any(|name| name == scenario.name);
    for scenario in SCENARIOS.iter().filter(is_wanted) {
        scenario.run(points, seed).map_err(|text| format!("{}, seed {seed}: {text}", scenario.name))?;
    }
    Ok(())
}
