//! The benchmark of TCP engines: each over simulated links, beside Linux over the same links in real time.
//!
//! `make bench-tcp` writes the figures into docs/TCP.md. The program also runs inside of network namespaces, as `bench-tcp peer ...`.

mod report;
mod runs;

use std::process::ExitCode;

use netsim::capture;
use netsim::counting::CountingAllocator;
use netsim::linux::peer;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const USAGE: &str = "\
usage: bench-tcp FILE.md [SECONDS]     measures, and puts the figures into the file; SECONDS of each run, 20 if not given
       bench-tcp corpus DIRECTORY      writes what was recorded on real links as the fuzzer's inputs: a file of each capture
       bench-tcp peer ARGUMENT...      the programs at Linux's ends";
/// The longest frame that the fuzzer's inputs have: its length and a flag are two bytes.
const FRAME_LEN_MAX: usize = 0x7fff;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *arguments.as_slice() {
        ["peer", ref arguments @ ..] => peer::run(arguments),
        ["corpus", directory] => write_corpus(directory),
        [file] => report::write(file, 20),
        [file, seconds] => seconds
            .parse()
            .map_err(|error| format!("{seconds}: {error}"))
            .and_then(|seconds| report::write(file, seconds)),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// In the form of `tests/fuzz/fuzz_targets/frames.rs`.
fn write_corpus(directory: &str) -> Result<(), String> {
    std::fs::create_dir_all(directory).map_err(|error| format!("{directory}: {error}"))?;
    for (name, frames) in capture::all() {
        let mut bytes = Vec::new();
        for frame in frames {
            let len = frame.len().min(FRAME_LEN_MAX);
            bytes.extend(u16::try_from(len).unwrap_or(0).to_le_bytes());
            bytes.extend(&frame[..len]);
        }
        let path = format!("{directory}/{name}");
        std::fs::write(&path, bytes).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}
