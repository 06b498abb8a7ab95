//! `/proc`, `/sys` and the control group as a process sees them: what docs/PROC.md says of them, settings, and disks.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::fmt::Write;
use std::sync::Arc;

use abi::stat::make_device;
use abi::{Errno, OpenFlags, ResolveFlags};
use block::{Disk, Volume};
use file::Progress;
use mm::{UserReader, UserWriter};
use support::*;
use testkit::disk::{FakeDisk, Image};
use vfs::fs::{dev, disk};
use vfs::{Credentials, FileKind, FsContext, Lookup, MountFlags, Namespace, OpenRequest};

/// Sectors of the disk.
const SECTORS: u64 = 2048;

/// A machine with `/dev`, and the place from which its files are found.
struct World {
    machine: Machine,
    namespace: Arc<Namespace>,
}

impl World {
    fn new() -> Self {
        let namespace = namespace_with(b"/program", &test_program(), 0o755);
        let root = Credentials::root();
        let context = FsContext::new(Arc::clone(&namespace));
        vfs::mkdir(&context, &root, None, b"/dev", 0o755).unwrap();
        let place = vfs::resolve(&context, &root, None, b"/dev", Lookup::FOLLOW).unwrap();
        namespace.mount(&root, &place, dev::new().unwrap(), b"dev", MountFlags::empty()).unwrap();
        let arguments: [&[u8]; 2] = [b"program", b"argument"];
        let machine = boot_with(Arc::clone(&namespace), b"/program", &arguments, &[b"HOME=/"]).unwrap();
        Self { machine, namespace }
    }

    /// Adds a disk with one partition, once for all tests of this process.
    fn with_disk(self) -> Self {
        if disk::volumes().is_empty() {
            let device = FakeDisk::new(Image::default(), SECTORS);
            let whole = Volume::whole(&Disk::new("vda".into(), make_device(254, 0), Box::new(device)));
            disk::register(&whole).unwrap();
            disk::register(&whole.part(64, 128, make_device(254, 1)).unwrap()).unwrap();
        }
        self
    }

    fn credentials(&self) -> Credentials {
        Credentials { process: 1, thread: self.machine.thread.tid(), ..Credentials::root() }
    }

    fn exists(&self, path: &str) -> bool {
        let context = FsContext::new(Arc::clone(&self.namespace));
        vfs::resolve(&context, &self.credentials(), None, path.as_bytes(), Lookup::empty()).is_ok()
    }

    fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<file::OpenFile>, Errno> {
        let context = FsContext::new(Arc::clone(&self.namespace));
        let request = OpenRequest { flags, mode: 0, resolve: ResolveFlags::empty() };
        vfs::open(&context, &self.credentials(), None, path.as_bytes(), &request)
    }

    fn read(&self, path: &str) -> String {
        let open = self.open(path, OpenFlags::empty()).unwrap();
        let mut bytes = vec![0; 1 << 16];
        let Progress::Done(len) = open.file().read(&open, &mut UserWriter::to_kernel(&mut bytes), None).unwrap() else {
            panic!("{path} is a file of the kernel")
        };
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    fn write(&self, path: &str, text: &str) -> Result<(), Errno> {
        let open = self.open(path, OpenFlags::WRONLY)?;
        open.file().write(&open, &mut UserReader::from_kernel(text.as_bytes()), None).map(drop)
    }
}

// ---- docs/PROC.md ---------------------------------------------------------------------------------------------------

/// A name of the table on this machine.
fn concrete(name: &str) -> String {
    [
        ("PID", "1"),
        ("TID", "1"),
        ("cpuN", "cpu0"),
        ("nodeN", "node0"),
        ("IFACE", "lo"),
        ("M:N", "254:0"),
        ("/dev/DISK", "/dev/null"),
        ("DISK", "vda"),
        ("/N", "/0"),
    ]
    .iter()
    .fold(name.to_owned(), |name, (general, own)| name.replace(general, own))
}

#[test]
fn the_table_is_true() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/PROC.md");
    let committed = std::fs::read_to_string(path).unwrap();
    let world = World::new().with_disk();
    let mut current = String::new();
    let mut rows = 0;
    for line in committed.lines() {
        match line.strip_prefix("| `/").and_then(|rest| rest.split('|').next().zip(rest.split('|').nth(1))) {
            // Which caches there are CPUID says, of which this machine has none.
            Some((name, readers)) if line.matches('|').count() == 4 && !name.contains("indexN") => {
                let name = format!("/{}", name.trim().trim_end_matches('`'));
                let has = if world.exists(&concrete(&name)) { "yes" } else { "no" };
                writeln!(current, "| `{name}` | {} | {has} |", readers.trim()).unwrap();
                rows += 1;
            }
            Some((name, readers)) if name.contains("indexN") => {
                let name = name.trim().trim_end_matches('`');
                writeln!(current, "| `/{name}` | {} | as CPUID says |", readers.trim()).unwrap();
            }
            _ => writeln!(current, "{line}").unwrap(),
        }
    }
    assert!(rows > 100, "the table is there");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &current).unwrap();
        return;
    }
    assert!(committed == current, "run: UPDATE_DOCS=1 cargo test -p linux --test proc");
}

// ---- Contents -------------------------------------------------------------------------------------------------------

#[test]
fn settings_take_what_has_an_effect() {
    let world = World::new();
    for (path, value) in [
        ("/proc/sys/kernel/hostname", "other\n"),
        ("/proc/sys/kernel/pid_max", "400\n"),
        ("/proc/sys/kernel/threads-max", "100\n"),
        ("/proc/sys/kernel/randomize_va_space", "0\n"),
        ("/proc/sys/net/core/somaxconn", "128\n"),
        ("/proc/sys/net/ipv4/ip_local_port_range", "40000\t50000\n"),
        ("/proc/sys/net/ipv4/conf/all/accept_redirects", "0\n"),
        ("/proc/1/oom_score_adj", "-500\n"),
        ("/proc/1/timerslack_ns", "1000\n"),
    ] {
        assert_eq!(world.write(path, value), Ok(()), "{path}");
        assert_eq!(world.read(path), value);
    }
    assert_eq!(world.read("/proc/1/oom_adj"), "-8\n");
    for (path, value) in [
        ("/proc/sys/kernel/pid_max", "300\n"),
        ("/proc/sys/kernel/pid_max", "x\n"),
        ("/proc/sys/kernel/randomize_va_space", "3\n"),
        ("/proc/sys/kernel/core_pattern", "|/bin/handler\n"),
        ("/proc/sys/vm/swappiness", "60\n"),
        ("/proc/sys/vm/drop_caches", "0\n"),
        ("/proc/sys/net/core/somaxconn", "65536\n"),
        ("/proc/sys/net/ipv4/ip_local_port_range", "5 4\n"),
        ("/proc/sys/net/ipv4/conf/default/accept_redirects", "0\n"),
        ("/proc/1/oom_score_adj", "1001\n"),
        ("/proc/1/coredump_filter", "0\n"),
        ("/proc/1/clear_refs", "1\n"),
    ] {
        assert_eq!(world.write(path, value), Err(Errno::EINVAL), "{path}");
    }
    assert_eq!(world.read("/proc/sys/net/ipv4/conf/default/accept_redirects"), "1\n", "whatever holds for all");
    // What is so already may be asked for.
    for (path, value) in [
        ("/proc/sys/vm/swappiness", "0"),
        ("/proc/sys/net/ipv4/tcp_rmem", "4096 131072\t6291456\n"),
        ("/proc/sys/vm/drop_caches", "3"),
        ("/proc/1/clear_refs", "5"),
        ("/proc/1/coredump_filter", "0x33\n"),
    ] {
        assert_eq!(world.write(path, value), Ok(()), "{path}");
    }
    assert_eq!(world.write("/sys/fs/cgroup/memory.max", "1000000\n"), Err(Errno::EROFS));
}

#[test]
fn numbers_and_threads_keep_to_the_settings() {
    const CLONE: u64 = 56;
    const FLAGS: u64 = 0x5_0f00;
    let mut world = World::new();
    world.write("/proc/sys/kernel/pid_max", "303\n").unwrap();
    world.write("/proc/sys/kernel/threads-max", "400\n").unwrap();
    let mut clone = || world.machine.syscall(CLONE, &[FLAGS, SCRATCH]);
    // The first thread has number 1.
    for number in 2..303 {
        assert_eq!(clone(), number);
    }
    assert_eq!(clone(), i64::try_from(Errno::EAGAIN.as_negative()).unwrap());
}

#[test]
fn disks_are_shown() {
    let world = World::new().with_disk();
    assert_eq!(
        world.read("/proc/partitions"),
        "major minor  #blocks  name\n\n 254        0       1024 vda\n 254        1         64 vda1\n"
    );
    assert_eq!(world.read("/sys/block/vda/size"), "2048\n");
    assert_eq!(world.read("/sys/class/block/vda1/start"), "64\n");
    assert_eq!(world.read("/sys/dev/block/254:1/partition"), "1\n");
    assert!(world.exists("/sys/block/vda/vda1/uevent") && world.exists("/sys/block/vda/subsystem/vda1/ro"));
    let stat = world.read("/proc/diskstats");
    let words: Vec<_> = stat.split_whitespace().collect();
    assert_eq!((words.len(), &words[..3], &words[20..23]), (40, &["254", "0", "vda"][..], &["254", "1", "vda1"][..]));
    assert_eq!(world.read("/sys/block/vda/stat").split_whitespace().count(), 17);
    // What goes through a partition counts for it and for its disk, and not the other way round.
    let reads = |name: &str| -> u64 {
        let text = world.read(&format!("/sys/class/block/{name}/stat"));
        text.split_whitespace().nth(2).unwrap().parse().unwrap()
    };
    let before = (reads("vda"), reads("vda1"));
    for (volume, sectors) in disk::volumes().into_iter().zip([8, 1]) {
        let frame = mm::Frame::allocate_zeroed().unwrap();
        volume.read(0, vec![block::Segment::new(frame, 0, sectors * 512).unwrap()]).unwrap();
    }
    assert_eq!((reads("vda") - before.0, reads("vda1") - before.1), (9, 1));
}

#[test]
fn calls_are_counted() {
    let mut world = World::new();
    let figure = |world: &World, name: &str| -> u64 {
        let text = world.read("/proc/1/io");
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim_start_matches(": ").parse().unwrap()
    };
    let names = ["rchar", "wchar", "syscr", "syscw"];
    let before = names.map(|name| figure(&world, name));
    let path = SCRATCH + 0x100;
    world.machine.write(path, b"/proc/version\0");
    let fd = world.machine.syscall(2, &[path, 0, 0]).cast_unsigned();
    assert_eq!(world.machine.syscall(0, &[fd, SCRATCH, 10]), 10);
    let mut pipe = [0_u32; 2];
    assert_eq!(world.machine.syscall(22, &[SCRATCH]), 0);
    pipe.copy_from_slice(&world.machine.read::<[u32; 2]>(SCRATCH));
    assert_eq!(world.machine.syscall(1, &[pipe[1].into(), SCRATCH, 100]), 100);
    let after = names.map(|name| figure(&world, name));
    let differences: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(differences, [10, 100, 1, 1]);
}

#[test]
fn the_log_is_read_record_by_record() {
    linux::kernel_log::register().unwrap();
    let world = World::new();
    world.write("/dev/kmsg", "<29>one\n").unwrap();
    linux::kernel_log::add(linux::kernel_log::level::ERROR, format_args!("two: \t{}", 2));
    let open = world.open("/dev/kmsg", OpenFlags::RDWR).unwrap();
    let read = |len: usize| {
        let mut bytes = vec![0; len];
        match open.file().read(&open, &mut UserWriter::to_kernel(&mut bytes), None)? {
            Progress::Done(len) => Ok(Some(String::from_utf8(bytes[..len].to_vec()).unwrap())),
            Progress::WouldBlock => Ok(None),
        }
    };
    assert_eq!(read(5), Err(Errno::EINVAL));
    let records: Vec<_> = std::iter::from_fn(|| read(1024).unwrap()).collect();
    let shown: Vec<_> = records.iter().map(|record| record.split_once(';').unwrap().1).collect();
    assert_eq!(shown, ["one\n", "two: \\x092\n"]);
    let head = |record: &str| record.split(',').take(2).collect::<Vec<_>>().join(",");
    assert_eq!(records.iter().map(|record| head(record)).collect::<Vec<_>>(), ["29,0", "3,1"]);
    // Many more than there is room for: the reader is told that it has missed some.
    for number in 0..2000 {
        linux::kernel_log::add(linux::kernel_log::level::INFO, format_args!("record {number}"));
    }
    assert_eq!(read(1024), Err(Errno::EPIPE));
    assert!(read(1024).unwrap().unwrap().starts_with("6,"));
    assert_eq!(open.file().seek(&open, 0, abi::open::SEEK_END), Ok(0));
    assert_eq!(read(1024), Ok(None));
}

#[test]
fn links_and_directories_are_what_they_are() {
    let world = World::new();
    let context = FsContext::new(Arc::clone(&world.namespace));
    let kind = |path: &str| {
        let place = vfs::resolve(&context, &world.credentials(), None, path.as_bytes(), Lookup::empty()).unwrap();
        place.inode().metadata().kind()
    };
    assert_eq!(kind("/proc/self/ns/mnt"), FileKind::Symlink);
    assert_eq!(kind("/proc/self/task/1/comm"), FileKind::Regular);
    assert_eq!(kind("/sys/devices/system/cpu/cpu2/topology"), FileKind::Directory);
    assert!(!world.exists("/sys/devices/system/cpu/cpu3"));
    assert_eq!(world.read("/sys/devices/system/cpu/online"), "0-2\n");
    assert_eq!(world.read("/sys/fs/cgroup/cgroup.procs"), "1\n");
    assert_eq!(world.read("/proc/cmdline"), "log=error\n");
    assert!(world.read("/proc/self/mountinfo").contains(" /sys/fs/cgroup ro,"));
}

#[test]
fn free_memory_is_shown_by_blocks() {
    let world = World::new();
    let text = world.read("/proc/buddyinfo");
    assert!(text.starts_with("Node 0, zone   Normal "), "{text}");
    assert_eq!(text.split_whitespace().count(), 4 + 11);
}

#[test]
fn memory_is_a_file() {
    let world = World::new();
    let (memory, pages) =
        (world.open("/proc/1/mem", OpenFlags::RDWR), world.open("/proc/1/pagemap", OpenFlags::empty()));
    let (memory, pages) = (memory.unwrap(), pages.unwrap());
    let read = |open: &Arc<file::OpenFile>, position: u64| {
        let mut bytes = [0; 8];
        open.file().read(open, &mut UserWriter::to_kernel(&mut bytes), Some(position))
    };
    assert!(matches!(read(&memory, SCRATCH), Ok(Progress::Done(8))));
    assert!(matches!(read(&memory, 0), Err(Errno::EIO)));
    assert!(matches!(read(&pages, SCRATCH / 4096 * 8), Ok(Progress::Done(8))));
    assert!(matches!(read(&pages, 1), Err(Errno::EINVAL)));
}
