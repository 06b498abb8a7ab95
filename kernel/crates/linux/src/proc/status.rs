//! `/proc/PID/stat`, `statm`, `status` and `limits`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;

use abi::resource::{RLIM_NLIMITS, RLIMIT_NAMES, RLIMIT_RSS, RLIMIT_SIGPENDING};
use abi::time::CLOCK_TICKS_PER_SECOND;
use abi::{Errno, Rlimit, Sigset};
use mm::PAGE_SIZE;
use sched::{CPUS_MAX, CpuSet, Policy};

use super::text::{Text, until_zero};
use crate::accounting::{CpuTime, Usage};
use crate::thread::Thread;

const NANOSECONDS_PER_TICK: u64 = 1_000_000_000 / CLOCK_TICKS_PER_SECOND;
const KIB: usize = 1024;
/// The signal with which the end of a process is told, and that of a thread, which is not.
const SIGCHLD: i32 = 17;
const NO_SIGNAL: i32 = -1;
/// The flags of a process that has not forked (`PF_RANDOMIZE`).
const PROCESS_FLAGS: u32 = 0x0040_0000;
/// The priority of a thread of nice value 0; those of real-time threads are below 0.
const PRIORITY: i32 = 20;

/// The letter of a thread's state and the word for it.
fn state(thread: &Thread) -> (char, &'static str) {
    if thread.has_ended() {
        ('Z', "zombie")
    } else if thread.platform().is_runnable(thread) {
        ('R', "running")
    } else if thread.process().signals.lock().is_stopped {
        ('T', "stopped")
    } else {
        ('S', "sleeping")
    }
}

/// The priority in force, waiters counted, as Linux shows it.
fn priority(policy: Policy) -> i32 {
    match policy {
        Policy::Other { nice } | Policy::Batch { nice } => PRIORITY + i32::from(nice),
        Policy::Idle => PRIORITY,
        Policy::Fifo { priority } | Policy::RoundRobin { priority } => -1 - i32::from(priority),
    }
}

fn ticks(time_ns: u64) -> u64 {
    time_ns / NANOSECONDS_PER_TICK
}

/// Pending, blocked, ignored and caught signals.
struct SignalSets {
    pending: Sigset,
    pending_of_process: Sigset,
    blocked: Sigset,
    ignored: Sigset,
    caught: Sigset,
}

impl SignalSets {
    const NONE: Self = Self {
        pending: Sigset::EMPTY,
        pending_of_process: Sigset::EMPTY,
        blocked: Sigset::EMPTY,
        ignored: Sigset::EMPTY,
        caught: Sigset::EMPTY,
    };

    fn of(thread: &Thread) -> Self {
        if thread.has_ended() {
            return Self::NONE;
        }
        let (caught, ignored) = thread.process().actions().caught_and_ignored();
        Self {
            pending: thread.signals.pending(),
            pending_of_process: thread.process().signals.set(),
            blocked: thread.signals.blocked(),
            ignored,
            caught,
        }
    }
}

/// The figures of a whole process, by its first thread.
pub(super) fn stat(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let process = thread.process();
    put_stat(thread, process.cpu_time(), &process.usage(), SIGCHLD)
}

/// The figures of one thread.
pub(super) fn stat_of_thread(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let is_first = thread.tid() == thread.process().pid();
    let exit_signal = if is_first { SIGCHLD } else { NO_SIGNAL };
    put_stat(thread, thread.cpu_time(), &thread.usage(), exit_signal)
}

fn put_stat(thread: &Thread, time: CpuTime, usage: &Usage, exit_signal: i32) -> Result<Vec<u8>, Errno> {
    let process = thread.process();
    let memory = MemoryFigures::of(thread);
    let sets = SignalSets::of(thread);
    let CpuTime { user_ns, system_ns } = time;
    let own = thread.scheduling().parameters();
    let effective = thread.scheduling().effective();
    let name = thread.name();
    // The old form of signal sets: what fits 31 bits.
    let old = |set: Sigset| set.bits() & 0x7fff_ffff;

    let mut text = Text::new();
    text.put(format_args!("{} (", thread.tid()));
    text.bytes(until_zero(&name));
    text.put(format_args!(
        ") {} {} {} {} 0 -1 {PROCESS_FLAGS} {} 0 {} 0 ",
        state(thread).0,
        process.parent_pid(),
        process.group(),
        process.session(),
        usage.minor_faults,
        usage.major_faults,
    ));
    text.put(format_args!(
        "{} {} 0 0 {} {} {} 0 {} ",
        ticks(user_ns),
        ticks(system_ns),
        priority(effective),
        own.nice,
        process.thread_count(),
        ticks(thread.accounting().started_ns()),
    ));
    text.put(format_args!(
        "{} {} {} {} {} {} 0 0 {} {} {} {} 0 0 0 {exit_signal} {} {} {} 0 0 0 ",
        memory.size,
        memory.resident,
        process.soft_limit(RLIMIT_RSS),
        memory.code.start,
        memory.code.end,
        memory.stack_start,
        old(sets.pending.union(sets.pending_of_process)),
        old(sets.blocked),
        old(sets.ignored),
        old(sets.caught),
        thread.platform().cpu_of(thread),
        own.priority,
        own.class.number(),
    ));
    text.line(format_args!(
        "0 0 {} {} {} {} {} {}",
        memory.heap_start,
        memory.arguments.start,
        memory.arguments.end,
        memory.environment.start,
        memory.environment.end,
        // As `wait` would answer it.
        if thread.has_ended() { u32::from(thread.exit_status.load(Relaxed)) << 8 } else { 0 },
    ));
    Ok(text.into_bytes())
}

/// What `stat` shows of memory: nothing when the thread has ended.
#[derive(Default)]
struct MemoryFigures {
    size: usize,
    resident: usize,
    code: Range<usize>,
    stack_start: usize,
    heap_start: usize,
    arguments: Range<usize>,
    environment: Range<usize>,
}

impl MemoryFigures {
    fn of(thread: &Thread) -> Self {
        if thread.has_ended() {
            return Self::default();
        }
        let space = thread.process().address_space();
        let image = thread.process().image();
        let usage = space.usage();
        Self {
            size: usage.mapped * PAGE_SIZE,
            resident: usage.resident(),
            code: image.code.clone(),
            stack_start: image.stack_start,
            heap_start: space.heap().0,
            arguments: image.arguments.clone(),
            environment: image.environment.clone(),
        }
    }
}

pub(super) fn statm(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let usage = thread.process().address_space().usage();
    let mut text = Text::new();
    text.line(format_args!(
        "{} {} {} {} 0 {} 0",
        usage.mapped,
        usage.resident(),
        usage.resident_file + usage.resident_shared,
        code_pages(thread),
        usage.data + usage.stack,
    ));
    Ok(text.into_bytes())
}

/// The pages of the program's own code.
fn code_pages(thread: &Thread) -> usize {
    let code = thread.process().image().code.clone();
    code.end.div_ceil(PAGE_SIZE).saturating_sub(code.start / PAGE_SIZE)
}

pub(super) fn status(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let mut text = Text::new();
    put_identity(&mut text, thread);
    if !thread.has_ended() {
        put_memory(&mut text, thread);
    }
    put_signals(&mut text, thread);
    put_credentials(&mut text, thread);
    put_cpus(&mut text, thread);
    let accounting = thread.accounting();
    text.line(format_args!("voluntary_ctxt_switches:\t{}", accounting.voluntary_switches()));
    text.line(format_args!("nonvoluntary_ctxt_switches:\t{}", accounting.involuntary_switches()));
    Ok(text.into_bytes())
}

fn put_identity(text: &mut Text, thread: &Thread) {
    let process = thread.process();
    let credentials = thread.credentials();
    text.bytes(b"Name:\t");
    text.escaped(until_zero(&thread.name()), b"\n\\");
    text.bytes(b"\n");
    if !thread.has_ended() {
        text.line(format_args!("Umask:\t{:04o}", thread.fs().get().umask));
    }
    text.line(format_args!("State:\t{} ({})", state(thread).0, state(thread).1));
    text.line(format_args!("Tgid:\t{}", process.pid()));
    text.line(format_args!("Ngid:\t0"));
    text.line(format_args!("Pid:\t{}", thread.tid()));
    text.line(format_args!("PPid:\t{}", process.parent_pid()));
    text.line(format_args!("TracerPid:\t0"));
    for (name, ids) in [("Uid", credentials.user), ("Gid", credentials.group)] {
        text.line(format_args!("{name}:\t{}\t{}\t{}\t{}", ids.real, ids.effective, ids.saved, ids.file_system));
    }
    text.line(format_args!("FDSize:\t{}", descriptor_slots(thread)));
    text.put(format_args!("Groups:\t"));
    for group in credentials.groups.iter() {
        text.put(format_args!("{group} "));
    }
    text.line(format_args!("{}", if credentials.groups.is_empty() { " " } else { "" }));
    text.line(format_args!("NStgid:\t{}", process.pid()));
    text.line(format_args!("NSpid:\t{}", thread.tid()));
    text.line(format_args!("NSpgid:\t{}", process.group()));
    text.line(format_args!("NSsid:\t{}", process.session()));
    text.line(format_args!("Kthread:\t0"));
}

/// The size of the descriptor table, as Linux grows it.
fn descriptor_slots(thread: &Thread) -> usize {
    const SLOTS_MIN: usize = 64;
    if thread.has_ended() {
        return 0;
    }
    let highest = thread.fds().descriptors().last().copied().unwrap_or(0);
    let needed = usize::try_from(highest).unwrap_or(0) + 1;
    if needed <= SLOTS_MIN { SLOTS_MIN } else { needed.next_power_of_two().max(256) }
}

fn put_memory(text: &mut Text, thread: &Thread) {
    let usage = thread.process().address_space().usage();
    let code = code_pages(thread);
    for (name, pages) in [
        ("VmPeak", usage.mapped_max),
        ("VmSize", usage.mapped),
        ("VmLck", usage.locked),
        ("VmPin", 0),
        ("VmHWM", usage.resident_max),
        ("VmRSS", usage.resident()),
        ("RssAnon", usage.resident_anonymous),
        ("RssFile", usage.resident_file),
        ("RssShmem", usage.resident_shared),
        ("VmData", usage.data),
        ("VmStk", usage.stack),
        ("VmExe", code),
        ("VmLib", usage.executable.saturating_sub(code)),
        ("VmPTE", usage.resident() / 512 + 4),
        ("VmSwap", 0),
        ("HugetlbPages", 0),
    ] {
        text.line(format_args!("{name}:\t{:>8} kB", pages * PAGE_SIZE / KIB));
    }
    text.line(format_args!("CoreDumping:\t0"));
    text.line(format_args!("THP_enabled:\t0"));
    text.line(format_args!("untag_mask:\t0xffffffffffffffff"));
}

fn put_signals(text: &mut Text, thread: &Thread) {
    let process = thread.process();
    let sets = SignalSets::of(thread);
    text.line(format_args!("Threads:\t{}", process.thread_count()));
    text.line(format_args!("SigQ:\t0/{}", process.soft_limit(RLIMIT_SIGPENDING)));
    for (name, set) in [
        ("SigPnd", sets.pending),
        ("ShdPnd", sets.pending_of_process),
        ("SigBlk", sets.blocked),
        ("SigIgn", sets.ignored),
        ("SigCgt", sets.caught),
    ] {
        text.line(format_args!("{name}:\t{:016x}", set.bits()));
    }
}

fn put_credentials(text: &mut Text, thread: &Thread) {
    let credentials = thread.credentials();
    let sets = credentials.capabilities;
    for (name, set) in [
        ("CapInh", sets.inheritable),
        ("CapPrm", sets.permitted),
        ("CapEff", sets.effective),
        ("CapBnd", sets.bounding),
        ("CapAmb", sets.ambient),
    ] {
        text.line(format_args!("{name}:\t{set:016x}"));
    }
    text.line(format_args!("NoNewPrivs:\t{}", u8::from(credentials.no_new_privileges)));
    text.line(format_args!("Seccomp:\t0"));
    text.line(format_args!("Seccomp_filters:\t0"));
    text.line(format_args!("Speculation_Store_Bypass:\tvulnerable"));
    text.line(format_args!("SpeculationIndirectBranch:\talways enabled"));
}

fn put_cpus(text: &mut Text, thread: &Thread) {
    let count = thread.platform().cpu_info().count;
    let allowed = crate::syscall::allowed(thread);
    text.line(format_args!("Cpus_allowed:\t{}", cpu_mask(allowed, count)));
    text.line(format_args!("Cpus_allowed_list:\t{}", cpu_list(allowed)));
    text.line(format_args!("Mems_allowed:\t00000001"));
    text.line(format_args!("Mems_allowed_list:\t0"));
}

/// A set of CPUs in hexadecimal, as wide as all of them need, in words of 32 bits with commas between them.
pub(super) fn cpu_mask(set: CpuSet, count: u32) -> String {
    const WORD_BITS: u32 = 32;
    let mut mask = String::new();
    for word in (0..count.div_ceil(WORD_BITS)).rev() {
        let digits = (count - word * WORD_BITS).min(WORD_BITS).div_ceil(4) as usize;
        let bits = set.0.checked_shr(word * WORD_BITS).unwrap_or(0) & u64::from(u32::MAX);
        mask.push_str(&format!("{bits:0digits$x}"));
        if word > 0 {
            mask.push(',');
        }
    }
    mask
}

/// A set of CPUs as ranges: `0-2,5`.
pub(super) fn cpu_list(set: CpuSet) -> String {
    let mut list = String::new();
    let mut cpu = 0;
    while cpu < CPUS_MAX {
        let first = cpu;
        while set.contains(cpu) {
            cpu += 1;
        }
        if cpu > first {
            let comma = if list.is_empty() { "" } else { "," };
            let range =
                if cpu - first == 1 { format!("{comma}{first}") } else { format!("{comma}{first}-{}", cpu - 1) };
            list.push_str(&range);
        }
        cpu += 1;
    }
    list
}

pub(super) fn limits(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let limits = thread.process().limits();
    let shown = |value: u64| if value == Rlimit::INFINITY { "unlimited".into() } else { format!("{value}") };
    let mut text = Text::new();
    text.line(format_args!("{:25} {:20} {:20} {:10}", "Limit", "Soft Limit", "Hard Limit", "Units"));
    for (resource, (name, unit)) in (0_u32..).zip(RLIMIT_NAMES).take(RLIM_NLIMITS) {
        let limit = limits.get(resource)?;
        text.put(format_args!("{name:25} {:20} {:20} ", shown(limit.rlim_cur), shown(limit.rlim_max)));
        if !unit.is_empty() {
            text.put(format_args!("{unit:10}"));
        }
        text.bytes(b"\n");
    }
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_masks_are_words() {
        let mask = |bits, count| cpu_mask(CpuSet(bits), count);
        assert_eq!(mask(1, 1), "1");
        assert_eq!(mask(0xf, 4), "f");
        assert_eq!(mask(1, 8), "01");
        assert_eq!(mask(u64::from(u32::MAX), 32), "ffffffff");
        assert_eq!(mask(1, 33), "0,00000001");
        assert_eq!(mask(u64::MAX, 64), "ffffffff,ffffffff");
    }

    #[test]
    fn cpu_lists_are_ranges() {
        let list = |bits| cpu_list(CpuSet(bits));
        assert_eq!(list(1), "0");
        assert_eq!(list(0b1011_0111), "0-2,4-5,7");
        assert_eq!(list(u64::MAX), "0-63");
        assert_eq!(list(1 << 63), "63");
    }

    #[test]
    fn priorities_are_linux_s() {
        assert_eq!(priority(Policy::Other { nice: -5 }), 15);
        assert_eq!(priority(Policy::RoundRobin { priority: 99 }), -100);
    }
}
