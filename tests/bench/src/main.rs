//! Host side of the benchmarks: prepares the Linux guest, and makes tables of what was measured. `scripts/bench.sh` and
//! `scripts/bench-net.sh` call it; `program/` is what runs in the guests, `net/` what serves in them and loads them.

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
       bench report RESULTS GOALS OUT.md OUT.json
       bench network RESULTS GOALS OUT.md OUT.json";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *arguments.as_slice() {
        ["unpack", bzimage, out] => {
            read(bzimage).and_then(|bytes| kernel::unpack(&bytes)).and_then(|vmlinux| write(out, &vmlinux))
        }
        ["initramfs", program, out] => initramfs(program, out, None),
        ["initramfs", program, out, files] => initramfs(program, out, Some(Path::new(files))),
        ["report", results, goals, text, json] => report(Path::new(results), Path::new(goals), text, json),
        ["network", results, goals, text, json] => network(Path::new(results), Path::new(goals), text, json),
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

fn report(results: &Path, goals: &Path, text: &str, json: &str) -> Result<(), String> {
    let results = measurement::Results::read(results, goals)?;
    write(text, report::markdown(&results).as_bytes())?;
    write(json, format!("{:#}\n", report::json(&results)).as_bytes())
}

fn network(results: &Path, goals: &Path, text: &str, json: &str) -> Result<(), String> {
    let results = network::Results::read(results, goals)?;
    write(text, network::markdown(&results).as_bytes())?;
    write(json, format!("{:#}\n", network::json(&results)).as_bytes())
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{path}: {error}"))
}

fn write(path: &str, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("{path}: {error}"))
}
