//! `/proc/meminfo` and `/proc/vmstat`.

use alloc::vec::Vec;

use mm::PAGE_SIZE;

use super::text::Text;
use crate::system::System;

const PAGE_KIB: u64 = PAGE_SIZE as u64 / 1024;
/// Linux's figure for the space its `vmalloc` has.
const VMALLOC_TOTAL_KIB: u64 = 34_359_738_367;

pub(super) fn meminfo(system: &System) -> Vec<u8> {
    let frames = mm::frame::statistics();
    let anonymous: usize =
        system.processes().iter().map(|process| process.address_space().usage().resident_anonymous).sum();
    let anonymous = anonymous as u64;
    let mapped: usize = system.processes().iter().map(|process| process.address_space().usage().resident_file).sum();
    let available = frames.free + frames.cached;
    // What is neither free nor a program's nor cached is the kernel's.
    let kernel = frames.total.saturating_sub(available + anonymous);
    let mut text = Text::new();
    for (name, pages) in [
        ("MemTotal", frames.total),
        ("MemFree", frames.free),
        ("MemAvailable", available),
        ("Buffers", 0),
        ("Cached", frames.cached),
        ("SwapCached", 0),
        ("Active", anonymous + frames.cached),
        ("Inactive", 0),
        ("Active(anon)", anonymous),
        ("Inactive(anon)", 0),
        ("Active(file)", frames.cached),
        ("Inactive(file)", 0),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", anonymous),
        ("Mapped", mapped as u64),
        ("Shmem", 0),
        ("KReclaimable", 0),
        ("Slab", kernel),
        ("SReclaimable", 0),
        ("SUnreclaim", kernel),
        ("KernelStack", 0),
        ("PageTables", 0),
        ("SecPageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", frames.total / 2),
        ("Committed_AS", anonymous),
    ] {
        line(&mut text, name, pages * PAGE_KIB);
    }
    for (name, kib) in [
        ("VmallocTotal", VMALLOC_TOTAL_KIB),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
        ("Percpu", 0),
        ("AnonHugePages", 0),
        ("ShmemHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FileHugePages", 0),
        ("FilePmdMapped", 0),
    ] {
        line(&mut text, name, kib);
    }
    for name in ["HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp"] {
        text.line(format_args!("{:16}{:>8}", alloc::format!("{name}:"), 0));
    }
    line(&mut text, "Hugepagesize", 2048);
    line(&mut text, "Hugetlb", 0);
    line(&mut text, "DirectMap4k", 0);
    line(&mut text, "DirectMap2M", frames.total * PAGE_KIB);
    text.into_bytes()
}

fn line(text: &mut Text, name: &str, kib: u64) {
    text.line(format_args!("{:16}{kib:>8} kB", alloc::format!("{name}:")));
}

pub(super) fn vmstat(system: &System) -> Vec<u8> {
    let frames = mm::frame::statistics();
    let faults: u64 = system.processes().iter().map(|process| process.usage().minor_faults).sum();
    let mut text = Text::new();
    for (name, value) in [
        ("nr_free_pages", frames.free),
        ("nr_file_pages", frames.cached),
        ("nr_dirty", 0),
        ("nr_writeback", 0),
        ("pgpgin", 0),
        ("pgpgout", 0),
        ("pswpin", 0),
        ("pswpout", 0),
        ("pgfault", faults),
        ("pgmajfault", 0),
        ("oom_kill", 0),
    ] {
        text.line(format_args!("{name} {value}"));
    }
    text.into_bytes()
}
