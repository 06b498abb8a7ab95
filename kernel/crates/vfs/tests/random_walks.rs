//! Random paths through random trees of directories and links, walked here and by the host's `openat2`: both lead to the same place or
//! fail with the same error.
//!
//! The host walks inside the tree (`RESOLVE_IN_ROOT` or `RESOLVE_BENEATH`), so that absolute links mean the same on both sides. Each run
//! prints its seed; `NACRE_TEST_SEED` repeats it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use abi::{OpenFlags, ResolveFlags};
use rustix::fs::{Mode, OFlags, openat, openat2};
use rustix::io::Errno as HostErrno;
use support::{Random, World};
use vfs::{CachedPlace, Lookup, OpenRequest};

/// Trees of a run, and paths through each.
const TREES: u64 = 60;
const WALKS: u64 = 250;
/// What a tree is made of.
const NODES: u64 = 24;

/// Where a path leads, or the number of the error.
type Outcome = Result<Vec<u8>, i32>;

/// One tree on both sides.
struct Pair {
    world: World,
    host: PathBuf,
    directories: Vec<String>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.host);
    }
}

/// A path of bytes that are likely to lead somewhere.
fn any_path(random: &mut Random, components: u64) -> Vec<u8> {
    let mut path = Vec::new();
    if random.below(5) == 0 {
        path.extend(vec![b'/'; 1 + usize::try_from(random.below(2)).unwrap()]);
    }
    for _ in 0..1 + random.below(components) {
        match random.below(40) {
            0 => path.extend(vec![b'n'; 253 + usize::try_from(random.below(4)).unwrap()]),
            1 => path.push(1 + random.next().to_le_bytes()[0] % 255),
            2 => path.extend(b"..."),
            3..8 => path.push(b'.'),
            8..15 => path.extend(b".."),
            _ => path.extend(*random.pick(&[&b"a"[..], b"b", b"c", b"d", b"file"])),
        }
        let slashes = *random.pick(&[1, 1, 1, 1, 1, 2, 3]);
        path.extend(vec![b'/'; slashes]);
    }
    if random.below(4) != 0 {
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
    }
    if random.below(200) == 0 {
        let len = 4090 + usize::try_from(random.below(10)).unwrap();
        path.resize(len, b'/');
    }
    path
}

impl Pair {
    fn new(random: &mut Random) -> Self {
        let base = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        let host = base.join(format!("nacre-walks-{}-{}", std::process::id(), random.next()));
        fs::create_dir(&host).unwrap();
        let mut pair = Self { world: World::tmpfs(), host, directories: vec![String::new()] };
        for _ in 0..NODES {
            pair.add(random);
        }
        pair
    }

    /// Adds a node, if there is none of its name.
    fn add(&mut self, random: &mut Random) {
        let directory = random.pick(&self.directories).clone();
        let path = format!("{directory}/{}", random.pick(&["a", "b", "c", "d", "file"]));
        let host = self.host.join(path.trim_start_matches('/'));
        match random.below(5) {
            0 | 1 => {
                let made = fs::create_dir(&host).is_ok();
                assert_eq!(made, self.world.mkdir(&path).is_ok());
                if made {
                    self.directories.push(path);
                }
            }
            2 => {
                if fs::symlink_metadata(&host).is_err() {
                    fs::write(&host, b"").unwrap();
                    self.world.write_file(&path, b"").unwrap();
                }
            }
            _ => {
                let target = any_path(random, 4);
                let Ok(target) = std::str::from_utf8(&target) else { return };
                let made = symlink(target, &host).is_ok();
                assert_eq!(made, self.world.symlink(target, &path).is_ok(), "{path} -> {target}");
            }
        }
    }

    fn here(&self, path: &[u8], flags: OpenFlags, resolve: ResolveFlags) -> Outcome {
        let request = OpenRequest { flags, mode: 0, resolve };
        let file = vfs::open(&self.world.context, &self.world.credentials, None, path, &request);
        let file = file.map_err(|errno| -i32::try_from(errno.as_negative()).unwrap())?;
        Ok(vfs::path_name(Some(&self.world.context), &vfs::path_of(&file)))
    }

    /// What the cache alone says of a path is what a whole walk says.
    fn check_cached(&self, path: &[u8], flags: Lookup) {
        let World { context, credentials } = &self.world;
        let mut found = CachedPlace::default();
        let section = sync::rcu::read();
        let is_found = vfs::find_cached::<true>(context, credentials, path, flags, &section, &mut found);
        drop(section);
        let walked = vfs::resolve(context, credentials, None, path, flags);
        match (is_found, found.into_path(), walked) {
            (Ok(true), Some(found), Ok(walked)) => assert!(found.is_same(&walked)),
            (Ok(false), ..) => {}
            (Err(found), _, Err(walked)) => assert_eq!(found, walked),
            (found, _, walked) => panic!("{}: {found:?}, {walked:?}", path.escape_ascii()),
        }
    }

    fn there(&self, start: &str, path: &[u8], flags: OpenFlags, resolve: ResolveFlags) -> Outcome {
        let start = self.host.join(start.trim_start_matches('/'));
        let start = openat(rustix::fs::CWD, &start, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let flags = OFlags::from_bits_retain(flags.bits());
        let resolve = rustix::fs::ResolveFlags::from_bits_retain(resolve.bits());
        let opened = loop {
            // A rename anywhere on the host makes it try again.
            match openat2(&start, path, flags, Mode::empty(), resolve) {
                Err(HostErrno::AGAIN) => {}
                opened => break opened,
            }
        };
        let file = opened.map_err(HostErrno::raw_os_error)?;
        let place = fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file))).unwrap();
        let inside = place.strip_prefix(&self.host).unwrap().as_os_str().as_bytes();
        Ok([b"/", inside].concat())
    }

    /// Walks one path on both sides; where it led.
    fn compare(&mut self, random: &mut Random) -> Outcome {
        let start = random.pick(&self.directories).clone();
        self.world.chdir(&format!("{start}/")).unwrap();
        let path = any_path(random, 7);
        let mut flags = *random.pick(&[OpenFlags::PATH, OpenFlags::PATH, OpenFlags::empty()]);
        for flag in [OpenFlags::NOFOLLOW, OpenFlags::DIRECTORY] {
            if random.below(4) == 0 {
                flags |= flag;
            }
        }
        let mut resolve = *random.pick(&[ResolveFlags::IN_ROOT, ResolveFlags::IN_ROOT, ResolveFlags::BENEATH]);
        for flag in [ResolveFlags::NO_SYMLINKS, ResolveFlags::NO_XDEV, ResolveFlags::NO_MAGICLINKS] {
            if random.below(8) == 0 {
                resolve |= flag;
            }
        }
        self.check_cached(&path, Lookup::FOLLOW);
        self.check_cached(&path, Lookup::DIRECTORY);
        let (here, there) = (self.here(&path, flags, resolve), self.there(&start, &path, flags, resolve));
        let text = String::from_utf8_lossy(&path);
        assert_eq!(here, there, "{text} from {start}/ with {flags:?} and {resolve:?}");
        here
    }
}

#[test]
fn paths_lead_where_the_host_says() {
    let (_, mut random) = Random::seeded(1);
    let mut outcomes = BTreeMap::<i32, u64>::new();
    for _ in 0..TREES {
        let mut pair = Pair::new(&mut random);
        for _ in 0..WALKS {
            *outcomes.entry(pair.compare(&mut random).err().unwrap_or(0)).or_default() += 1;
        }
    }
    println!("{outcomes:?}");
    // Success, ENOENT, EXDEV, ENOTDIR, ENAMETOOLONG and ELOOP all come often.
    assert!([0, 2, 18, 20, 36, 40].iter().all(|error| outcomes[error] > TREES * WALKS / 200));
}
