//! What there is of memory, and what it is used for: `/proc/meminfo`, `vmstat` and `zoneinfo`, and the same of the only node in `/sys`.

use alloc::format;
use alloc::vec::Vec;

use mm::PAGE_SIZE;
use vfs::fs::tmpfs;

use super::task_files::pages_of;
use super::text::Text;
use crate::system::System;

/// Orders of blocks that Linux has.
const ORDERS_SHOWN: usize = 11;
const PAGE_KIB: u64 = PAGE_SIZE as u64 / 1024;
/// Linux's figure for the space its `vmalloc` has.
const VMALLOC_TOTAL_KIB: u64 = 34_359_738_367;
/// The column of the numbers of `meminfo`, and about how long it is.
const LABEL_WIDTH: usize = 16;
const MEMINFO_LEN_BYTES: usize = 2000;
/// Sectors in a KiB, the unit of `pgpgin` and `pgpgout`.
const SECTORS_PER_KIB: u64 = 2;

/// Pages of blocks that are the contents of no file.
pub(crate) fn buffer_pages() -> u64 {
    pages_of(block::buffered_bytes())
}

/// Where all pages are.
struct Figures {
    total: u64,
    free: u64,
    buffers: u64,
    /// Contents of files on disks, and in file systems in memory.
    files: u64,
    memory_files: u64,
    dirty: u64,
    on_the_way: u64,
    anonymous: u64,
    mapped: u64,
    locked: u64,
    /// Taken by the kernel itself.
    kernel: u64,
}

impl Figures {
    fn now(system: &System) -> Self {
        let frames = mm::frame::statistics();
        let (mut anonymous, mut mapped, mut locked) = (0, 0, 0);
        for process in system.processes() {
            let usage = process.address_space().usage();
            anonymous += usage.resident_anonymous as u64;
            mapped += (usage.resident_file + usage.resident_shared) as u64;
            locked += usage.locked as u64;
        }
        let buffers = buffer_pages();
        let files = vfs::cached_pages() as u64;
        let memory_files = tmpfs::memory_pages();
        let known = frames.free + buffers + files + memory_files + anonymous;
        Self {
            total: frames.total,
            free: frames.free,
            buffers,
            files,
            memory_files,
            dirty: vfs::dirty_pages() as u64,
            on_the_way: vfs::pages_on_the_way() as u64,
            anonymous,
            mapped,
            locked,
            kernel: frames.total.saturating_sub(known),
        }
    }

    /// What could be had without ending anything: files in memory cannot be dropped, nor can what is dirty be at once.
    fn available(&self) -> u64 {
        (self.free + self.buffers + self.files).saturating_sub(self.dirty)
    }

    fn cached(&self) -> u64 {
        self.files + self.memory_files
    }
}

pub(super) fn meminfo(system: &System) -> Vec<u8> {
    let figures = Figures::now(system);
    let active_anonymous = figures.anonymous + figures.memory_files;
    let active_files = figures.files + figures.buffers;
    let mut text = Text::with_room_for(MEMINFO_LEN_BYTES);
    for (name, pages) in [
        ("MemTotal", figures.total),
        ("MemFree", figures.free),
        ("MemAvailable", figures.available()),
        ("Buffers", figures.buffers),
        ("Cached", figures.cached()),
        ("SwapCached", 0),
        ("Active", active_anonymous + active_files),
        ("Inactive", 0),
        ("Active(anon)", active_anonymous),
        ("Inactive(anon)", 0),
        ("Active(file)", active_files),
        ("Inactive(file)", 0),
        ("Unevictable", figures.locked),
        ("Mlocked", figures.locked),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", figures.dirty),
        ("Writeback", figures.on_the_way),
        ("AnonPages", figures.anonymous),
        ("Mapped", figures.mapped),
        ("Shmem", figures.memory_files),
        ("KReclaimable", 0),
        ("Slab", figures.kernel),
        ("SReclaimable", 0),
        ("SUnreclaim", figures.kernel),
        ("KernelStack", 0),
        ("PageTables", 0),
        ("SecPageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", figures.total / 2),
        ("Committed_AS", figures.anonymous + figures.memory_files),
    ] {
        text.kib(name, LABEL_WIDTH, pages * PAGE_KIB);
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
        text.kib(name, LABEL_WIDTH, kib);
    }
    for name in ["HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp"] {
        text.label(name, LABEL_WIDTH);
        text.decimal(0, 8);
        text.bytes(b"\n");
    }
    for (name, kib) in
        [("Hugepagesize", 2048), ("Hugetlb", 0), ("DirectMap4k", 0), ("DirectMap2M", figures.total * PAGE_KIB)]
    {
        text.kib(name, LABEL_WIDTH, kib);
    }
    text.into_bytes()
}

/// What is counted of pages, in Linux's order and under its names.
fn page_counts(figures: &Figures) -> [(&'static str, u64); 21] {
    [
        ("nr_inactive_anon", 0),
        ("nr_active_anon", figures.anonymous + figures.memory_files),
        ("nr_inactive_file", 0),
        ("nr_active_file", figures.files + figures.buffers),
        ("nr_unevictable", figures.locked),
        ("nr_slab_reclaimable", 0),
        ("nr_slab_unreclaimable", figures.kernel),
        ("nr_isolated_anon", 0),
        ("nr_isolated_file", 0),
        ("nr_anon_pages", figures.anonymous),
        ("nr_mapped", figures.mapped),
        ("nr_file_pages", figures.cached() + figures.buffers),
        ("nr_dirty", figures.dirty),
        ("nr_writeback", figures.on_the_way),
        ("nr_shmem", figures.memory_files),
        ("nr_shmem_hugepages", 0),
        ("nr_anon_transparent_hugepages", 0),
        ("nr_dirtied", vfs::dirtied_pages()),
        ("nr_written", vfs::written_pages()),
        ("nr_kernel_stack", 0),
        ("nr_page_table_pages", 0),
    ]
}

pub(super) fn vmstat(system: &System) -> Vec<u8> {
    let figures = Figures::now(system);
    let (mut faults, mut major_faults) = (0, 0);
    for usage in system.processes().iter().map(|process| process.usage()) {
        faults += usage.minor_faults + usage.major_faults;
        major_faults += usage.major_faults;
    }
    let disks = super::disks::disks();
    let sectors = |of: fn(&block::DiskStatistics) -> block::OperationFigures| -> u64 {
        disks.iter().map(|disk| of(disk.statistics()).sectors).sum()
    };
    let mut text = Text::new();
    text.line(format_args!("nr_free_pages {}", figures.free));
    for (name, value) in page_counts(&figures) {
        text.line(format_args!("{name} {value}"));
    }
    for (name, value) in [
        ("pgpgin", sectors(block::DiskStatistics::reads) / SECTORS_PER_KIB),
        ("pgpgout", sectors(block::DiskStatistics::writes) / SECTORS_PER_KIB),
        ("pswpin", 0),
        ("pswpout", 0),
        ("pgfault", faults),
        ("pgmajfault", major_faults),
        ("oom_kill", 0),
    ] {
        text.line(format_args!("{name} {value}"));
    }
    text.into_bytes()
}

/// One zone, which has everything.
pub(super) fn zones(system: &System) -> Vec<u8> {
    let figures = Figures::now(system);
    let mut text = Text::new();
    text.line(format_args!("Node 0, zone   Normal"));
    text.line(format_args!("  per-node stats"));
    for (name, value) in page_counts(&figures) {
        text.line(format_args!("      {name:<12} {value}"));
    }
    text.line(format_args!("  pages free     {}", figures.free));
    for (name, value) in [
        ("boost", 0),
        ("min", 0),
        ("low", 0),
        ("high", 0),
        ("spanned", figures.total),
        ("present", figures.total),
        ("managed", figures.total),
        ("cma", 0),
    ] {
        text.line(format_args!("        {name:<8} {value}"));
    }
    text.into_bytes()
}

/// Free blocks by size, in the only zone. Linux has none larger than [`ORDERS_SHOWN`] allows: those count as several
/// here.
pub(super) fn free_blocks() -> Vec<u8> {
    let mut text = Text::new();
    text.put(format_args!("Node 0, zone {:>8} ", "Normal"));
    let blocks = mm::frame::free_blocks();
    let (shown, larger) = blocks.split_at(ORDERS_SHOWN);
    let parts: u64 = (1_u32..).zip(larger).map(|(order, count)| count << order).sum();
    for (order, count) in shown.iter().enumerate() {
        let count = if order + 1 == ORDERS_SHOWN { count + parts } else { *count };
        text.put(format_args!("{count:>6} "));
    }
    text.bytes(b"\n");
    text.into_bytes()
}

/// `meminfo` of the only node.
pub(super) fn node_meminfo(system: &System) -> Vec<u8> {
    let figures = Figures::now(system);
    let mut text = Text::new();
    for (name, pages) in [
        ("MemTotal", figures.total),
        ("MemFree", figures.free),
        ("MemUsed", figures.total.saturating_sub(figures.free)),
        ("Dirty", figures.dirty),
        ("Writeback", figures.on_the_way),
        ("FilePages", figures.cached() + figures.buffers),
        ("Mapped", figures.mapped),
        ("AnonPages", figures.anonymous),
        ("Shmem", figures.memory_files),
        ("Slab", figures.kernel),
    ] {
        text.line(format_args!("Node 0 {:15}{:>8} kB", format!("{name}:"), pages * PAGE_KIB));
    }
    text.into_bytes()
}

/// `vmstat` of the only node.
pub(super) fn node_vmstat(system: &System) -> Vec<u8> {
    let figures = Figures::now(system);
    let mut text = Text::new();
    text.line(format_args!("nr_free_pages {}", figures.free));
    for (name, value) in page_counts(&figures) {
        text.line(format_args!("{name} {value}"));
    }
    text.into_bytes()
}

/// Bytes in use by all there is: what a control group of everything would count.
pub(super) fn used_bytes() -> u64 {
    let frames = mm::frame::statistics();
    frames.total.saturating_sub(frames.free) * PAGE_SIZE as u64
}
