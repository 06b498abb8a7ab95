//! `/proc/sys`: settings of the kernel, but for those of the network ([`super::sysctl_net`]).
//!
//! Those that take other values are the host's names and what [`crate::settings`] has; dropping caches is done when it is asked for. The
//! others say how things are, and refuse to be told otherwise.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::Errno;
use abi::process::CAP_LAST_CAP;
use file::DESCRIPTORS_MAX;
use file::lease::{ARE_ENABLED, BREAK_TIME_SECONDS};
use sync::{Once, machine};
use vfs::fs::generated::{Directory, Row};
use vfs::notify::{ARE_DIRECTORIES_TOLD, LIMITS, Limits};
use vfs::{DentryCounts, PROTECTION};

use super::sysctl_net;
use super::text::{line, parse_setting, until_zero};
use crate::settings::Settings;
use crate::system::{NameField, PID_MAX, RELEASE, System, THREADS_MAX, VERSION};

/// The root of `/proc/sys`.
pub(super) fn root(system: &Arc<System>) -> Directory {
    Directory::of(ROOT, system).strict()
}

/// A setting whose only value is a constant of this kernel.
macro_rules! constant {
    ($name:literal, $value:expr) => {
        Row::setting(
            $name,
            0o644,
            |_| Ok(line($value)),
            |_, text| if parse_setting(text) == Ok($value) { Ok(()) } else { Err(Errno::EINVAL) },
        )
    };
}

/// A setting of [`Settings`].
macro_rules! setting {
    ($name:literal, $field:ident, $range:expr) => {
        Row::setting(
            $name,
            0o644,
            |system| Ok(line(system.settings().$field.load(Relaxed))),
            |system, text| set(&system.settings().$field, text, $range),
        )
    };
}

/// A limit of inotify, and what is in force of it.
macro_rules! limit {
    ($name:literal, $field:ident, $shown:expr) => {
        Row::setting(
            $name,
            0o644,
            |_| {
                let shown: fn(&Limits) -> u32 = $shown;
                Ok(line(shown(&LIMITS)))
            },
            |_, text| set(&LIMITS.$field, text, 0..=i32::MAX.unsigned_abs()),
        )
    };
}

/// A restriction of [`vfs::PROTECTION`].
macro_rules! protection {
    ($name:literal, $field:ident, $highest:literal) => {
        Row::setting(
            $name,
            0o644,
            |_| Ok(line(PROTECTION.$field.load(Relaxed))),
            |_, text| set(&PROTECTION.$field, text, 0..=$highest),
        )
    };
}

/// Takes a number within a range.
fn set(setting: &AtomicU32, text: &[u8], range: RangeInclusive<u32>) -> Result<(), Errno> {
    let value = parse_setting(text)?;
    if !range.contains(&value) {
        return Err(Errno::EINVAL);
    }
    setting.store(value, Relaxed);
    Ok(())
}

const ROOT: &[Row<System>] = &[
    directory!("fs", 0o555, FS),
    directory!("kernel", 0o555, KERNEL),
    directory!("net", 0o555, sysctl_net::ROOT),
    directory!("vm", 0o555, VM),
];

const KERNEL: &[Row<System>] = &[
    Row::text("arch", "x86_64\n"),
    Row::file("cap_last_cap", |_| line(CAP_LAST_CAP)),
    // There are no core dumps.
    Row::fixed("core_pattern", "core\n"),
    Row::fixed("core_pipe_limit", "0\n"),
    Row::fixed("core_uses_pid", "0\n"),
    Row::fixed("dmesg_restrict", "0\n"),
    Row::setting(
        "domainname",
        0o644,
        |system| Ok(name(&system.domainname())),
        |system, text| {
            system.set_domainname(first_line(text));
            Ok(())
        },
    ),
    Row::setting(
        "hostname",
        0o644,
        |system| Ok(name(&system.hostname())),
        |system, text| {
            system.set_hostname(first_line(text));
            Ok(())
        },
    ),
    // What never stops nobody watches.
    Row::fixed("hung_task_timeout_secs", "0\n"),
    // There is none.
    Row::fixed("io_uring_disabled", "2\n"),
    Row::fixed("kptr_restrict", "2\n"),
    Row::fixed("msgmax", "8192\n"),
    Row::fixed("msgmnb", "16384\n"),
    Row::fixed("msgmni", "32000\n"),
    Row::text("ngroups_max", "65536\n"),
    Row::fixed("nmi_watchdog", "0\n"),
    Row::fixed("numa_balancing", "0\n"),
    Row::file("osrelease", |_| line(RELEASE)),
    Row::text("ostype", "Linux\n"),
    Row::fixed("overflowgid", "65534\n"),
    Row::fixed("overflowuid", "65534\n"),
    Row::fixed("panic", "0\n"),
    Row::fixed("panic_on_oops", "1\n"),
    Row::fixed("panic_on_warn", "0\n"),
    Row::fixed("perf_event_paranoid", "4\n"),
    setting!("pid_max", pid_max, Settings::PID_MAX_MIN..=PID_MAX),
    Row::fixed("print-fatal-signals", "0\n"),
    Row::fixed("printk", "4\t4\t1\t7\n"),
    directory!("random", 0o555, RANDOM),
    setting!("randomize_va_space", address_randomness, 0..=2),
    Row::fixed("sched_autogroup_enabled", "0\n"),
    Row::fixed("sched_rr_timeslice_ms", "100\n"),
    Row::fixed("sched_rt_period_us", "1000000\n"),
    Row::fixed("sched_rt_runtime_us", "-1\n"),
    Row::fixed("sem", "32000\t1024000000\t500\t32000\n"),
    Row::fixed("shmall", "18446744073692774399\n"),
    Row::fixed("shmmax", "18446744073692774399\n"),
    Row::fixed("shmmni", "4096\n"),
    Row::text("tainted", "0\n"),
    setting!("threads-max", threads_max, Settings::THREADS_MAX_MIN..=THREADS_MAX),
    Row::file("version", |_| line(VERSION)),
];

/// A name with a newline.
fn name(field: &NameField) -> Vec<u8> {
    let mut name = until_zero(field).to_vec();
    name.push(b'\n');
    name
}

fn first_line(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'\n' || *byte == 0).next().unwrap_or_default()
}

const RANDOM: &[Row<System>] = &[
    Row::file("boot_id", |_| boot_id()),
    Row::text("entropy_avail", "256\n"),
    Row::text("poolsize", "256\n"),
    Row::fixed("urandom_min_reseed_secs", "60\n"),
    Row::file("uuid", |_| new_uuid()),
    Row::fixed("write_wakeup_threshold", "256\n"),
];

/// A random UUID, version 4 (RFC 9562, 5.4).
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

/// The unit of times of write-back.
const NS_PER_CENTISECOND: u64 = 10_000_000;

const VM: &[Row<System>] = &[
    Row::fixed("admin_reserve_kbytes", "0\n"),
    Row::fixed("compaction_proactiveness", "0\n"),
    // Writers wait when a fifth of memory is dirty; no smaller amount begins to be written back before its time.
    Row::fixed("dirty_background_bytes", "0\n"),
    Row::fixed("dirty_background_ratio", "20\n"),
    Row::fixed("dirty_bytes", "0\n"),
    constant!("dirty_expire_centisecs", vfs::write_back::PERIOD_NS / NS_PER_CENTISECOND),
    Row::fixed("dirty_ratio", "20\n"),
    constant!("dirty_writeback_centisecs", vfs::write_back::PERIOD_NS / NS_PER_CENTISECOND),
    Row::setting("drop_caches", 0o200, |_| Err(Errno::EINVAL), |_, text| drop_caches(text)),
    Row::fixed("laptop_mode", "0\n"),
    Row::fixed("legacy_va_layout", "0\n"),
    constant!("max_map_count", mm::address_space::AREA_COUNT_MAX as u64),
    Row::fixed("memfd_noexec", "0\n"),
    Row::fixed("min_free_kbytes", "0\n"),
    constant!("mmap_min_addr", mm::USER_START as u64),
    Row::fixed("nr_hugepages", "0\n"),
    Row::fixed("nr_overcommit_hugepages", "0\n"),
    Row::fixed("oom_dump_tasks", "0\n"),
    Row::fixed("oom_kill_allocating_task", "0\n"),
    Row::fixed("overcommit_kbytes", "0\n"),
    // Memory is taken when it is touched, whatever was mapped.
    Row::fixed("overcommit_memory", "1\n"),
    Row::fixed("overcommit_ratio", "50\n"),
    Row::fixed("page-cluster", "0\n"),
    Row::fixed("panic_on_oom", "0\n"),
    // There is nowhere to swap to.
    Row::fixed("swappiness", "0\n"),
    Row::fixed("user_reserve_kbytes", "0\n"),
    Row::fixed("vfs_cache_pressure", "100\n"),
    Row::fixed("zone_reclaim_mode", "0\n"),
];

/// Drops what can be read again: 1 pages, 2 what is known of names, 3 both; 4 with them asks for silence. Names are few and kept.
fn drop_caches(text: &[u8]) -> Result<(), Errno> {
    let what: u32 = parse_setting(text)?;
    if !(1..=7).contains(&what) {
        return Err(Errno::EINVAL);
    }
    if what & 1 != 0 {
        vfs::drop_caches();
    }
    Ok(())
}

const FS: &[Row<System>] = &[
    Row::fixed("aio-max-nr", "65536\n"),
    Row::text("aio-nr", "0\n"),
    // 45 and 0 are constants of Linux as well.
    Row::fallible("dentry-state", 0o444, |_| {
        let DentryCounts { all, unused, absent } = vfs::dentry_counts()?;
        Ok(line(format_args!("{all}\t{unused}\t45\t0\t{absent}\t0")))
    }),
    directory!("epoll", 0o555, &[Row::fixed("max_user_watches", "1048576\n")]),
    Row::fixed("file-max", "9223372036854775807\n"),
    Row::file("file-nr", |system| line(format_args!("{}\t0\t{}", open_descriptors(system), i64::MAX))),
    // An inode goes with its last user, to whom the cache of names and who has to write it belong.
    Row::file("inode-nr", |_| line(format_args!("{}\t0", vfs::inode_count()))),
    Row::file("inode-state", |_| line(format_args!("{}\t0\t0\t0\t0\t0\t0", vfs::inode_count()))),
    directory!(
        "inotify",
        0o555,
        &[
            limit!("max_queued_events", queued_events_max, |limits| limits.queued_events_max.load(Relaxed)),
            limit!("max_user_instances", user_instances_max, |limits| limits.user_instances_max.load(Relaxed)),
            limit!("max_user_watches", user_watches_max, Limits::watches),
        ]
    ),
    Row::setting(
        "dir-notify-enable",
        0o644,
        |_| Ok(line(ARE_DIRECTORIES_TOLD.load(Relaxed))),
        |_, text| set(&ARE_DIRECTORIES_TOLD, text, 0..=1),
    ),
    Row::setting(
        "lease-break-time",
        0o644,
        |_| Ok(line(BREAK_TIME_SECONDS.load(Relaxed))),
        |_, text| set(&BREAK_TIME_SECONDS, text, 0..=i32::MAX.unsigned_abs()),
    ),
    Row::setting(
        "leases-enable",
        0o644,
        |_| Ok(line(ARE_ENABLED.load(Relaxed))),
        |_, text| set(&ARE_ENABLED, text, 0..=1),
    ),
    constant!("mount-max", vfs::MOUNTS_MAX as u64),
    constant!("nr_open", DESCRIPTORS_MAX),
    Row::fixed("overflowgid", "65534\n"),
    Row::fixed("overflowuid", "65534\n"),
    constant!("pipe-max-size", file::pipe::CAPACITY_MAX as u64),
    Row::fixed("pipe-user-pages-hard", "0\n"),
    Row::fixed("pipe-user-pages-soft", "0\n"),
    protection!("protected_fifos", fifos, 2),
    protection!("protected_hardlinks", hard_links, 1),
    protection!("protected_regular", regular, 2),
    protection!("protected_symlinks", symbolic_links, 1),
    Row::fixed("suid_dumpable", "0\n"),
];

/// How many descriptors are open: each of a table that threads share counts once.
fn open_descriptors(system: &System) -> usize {
    let count = |process: &Arc<crate::process::Process>| {
        let threads = process.threads();
        let mut tables: Vec<_> =
            threads.iter().filter(|thread| !thread.has_ended()).map(|thread| thread.fds()).collect();
        block::sort_by_key(&mut tables, |table| Arc::as_ptr(table));
        tables.dedup_by_key(|table| Arc::as_ptr(table));
        tables.iter().map(|table| table.descriptors().len()).sum::<usize>()
    };
    system.processes().iter().map(count).sum()
}
