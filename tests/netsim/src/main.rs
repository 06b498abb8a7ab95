//! The benchmark of TCP engines: each over simulated links, beside Linux over the same links in real time.
//!
//! `make bench-tcp` writes the figures into docs/TCP.md. The program also runs inside of network namespaces, as `bench-tcp peer ...`.

mod report;
mod runs;

use std::process::ExitCode;

use netsim::counting::CountingAllocator;
use netsim::linux::peer;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const USAGE: &str = "\
usage: bench-tcp FILE.md [SECONDS]     measures, and puts the figures into the file; SECONDS of each run, 20 if not given
       bench-tcp peer ARGUMENT...      the programs at Linux's ends";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *arguments.as_slice() {
        ["peer", ref arguments @ ..] => peer::run(arguments),
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
