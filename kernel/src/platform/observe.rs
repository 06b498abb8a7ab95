//! What the host is told about the program while it runs, if the kernel's command line asks for it: `trace=` for system calls
//! (`linux::trace` has the records), `profile=HZ` for samples ([`super::profile`]). It goes to the port `nacre.observer`, a line at a
//! time; a slow host slows the program down, and nothing is lost.
//!
//! At the end follow `count NUMBER CALLS ERRORS NS` for every call that was counted, and the samples that are left.
//!
//! Lock rank: `OBSERVER` around the port, so that lines do not mix.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use file::Port;
use firmware::command_line;
use linux::trace;
use sync::{Mutex, Once, rank};

use super::profile;
use crate::{drivers, threads};

static PORT: Once<Arc<dyn Port>> = Once::new();
static OUTPUT: Mutex<()> = Mutex::new(rank::OBSERVER, ());

/// Starts what the command line asks for. All CPUs run, and no thread does yet.
pub(super) fn start(line: &[u8]) {
    let trace = command_line::get(line, b"trace");
    let profile = command_line::get(line, b"profile");
    if trace.is_none() && profile.is_none() {
        return;
    }
    if let Some(port) = drivers::observer() {
        PORT.call_once(|| port);
    }
    if let Some(value) = trace {
        trace::start(trace::Request::parse(value), u32::try_from(threads::cpu::count()).unwrap_or(1));
    }
    if let Some(hertz) = profile.and_then(|value| core::str::from_utf8(value).ok()?.parse().ok()) {
        profile::start(hertz);
    }
}

/// Tells the host one or more lines. Waits until they are on their way; nobody listens: they are lost.
pub(super) fn write(mut lines: &[u8]) {
    let Some(port) = PORT.get() else { return };
    let _output = OUTPUT.lock();
    while !lines.is_empty() && !port.is_hung_up() {
        let sent = port.transmit(lines);
        lines = lines.get(sent..).unwrap_or_default();
        if sent == 0 {
            // The host takes what is there without this CPU.
            threads::control::yield_now();
        }
    }
}

/// Tells the host what is left to tell, at the end of the program.
pub(super) fn finish() {
    if PORT.get().is_none() {
        return;
    }
    let mut lines = Vec::new();
    for (number, count) in trace::counts().into_iter().flatten() {
        let trace::Count { calls, errors, taken_ns } = count;
        lines.extend_from_slice(format!("count {number} {calls} {errors} {taken_ns}\n").as_bytes());
    }
    write(&lines);
    profile::drain();
}
