//! Host side of the benchmarks: prepares the Linux guest, makes tables of what was measured, and compares counts with the committed
//! ones. `scripts/bench.sh`, `scripts/bench-counts.sh`, `scripts/bench-net.sh` and `scripts/bench-disk.sh` call it; `program/` is what runs
//! in the guests, `net/` what serves in them and loads them, `disk/` what runs on a disk.

mod chart;
mod counts;
mod initramfs;
mod kernel;
mod measurement;
mod network;
mod report;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
usage: bench unpack BZIMAGE VMLINUX        takes the kernel out of a compressed one
       bench initramfs PROGRAM OUT [FILES] an archive for Linux with the program as /init, and what is in a folder
       bench report RESULTS GOALS CLOSING OUT writes OUT/README.md, figures.json and figures.svg
       bench counts COMMITTED GOALS LINUX OUTPUT...      shows what boots printed beside the committed counts
       bench compare COMMITTED COMPILER OUTPUT...  fails, with status 2, if a count has grown; 3: by another compiler
       bench commit COMMITTED COMPILER OUTPUT...   makes the counts the committed ones
       bench network RESULTS GOALS CLOSING OUT.md OUT.json
       bench disk RESULTS OUT.md OUT.json";

const STATUS_GROWN: u8 = 2;
const STATUS_OTHER_COMPILER: u8 = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *arguments.as_slice() {
        ["unpack", bzimage, out] => {
            read(bzimage).and_then(|bytes| kernel::unpack(&bytes)).and_then(|vmlinux| write(out, &vmlinux))
        }
        ["initramfs", program, out] => initramfs(program, out, None),
        ["initramfs", program, out, files] => initramfs(program, out, Some(Path::new(files))),
        ["report", results, goals, closing, out] => report(Path::new(results), Path::new(goals), closing, out),
        ["counts", committed, goals, linux, ref outputs @ ..] => show_counts(outputs, committed, goals, linux),
        ["compare", committed, compiler, ref outputs @ ..] => match compare(outputs, committed, compiler) {
            Ok(status) => return status,
            Err(failure) => Err(failure),
        },
        ["commit", committed, compiler, ref outputs @ ..] => {
            boots(outputs).and_then(|boot| write(committed, counts::to_commit(&boot, compiler).as_bytes()))
        }
        ["network", results, goals, closing, text, json] => {
            network(Path::new(results), Path::new(goals), closing, text, json)
        }
        ["disk", results, text, json] => disk(Path::new(results), text, json),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn initramfs(program: &str, out: &str, files: Option<&Path>) -> Result<(), String> {
    write(out, &initramfs::build(&read(program)?, files)?)
}

fn report(results: &Path, goals: &Path, closing: &str, out: &str) -> Result<(), String> {
    let results = measurement::Results::read(results, goals)?;
    let text = report::markdown(&results, "figures.svg", &text(closing)?);
    write(&format!("{out}/README.md"), text.as_bytes())?;
    write(&format!("{out}/figures.json"), format!("{:#}\n", report::json(&results)).as_bytes())?;
    write(&format!("{out}/figures.svg"), chart::svg(&results).as_bytes())
}

fn boot(output: &str) -> Result<measurement::Boot, String> {
    measurement::parse_boot(&text(output)?).map_err(|error| format!("{output}: {error}"))
}

/// The least of what several boots printed.
fn boots(outputs: &[&str]) -> Result<measurement::Boot, String> {
    let boots: Result<Vec<_>, _> = outputs.iter().map(|output| boot(output)).collect();
    Ok(counts::least(boots?))
}

fn show_counts(outputs: &[&str], committed: &str, goals: &str, linux: &str) -> Result<(), String> {
    print!("{}", counts::table(&boots(outputs)?, &text(committed)?, &text(goals)?, &boot(linux)?)?);
    Ok(())
}

fn compare(outputs: &[&str], committed: &str, compiler: &str) -> Result<ExitCode, String> {
    Ok(match counts::compare(&boots(outputs)?, &text(committed)?, compiler)? {
        counts::Verdict::Kept(shrunk) => {
            if !shrunk.is_empty() {
                print!("Better than committed; `make bench-update` keeps it so:\n{shrunk}");
            }
            ExitCode::SUCCESS
        }
        counts::Verdict::Grown(grown) => {
            print!(
                "Instruction counts have grown beyond those of {committed}:\n{grown}\
                 If it has to be, `make bench-update` commits the new ones; scripts/count-row.py shows where they come from.\n"
            );
            ExitCode::from(STATUS_GROWN)
        }
        counts::Verdict::OtherCompiler(text) => {
            println!("{text}");
            ExitCode::from(STATUS_OTHER_COMPILER)
        }
    })
}

fn network(results: &Path, goals: &Path, closing: &str, out: &str, json: &str) -> Result<(), String> {
    let results = network::Results::read(results, goals)?;
    write(out, network::markdown(&results, &text(closing)?).as_bytes())?;
    write(json, format!("{:#}\n", network::json(&results)).as_bytes())
}

fn disk(results: &Path, text: &str, json: &str) -> Result<(), String> {
    let results = measurement::Results::of_disks(results)?;
    write(text, report::disk_markdown(&results).as_bytes())?;
    write(json, format!("{:#}\n", report::json(&results)).as_bytes())
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{path}: {error}"))
}

/// Lossy: a console may say anything between the lines.
fn text(path: &str) -> Result<String, String> {
    read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn write(path: &str, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("{path}: {error}"))
}
