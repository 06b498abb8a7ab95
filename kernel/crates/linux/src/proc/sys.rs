//! `/sys`: the processors, memory, disks and interfaces, as libraries and tools count them.
//!
//! Devices are below `devices`; what `class`, `block` and `dev` have are links to them, as in Linux.

use alloc::sync::Arc;

use vfs::fs::generated::{Directory, Row};

use super::text::{line, range_list};
use super::{disks, interfaces, memory, processors};
use crate::system::System;

/// The root of `/sys`.
pub(super) fn root(system: &Arc<System>) -> Directory {
    Directory::of(ROOT, system)
}

/// A directory that is there for those who list it: nothing is in it.
const fn empty(name: &'static str) -> Row<System> {
    Row::directory(name, 0o755, |_| Directory::new())
}

const ROOT: &[Row<System>] = &[
    Row::directory("block", 0o755, disks::block_links),
    empty("bus"),
    directory!("class", 0o755, CLASSES),
    directory!("dev", 0o755, NUMBERS),
    directory!("devices", 0o755, DEVICES),
    empty("firmware"),
    directory!("fs", 0o755, FILE_SYSTEMS),
    directory!("kernel", 0o755, KERNEL),
    empty("module"),
];

const CLASSES: &[Row<System>] = &[
    Row::directory("block", 0o755, disks::class_links),
    directory!("mem", 0o755, MEMORY_LINKS),
    Row::directory("net", 0o755, interfaces::class_links),
    directory!("tty", 0o755, TERMINAL_LINKS),
];

const NUMBERS: &[Row<System>] =
    &[Row::directory("block", 0o755, disks::number_links), directory!("char", 0o755, CHARACTER_DEVICES)];

const FILE_SYSTEMS: &[Row<System>] = &[empty("cgroup")];

const DEVICES: &[Row<System>] =
    &[directory!("system", 0o755, SYSTEM_DEVICES), directory!("virtual", 0o755, VIRTUAL_DEVICES)];

const VIRTUAL_DEVICES: &[Row<System>] = &[
    Row::directory("block", 0o755, disks::directories),
    directory!("mem", 0o755, MEMORY_DEVICES),
    Row::directory("net", 0o755, interfaces::directories),
    directory!("tty", 0o755, TERMINALS),
];

const SYSTEM_DEVICES: &[Row<System>] = &[
    directory!("clocksource", 0o755, &[directory!("clocksource0", 0o755, CLOCKS)]),
    Row::directory("cpu", 0o755, processors::directory),
    directory!("memory", 0o755, &[Row::file("block_size_bytes", |_| line(format_args!("{MEMORY_BLOCK_LEN:x}")))]),
    directory!("node", 0o755, NODES),
];

/// Unit of memory that could be added: none can.
const MEMORY_BLOCK_LEN: u64 = 128 << 20;

const CLOCKS: &[Row<System>] =
    &[Row::text("available_clocksource", "tsc \n"), Row::text("current_clocksource", "tsc\n").with_permissions(0o644)];

/// One node with everything.
const NODES: &[Row<System>] = &[
    Row::text("has_cpu", "0\n"),
    Row::text("has_memory", "0\n"),
    Row::text("has_normal_memory", "0\n"),
    directory!("node0", 0o755, NODE),
    Row::text("online", "0\n"),
    Row::text("possible", "0\n"),
];

const NODE: &[Row<System>] = &[
    Row::file("cpulist", |system| range_list(system.platform().cpu_info().count)),
    Row::file("cpumap", processors::all_mask),
    Row::text("distance", "10\n"),
    Row::file("meminfo", memory::node_meminfo),
    Row::text("numastat", "numa_hit 0\nnuma_miss 0\nnuma_foreign 0\ninterleave_hit 0\nlocal_node 0\nother_node 0\n"),
    Row::file("vmstat", memory::node_vmstat),
];

const KERNEL: &[Row<System>] = &[
    directory!("mm", 0o755, MEMORY),
    Row::text("profiling", "0\n").with_permissions(0o644),
    Row::text("uevent_seqnum", "0\n"),
];

const MEMORY: &[Row<System>] = &[empty("hugepages"), directory!("transparent_hugepage", 0o755, HUGE_PAGES)];

const HUGE_PAGES: &[Row<System>] = &[
    Row::text("defrag", "always defer defer+madvise madvise [never]\n").with_permissions(0o644),
    Row::text("enabled", "always madvise [never]\n").with_permissions(0o644),
    Row::text("hpage_pmd_size", "2097152\n"),
    Row::text("shmem_enabled", "always within_size advise [never] deny force\n").with_permissions(0o644),
    Row::text("use_zero_page", "0\n").with_permissions(0o644),
];

// ---- Character devices ----------------------------------------------------------------------------------------------

/// A link from a directory two levels below `/sys` to a device that has no bus.
macro_rules! link_to {
    ($name:literal, $device:literal) => {
        Row::link($name, |_, _| Ok(concat!("../../devices/virtual/", $device).as_bytes().to_vec()))
    };
}

/// The directory of a character device.
macro_rules! character_device {
    ($name:literal, $class:literal, $major:literal, $minor:literal, $mode:literal) => {
        directory!(
            $name,
            0o755,
            &[
                Row::text("dev", concat!($major, ":", $minor, "\n")),
                Row::link("subsystem", |_, _| Ok(concat!("../../../../class/", $class).as_bytes().to_vec())),
                Row::text("uevent", concat!("MAJOR=", $major, "\nMINOR=", $minor, "\nDEVNAME=", $name, "\n", $mode))
                    .with_permissions(0o644),
            ]
        )
    };
}

const MEMORY_LINKS: &[Row<System>] = &[
    link_to!("full", "mem/full"),
    link_to!("null", "mem/null"),
    link_to!("random", "mem/random"),
    link_to!("urandom", "mem/urandom"),
    link_to!("zero", "mem/zero"),
];

const TERMINAL_LINKS: &[Row<System>] = &[link_to!("console", "tty/console"), link_to!("tty", "tty/tty")];

const CHARACTER_DEVICES: &[Row<System>] = &[
    link_to!("1:3", "mem/null"),
    link_to!("1:5", "mem/zero"),
    link_to!("1:7", "mem/full"),
    link_to!("1:8", "mem/random"),
    link_to!("1:9", "mem/urandom"),
    link_to!("5:0", "tty/tty"),
    link_to!("5:1", "tty/console"),
];

const MEMORY_DEVICES: &[Row<System>] = &[
    character_device!("full", "mem", 1, 7, "DEVMODE=0666\n"),
    character_device!("null", "mem", 1, 3, "DEVMODE=0666\n"),
    character_device!("random", "mem", 1, 8, "DEVMODE=0666\n"),
    character_device!("urandom", "mem", 1, 9, "DEVMODE=0666\n"),
    character_device!("zero", "mem", 1, 5, "DEVMODE=0666\n"),
];

const TERMINALS: &[Row<System>] =
    &[character_device!("console", "tty", 5, 1, ""), character_device!("tty", "tty", 5, 0, "DEVMODE=0666\n")];
