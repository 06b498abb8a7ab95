//! A directory of this host, shared by 9P: what is done shows on both sides, at once.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod hostile;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;

use abi::{Errno, OpenFlags, RenameFlags};
use mm::{Backing, MapRequest, MappedObject, PAGE_SIZE, Rights, Sharing};
use support::{Handle, World};
use testkit::Cpu;
use testkit::share::{Share, TemporaryDirectory};
use vfs::MountFlags;
use vfs::fs::ninep::{self, ServedFs};

const NEW: OpenFlags = OpenFlags::RDWR.union(OpenFlags::CREAT);
const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);

/// A shared directory, and a program's view of it.
struct Bench {
    host: TemporaryDirectory,
    share: Share,
    world: World,
}

impl Bench {
    fn new() -> Self {
        support::machine();
        // Whoever looks at the clock has spent a while: no answer is still fresh.
        testkit::clock::tick(1_000_000_000, 100_000);
        let host = TemporaryDirectory::new();
        let share = Share::new(host.path());
        let world = World::over(ServedFs::connect(share.transport()).unwrap());
        testkit::clock::tick(2_000_000_000, 100_000);
        Self { host, share, world }
    }

    fn host_write(&self, name: &str, contents: &[u8]) {
        fs::write(self.host.path().join(name), contents).unwrap();
    }

    fn host_read(&self, name: &str) -> Vec<u8> {
        fs::read(self.host.path().join(name)).unwrap()
    }

    /// Replaces bytes of a file, so that its times tell.
    fn host_change(&self, name: &str, contents: &[u8]) {
        let path = self.host.path().join(name);
        let before = fs::metadata(&path).map(|found| (found.ctime(), found.ctime_nsec())).ok();
        loop {
            self.host_write(name, contents);
            let after = fs::metadata(&path).map(|found| (found.ctime(), found.ctime_nsec())).ok();
            if before != after {
                return;
            }
        }
    }
}

fn map(cpu: &Cpu, file: &Handle, sharing: Sharing, rights: Rights) -> usize {
    let length = usize::try_from(file.stat().size).unwrap();
    let object: Arc<dyn MappedObject> = file.file().mapping(&file.0).unwrap();
    let backing = Backing::File { object, offset: 0, access: READ_WRITE };
    cpu.space.map(MapRequest { rights, sharing, backing, ..MapRequest::anonymous(length, rights) }).unwrap()
}

fn load(cpu: &Cpu, address: usize, len: usize) -> Vec<u8> {
    (address..address + len).map(|address| cpu.load(address).unwrap()).collect()
}

#[test]
fn the_host_sees_what_a_program_does() {
    let bench = Bench::new();
    let world = &bench.world;
    world.mkdir("/d").unwrap();
    world.write_file("/d/f", b"hello").unwrap();
    world.symlink("d/f", "/s").unwrap();
    world.link("/d/f", "/l").unwrap();
    world.mknod("/fifo", 0o010_600, 0).unwrap();
    assert_eq!(bench.host_read("s"), b"hello");
    assert_eq!(world.stat("/l").unwrap().links, 2);
    world.chmod("/l", 0o640).unwrap();
    assert_eq!(fs::metadata(bench.host.path().join("d/f")).unwrap().permissions().mode(), 0o100_640);
    world.rename("/d/f", "/moved").unwrap();
    assert_eq!(world.stat("/d/f").err(), Some(Errno::ENOENT));
    world.truncate("/moved", 2).unwrap();
    assert_eq!(bench.host_read("l"), b"he");
    world.unlink("/l").unwrap();
    world.rmdir("/d").unwrap();
    let mut names: Vec<_> = fs::read_dir(bench.host.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["fifo", "moved", "s"]);
    let mut seen = world.names("/").unwrap();
    seen.retain(|name| !name.starts_with('.'));
    seen.sort();
    assert_eq!(seen, names);
    assert_eq!(world.rename_with("/moved", "/fifo", RenameFlags::EXCHANGE).err(), Some(Errno::EINVAL));
    assert_eq!(world.rename_with("/moved", "/fifo", RenameFlags::NOREPLACE).err(), Some(Errno::EEXIST));
}

#[test]
fn a_program_sees_what_the_host_does() {
    let bench = Bench::new();
    let world = &bench.world;
    assert_eq!(world.stat("/f").err(), Some(Errno::ENOENT));
    bench.host_write("f", b"one");
    let file = world.open("/f", OpenFlags::RDWR).unwrap();
    assert_eq!(file.read_all().unwrap(), b"one");
    bench.host_write("f", b"one and more");
    assert_eq!((file.stat().size, file.pread(100, 4).unwrap()), (12, b"and more".to_vec()));
    assert_eq!(file.seek(0, abi::open::SEEK_END), Ok(12));
    bench.host_write("f", b"longer than it was before");
    // Behind what is there now, not what was.
    let append = world.open("/f", OpenFlags::WRONLY | OpenFlags::APPEND).unwrap();
    bench.host_write("f", b"again another length, really");
    append.write(b"!").unwrap();
    assert_eq!(bench.host_read("f"), b"again another length, really!");
    fs::rename(bench.host.path().join("f"), bench.host.path().join("g")).unwrap();
    assert_eq!(world.stat("/f").err(), Some(Errno::ENOENT));
    assert_eq!(world.stat("/g").unwrap().inode, file.stat().inode);
    fs::remove_file(bench.host.path().join("g")).unwrap();
    assert_eq!(world.stat("/g").err(), Some(Errno::ENOENT));
    // It is open, so its contents are still there.
    assert_eq!(file.pread(5, 0).unwrap(), b"again");
}

#[test]
fn long_reads_and_writes_arrive_whole() {
    let bench = Bench::new();
    let contents: Vec<u8> = (0..1_500_000_u32).map(|at| (at / 7).to_le_bytes()[0]).collect();
    let file = bench.world.open("/f", NEW).unwrap();
    assert_eq!(file.pwrite(&contents, 3), Ok(contents.len()));
    assert!(bench.host_read("f")[3..] == contents);
    assert!(file.pread(2_000_000, 3).unwrap() == contents);
    assert_eq!(file.pread(10, 1_500_003), Ok(Vec::new()));
}

#[test]
fn mapped_files_are_read_when_they_are_touched() {
    let bench = Bench::new();
    bench.host_write("f", &[1; 3 * PAGE_SIZE - 10]);
    let file = bench.world.open("/f", OpenFlags::empty()).unwrap();
    let cpu = Cpu::new();
    let at = map(&cpu, &file, Sharing::Private, Rights::READ);
    let before = bench.share.served();
    assert_eq!(load(&cpu, at + 2 * PAGE_SIZE, 2), [1, 1]);
    assert!(bench.share.served() > before);
    assert_eq!(cpu.load(at + 3 * PAGE_SIZE - 1), Ok(0));
    bench.host_change("f", &[2; 3 * PAGE_SIZE - 10]);
    // Whoever looks at the file finds out.
    bench.world.stat("/f").unwrap();
    assert_eq!(load(&cpu, at + 2 * PAGE_SIZE, 2), [2, 2]);
}

#[test]
fn stores_in_shared_mappings_reach_the_host() {
    let bench = Bench::new();
    bench.host_write("f", &[b'.'; PAGE_SIZE + 100]);
    let file = bench.world.open("/f", OpenFlags::RDWR).unwrap();
    let cpu = Cpu::new();
    let at = map(&cpu, &file, Sharing::Shared, READ_WRITE);
    let mark = |offset: usize, byte: u8| cpu.store(at + offset, byte).unwrap();
    mark(1, b'a');
    mark(PAGE_SIZE + 99, b'z');
    // Behind the end of the file: it stays as long as it is.
    mark(PAGE_SIZE + 200, b'?');
    assert_eq!(bench.host_read("f")[1], b'.');
    // A reader sees stores.
    assert_eq!(file.pread(3, 0).unwrap(), b".a.");
    let found = bench.host_read("f");
    assert_eq!((found.len(), found[1], found[PAGE_SIZE + 99]), (PAGE_SIZE + 100, b'a', b'z'));
    mark(2, b'b');
    file.file().sync(true).unwrap();
    assert_eq!(&bench.host_read("f")[..4], b".ab.");
    // A write shows in the mapping, and keeps what was stored beside it.
    mark(3, b'c');
    file.pwrite(b"W", 5).unwrap();
    assert_eq!(load(&cpu, at, 6), b".abc.W");
    assert_eq!(&bench.host_read("f")[..6], b".abc.W");
    mark(4, b'd');
    cpu.space.unmap(at, 2 * PAGE_SIZE).unwrap();
    assert_eq!(&bench.host_read("f")[..6], b".abcdW");
}

#[test]
fn what_was_stored_is_written_though_nobody_has_the_file_open() {
    let bench = Bench::new();
    bench.host_write("f", b"....");
    let file = bench.world.open("/f", OpenFlags::RDWR).unwrap();
    let cpu = Cpu::new();
    let at = map(&cpu, &file, Sharing::Shared, READ_WRITE);
    drop(file);
    cpu.store(at, b'x').unwrap();
    bench.world.context.root.mount.file_system().sync().unwrap();
    assert_eq!(bench.host_read("f"), b"x...");
    cpu.store(at + 1, b'y').unwrap();
    cpu.space.unmap(at, PAGE_SIZE).unwrap();
    assert_eq!(bench.host_read("f"), b"xy..");
    // Nothing is held any more but the root.
    bench.world.stat("/").unwrap();
    assert_eq!(bench.share.fids(), 1);
}

#[test]
fn a_server_that_dies_is_an_error() {
    let bench = Bench::new();
    bench.host_write("f", b"text");
    let file = bench.world.open("/f", OpenFlags::RDWR).unwrap();
    let cpu = Cpu::new();
    let at = map(&cpu, &file, Sharing::Shared, READ_WRITE);
    cpu.store(at, b'x').unwrap();
    bench.share.die();
    assert_eq!(file.pread(1, 0).err(), Some(Errno::EIO));
    assert_eq!(file.file().sync(false).err(), Some(Errno::EIO));
    assert_eq!(bench.world.stat("/f").err(), Some(Errno::EIO));
    assert_eq!(bench.world.mkdir("/d").err(), Some(Errno::EIO));
    assert_eq!(file.stat().size, 4);
}

/// Two programs make the same file at once: both get it, and it is one.
#[test]
fn files_are_made_by_several_at_once() {
    let bench = Bench::new();
    let make = |exclusive: OpenFlags| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let context = bench.world.context.clone();
                let credentials = bench.world.credentials.clone();
                testkit::threads::spawn(move || {
                    let world = World { context, credentials };
                    (0..50).filter(|number| world.open(&format!("/{number}"), NEW | exclusive).is_ok()).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    };
    assert_eq!(make(OpenFlags::EXCL), 50);
    assert_eq!(make(OpenFlags::empty()), 200);
}

/// A server that sends anything: errors, and nothing worse.
#[test]
fn a_lying_server_is_survived() {
    for seed in 0..16 {
        println!("seed {seed}");
        let bench = Bench::new();
        let world = &bench.world;
        for number in 0..20 {
            bench.host_write(&format!("f{number}"), &[7; 100]);
        }
        bench.share.mangle(Some(testkit::Random::new(seed)));
        let mut random = testkit::Random::new(!seed);
        for _ in 0..100 {
            let path = format!("/f{}", random.below(22));
            let _ = world.stat(&path);
            let _ = world.write_file(&path, b"contents");
            if let Ok(read) = world.read_file(&path) {
                assert!(read.len() < 1 << 20, "seed {seed}");
            }
            let _ = world.names("/");
            let _ = world.rename(&path, "/f1");
            let _ = world.mkdir(&path);
            let _ = world.symlink(&path, "/link");
            let _ = world.read_file("/link");
            let _ = world.chmod(&path, 0o640);
            let _ = world.truncate(&path, random.below(9000) as u64);
            let _ = world.unlink(&path);
        }
    }
}

/// A directory without an end that shows no file would be read for ever.
#[test]
fn an_endless_directory_is_an_error() {
    let bench = Bench::new();
    bench.share.go_in_circles();
    assert_eq!(bench.world.names("/"), Err(Errno::EIO));
    assert!(bench.share.served() < 2000);
}

/// A server is mounted by its tag, any number of times, and is one file system.
#[test]
fn a_tag_is_mounted_twice() {
    support::machine();
    let host = TemporaryDirectory::new();
    fs::write(host.path().join("f"), b"text").unwrap();
    let share = Share::new(host.path());
    assert_eq!(ninep::open(b"twice").err(), Some(Errno::ENXIO));
    ninep::register(b"twice", share.transport()).unwrap();
    assert_eq!(ninep::register(b"twice", share.transport()), Err(Errno::EEXIST));
    let world = World::tmpfs();
    world.mkdir("/a").unwrap();
    world.mkdir("/b").unwrap();
    world.mount("/a", ninep::open(b"twice").unwrap(), MountFlags::empty()).unwrap();
    world.mount("/b", ninep::open(b"twice").unwrap(), MountFlags::empty()).unwrap();
    world.write_file("/a/f", b"changed").unwrap();
    assert_eq!(world.read_file("/b/f").unwrap(), b"changed");
    assert_eq!(world.stat("/a/f").unwrap().device, world.stat("/b/f").unwrap().device);
}

/// A write near the end of what can be addressed stops there, whatever the server would take.
#[test]
fn no_file_is_longer_than_files_can_be() {
    support::machine();
    let server = testkit::liar::Liar::new(&[]);
    let world = World::over(ServedFs::connect(server.transport()).unwrap());
    let file = world.open("/b", OpenFlags::RDWR).unwrap();
    assert_eq!(file.pwrite(&[7; 100], i64::MAX as u64 - 10), Ok(10));
    assert_eq!(file.pwrite(&[7; 100], i64::MAX as u64).err(), Some(Errno::EFBIG));
}
