//! The files in `/proc` about the system as a whole.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::time::CLOCK_TICKS_PER_SECOND;
use sync::machine;
use vfs::fs::generated::Directory;

use super::text::Text;
use super::{constant, memory, system_file};
use crate::system::{RELEASE, System, VERSION};

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;
const NANOSECONDS_PER_TICK: u64 = NANOSECONDS_PER_SECOND / CLOCK_TICKS_PER_SECOND;

/// Adds the files.
pub(super) fn add_files(directory: Directory, system: &Arc<System>) -> Directory {
    directory
        .with("cgroups", constant("#subsys_name\thierarchy\tnum_cgroups\tenabled\n"))
        .with("cmdline", constant("\n"))
        .with("consoles", constant(""))
        .with("crypto", constant(""))
        .with("devices", constant(DEVICES))
        .with("diskstats", constant(""))
        .with("filesystems", constant(FILE_SYSTEMS))
        .with("interrupts", system_file(system, interrupts))
        .with("loadavg", system_file(system, loadavg))
        .with("locks", constant(""))
        .with("meminfo", system_file(system, memory::meminfo))
        .with("misc", constant(""))
        .with("modules", constant(""))
        .with("partitions", constant("major minor  #blocks  name\n\n"))
        .with("stat", system_file(system, stat))
        .with("swaps", constant("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"))
        .with("uptime", system_file(system, uptime))
        .with("version", system_file(system, version))
        .with("vmstat", system_file(system, memory::vmstat))
}

const FILE_SYSTEMS: &str = "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tpipefs\nnodev\toverlay\n";

const DEVICES: &str =
    "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\nBlock devices:\n";

/// The time all CPUs were busy with programs, in nanoseconds: in them and in the kernel for them.
fn busy_ns(system: &System) -> (u64, u64) {
    system.processes().iter().map(|process| process.cpu_time()).fold((0, 0), |(user_ns, system_ns), time| {
        (user_ns.saturating_add(time.user_ns), system_ns.saturating_add(time.system_ns))
    })
}

/// The time CPUs had nothing to do.
fn idle_ns(system: &System) -> u64 {
    let (user_ns, system_ns) = busy_ns(system);
    let all_ns = machine::now_ns().saturating_mul(u64::from(system.platform().cpu_info().count));
    all_ns.saturating_sub(user_ns).saturating_sub(system_ns)
}

/// Seconds and hundredths.
fn seconds(time_ns: u64) -> (u64, u64) {
    (time_ns / NANOSECONDS_PER_SECOND, time_ns % NANOSECONDS_PER_SECOND / 10_000_000)
}

fn uptime(system: &System) -> Vec<u8> {
    let (up, up_fraction) = seconds(machine::now_ns());
    let (idle, idle_fraction) = seconds(idle_ns(system));
    let mut text = Text::new();
    text.line(format_args!("{up}.{up_fraction:02} {idle}.{idle_fraction:02}"));
    text.into_bytes()
}

fn loadavg(system: &System) -> Vec<u8> {
    let mut text = Text::new();
    text.line(format_args!("0.00 0.00 0.00 1/{} {}", system.thread_count(), system.last_id()));
    text.into_bytes()
}

fn version(_system: &System) -> Vec<u8> {
    let mut text = Text::new();
    text.line(format_args!("Linux version {RELEASE} (nacre@nacre) (rustc) {VERSION}"));
    text.into_bytes()
}

fn stat(system: &System) -> Vec<u8> {
    let count = u64::from(system.platform().cpu_info().count.max(1));
    let (user_ns, system_ns) = busy_ns(system);
    let (user, kernel, idle) =
        (user_ns / NANOSECONDS_PER_TICK, system_ns / NANOSECONDS_PER_TICK, idle_ns(system) / NANOSECONDS_PER_TICK);
    let switches: u64 = system
        .processes()
        .iter()
        .map(|process| process.usage())
        .map(|usage| usage.voluntary_switches + usage.involuntary_switches)
        .sum();
    let mut text = Text::new();
    text.line(format_args!("cpu  {user} 0 {kernel} {idle} 0 0 0 0 0 0"));
    for cpu in 0..count {
        text.line(format_args!("cpu{cpu} {} 0 {} {} 0 0 0 0 0 0", user / count, kernel / count, idle / count));
    }
    text.line(format_args!("intr 0"));
    text.line(format_args!("ctxt {switches}"));
    text.line(format_args!("btime {}", system.booted_realtime_ns() / NANOSECONDS_PER_SECOND));
    text.line(format_args!("processes {}", system.last_id()));
    text.line(format_args!("procs_running 1"));
    text.line(format_args!("procs_blocked 0"));
    text.line(format_args!("softirq 0 0 0 0 0 0 0 0 0 0 0"));
    text.into_bytes()
}

fn interrupts(system: &System) -> Vec<u8> {
    let mut text = Text::new();
    text.put(format_args!("           "));
    for cpu in 0..system.platform().cpu_info().count {
        text.put(format_args!("{:11}", alloc::format!("CPU{cpu}")));
    }
    text.bytes(b"\n");
    text.into_bytes()
}
