//! The small files of a process or thread in `/proc`: names, strings, figures and settings.

use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;

use abi::Errno;
use abi::signal::{SIGEV_NONE, SIGEV_THREAD};
use abi::time::{CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
use mm::PAGE_SIZE;
use mm::user::UserReader;
use sync::machine;
use vfs::fs::disk;

use super::process::Task;
use super::text::{Text, line, parse_whole, until_zero};
use crate::accounting::Usage;
use crate::credentials::CAP_SYS_RESOURCE;
use crate::thread::{TIMER_SLACK_DEFAULT_NS, Thread};

/// The longest `environ` and `cmdline`.
const STRINGS_LEN_MAX: usize = 4 << 20;
/// The identity, from the first number to the last.
pub(super) const ID_MAP: &str = "         0          0 4294967295\n";
/// No user, no session of an audit.
pub(super) const NO_ID: &str = "4294967295";
/// What a core dump would have in it, on Linux by default. There are no core dumps, so nothing else can be asked for.
const CORE_DUMP_FILTER: u32 = 0x33;
/// The scale of `oom_score_adj`, and of the older `oom_adj` with its value for "never".
const ADJUSTMENT_MAX: i32 = 1000;
const OLD_ADJUSTMENT_MAX: i32 = 15;
const OLD_ADJUSTMENT_NEVER: i32 = -17;
/// What `clear_refs` can do here: forget the most that was ever resident.
const CLEAR_PEAK: u32 = 5;
/// The priority of a thread of nice value 0, within the kernel's own scale.
const PRIORITY: i32 = 120;
/// Lines of `sched` have names and values of this width.
const SCHEDULING_WIDTH: usize = 45;

// ---- The program ----------------------------------------------------------------------------------------------------

pub(super) fn command_name(task: &Task) -> Result<Vec<u8>, Errno> {
    let mut name = until_zero(&task.thread()?.name()).to_vec();
    name.push(b'\n');
    Ok(name)
}

pub(super) fn set_command_name(task: &Task, name: &[u8]) -> Result<(), Errno> {
    task.thread()?.set_name(until_zero(name));
    Ok(())
}

/// Strings in program memory, which belongs to the process that reads or to none.
fn read_strings(range: Range<usize>) -> Vec<u8> {
    let len = range.len().min(STRINGS_LEN_MAX);
    let mut bytes = alloc::vec![0; len];
    match UserReader::new(range.start, len).and_then(|mut reader| reader.read(&mut bytes)) {
        Ok(read) => bytes.truncate(read),
        // The program has unmapped it.
        Err(_) => bytes.clear(),
    }
    bytes
}

pub(super) fn auxiliary_vector(thread: &Thread) -> Result<Vec<u8>, Errno> {
    Ok(thread.process().image().auxiliary_vector.clone())
}

pub(super) fn environment(thread: &Thread) -> Result<Vec<u8>, Errno> {
    Ok(read_strings(thread.process().image().environment.clone()))
}

/// The arguments. A program that has written over the end of them, to show something else, gets what follows up to the next
/// zero as well.
pub(super) fn command_line(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let image = thread.process().image();
    let mut bytes = read_strings(image.arguments.clone());
    if bytes.last().is_some_and(|last| *last != 0) {
        if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            bytes.truncate(end + 1);
        } else {
            let more = read_strings(image.environment.clone());
            let end = more.iter().position(|byte| *byte == 0).unwrap_or(more.len());
            bytes.extend_from_slice(&more[..end]);
        }
    }
    Ok(bytes)
}

// ---- What it has used -----------------------------------------------------------------------------------------------

pub(super) fn thread_io(thread: &Thread) -> Result<Vec<u8>, Errno> {
    Ok(io(&thread.usage(), (0, 0)))
}

/// The calls of all threads. What the disks moved they moved for the only process there is.
pub(super) fn process_io(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let mut moved = (0, 0);
    let mut seen = Vec::new();
    for volume in disk::volumes() {
        let disk = volume.disk();
        if !seen.contains(&disk.number()) {
            seen.push(disk.number());
            moved.0 += disk.statistics().reads().sectors;
            moved.1 += disk.statistics().writes().sectors;
        }
    }
    Ok(io(&thread.process().usage(), moved))
}

fn io(usage: &Usage, (sectors_read, sectors_written): (u64, u64)) -> Vec<u8> {
    let sector = block::SECTOR_LEN as u64;
    let mut text = Text::new();
    for (name, value) in [
        ("rchar", usage.read_bytes),
        ("wchar", usage.written_bytes),
        ("syscr", usage.reads),
        ("syscw", usage.writes),
        ("read_bytes", sectors_read * sector),
        ("write_bytes", sectors_written * sector),
        ("cancelled_write_bytes", 0),
    ] {
        text.line(format_args!("{name}: {value}"));
    }
    text.into_bytes()
}

pub(super) fn scheduling_figures(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let accounting = thread.accounting();
    let switches = accounting.voluntary_switches() + accounting.involuntary_switches() + 1;
    let mut text = Text::new();
    text.line(format_args!("{} 0 {switches}", thread.runtime_ns()));
    Ok(text.into_bytes())
}

/// Those lines of Linux's that this scheduler has something to say to.
pub(super) fn scheduling(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let process = thread.process();
    let accounting = thread.accounting();
    let (voluntary, involuntary) = (accounting.voluntary_switches(), accounting.involuntary_switches());
    let parameters = thread.scheduling().parameters();
    let priority = match parameters.priority {
        0 => PRIORITY + i32::from(parameters.nice),
        real_time => 99 - i32::from(real_time),
    };
    let mut text = Text::new();
    text.bytes(until_zero(&thread.name()));
    text.line(format_args!(" ({}, #threads: {})", thread.tid(), process.thread_count()));
    text.line(format_args!("{:-<67}", ""));
    for (name, time_ns) in [("se.exec_start", machine::now_ns()), ("se.sum_exec_runtime", thread.runtime_ns())] {
        text.line(format_args!("{name:<SCHEDULING_WIDTH$}:{:14}.{:06}", time_ns / 1_000_000, time_ns % 1_000_000));
    }
    for (name, value) in [
        ("nr_switches", voluntary + involuntary),
        ("nr_voluntary_switches", voluntary),
        ("nr_involuntary_switches", involuntary),
        ("policy", u64::try_from(parameters.class.number()).unwrap_or(0)),
        ("prio", u64::try_from(priority).unwrap_or(0)),
    ] {
        text.line(format_args!("{name:<SCHEDULING_WIDTH$}:{value:21}"));
    }
    Ok(text.into_bytes())
}

/// How likely it is to be ended when memory runs out, from 0 to 1333: its part of memory and the adjustment, on Linux's scale.
pub(super) fn out_of_memory_score(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let adjustment = i64::from(thread.process().out_of_memory_adjustment.load(Relaxed));
    if thread.has_ended() || adjustment == -i64::from(ADJUSTMENT_MAX) {
        return Ok(line(0));
    }
    let resident = thread.process().address_space().usage().resident();
    let total = i64::try_from(mm::frame::total().max(1)).unwrap_or(i64::MAX);
    let part = i64::try_from(resident).unwrap_or(i64::MAX).saturating_mul(1000) / total;
    Ok(line(((1000 + part + adjustment) * 2 / 3).max(0)))
}

// ---- Settings -------------------------------------------------------------------------------------------------------

pub(super) fn adjustment(task: &Task) -> Result<Vec<u8>, Errno> {
    Ok(line(task.process()?.out_of_memory_adjustment.load(Relaxed)))
}

pub(super) fn set_adjustment(task: &Task, text: &[u8]) -> Result<(), Errno> {
    let value: i32 = parse_whole(text)?;
    if !(-ADJUSTMENT_MAX..=ADJUSTMENT_MAX).contains(&value) {
        return Err(Errno::EINVAL);
    }
    let thread = task.thread()?;
    let process = thread.process();
    // Nobody else can write: there is no other process.
    if thread.credentials().has(CAP_SYS_RESOURCE) {
        process.out_of_memory_adjustment_min.store(value, Relaxed);
    } else if value < process.out_of_memory_adjustment_min.load(Relaxed) {
        return Err(Errno::EACCES);
    }
    process.out_of_memory_adjustment.store(value, Relaxed);
    Ok(())
}

pub(super) fn old_adjustment(task: &Task) -> Result<Vec<u8>, Errno> {
    let value = task.process()?.out_of_memory_adjustment.load(Relaxed);
    Ok(line(if value == ADJUSTMENT_MAX { OLD_ADJUSTMENT_MAX } else { value * -OLD_ADJUSTMENT_NEVER / ADJUSTMENT_MAX }))
}

pub(super) fn set_old_adjustment(task: &Task, text: &[u8]) -> Result<(), Errno> {
    let value: i32 = parse_whole(text)?;
    let value = match value {
        OLD_ADJUSTMENT_MAX => ADJUSTMENT_MAX,
        OLD_ADJUSTMENT_NEVER..OLD_ADJUSTMENT_MAX => value * ADJUSTMENT_MAX / -OLD_ADJUSTMENT_NEVER,
        _ => return Err(Errno::EINVAL),
    };
    let thread = task.thread()?;
    let adjustment = &thread.process().out_of_memory_adjustment;
    if value < adjustment.load(Relaxed) && !thread.credentials().has(CAP_SYS_RESOURCE) {
        return Err(Errno::EACCES);
    }
    adjustment.store(value, Relaxed);
    Ok(())
}

pub(super) fn timer_slack(task: &Task) -> Result<Vec<u8>, Errno> {
    Ok(line(task.thread()?.timer_slack_ns.load(Relaxed)))
}

pub(super) fn set_timer_slack(task: &Task, text: &[u8]) -> Result<(), Errno> {
    let slack_ns: u64 = parse_whole(text)?;
    let slack_ns = if slack_ns == 0 { TIMER_SLACK_DEFAULT_NS } else { slack_ns };
    task.thread()?.timer_slack_ns.store(slack_ns, Relaxed);
    Ok(())
}

pub(super) fn core_dump_filter(task: &Task) -> Result<Vec<u8>, Errno> {
    task.thread()?;
    Ok(line(format_args!("{CORE_DUMP_FILTER:08x}")))
}

pub(super) fn set_core_dump_filter(task: &Task, text: &[u8]) -> Result<(), Errno> {
    task.thread()?;
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?.trim();
    let value = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    if value == Some(CORE_DUMP_FILTER) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Which pages were used is not noted, so that cannot be cleared.
pub(super) fn clear_references(task: &Task, text: &[u8]) -> Result<(), Errno> {
    let thread = task.living_thread(Errno::ESRCH)?;
    if parse_whole::<u32>(text)? != CLEAR_PEAK {
        return Err(Errno::EINVAL);
    }
    thread.process().address_space().forget_resident_max();
    Ok(())
}

/// Pages of so many bytes.
pub(super) fn pages_of(bytes: usize) -> u64 {
    bytes.div_ceil(PAGE_SIZE) as u64
}

// ---- Timers ---------------------------------------------------------------------------------------------------------

/// `timers`: the POSIX timers of a process.
pub(super) fn timers(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let process = thread.process();
    let mut text = Text::new();
    for (timer, clock) in process.timers.all_posix() {
        let Some(told) = timer.notification() else { continue };
        let (how, signal) = told.asked;
        let how = match how {
            SIGEV_NONE => "none",
            SIGEV_THREAD => "thread",
            _ => "signal",
        };
        let (kind, who) = match &told.thread {
            Some(thread) => ("tid", thread.upgrade().map_or(0, |thread| thread.tid())),
            None => ("pid", process.pid()),
        };
        // The clocks of the caller go by what they are called of anybody, with 0 for who asks.
        let clock = match clock {
            CLOCK_PROCESS_CPUTIME_ID => !0 << 3 | 2,
            CLOCK_THREAD_CPUTIME_ID => !0 << 3 | 6,
            other => other,
        };
        text.line(format_args!("ID: {}", told.id));
        text.line(format_args!("signal: {signal}/{:016x}", told.value));
        text.line(format_args!("notify: {how}/{kind}.{who}"));
        text.line(format_args!("ClockID: {clock}"));
    }
    Ok(text.into_bytes())
}
