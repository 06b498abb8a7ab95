//! `/proc/nacre`: what Linux has no place for. One line a value, `name: value`, or a table under a line of names.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

use vfs::fs::generated::{Directory, Row};

use super::system;
use super::text::Text;
use crate::system::System;
use crate::trace;

/// The directory.
pub(super) fn directory(system: &Arc<System>) -> Directory {
    Directory::of(FILES, system)
}

const FILES: &[Row<System>] = &[
    Row::file("calls", calls),
    Row::file("cpus", system::cpus),
    Row::file("flushes", system::flushes),
    Row::file("locks", locks),
    Row::file("network", network),
    Row::file("rewriting", rewriting),
    Row::file("traps", traps),
];

/// System calls since the start, if they are counted (`TRACE=count`).
fn calls(_system: &System) -> Vec<u8> {
    let mut text = Text::new();
    match trace::counts() {
        None => text.line(format_args!("not counted")),
        Some(counts) => {
            text.line(format_args!("call calls errors taken_us"));
            for (number, count) in counts {
                let name = u64::try_from(number).ok().and_then(abi::name).unwrap_or("unknown");
                text.line(format_args!("{name} {} {} {}", count.calls, count.errors, count.taken_ns / 1000));
            }
        }
    }
    text.into_bytes()
}

/// Exceptions by CPU: those of the program, and those of the kernel's copies from and to its memory. Kinds that never were are left
/// out.
fn traps(system: &System) -> Vec<u8> {
    let platform = system.platform();
    let mut text = Text::new();
    text.line(format_args!("cpu exception count"));
    for cpu in 0..platform.cpu_info().count {
        for (vector, count) in platform.exception_counters(cpu).iter().enumerate().filter(|(_, count)| **count > 0) {
            text.line(format_args!("{cpu} {} {count}", exception_name(vector)));
        }
    }
    text.into_bytes()
}

fn exception_name(vector: usize) -> &'static str {
    match vector {
        0 => "divide_error",
        1 => "debug",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound_range",
        6 => "invalid_opcode",
        11 => "segment_not_present",
        12 => "stack_segment",
        13 => "general_protection",
        14 => "page_fault",
        16 => "x87_error",
        17 => "alignment_check",
        19 => "simd_error",
        _ => "other",
    }
}

/// How often locks of each rank were found taken, since the start; ranks that never were are left out.
fn locks(_system: &System) -> Vec<u8> {
    let mut text = Text::new();
    sync::order::for_each_contended(|rank, count| text.line(format_args!("{}: {count}", rank.name())));
    text.into_bytes()
}

/// What became of `syscall` instructions that the image builder found a way to rewrite.
fn rewriting(_system: &System) -> Vec<u8> {
    let mm::rewrite::Statistics { written, changed, no_place, no_memory } = mm::rewrite::statistics();
    let mut text = Text::new();
    for (name, count) in [
        ("sites written", written),
        ("left: other bytes", changed),
        ("left: no place for a stub", no_place),
        ("left: no memory", no_memory),
    ] {
        text.line(format_args!("{name}: {count}"));
    }
    text.into_bytes()
}

/// What became of frames, and what devices did.
fn network(system: &System) -> Vec<u8> {
    let stack = system.network();
    let counters = stack.counters();
    let (half_open, time_wait) = stack.tcp().record_counts();
    let mut text = Text::new();
    for (name, count) in [
        ("delivered to flows", &counters.delivered),
        ("delivered to workers", &counters.control),
        ("dropped by full flows", &counters.flow_drops),
        ("dropped by full workers", &counters.control_drops),
        ("malformed: truncated", &counters.malformed[0]),
        ("malformed: header", &counters.malformed[1]),
        ("malformed: checksum", &counters.malformed[2]),
        ("malformed: unknown", &counters.malformed[3]),
        ("malformed: vsock", &stack.vsock().counters().malformed),
        ("lost: vsock", &stack.vsock().counters().lost),
    ] {
        text.line(format_args!("{name}: {}", count.load(Relaxed)));
    }
    text.line(format_args!("flows: {}", stack.flows().len()));
    text.line(format_args!("half open: {half_open}"));
    text.line(format_args!("time wait: {time_wait}"));
    for interface in stack.interfaces().snapshot().interfaces() {
        if let Some(nic) = interface.nic() {
            let counters = nic.counters();
            let name = interface.name();
            text.line(format_args!("{name} kicks: {}", counters.kicks));
            text.line(format_args!("{name} interrupts: {}", counters.interrupts));
            text.line(format_args!("{name} polls: {}", counters.polls));
            let pairs = nic.properties().queues;
            for pair in (0..pairs).filter(|_| pairs > 1) {
                let counters = nic.pair_counters(pair);
                text.line(format_args!("{name} pair {pair} received: {}", counters.received_frames));
                text.line(format_args!("{name} pair {pair} sent: {}", counters.sent_frames));
            }
        }
    }
    text.into_bytes()
}
