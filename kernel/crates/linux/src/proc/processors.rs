//! `/sys/devices/system/cpu`: the processors, how they are arranged and what caches they have.
//!
//! Every CPU is a core of its own in one package. Caches are what CPUID leaf 4 says (Intel's manual, volume 2A, CPUID), or leaf
//! 0x8000001d, which has the same layout on AMD's processors.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use sched::CpuSet;
use vfs::FileKind;
use vfs::fs::generated::{Directory, ListedNode, Node, Row};

use super::status::{cpu_list, cpu_mask};
use super::text::{line, parse_number, range_list};
use crate::platform::Platform;
use crate::system::System;

/// The most CPUs a kernel of this build could have, less one.
const CPU_NUMBER_MAX: &str = "255\n";
/// The leaves of CPUID that list caches.
const CACHES_INTEL: u32 = 4;
const CACHES_AMD: u32 = 0x8000_001d;
/// The first leaf of the extended range.
const EXTENDED: u32 = 0x8000_0000;
/// The most caches a CPU can have.
const CACHES_MAX: u32 = 16;

fn count(system: &System) -> u32 {
    system.platform().cpu_info().count
}

fn all(system: &System) -> CpuSet {
    CpuSet(u64::MAX.checked_shr(64 - count(system).clamp(1, 64)).unwrap_or(1))
}

/// All CPUs as a mask.
pub(super) fn all_mask(system: &System) -> Vec<u8> {
    line(cpu_mask(all(system), count(system)))
}

const FILES: &[Row<System>] = &[
    Row::text("isolated", "\n"),
    Row::text("kernel_max", CPU_NUMBER_MAX),
    Row::text("offline", "\n"),
    Row::file("online", |system| range_list(count(system))),
    Row::file("possible", |system| range_list(count(system))),
    Row::file("present", |system| range_list(count(system))),
];

/// The directory.
pub(super) fn directory(system: &Arc<System>) -> Directory {
    let (found, listed) = (Arc::clone(system), Arc::clone(system));
    Directory::of(FILES, system).changing(
        move |name, _| {
            let number = parse_number(name.strip_prefix(b"cpu")?)?;
            let cpu = Arc::new(Cpu { system: Arc::clone(&found), number });
            (number < count(&found)).then(|| Node::directory(0o755, Directory::of(CPU_FILES, &cpu)))
        },
        move |give| {
            for cpu in 0..count(&listed) {
                let name = format!("cpu{cpu}");
                give(ListedNode { name: name.as_bytes(), order: cpu, kind: FileKind::Directory });
            }
        },
    )
}

/// One processor.
struct Cpu {
    system: Arc<System>,
    number: u32,
}

impl Cpu {
    fn own_mask(&self) -> Vec<u8> {
        line(cpu_mask(CpuSet(1_u64.checked_shl(self.number).unwrap_or(0)), count(&self.system)))
    }

    fn own_number(&self) -> Vec<u8> {
        line(self.number)
    }

    fn package_mask(&self) -> Vec<u8> {
        all_mask(&self.system)
    }

    fn package_list(&self) -> Vec<u8> {
        range_list(count(&self.system))
    }
}

const CPU_FILES: &[Row<Cpu>] = &[
    Row::directory("cache", 0o755, caches),
    Row::text("online", "1\n"),
    Row::directory("topology", 0o755, |cpu| Directory::of(TOPOLOGY, cpu)),
];

const TOPOLOGY: &[Row<Cpu>] = &[
    Row::file("cluster_cpus", Cpu::own_mask),
    Row::file("cluster_cpus_list", Cpu::own_number),
    Row::file("cluster_id", Cpu::own_number),
    Row::file("core_cpus", Cpu::own_mask),
    Row::file("core_cpus_list", Cpu::own_number),
    Row::file("core_id", Cpu::own_number),
    Row::file("core_siblings", Cpu::package_mask),
    Row::file("core_siblings_list", Cpu::package_list),
    Row::file("die_cpus", Cpu::package_mask),
    Row::file("die_cpus_list", Cpu::package_list),
    Row::text("die_id", "0\n"),
    Row::file("package_cpus", Cpu::package_mask),
    Row::file("package_cpus_list", Cpu::package_list),
    Row::text("physical_package_id", "0\n"),
    Row::file("thread_siblings", Cpu::own_mask),
    Row::file("thread_siblings_list", Cpu::own_number),
];

// ---- Caches ---------------------------------------------------------------------------------------------------------

/// A cache, as CPUID describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CacheShape {
    kind: &'static str,
    level: u32,
    /// The most hardware threads that share it.
    sharing_max: u32,
    line_len: u32,
    partitions: u32,
    ways: u32,
    sets: u32,
}

impl CacheShape {
    /// Reads the registers of a subleaf; None behind the last cache.
    fn decode([a, b, c, _]: [u32; 4]) -> Option<Self> {
        let kind = match a & 31 {
            1 => "Data",
            2 => "Instruction",
            3 => "Unified",
            _ => return None,
        };
        Some(Self {
            kind,
            level: a >> 5 & 7,
            sharing_max: (a >> 14 & 0xfff) + 1,
            line_len: (b & 0xfff) + 1,
            partitions: (b >> 12 & 0x3ff) + 1,
            ways: (b >> 22) + 1,
            sets: c.saturating_add(1),
        })
    }

    fn len_kib(&self) -> u64 {
        let line = u64::from(self.line_len) * u64::from(self.partitions);
        line.saturating_mul(u64::from(self.ways)).saturating_mul(u64::from(self.sets)) / 1024
    }

    /// The CPUs that share it with CPU `number`: those whose numbers differ in the low bits alone.
    fn sharers(&self, number: u32, all: CpuSet) -> CpuSet {
        let group = self.sharing_max.next_power_of_two();
        let first = number / group * group;
        let mask = if group >= 64 { u64::MAX } else { (1_u64 << group) - 1 };
        CpuSet(mask.checked_shl(first).unwrap_or(0) & all.0)
    }
}

/// A cache of a processor, by number.
struct Cache {
    cpu: Arc<Cpu>,
    shape: CacheShape,
}

fn shape_of(platform: &dyn Platform, number: u32) -> Option<CacheShape> {
    let basic_max = platform.cpuid(0, 0)[0];
    let extended_max = platform.cpuid(EXTENDED, 0)[0];
    let intel = (basic_max >= CACHES_INTEL).then(|| CacheShape::decode(platform.cpuid(CACHES_INTEL, number)));
    let amd = || (extended_max >= CACHES_AMD).then(|| CacheShape::decode(platform.cpuid(CACHES_AMD, number)));
    intel.flatten().or_else(|| amd().flatten())
}

fn caches(cpu: &Arc<Cpu>) -> Directory {
    let (found, listed) = (Arc::clone(cpu), Arc::clone(cpu));
    Directory::new().changing(
        move |name, _| {
            let number = parse_number(name.strip_prefix(b"index")?).filter(|number| *number < CACHES_MAX)?;
            let shape = shape_of(found.system.platform(), number)?;
            let cache = Arc::new(Cache { cpu: Arc::clone(&found), shape });
            Some(Node::directory(0o755, Directory::of(CACHE_FILES, &cache)))
        },
        move |give| {
            for number in (0..CACHES_MAX).take_while(|number| shape_of(listed.system.platform(), *number).is_some()) {
                let name = format!("index{number}");
                give(ListedNode { name: name.as_bytes(), order: number, kind: FileKind::Directory });
            }
        },
    )
}

impl Cache {
    fn sharers(&self) -> CpuSet {
        self.shape.sharers(self.cpu.number, all(&self.cpu.system))
    }
}

const CACHE_FILES: &[Row<Cache>] = &[
    Row::file("coherency_line_size", |cache| line(cache.shape.line_len)),
    Row::file("id", |cache| line(cache.cpu.number / cache.shape.sharing_max.next_power_of_two())),
    Row::file("level", |cache| line(cache.shape.level)),
    Row::file("number_of_sets", |cache| line(cache.shape.sets)),
    Row::file("physical_line_partition", |cache| line(cache.shape.partitions)),
    Row::file("shared_cpu_list", |cache| line(cpu_list(cache.sharers()))),
    Row::file("shared_cpu_map", |cache| line(cpu_mask(cache.sharers(), count(&cache.cpu.system)))),
    Row::file("size", |cache| line(format_args!("{}K", cache.shape.len_kib()))),
    Row::file("type", |cache| line(cache.shape.kind)),
    Row::file("ways_of_associativity", |cache| line(cache.shape.ways)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_decoded() {
        // 48 KiB of data, 12 ways, 64 sets, shared by two threads.
        let shape = CacheShape::decode([0x0000_4121, 0x02c0_003f, 0x3f, 0]).unwrap();
        assert_eq!((shape.kind, shape.level, shape.sharing_max, shape.line_len), ("Data", 1, 2, 64));
        assert_eq!((shape.ways, shape.sets, shape.len_kib()), (12, 64, 48));
        assert_eq!(CacheShape::decode([0; 4]), None);
    }

    #[test]
    fn neighbours_share() {
        let shape = CacheShape::decode([0x0000_4121, 0x02c0_003f, 0x3f, 0]).unwrap();
        assert_eq!(shape.sharers(2, CpuSet(0xff)), CpuSet(0b1100));
        assert_eq!(shape.sharers(3, CpuSet(0b0111)), CpuSet(0b0100));
        let wide = CacheShape { sharing_max: 100, ..shape };
        assert_eq!(wide.sharers(3, CpuSet(0xff)), CpuSet(0xff));
    }
}
