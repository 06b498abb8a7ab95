//! The files in `/proc` about the system as a whole.

use alloc::vec::Vec;

use abi::stat::device_major;
use abi::time::CLOCK_TICKS_PER_SECOND;
use sync::machine;
use vfs::fs::generated::Row;

use super::text::Text;
use super::{cpu, disks, locks, memory, nacre};
use crate::load;
use crate::platform::CpuCounters;
use crate::system::{RELEASE, System, VERSION};

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;
const NANOSECONDS_PER_TICK: u64 = NANOSECONDS_PER_SECOND / CLOCK_TICKS_PER_SECOND;

/// The files.
pub(super) const FILES: &[Row<System>] = &[
    Row::file("buddyinfo", |_| memory::free_blocks()),
    Row::text("cgroups", CGROUPS),
    Row::file("cmdline", |system| [system.command_line(), b"\n"].concat()),
    Row::text("consoles", ""),
    Row::file("cpuinfo", cpu::cpuinfo),
    Row::text("crypto", ""),
    Row::file("devices", devices),
    Row::file("diskstats", disks::diskstats),
    Row::text("execdomains", "0-0\tLinux           \t[kernel]\n"),
    Row::file("filesystems", file_systems),
    Row::file("interrupts", interrupts),
    Row::file("loadavg", loadavg),
    Row::file("locks", |_| locks::locks()),
    Row::file("meminfo", memory::meminfo),
    Row::text("misc", ""),
    Row::text("modules", ""),
    Row::directory("nacre", 0o555, nacre::directory),
    Row::file("partitions", disks::partitions),
    Row::file("slabinfo", slabs).with_permissions(0o400),
    Row::file("softirqs", soft_interrupts),
    Row::file("stat", stat),
    Row::text("swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    Row::file("uptime", uptime),
    Row::file("version", version),
    Row::file("vmstat", memory::vmstat),
    Row::file("zoneinfo", memory::zones),
];

/// All controllers belong to the only hierarchy, that of version 2.
const CGROUPS: &str = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n\
    cpuset\t0\t1\t1\ncpu\t0\t1\t1\ncpuacct\t0\t1\t1\nblkio\t0\t1\t1\nmemory\t0\t1\t1\npids\t0\t1\t1\n";

/// The work that Linux does after interrupts, by kind. Here interrupts wake threads, and there is none.
const SOFT_INTERRUPTS: [&str; 10] =
    ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"];

/// What `mount` knows, and what is there without it.
fn file_systems(_system: &System) -> Vec<u8> {
    let mut text = Text::new();
    for kind in vfs::fs::kinds::all() {
        text.line(format_args!("{}\t{}", if kind.needs_device() { "" } else { "nodev" }, kind.name()));
    }
    for name in ["pipefs", "sockfs", "overlay"] {
        text.line(format_args!("nodev\t{name}"));
    }
    text.into_bytes()
}

/// The devices that have nodes, by their major numbers.
fn devices(_system: &System) -> Vec<u8> {
    let mut text = Text::new();
    text.line(format_args!("Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n\nBlock devices:"));
    let mut majors: Vec<u32> = disks::disks().iter().map(|disk| device_major(disk.number())).collect();
    majors.dedup();
    for major in majors {
        text.line(format_args!("{major:3} virtblk"));
    }
    text.into_bytes()
}

/// The time all CPUs were busy with programs, in nanoseconds: in them and in the kernel for them.
fn busy_ns(system: &System) -> (u64, u64) {
    system.processes().iter().map(|process| process.cpu_time()).fold((0, 0), |(user_ns, system_ns), time| {
        (user_ns.saturating_add(time.user_ns), system_ns.saturating_add(time.system_ns))
    })
}

/// What each CPU has done, by its number.
fn counters(system: &System) -> Vec<CpuCounters> {
    let platform = system.platform();
    (0..platform.cpu_info().count).map(|cpu| platform.cpu_counters(cpu)).collect()
}

/// The time CPUs had nothing to do.
fn idle_ns(system: &System) -> u64 {
    counters(system).iter().map(|cpu| cpu.idle_ns).sum()
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
    let running = system.runnable_count().max(1);
    // What is due since the CPUs went idle; the reader runs, which is no reason to wait for the next interrupt.
    system.load().look(machine::now_ns(), || running);
    let mut text = Text::new();
    for (whole, fraction) in system.load().get().map(load::hundredths) {
        text.put(format_args!("{whole}.{fraction:02} "));
    }
    text.line(format_args!("{running}/{} {}", system.thread_count(), system.last_id()));
    text.into_bytes()
}

fn version(_system: &System) -> Vec<u8> {
    let mut text = Text::new();
    text.line(format_args!("Linux version {RELEASE} (nacre@nacre) (rustc) {VERSION}"));
    text.into_bytes()
}

fn stat(system: &System) -> Vec<u8> {
    let (user_ns, system_ns) = busy_ns(system);
    let now_ns = machine::now_ns();
    let cpus = counters(system);
    // Programs and kernel are told apart by thread, not by CPU: each CPU's time is divided as the whole.
    let times = cpus.iter().map(|cpu| {
        let busy_ns = now_ns.saturating_sub(cpu.idle_ns);
        let kernel_ns = proportion(busy_ns, system_ns, user_ns.saturating_add(system_ns));
        [busy_ns - kernel_ns, kernel_ns, cpu.idle_ns].map(|time_ns| time_ns / NANOSECONDS_PER_TICK)
    });
    let total = times.clone().fold([0; 3], |sum, times| [sum[0] + times[0], sum[1] + times[1], sum[2] + times[2]]);
    let mut text = Text::new();
    text.line(format_args!("cpu  {} 0 {} {} 0 0 0 0 0 0", total[0], total[1], total[2]));
    for (number, [user, kernel, idle]) in times.enumerate() {
        text.line(format_args!("cpu{number} {user} 0 {kernel} {idle} 0 0 0 0 0 0"));
    }
    let interrupts: u64 =
        cpus.iter().map(|cpu| cpu.timer_interrupts + cpu.reschedule_interrupts + cpu.flush_interrupts).sum();
    text.line(format_args!("intr {interrupts}"));
    text.line(format_args!("ctxt {}", cpus.iter().map(|cpu| cpu.switches).sum::<u64>()));
    text.line(format_args!("btime {}", system.booted_realtime_ns() / NANOSECONDS_PER_SECOND));
    text.line(format_args!("processes {}", system.last_id()));
    text.line(format_args!("procs_running {}", system.runnable_count().max(1)));
    text.line(format_args!("procs_blocked 0"));
    text.line(format_args!("softirq 0 0 0 0 0 0 0 0 0 0 0"));
    text.into_bytes()
}

fn interrupts(system: &System) -> Vec<u8> {
    let mut text = Text::new();
    text.put(format_args!("           "));
    for cpu in 0..system.platform().cpu_info().count {
        text.put(format_args!("{:<11}", alloc::format!("CPU{cpu}")));
    }
    text.bytes(b"\n");
    let cpus = counters(system);
    let mut line = |name: &str, count: fn(&CpuCounters) -> u64, what: &str| {
        text.put(format_args!("{name:>4}:"));
        for cpu in &cpus {
            text.put(format_args!(" {:10}", count(cpu)));
        }
        text.put(format_args!("   {what}\n"));
    };
    line("LOC", |cpu| cpu.timer_interrupts, "Local timer interrupts");
    line("RES", |cpu| cpu.reschedule_interrupts, "Rescheduling interrupts");
    line("TLB", |cpu| cpu.flush_interrupts, "TLB shootdowns");
    text.into_bytes()
}

/// The classes of the kernel's heap. Nothing about them can be tuned, and all slabs count as active, as in SLUB.
fn slabs(system: &System) -> Vec<u8> {
    let mut text = Text::new();
    text.line(format_args!(
        "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> \
         : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>"
    ));
    for class in system.platform().heap_classes().into_iter().rev() {
        text.line(format_args!(
            "{:<17} {:6} {:6} {:6} {:4} {:4} : tunables {:4} {:4} {:4} : slabdata {:6} {:6} {:6}",
            alloc::format!("kmalloc-{}", class.object_bytes),
            class.used,
            class.slabs * class.objects_per_slab,
            class.object_bytes,
            class.objects_per_slab,
            1,
            0,
            0,
            0,
            class.slabs,
            class.slabs,
            0
        ));
    }
    text.into_bytes()
}

fn soft_interrupts(system: &System) -> Vec<u8> {
    let count = system.platform().cpu_info().count;
    let mut text = Text::new();
    text.put(format_args!("                    "));
    for cpu in 0..count {
        text.put(format_args!("{:<11}", alloc::format!("CPU{cpu}")));
    }
    text.bytes(b"\n");
    for name in SOFT_INTERRUPTS {
        text.put(format_args!("{name:>12}:"));
        for _ in 0..count {
            text.put(format_args!(" {:10}", 0));
        }
        text.bytes(b"\n");
    }
    text.into_bytes()
}

/// The runnable threads and the time of each CPU, one line a CPU: what idleness, polling before halts and balancing cost.
pub(super) fn cpus(system: &System) -> Vec<u8> {
    let mut text = Text::new();
    text.line(format_args!("cpu runnable switches migrations wakes idle_us polled_us halts timer reschedule flush"));
    for (number, cpu) in counters(system).iter().enumerate() {
        text.line(format_args!(
            "{number} {} {} {} {} {} {} {} {} {} {}",
            cpu.runnable,
            cpu.switches,
            cpu.migrations,
            cpu.wakes,
            cpu.idle_ns / 1000,
            cpu.polled_ns / 1000,
            cpu.halts,
            cpu.timer_interrupts,
            cpu.reschedule_interrupts,
            cpu.flush_interrupts
        ));
    }
    text.into_bytes()
}

/// What changes of page tables cost CPUs that did not make them.
pub(super) fn flushes(system: &System) -> Vec<u8> {
    let counters = system.platform().flush_counters();
    let mut text = Text::new();
    text.line(format_args!("requests {}", counters.requests));
    text.line(format_args!("interrupted_cpus {}", counters.cpus));
    text.line(format_args!("spared_idle_cpus {}", counters.spared));
    text.into_bytes()
}

/// `total * part / whole`; 0 of nothing.
fn proportion(total: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(total) * u128::from(part);
    product.checked_div(u128::from(whole)).and_then(|value| u64::try_from(value).ok()).unwrap_or(0).min(total)
}
