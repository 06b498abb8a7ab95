//! The benchmark of TCP engines: each over simulated links, beside Linux over the same links in real time.
//!
//! `make bench-tcp` writes the figures into docs/TCP.md. The program also runs inside of network namespaces, as `bench-tcp peer ...`.

mod bridge;
mod report;
mod runs;

use std::process::ExitCode;

use netsim::capture;
use netsim::counting::CountingAllocator;
use netsim::linux::peer;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const USAGE: &str = "\
usage: bench-tcp FILE.md [SECONDS [NAME]]  measures, and puts the figures into the file; SECONDS of each run, 20 if not given; only engines
                                       with NAME in theirs, where the figures of the others are of runs of as many seconds
       bench-tcp churn COUNT           lets so many connections come and go between two stacks, and compares memory before and after
       bench-tcp corpus DIRECTORY      writes what was recorded on real links as the fuzzer's inputs: a file of each capture
       bench-tcp bridge TAP LOCAL REMOTE SEED
                                       a bad link between a device of this namespace and datagram sockets, until the input ends
       bench-tcp peer ARGUMENT...      the programs at Linux's ends";
/// What may be allocated after the churn that was not before.
const CHURN_LEN_MAX: usize = 32 << 10;
/// The longest frame that the fuzzer's inputs have: its length and a flag are two bytes.
const FRAME_LEN_MAX: usize = 0x7fff;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *arguments.as_slice() {
        ["peer", ref arguments @ ..] => peer::run(arguments),
        ["bridge", tap, local, remote, seed] => seed
            .parse()
            .map_err(|error| format!("{seed}: {error}"))
            .and_then(|seed| bridge::run(tap, local, remote, seed)),
        ["churn", count] => count.parse().map_err(|error| format!("{count}: {error}")).and_then(churn),
        ["corpus", directory] => write_corpus(directory),
        [file] => report::write(file, 20, ""),
        [file, seconds, ref only @ ..] if only.len() < 2 => seconds
            .parse()
            .map_err(|error| format!("{seconds}: {error}"))
            .and_then(|seconds| report::write(file, seconds, only.first().unwrap_or(&""))),
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

fn churn(count: u64) -> Result<(), String> {
    let [before, after] = netsim::churn::measure(count);
    println!("{count} connections: {before} bytes before, {after} after");
    // A few sockets may still wait to be freed.
    if after > before + CHURN_LEN_MAX { Err("memory is lost".to_owned()) } else { Ok(()) }
}
