//! Random operations, done to a disk and to a tmpfs: both must answer the same, at once and after mounting again, and `e2fsck` must
//! find nothing.

use std::collections::BTreeMap;
use std::fs;

use abi::open::{SEEK_DATA, SEEK_HOLE};
use abi::{Errno, FallocateFlags, OpenFlags, RenameFlags};
use vfs::FileSystem;
use vfs::fs::ext::ExtOptions;

use crate::images::{KINDS, LEN, Mounted, Node, Scratch, check, compare, disk_of, make, mount, tree};
use crate::support::{Answer, Handle, Random, World};

/// Operations on one disk.
const OPERATIONS: usize = 1200;
/// The most files that are open at once.
const OPEN_MAX: usize = 4;

/// A tree without times, which differ between the two.
fn timeless(world: &World) -> BTreeMap<String, Node> {
    let mut tree = tree(world).unwrap();
    tree.values_mut().for_each(Node::forget_time);
    tree
}

/// One world of each kind, and the same open files in both.
struct Pair {
    disk: World,
    model: World,
    open: Vec<(Handle, Handle)>,
    has_extents: bool,
}

impl Pair {
    fn both<T: PartialEq + std::fmt::Debug>(&self, what: &str, act: impl Fn(&World) -> Answer<T>) {
        let (found, expected) = (act(&self.disk), act(&self.model));
        assert_eq!(found, expected, "{what}");
    }

    fn path(&self, random: &mut Random) -> String {
        // Few names, so that they meet; a directory here, a file there.
        let depth = random.below(3);
        let mut path = String::new();
        for _ in 0..=depth {
            let long = if random.below(8) == 0 {
                "x".repeat(usize::try_from(random.below(240)).unwrap())
            } else {
                String::new()
            };
            path += &format!("/{}{long}", random.below(9));
        }
        path
    }

    fn write(&self, random: &mut Random, path: &str) {
        let offset = random.below(6) * random.below(40_000);
        let len = usize::try_from(1 + random.below(4) * random.below(20_000)).unwrap();
        let value = random.next().to_le_bytes()[0];
        self.both(&format!("write {path} {offset} {len}"), |world| {
            let file = world.open(path, OpenFlags::RDWR | OpenFlags::CREAT)?;
            file.pwrite(&vec![value; len], offset)
        });
    }

    fn allocate(&self, random: &mut Random, path: &str) {
        let modes = [
            FallocateFlags::empty(),
            FallocateFlags::KEEP_SIZE,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            FallocateFlags::ZERO_RANGE,
        ];
        let mode = *random.pick(&modes);
        if !self.has_extents && !mode.contains(FallocateFlags::PUNCH_HOLE) {
            return;
        }
        let (offset, len) = (random.below(60_000), 1 + random.below(60_000));
        let what = format!("allocate {path} {mode:?} {offset} {len}");
        let found = self.disk.open(path, OpenFlags::RDWR).and_then(|file| file.allocate(mode, offset, len));
        let expected = self.model.open(path, OpenFlags::RDWR).and_then(|file| {
            if mode != FallocateFlags::ZERO_RANGE {
                return file.allocate(mode, offset, len);
            }
            // The model spares no blocks and refuses this, but a hole that is filled reads the same.
            file.allocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len)?;
            file.allocate(FallocateFlags::empty(), offset, len)
        });
        assert_eq!(found, expected, "{what}");
    }

    /// There is nothing but zeros before data begins, and in a hole.
    fn seek(&self, random: &mut Random, path: &str) {
        let Ok(file) = self.disk.open(path, OpenFlags::RDWR) else { return };
        let contents = file.pread(1 << 20, 0).unwrap();
        let size = contents.len() as u64;
        let offset = random.below(size + 2);
        let rest = contents.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let find =
            |whence| file.seek(offset.cast_signed(), whence).map(|found| usize::try_from(found - offset).unwrap());
        match find(SEEK_DATA) {
            Ok(found) => assert!(found < rest.len() && rest[..found].iter().all(|byte| *byte == 0), "data of {path}"),
            Err(errno) => assert!(errno == Errno::ENXIO && rest.iter().all(|byte| *byte == 0), "data of {path}"),
        }
        match find(SEEK_HOLE) {
            Ok(found) => assert!(rest.get(found).is_none_or(|byte| *byte == 0), "a hole of {path}"),
            Err(errno) => assert!(errno == Errno::ENXIO && offset >= size, "a hole of {path}"),
        }
    }

    fn step(&mut self, random: &mut Random) {
        let (path, other) = (self.path(random), self.path(random));
        match random.below(22) {
            0..=4 => self.write(random, &path),
            5 => {
                let len = random.below(70_000);
                self.both(&format!("truncate {path} {len}"), |world| world.truncate(&path, len));
            }
            6..=7 => self.allocate(random, &path),
            8..=9 => self.both(&format!("mkdir {path}"), |world| world.mkdir(&path)),
            10..=11 => self.both(&format!("unlink {path}"), |world| world.unlink(&path)),
            12 => self.both(&format!("rmdir {path}"), |world| world.rmdir(&path)),
            13..=14 => self.both(&format!("rename {path} {other}"), |world| world.rename(&path, &other)),
            15 => self.both(&format!("exchange {path} {other}"), |world| {
                world.rename_with(&path, &other, RenameFlags::EXCHANGE)
            }),
            16 => self.both(&format!("link {path} {other}"), |world| world.link(&path, &other)),
            17 => {
                let target = "t".repeat(1 + usize::try_from(random.below(200)).unwrap());
                self.both(&format!("symlink {path}"), |world| world.symlink(&target, &path));
            }
            18 => self.both(&format!("mknod {path}"), |world| world.mknod(&path, 0o020_600, 0x0503)),
            19 => {
                let open = |world: &World| world.open(&path, OpenFlags::RDWR);
                if self.open.len() < OPEN_MAX
                    && let (Ok(disk), Ok(model)) = (open(&self.disk), open(&self.model))
                {
                    self.open.push((disk, model));
                } else if !self.open.is_empty() {
                    let (disk, model) = self.open.swap_remove(0);
                    let all = |file: &Handle| file.pread(1 << 20, 0);
                    assert_eq!(all(&disk), all(&model), "an open file");
                }
            }
            20 => self.seek(random, &path),
            _ => self.both("sync", |world| {
                let directory = world.open("/", OpenFlags::DIRECTORY)?;
                directory.file().sync(false)
            }),
        }
    }
}

fn run(kind: &(&str, &[&str]), seed: u64) {
    let scratch = Scratch::new();
    let image = make(&scratch, kind.1, None);
    let Mounted { disk, file_system, world } =
        mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
    let has_extents = kind.0.starts_with("ext4");
    world.rmdir("/lost+found").unwrap();
    let mut pair = Pair { disk: world, model: World::tmpfs(), open: Vec::new(), has_extents };
    let mut random = Random::new(seed);
    for number in 0..OPERATIONS {
        pair.step(&mut random);
        if number % 300 == 299 {
            file_system.write_back().unwrap();
        }
    }
    let expected = timeless(&pair.model);
    compare(&timeless(&pair.disk), &expected, kind.0);
    pair.open.clear();
    let bytes = Mounted { disk, file_system, world: pair.disk }.unmount();
    fs::write(&image, &bytes).unwrap();
    check(&image, kind.0);
    let mounted = mount(&disk_of(&bytes), ExtOptions { is_read_only: true, ..ExtOptions::default() }).unwrap();
    compare(&timeless(&mounted.world), &expected, kind.0);
}

#[test]
fn random_operations() {
    let (seed, _) = Random::seeded(1);
    for (number, kind) in (0..).zip(KINDS) {
        println!("{}", kind.0);
        run(kind, seed * 100 + number);
    }
}

#[test]
fn a_full_disk_is_told_and_can_be_emptied() {
    for kind in [&KINDS[0], &KINDS[4]] {
        let scratch = Scratch::new();
        let image = make(&scratch, kind.1, None);
        let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
        let world = &mounted.world;
        let before = vfs::statfs(&world.context.root);
        let mut names = Vec::new();
        let told = loop {
            let name = format!("/{}", names.len());
            match world.open(&name, OpenFlags::WRONLY | OpenFlags::CREAT) {
                Ok(file) => {
                    names.push(name);
                    let count =
                        (0..64).map_while(|_| file.write(&[5; 9000]).ok()).filter(|count| *count == 9000).count();
                    if count < 64 {
                        break Errno::ENOSPC;
                    }
                }
                Err(errno) => break errno,
            }
        };
        assert_eq!(told, Errno::ENOSPC);
        mounted.file_system.write_back().unwrap();
        assert!(vfs::statfs(&world.context.root).blocks_free < 300);
        for name in &names {
            world.unlink(name).unwrap();
        }
        mounted.file_system.write_back().unwrap();
        let after = vfs::statfs(&world.context.root);
        assert!(before.blocks_free - after.blocks_free < 4, "{before:?} {after:?}");
        fs::write(&image, mounted.unmount()).unwrap();
        check(&image, kind.0);
    }
}

#[test]
fn reserved_blocks_are_for_those_who_may_use_them() {
    let scratch = Scratch::new();
    let options = ["-t", "ext4", "-m", "10", "-J", "size=1"];
    let image = make(&scratch, &options, None);
    // Also for the group 7.
    let status = std::process::Command::new("tune2fs").args(["-g", "7"]).arg(&image).output().unwrap().status;
    assert!(status.success());
    let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
    let world = &mounted.world;
    world.write_file("/file", b"").unwrap();
    world.chmod("/file", 0o666).unwrap();
    // Whose the file is does not matter, but who opened it.
    let open = |world: &World| world.open("/file", OpenFlags::WRONLY | OpenFlags::APPEND).unwrap();
    let (user, member) = (world.as_user(1000, &[]), world.as_user(1000, &[7]));
    let fill = |world: &World| {
        let file = open(world);
        while file.write(&[1; 40_000]).is_ok_and(|count| count > 0) {}
        file.write(b"x").unwrap_err()
    };
    let available = || vfs::statfs(&world.context.root).blocks_available;
    let free = || vfs::statfs(&world.context.root).blocks_free;
    assert_eq!(fill(&user), Errno::ENOSPC);
    assert!(available() < 12 && free() > 400, "{} {}", available(), free());
    assert_eq!(open(&user).allocate(abi::FallocateFlags::KEEP_SIZE, 1 << 30, 1 << 20), Err(Errno::ENOSPC));
    assert_eq!(open(&member).write(&[1; 40_000]), Ok(40_000));
    world.chown("/file", Some(1000), Some(1000)).unwrap();
    assert_eq!(open(world).write(&[1; 40_000]), Ok(40_000));
    assert_eq!(fill(&user), Errno::ENOSPC);
    assert!(free() > 300, "{}", free());
    assert_eq!(fill(world), Errno::ENOSPC);
    assert!(free() < 16, "{}", free());
    fs::write(&image, mounted.unmount()).unwrap();
    check(&image, "reserved blocks");
}

#[test]
fn mounted_read_only_and_back() {
    for kind in [&KINDS[0], &KINDS[4]] {
        let scratch = Scratch::new();
        let image = make(&scratch, kind.1, None);
        let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
        let (world, file_system) = (&mounted.world, &mounted.file_system);
        world.write_file("/first", b"1").unwrap();
        file_system.reconfigure(true, b"").unwrap();
        assert_eq!(world.write_file("/second", b"2"), Err(Errno::EROFS));
        fs::write(&image, mounted.disk.image().to_bytes(LEN / 512)).unwrap();
        check(&image, kind.0);
        file_system.reconfigure(false, b"").unwrap();
        world.write_file("/second", b"2").unwrap();
        world.open("/second", OpenFlags::RDWR).unwrap().file().sync(false).unwrap();
        let crashed = mount(&mounted.disk, ExtOptions::default()).unwrap();
        let names: &[_] = &["first", "lost+found", "second"];
        assert_eq!(crashed.world.names("/").unwrap(), names, "{}: after the power went", kind.0);
        drop(crashed);
        assert_eq!(file_system.reconfigure(false, b"nonsense"), Err(Errno::EINVAL));
    }
}

#[test]
fn a_remount_says_what_damage_does() {
    let scratch = Scratch::new();
    let image = make(&scratch, &["-t", "ext4", "-b", "4096"], None);
    let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
    mounted.world.mkdir("/folder").unwrap();
    mounted.world.write_file("/folder/some name", b"").unwrap();
    let mut bytes = mounted.unmount();
    // The name no longer fits the checksum of its block. It is in the journal, too.
    let places: Vec<usize> =
        bytes.windows(9).enumerate().filter(|(_, window)| *window == b"some name").map(|(at, _)| at).collect();
    places.iter().for_each(|at| bytes[*at] = b'S');
    let mounted = mount(&disk_of(&bytes), ExtOptions { on_error: Some(1), ..ExtOptions::default() }).unwrap();
    let file_system = &mounted.file_system;
    assert!(mounted.world.names("/folder").is_err());
    assert!(!file_system.is_read_only(), "it goes on");
    file_system.reconfigure(false, b"errors=remount-ro").unwrap();
    assert_eq!(file_system.options(), b",errors=remount-ro");
    file_system.reconfigure(false, b"").unwrap();
    assert_eq!(file_system.options(), b",errors=remount-ro", "it stays so");
    assert_eq!(mounted.world.names("/folder"), Err(Errno::EUCLEAN));
    assert!(file_system.is_read_only());
}

#[test]
fn directories_grow_large_and_empty() {
    let scratch = Scratch::new();
    let options = &["-t", "ext4", "-b", "1024", "-O", "^has_journal", "-N", "9000"];
    let image = make(&scratch, options, None);
    let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
    let world = &mounted.world;
    for number in 0..6000 {
        world.mknod(&format!("/a file with number {number}"), 0o100_644, 0).unwrap();
    }
    assert_eq!(world.names("/").unwrap().len(), 6001);
    for number in (0..6000).filter(|number| number % 5 != 0) {
        world.unlink(&format!("/a file with number {number}")).unwrap();
    }
    assert_eq!(world.names("/").unwrap().len(), 1201);
    fs::write(&image, mounted.unmount()).unwrap();
    check(&image, "a large directory");
}

#[test]
fn lengths_end_where_maps_and_records_do() {
    // Pointers to blocks of 1 KiB in three steps reach 16 GiB and some; the first revision says lengths in 31 bits.
    for (kind, possible, too_long) in [(&KINDS[2], (1 << 31) - 1, 1 << 31), (&KINDS[0], 16 << 30, 17 << 30)] {
        let scratch = Scratch::new();
        let image = make(&scratch, kind.1, None);
        let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
        let file = mounted.world.open("/far", OpenFlags::RDWR | OpenFlags::CREAT).unwrap();
        assert_eq!(file.truncate(too_long), Err(Errno::EFBIG), "{}", kind.0);
        assert_eq!(file.pwrite(b"end", too_long), Err(Errno::EFBIG), "{}", kind.0);
        file.truncate(possible).unwrap();
        file.pwrite(b"end", possible - 3).unwrap();
        file.file().sync(false).unwrap();
        assert_eq!(file.pread(9, possible - 3).unwrap(), b"end");
        drop(file);
        fs::write(&image, mounted.unmount()).unwrap();
        check(&image, kind.0);
    }
}
