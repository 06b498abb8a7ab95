//! `/sys`: the processors and memory nodes, as libraries count them.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use vfs::FileKind;
use vfs::fs::generated::{Directory, ListedNode, Node};

use super::text::{parse_number, range_list};
use super::{constant, file, network};
use crate::system::System;

/// The most CPUs a kernel of this build could have, less one.
const CPU_NUMBER_MAX: u32 = 255;

fn directory(directory: Directory) -> Node {
    Node::directory(0o755, directory)
}

/// The root of `/sys`.
pub(super) fn root(system: &Arc<System>) -> Directory {
    let system_devices = Directory::new().with("cpu", directory(cpus(system))).with("node", directory(nodes(system)));
    let devices = Directory::new().with("system", directory(system_devices));
    let huge_pages = Directory::new()
        .with("defrag", constant("always defer defer+madvise madvise [never]\n"))
        .with("enabled", constant("always madvise [never]\n"))
        .with("hpage_pmd_size", constant("2097152\n"));
    let memory = Directory::new().with("transparent_hugepage", directory(huge_pages));
    let kernel = Directory::new().with("mm", directory(memory));
    let fs = Directory::new().with("cgroup", directory(Directory::new()));
    let class =
        Directory::new().with("block", directory(Directory::new())).with("net", directory(network::class(system)));
    Directory::new()
        .with("block", directory(Directory::new()))
        .with("bus", directory(Directory::new()))
        .with("class", directory(class))
        .with("dev", directory(Directory::new()))
        .with("devices", directory(devices))
        .with("firmware", directory(Directory::new()))
        .with("fs", directory(fs))
        .with("kernel", directory(kernel))
        .with("module", directory(Directory::new()))
        .with("power", directory(Directory::new()))
}

fn cpu_count(system: &System) -> u32 {
    system.platform().cpu_info().count
}

/// The list of all CPUs, with a newline.
fn all_cpus(system: &Arc<System>) -> Node {
    let system = Arc::clone(system);
    file(move || line(range_list(cpu_count(&system))))
}

fn line(mut text: Vec<u8>) -> Vec<u8> {
    text.push(b'\n');
    text
}

/// `devices/system/cpu`.
fn cpus(system: &Arc<System>) -> Directory {
    let (found, listed) = (Arc::clone(system), Arc::clone(system));
    Directory::new()
        .with("isolated", constant("\n"))
        .with("kernel_max", file(|| format!("{CPU_NUMBER_MAX}\n").into_bytes()))
        .with("offline", constant("\n"))
        .with("online", all_cpus(system))
        .with("possible", all_cpus(system))
        .with("present", all_cpus(system))
        .changing(
            move |name, _| {
                let cpu = parse_number(name.strip_prefix(b"cpu")?)?;
                (cpu < cpu_count(&found)).then(|| directory(one_cpu(cpu)))
            },
            move |give| {
                for cpu in 0..cpu_count(&listed) {
                    let name = format!("cpu{cpu}");
                    give(ListedNode { name: name.as_bytes(), order: cpu, kind: FileKind::Directory });
                }
            },
        )
}

/// `devices/system/cpu/cpuN`: every CPU is a core of its own in one package.
fn one_cpu(cpu: u32) -> Directory {
    let own = move || file(move || format!("{cpu}\n").into_bytes());
    let topology = Directory::new()
        .with("core_cpus_list", own())
        .with("core_id", own())
        .with("die_id", constant("0\n"))
        .with("physical_package_id", constant("0\n"))
        .with("thread_siblings_list", own());
    Directory::new().with("online", constant("1\n")).with("topology", directory(topology))
}

/// `devices/system/node`: one node with everything.
fn nodes(system: &Arc<System>) -> Directory {
    let node = Directory::new()
        .with("cpulist", all_cpus(system))
        .with("distance", constant("10\n"))
        .with("meminfo", file(node_meminfo));
    Directory::new()
        .with("has_cpu", constant("0\n"))
        .with("has_memory", constant("0\n"))
        .with("has_normal_memory", constant("0\n"))
        .with("node0", directory(node))
        .with("online", constant("0\n"))
        .with("possible", constant("0\n"))
}

fn node_meminfo() -> Vec<u8> {
    let frames = mm::frame::statistics();
    let kib = |pages: u64| pages * (mm::PAGE_SIZE as u64) / 1024;
    let used = frames.total.saturating_sub(frames.free);
    let mut text = Vec::new();
    for (name, pages) in [("MemTotal", frames.total), ("MemFree", frames.free), ("MemUsed", used)] {
        text.extend_from_slice(format!("Node 0 {:15}{:>8} kB\n", format!("{name}:"), kib(pages)).as_bytes());
    }
    text
}
