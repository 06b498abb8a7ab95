//! Random operations on a file system of ours and on the host's, with every answer and the whole trees compared.
//!
//! Each run prints its seed; `NACRE_TEST_SEED` repeats it. The host's side lies on a tmpfs (`/dev/shm`) when there is one.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use abi::OpenFlags;
use support::{ArchiveBuilder, Handle, Random, World};
use testkit::share::{Share, TemporaryDirectory};
use vfs::fs::ninep::ServedFs;

/// Operations of one run.
const STEPS: u64 = 4000;
/// How often the whole trees are compared.
const COMPARE_EVERY: u64 = 100;
/// Offsets and lengths stay below this.
const FILE_SIZE_MAX: u64 = 40_000;
/// Names of a run.
const NAMES: &[&str] = &["a", "b", "c", "dir", "d2", "link"];

/// An answer with the error as its number, the form both sides have.
type Outcome<T> = Result<T, i32>;

/// A directory of the host.
struct Host {
    root: PathBuf,
    /// Whether directories count their subdirectories as links, as on tmpfs.
    counts_directories: bool,
}

impl Host {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let shared_memory = Path::new("/dev/shm");
        let counts_directories = shared_memory.is_dir();
        let base = if counts_directories { shared_memory.to_path_buf() } else { std::env::temp_dir() };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = base.join(format!("nacre-random-{}-{number}", std::process::id()));
        fs::create_dir(&root).unwrap();
        Self { root, counts_directories }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn of_host<T>(result: std::io::Result<T>) -> Outcome<T> {
    result.map_err(|error| error.raw_os_error().unwrap_or_else(|| panic!("{error} is no system error")))
}

fn of_world<T>(result: support::Answer<T>) -> Outcome<T> {
    result.map_err(|errno| i32::from(errno as u16))
}

/// What one node of a tree looks like.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    File { contents: Vec<u8>, links: u64, group: usize },
    Directory { links: Option<u64> },
    Link(String),
}

/// The same tree on both sides.
struct Pair {
    world: World,
    host: Host,
    open: Vec<(Handle, fs::File)>,
    random: Random,
    log: Vec<String>,
}

impl Pair {
    fn path(&mut self) -> String {
        let depth = 1 + self.random.below(3);
        (0..depth).map(|_| format!("/{}", self.random.pick(NAMES))).collect()
    }

    fn compare<T: PartialEq + std::fmt::Debug>(&self, ours: Outcome<T>, hosts: Outcome<T>) {
        assert_eq!(ours, hosts, "ours, the host's; last operations:\n{}", self.tail());
    }

    fn tail(&self) -> String {
        self.log[self.log.len().saturating_sub(25)..].join("\n")
    }

    fn step(&mut self) {
        let path = self.path();
        let host_path = self.host.path(&path);
        let choice = self.random.below(100);
        self.log.push(format!("{choice} {path}"));
        match choice {
            0..12 => self.compare(of_world(self.world.mkdir(&path)), of_host(fs::create_dir(&host_path))),
            12..20 => self.compare(of_world(self.world.rmdir(&path)), of_host(fs::remove_dir(&host_path))),
            20..30 => self.compare(of_world(self.world.unlink(&path)), of_host(unlink(&host_path))),
            30..42 => self.rename(&path),
            42..48 => self.link(&path),
            48..53 => self.symlink(&path),
            53..60 => self.truncate(&path),
            60..75 => self.open(&path),
            75..80 => {
                if !self.open.is_empty() {
                    let index = usize::try_from(self.random.below(self.open.len() as u64)).unwrap();
                    drop(self.open.swap_remove(index));
                }
            }
            _ => self.transfer(),
        }
    }

    fn rename(&mut self, path: &str) {
        let target = self.path();
        self.log.push(format!("  to {target}"));
        let hosts = fs::rename(self.host.path(path), self.host.path(&target));
        self.compare(of_world(self.world.rename(path, &target)), of_host(hosts));
    }

    fn link(&mut self, path: &str) {
        let target = self.path();
        self.log.push(format!("  to {target}"));
        let hosts = fs::hard_link(self.host.path(path), self.host.path(&target));
        self.compare(of_world(self.world.link(path, &target)), of_host(hosts));
    }

    fn symlink(&mut self, path: &str) {
        // Relative and without a leading `..`, so that it leads to the same place on both sides.
        let target = (*self.random.pick(NAMES)).to_owned();
        let hosts = std::os::unix::fs::symlink(&target, self.host.path(path));
        self.compare(of_world(self.world.symlink(&target, path)), of_host(hosts));
    }

    fn truncate(&mut self, path: &str) {
        let len = self.random.below(FILE_SIZE_MAX);
        // Opened for writing first, so that the order of checks is that of open and ftruncate on both sides.
        let ours = self.world.open(path, OpenFlags::WRONLY).and_then(|file| file.truncate(len));
        let hosts = fs::OpenOptions::new().write(true).open(self.host.path(path)).and_then(|file| file.set_len(len));
        self.compare(of_world(ours), of_host(hosts));
    }

    fn open(&mut self, path: &str) {
        let (creates, is_new) = (self.random.below(2) == 0, self.random.below(4) == 0);
        let (truncates, appends) = (self.random.below(5) == 0, self.random.below(5) == 0);
        let mut flags = OpenFlags::RDWR;
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true);
        flags.set(OpenFlags::CREAT, creates || is_new);
        flags.set(OpenFlags::EXCL, is_new);
        options.create(creates).create_new(is_new);
        if appends {
            flags |= OpenFlags::APPEND;
            options.append(true);
        } else if truncates && !is_new {
            flags |= OpenFlags::TRUNC;
            options.truncate(true);
        }
        self.log.push(format!("  {flags:?}"));
        let ours = of_world(self.world.open(path, flags));
        let hosts = of_host(options.open(self.host.path(path)));
        self.compare(ours.as_ref().map(drop).map_err(|e| *e), hosts.as_ref().map(drop).map_err(|e| *e));
        if let (Ok(ours), Ok(hosts)) = (ours, hosts) {
            self.open.push((ours, hosts));
        }
    }

    fn transfer(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let index = usize::try_from(self.random.below(self.open.len() as u64)).unwrap();
        let position = self.random.below(FILE_SIZE_MAX);
        let len = usize::try_from(self.random.below(10_000)).unwrap();
        let fill = u8::try_from(self.random.below(255)).unwrap();
        let bytes: Vec<u8> = (0..len).map(|at| fill.wrapping_add(at.to_le_bytes()[0])).collect();
        let choice = self.random.below(6);
        self.log.push(format!("  transfer {choice} file {index} at {position} len {len}"));
        let mut buffer = vec![0; len];
        let (ours, hosts) = &mut self.open[index];
        let (ours, hosts) = match choice {
            0 => (of_world(ours.pwrite(&bytes, position)), of_host(hosts.write_at(&bytes, position))),
            1 => (of_world(ours.write(&bytes)), of_host(hosts.write(&bytes))),
            2 => {
                let read = of_host(hosts.read_at(&mut buffer, position)).map(|count| buffer[..count].to_vec());
                let (ours, hosts) = (of_world(ours.pread(len, position)), read);
                assert!(ours == hosts, "contents differ");
                (Ok(0), Ok(0))
            }
            3 => {
                let read = of_host(hosts.read(&mut buffer)).map(|count| buffer[..count].to_vec());
                let (ours, hosts) = (of_world(ours.read(len)), read);
                assert!(ours == hosts, "contents differ");
                (Ok(0), Ok(0))
            }
            4 => {
                let offset = i64::try_from(position).unwrap() - 5000;
                let seek = of_host(hosts.seek(SeekFrom::Current(offset))).map(|to| usize::try_from(to).unwrap());
                (of_world(ours.seek(offset, abi::open::SEEK_CUR)).map(|to| usize::try_from(to).unwrap()), seek)
            }
            _ => {
                let cut = of_host(hosts.set_len(position)).map(|()| 0);
                (of_world(ours.truncate(position)).map(|()| 0), cut)
            }
        };
        self.compare(ours, hosts);
    }

    /// Compares both trees, whole.
    fn compare_trees(&self) {
        let mut ours = BTreeMap::new();
        let mut groups = BTreeMap::new();
        self.see_ours("", &mut groups, &mut ours);
        let mut hosts = BTreeMap::new();
        let mut groups = BTreeMap::new();
        self.see_host("", &mut groups, &mut hosts);
        let paths = |tree: &BTreeMap<String, Seen>| tree.keys().cloned().collect::<Vec<_>>();
        assert_eq!(paths(&ours), paths(&hosts), "last operations:\n{}", self.tail());
        for (path, seen) in &ours {
            assert!(*seen == hosts[path], "{path} differs; last operations:\n{}", self.tail());
        }
        for (ours, hosts) in &self.open {
            let (ours, hosts) = (ours.stat(), hosts.metadata().unwrap());
            assert_eq!((ours.size, u64::from(ours.links)), (hosts.size(), hosts.nlink()), "{}", self.tail());
        }
    }

    fn see_ours(&self, path: &str, groups: &mut BTreeMap<u64, usize>, seen: &mut BTreeMap<String, Seen>) {
        let directory = if path.is_empty() { "/" } else { path };
        for name in self.world.names(directory).unwrap() {
            let child = format!("{path}/{name}");
            let attributes = self.world.lstat(&child).unwrap();
            let next = groups.len();
            let node = match attributes.mode & 0o170_000 {
                0o040_000 => {
                    self.see_ours(&child, groups, seen);
                    Seen::Directory { links: self.host.counts_directories.then_some(u64::from(attributes.links)) }
                }
                0o120_000 => Seen::Link(self.world.readlink(&child).unwrap()),
                _ => Seen::File {
                    contents: self.world.read_file(&child).unwrap(),
                    links: u64::from(attributes.links),
                    group: *groups.entry(attributes.inode).or_insert(next),
                },
            };
            seen.insert(child, node);
        }
    }

    fn see_host(&self, path: &str, groups: &mut BTreeMap<u64, usize>, seen: &mut BTreeMap<String, Seen>) {
        let listed = fs::read_dir(self.host.path(path)).unwrap();
        let mut names: Vec<_> = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        for name in names {
            let child = format!("{path}/{name}");
            let host_path = self.host.path(&child);
            let attributes = fs::symlink_metadata(&host_path).unwrap();
            let next = groups.len();
            let node = if attributes.is_dir() {
                self.see_host(&child, groups, seen);
                Seen::Directory { links: self.host.counts_directories.then_some(attributes.nlink()) }
            } else if attributes.is_symlink() {
                Seen::Link(fs::read_link(&host_path).unwrap().into_os_string().into_string().unwrap())
            } else {
                Seen::File {
                    contents: fs::read(&host_path).unwrap(),
                    links: attributes.nlink(),
                    group: *groups.entry(attributes.ino()).or_insert(next),
                }
            };
            seen.insert(child, node);
        }
    }

    fn run(&mut self, seed: u64) {
        self.compare_trees();
        for step in 0..STEPS {
            self.step();
            if step % COMPARE_EVERY == 0 {
                self.compare_trees();
            }
        }
        self.compare_trees();
        println!("seed {seed}: {STEPS} operations agree");
    }
}

/// `unlink` as the system call is: the standard library's `remove_file` is exactly that.
fn unlink(path: &Path) -> std::io::Result<()> {
    fs::remove_file(path)
}

fn run(world: impl Fn() -> World, fill_host: impl Fn(&Host), seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let (seed, random) = Random::seeded(seed);
        let host = Host::new();
        fill_host(&host);
        Pair { world: world(), host, open: Vec::new(), random, log: Vec::new() }.run(seed);
    }
}

#[test]
fn tmpfs_does_what_the_host_does() {
    run(World::tmpfs, |_| {}, 1..6);
}

/// Contents that fill `len` bytes with something of their own.
fn contents(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) >> 3).to_le_bytes()[0]).collect()
}

#[test]
fn overlay_does_what_the_host_does() {
    let archive = ArchiveBuilder::new()
        .directory("a")
        .directory("a/dir")
        .directory("a/dir/b")
        .directory("dir")
        .directory("dir/d2")
        .file("a/dir/c", &contents(5000))
        .file("a/dir/b/a", &contents(100))
        .file("a/b", &contents(30_000))
        .file("dir/d2/a", &contents(4096))
        .file("dir/a", b"")
        .file("c", &contents(8192))
        .link("link", "a")
        .hard_link("dir/b", "c")
        .hard_link("a/c", "a/dir/c");
    let fill_host = |host: &Host| {
        for directory in ["a", "a/dir", "a/dir/b", "dir", "dir/d2"] {
            fs::create_dir(host.path(directory)).unwrap();
        }
        for (file, len) in [("a/dir/c", 5000), ("a/dir/b/a", 100), ("a/b", 30_000), ("dir/d2/a", 4096), ("c", 8192)] {
            fs::write(host.path(file), contents(len)).unwrap();
        }
        fs::write(host.path("dir/a"), b"").unwrap();
        std::os::unix::fs::symlink("a", host.path("link")).unwrap();
        fs::hard_link(host.path("c"), host.path("dir/b")).unwrap();
        fs::hard_link(host.path("a/dir/c"), host.path("a/c")).unwrap();
    };
    run(|| World::overlay(&archive), fill_host, 100..106);
}

#[test]
fn nothing_is_left_behind() {
    let world = World::tmpfs();
    let before = testkit::frames::used();
    world.mkdir("/d").unwrap();
    for number in 0..100 {
        world.write_file(&format!("/d/{number}"), &contents(9000)).unwrap();
    }
    assert_eq!(vfs::statfs(&world.place("/").unwrap()).files_free, (1 << 15) - 102);
    for number in 0..100 {
        world.unlink(&format!("/d/{number}")).unwrap();
    }
    world.rmdir("/d").unwrap();
    let statistics = vfs::statfs(&world.place("/").unwrap());
    assert_eq!((statistics.files_free, statistics.blocks_free), ((1 << 15) - 1, 1 << 15));
    assert_eq!(testkit::frames::used(), before);
}

/// A directory of this host that is served by 9P, against one that is not.
#[test]
fn a_share_does_what_the_host_does() {
    let directories = std::cell::RefCell::new(Vec::new());
    let world = || {
        let directory = TemporaryDirectory::new();
        let share = Share::new(directory.path());
        directories.borrow_mut().push(directory);
        support::machine();
        World::over(ServedFs::connect(share.transport()).unwrap())
    };
    run(world, |_| {}, 1..2);
}
