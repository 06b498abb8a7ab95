//! `/proc/sys`: settings of the kernel. Those that can be set here are the host's names; the others say how things are.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use abi::process::CAP_LAST_CAP;
use file::DESCRIPTORS_MAX;
use sync::{Once, machine};
use vfs::fs::generated::{Directory, Node};

use super::text::until_zero;
use super::{constant, file};
use crate::system::{NameField, PID_MAX, RELEASE, System, THREADS_MAX, VERSION};

/// The root of `/proc/sys`.
pub(super) fn root(system: &Arc<System>) -> Directory {
    Directory::new()
        .with("fs", Node::directory(0o555, fs()))
        .with("kernel", Node::directory(0o555, kernel(system)))
        .with("net", Node::directory(0o555, net()))
        .with("vm", Node::directory(0o555, vm()))
}

fn number(value: u64) -> Node {
    file(move || format!("{value}\n").into_bytes())
}

/// A setting that takes numbers and keeps none of them.
fn setting(value: u64) -> Node {
    Node::writable_file(
        0o644,
        move || Ok(format!("{value}\n").into_bytes()),
        move |text| {
            let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
            let new: i64 = text.trim().parse().map_err(|_| Errno::EINVAL)?;
            // What is so already may be asked for; what would be a lie to accept is refused.
            if u64::try_from(new) == Ok(value) { Ok(()) } else { Err(Errno::EPERM) }
        },
    )
}

fn kernel(system: &Arc<System>) -> Directory {
    let host = name(system, System::hostname, System::set_hostname);
    let domain = name(system, System::domainname, System::set_domainname);
    Directory::new()
        .with("arch", constant("x86_64\n"))
        .with("cap_last_cap", number(u64::from(CAP_LAST_CAP)))
        .with("core_pattern", constant("core\n"))
        .with("core_uses_pid", setting(0))
        .with("domainname", domain)
        .with("hostname", host)
        .with("msgmax", number(8192))
        .with("msgmnb", number(16384))
        .with("msgmni", number(32000))
        .with("ngroups_max", number(65536))
        .with("osrelease", file(|| format!("{RELEASE}\n").into_bytes()))
        .with("ostype", constant("Linux\n"))
        .with("overflowgid", number(65534))
        .with("overflowuid", number(65534))
        .with("panic", setting(0))
        .with("perf_event_paranoid", number(4))
        .with("pid_max", setting(u64::from(PID_MAX)))
        .with("printk", constant("4\t4\t1\t7\n"))
        .with("random", Node::directory(0o555, random()))
        .with("randomize_va_space", setting(2))
        .with("sched_rr_timeslice_ms", number(100))
        .with("sem", constant("32000\t1024000000\t500\t32000\n"))
        .with("shmall", number(18_446_744_073_692_774_399))
        .with("shmmax", number(18_446_744_073_692_774_399))
        .with("shmmni", number(4096))
        .with("tainted", number(0))
        .with("threads-max", setting(THREADS_MAX as u64))
        .with("version", file(|| format!("{VERSION}\n").into_bytes()))
}

/// A name of the host, which its owner may set.
fn name(system: &Arc<System>, get: fn(&System) -> NameField, set: fn(&System, &[u8])) -> Node {
    let (shown, changed) = (Arc::clone(system), Arc::clone(system));
    Node::writable_file(
        0o644,
        move || {
            let mut name = until_zero(&get(&shown)).to_vec();
            name.push(b'\n');
            Ok(name)
        },
        move |text| {
            set(&changed, text.split(|byte| *byte == b'\n' || *byte == 0).next().unwrap_or_default());
            Ok(())
        },
    )
}

fn random() -> Directory {
    Directory::new()
        .with("boot_id", file(boot_id))
        .with("entropy_avail", number(256))
        .with("poolsize", number(256))
        .with("urandom_min_reseed_secs", number(60))
        .with("uuid", file(new_uuid))
        .with("write_wakeup_threshold", number(256))
}

/// A random UUID, version 4.
fn new_uuid() -> Vec<u8> {
    let mut bytes = [0; 16];
    machine::fill_entropy(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = Vec::new();
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push(b'-');
        }
        text.extend_from_slice(format!("{byte:02x}").as_bytes());
    }
    text.push(b'\n');
    text
}

fn boot_id() -> Vec<u8> {
    static BOOT_ID: Once<Vec<u8>> = Once::new();
    BOOT_ID.call_once(new_uuid).clone()
}

fn vm() -> Directory {
    Directory::new()
        .with("dirty_background_ratio", setting(10))
        .with("dirty_ratio", setting(20))
        .with("drop_caches", setting(0))
        .with("max_map_count", setting(mm::address_space::AREA_COUNT_MAX as u64))
        .with("min_free_kbytes", number(0))
        .with("mmap_min_addr", number(mm::USER_START as u64))
        .with("nr_hugepages", setting(0))
        .with("overcommit_kbytes", setting(0))
        .with("overcommit_memory", setting(0))
        .with("overcommit_ratio", setting(50))
        .with("swappiness", setting(60))
}

fn fs() -> Directory {
    let epoll = Directory::new().with("max_user_watches", number(1 << 20));
    let inotify = Directory::new()
        .with("max_queued_events", number(16384))
        .with("max_user_instances", number(128))
        .with("max_user_watches", number(1 << 16));
    Directory::new()
        .with("aio-max-nr", number(65536))
        .with("epoll", Node::directory(0o555, epoll))
        .with("file-max", number(i64::MAX.unsigned_abs()))
        .with("inotify", Node::directory(0o555, inotify))
        .with("nr_open", setting(DESCRIPTORS_MAX))
        .with("pipe-max-size", setting(file::pipe::CAPACITY_MAX as u64))
        .with("protected_hardlinks", setting(0))
        .with("protected_symlinks", setting(0))
        .with("suid_dumpable", setting(0))
}

fn net() -> Directory {
    let core = Directory::new()
        .with("somaxconn", number(4096))
        .with("rmem_max", number(212_992))
        .with("wmem_max", number(212_992));
    Directory::new().with("core", Node::directory(0o555, core))
}
