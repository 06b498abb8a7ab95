//! `/sys/fs/cgroup`: the control group that everything is in, as a container sees its own (version 2).
//!
//! Its limits are those of the machine, so files of limits say `max`; what is used is what all programs and the kernel use. The file
//! system is mounted read-only: there are no other groups, and nothing is limited.

use alloc::sync::Arc;
use alloc::vec::Vec;

use mm::PAGE_SIZE;
use vfs::fs::generated::{Directory, Row};
use vfs::fs::tmpfs;

use super::text::{Text, line, range_list};
use super::{disks, memory};
use crate::system::System;

/// The root.
pub(super) fn root(system: &Arc<System>) -> Directory {
    Directory::of(FILES, system)
}

/// A limit, a protection or a setting that says how things are.
const fn fixed(name: &'static str, value: &'static str) -> Row<System> {
    Row::text(name, value).with_permissions(0o644)
}

const FILES: &[Row<System>] = &[
    Row::text("cgroup.controllers", "cpuset cpu io memory pids\n"),
    Row::text("cgroup.events", "populated 1\nfrozen 0\n"),
    fixed("cgroup.freeze", "0\n"),
    fixed("cgroup.max.depth", "max\n"),
    fixed("cgroup.max.descendants", "max\n"),
    Row::file("cgroup.procs", processes).with_permissions(0o644),
    Row::text("cgroup.stat", "nr_descendants 0\nnr_dying_descendants 0\n"),
    fixed("cgroup.subtree_control", "\n"),
    Row::file("cgroup.threads", threads).with_permissions(0o644),
    fixed("cgroup.type", "domain\n"),
    fixed("cpu.idle", "0\n"),
    fixed("cpu.max", "max 100000\n"),
    fixed("cpu.max.burst", "0\n"),
    Row::file("cpu.stat", cpu_time),
    fixed("cpu.weight", "100\n"),
    fixed("cpu.weight.nice", "0\n"),
    fixed("cpuset.cpus", "\n"),
    Row::file("cpuset.cpus.effective", |system| range_list(system.platform().cpu_info().count)),
    fixed("cpuset.cpus.partition", "member\n"),
    fixed("cpuset.mems", "\n"),
    Row::text("cpuset.mems.effective", "0\n"),
    fixed("io.max", ""),
    Row::file("io.stat", io),
    Row::file("memory.current", |_| line(memory::used_bytes())),
    Row::text("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n"),
    fixed("memory.high", "max\n"),
    fixed("memory.low", "0\n"),
    fixed("memory.max", "max\n"),
    fixed("memory.min", "0\n"),
    fixed("memory.oom.group", "0\n"),
    Row::file("memory.stat", memory_use),
    Row::text("memory.swap.current", "0\n"),
    fixed("memory.swap.max", "max\n"),
    Row::file("pids.current", |system| line(system.thread_count())),
    fixed("pids.max", "max\n"),
];

fn processes(system: &System) -> Vec<u8> {
    let mut text = Text::new();
    system.processes().iter().for_each(|process| text.line(format_args!("{}", process.pid())));
    text.into_bytes()
}

fn threads(system: &System) -> Vec<u8> {
    let mut text = Text::new();
    for process in system.processes() {
        process.thread_numbers().iter().for_each(|tid| text.line(format_args!("{tid}")));
    }
    text.into_bytes()
}

fn cpu_time(system: &System) -> Vec<u8> {
    let (mut user_ns, mut system_ns) = (0_u64, 0_u64);
    for process in system.processes() {
        let time = process.cpu_time();
        user_ns = user_ns.saturating_add(time.user_ns);
        system_ns = system_ns.saturating_add(time.system_ns);
    }
    let mut text = Text::new();
    for (name, time_ns) in
        [("usage_usec", user_ns.saturating_add(system_ns)), ("user_usec", user_ns), ("system_usec", system_ns)]
    {
        text.line(format_args!("{name} {}", time_ns / 1000));
    }
    for name in ["nice_usec", "nr_periods", "nr_throttled", "throttled_usec", "nr_bursts", "burst_usec"] {
        text.line(format_args!("{name} 0"));
    }
    text.into_bytes()
}

fn io(_system: &System) -> Vec<u8> {
    let sector = block::SECTOR_LEN as u64;
    let mut text = Text::new();
    for disk in disks::disks() {
        let (number, statistics) = (disk.number(), disk.statistics());
        let (reads, writes, discards) = (statistics.reads(), statistics.writes(), statistics.discards());
        text.line(format_args!(
            "{}:{} rbytes={} wbytes={} rios={} wios={} dbytes={} dios={}",
            abi::stat::device_major(number),
            abi::stat::device_minor(number),
            reads.sectors * sector,
            writes.sectors * sector,
            reads.requests,
            writes.requests,
            discards.sectors * sector,
            discards.requests
        ));
    }
    text.into_bytes()
}

fn memory_use(system: &System) -> Vec<u8> {
    let page = PAGE_SIZE as u64;
    let (mut anonymous, mut faults, mut major_faults) = (0, 0, 0);
    for process in system.processes() {
        anonymous += process.address_space().usage().resident_anonymous as u64;
        let usage = process.usage();
        faults += usage.minor_faults + usage.major_faults;
        major_faults += usage.major_faults;
    }
    let shared = tmpfs::memory_pages();
    let files = vfs::cached_pages() as u64 + memory::buffer_pages();
    let mut text = Text::new();
    for (name, value) in [
        ("anon", anonymous * page),
        ("file", (files + shared) * page),
        ("kernel", memory::used_bytes().saturating_sub((anonymous + files + shared) * page)),
        ("shmem", shared * page),
        ("file_dirty", vfs::dirty_pages() as u64 * page),
        ("file_writeback", vfs::pages_on_the_way() as u64 * page),
        ("inactive_anon", 0),
        ("active_anon", (anonymous + shared) * page),
        ("inactive_file", 0),
        ("active_file", files * page),
        ("unevictable", 0),
        ("pgfault", faults),
        ("pgmajfault", major_faults),
    ] {
        text.line(format_args!("{name} {value}"));
    }
    text.into_bytes()
}
