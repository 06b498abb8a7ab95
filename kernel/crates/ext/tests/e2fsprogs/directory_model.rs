//! Directories of ours, changed at random, against a model in memory; then e2fsck judges them and debugfs lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use abi::Errno;
use ext::DirectoryBlocks;
use ext::directory::{self, Entries, HashVersion, NameHasher, Target};
use testkit::Random;

use crate::directory_reading::list_all;
use crate::image::{self, ImageFile, Loaded, Scratch, TestDirectory, any_name};

/// The files that names may stand for, with the types of their modes.
const FILES: [(&str, u8); 3] = [("file", 8), ("link", 10), ("other", 8)];

/// A folder with those files, and one of `blocks` KiB that will be the directory.
fn make_tree(folder: &Path, kib: usize) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("d"), vec![b'x'; kib << 10]).unwrap();
    fs::write(folder.join("file"), b"").unwrap();
    fs::write(folder.join("other"), b"").unwrap();
    symlink("target", folder.join("link")).unwrap();
}

/// One directory under test.
struct World {
    file: ImageFile,
    loaded: Loaded,
    directory: TestDirectory,
    targets: Vec<Target>,
    model: BTreeMap<Vec<u8>, Target>,
    random: Random,
    _scratch: Scratch,
}

impl World {
    fn new(arguments: &[&str], kib: usize, seed: u64) -> Self {
        println!("{arguments:?}, seed {seed}");
        image::install();
        let scratch = Scratch::new();
        make_tree(&scratch.path("tree"), kib);
        let size = format!("{}K", kib + kib / 8 + 2048);
        let file = ImageFile::make(scratch.path("image"), arguments, &scratch.path("tree"), &size);
        let loaded = file.load();
        let directory = TestDirectory::new(&file, &loaded, "/d");
        let kind = |kind: u8| if directory.format.has_file_types { kind } else { 0 };
        let target = |(name, of): (&str, u8)| Target { inode: file.stat(&format!("/{name}")).number, kind: kind(of) };
        let targets = FILES.map(target).to_vec();
        directory::create(&directory, &directory.change(), 2).unwrap();
        let random = Random::new(seed);
        Self { file, loaded, directory, targets, model: BTreeMap::new(), random, _scratch: scratch }
    }

    fn target(&mut self) -> Target {
        *self.random.pick(&self.targets)
    }

    fn insert(&mut self, name: Vec<u8>) -> Result<(), Errno> {
        let target = self.target();
        if self.model.contains_key(&name) {
            return Ok(());
        }
        directory::insert(&self.directory, &self.directory.change(), &name, target)?;
        self.model.insert(name, target);
        Ok(())
    }

    /// A name that is there, or near it.
    fn some_name(&mut self) -> Option<Vec<u8>> {
        let bound = any_name(&mut self.random);
        let name = self.model.range(bound..).next().or_else(|| self.model.first_key_value());
        name.map(|(name, _)| name.clone())
    }

    fn remove(&mut self) {
        let Some(name) = self.some_name() else { return };
        let removed = directory::remove(&self.directory, &self.directory.change(), &name);
        assert_eq!(removed.ok(), self.model.remove(&name), "{name:?}");
        let again = directory::remove(&self.directory, &self.directory.change(), &name);
        assert_eq!(again, Err(Errno::ENOENT));
    }

    fn replace(&mut self) {
        let Some(name) = self.some_name() else { return };
        let target = self.target();
        let old = directory::replace(&self.directory, &self.directory.change(), &name, target);
        assert_eq!(old.ok(), self.model.insert(name, target));
    }

    fn find(&mut self) {
        let name = if self.random.one_in(2) { self.some_name() } else { None };
        let name = name.unwrap_or_else(|| any_name(&mut self.random));
        assert_eq!(directory::find(&self.directory, &name), Ok(self.model.get(&name).copied()), "{name:?}");
    }

    /// One step; `growth` of ten change the number of names upwards.
    fn step(&mut self, growth: usize) {
        match self.random.below(12) {
            choice if choice < growth => {
                let name = any_name(&mut self.random);
                self.insert(name).unwrap();
            }
            choice if choice < 10 => self.remove(),
            10 => self.replace(),
            _ => self.find(),
        }
    }

    /// Everything agrees, here and for e2fsprogs.
    fn judge(self, context: &str) {
        assert_eq!(list_all(&self.directory), self.model, "{context}");
        for (name, target) in self.model.iter().step_by(1 + self.model.len() / 500) {
            assert_eq!(directory::find(&self.directory, name), Ok(Some(*target)), "{context}");
        }
        assert_eq!(directory::is_empty(&self.directory), Ok(self.model.is_empty()), "{context}");
        self.directory.cache.write_back().unwrap();
        self.file.store(&self.loaded);
        let mut links: BTreeMap<u32, u32> = self.targets.iter().map(|target| (target.inode, 1)).collect();
        for target in self.model.values() {
            *links.entry(target.inode).or_default() += 1;
        }
        self.file.make_directory("/d", &self.directory, &links);
        self.file.check(context);
        let mut expected = self.model;
        let has_types = self.directory.format.has_file_types;
        let mut listed = self.file.listed("/d");
        for target in expected.values_mut().chain(listed.values_mut()).filter(|_| !has_types) {
            target.kind = 0;
        }
        assert_eq!(listed, expected, "{context}");
    }
}

/// Features with which file systems are made, and whether a directory of many blocks has an index then.
const KINDS: [(&[&str], bool); 5] = [
    (&["-t", "ext4", "-b", "1024", "-O", "^has_journal,^resize_inode"], true),
    (&["-t", "ext4", "-b", "4096", "-O", "^has_journal,^resize_inode,large_dir"], true),
    (&["-t", "ext3", "-b", "1024", "-O", "^has_journal,^resize_inode"], true),
    (&["-t", "ext2", "-b", "2048", "-O", "^dir_index,^filetype,^resize_inode"], false),
    (&["-t", "ext4", "-b", "1024", "-O", "^has_journal,^dir_index,^resize_inode"], false),
];

#[test]
fn random_changes() {
    for (seed, (arguments, has_index)) in (1..).zip(KINDS) {
        let mut world = World::new(arguments, 2048, seed);
        // Without an index every step looks through all blocks.
        let steps = if has_index { 1500 } else { 300 };
        for growth in [9, 5, 3, 8] {
            (0..steps).for_each(|_| world.step(growth));
        }
        assert_eq!(world.directory.has_index(), has_index);
        world.judge("after random changes");
    }
}

#[test]
fn directories_that_become_empty() {
    for (seed, (arguments, _)) in (1..).zip(KINDS) {
        let mut world = World::new(arguments, 256, seed);
        (0..300).for_each(|_| world.step(10));
        assert_eq!(directory::is_empty(&world.directory), Ok(false));
        directory::set_parent(&world.directory, &world.directory.change(), 11).unwrap();
        assert_eq!(directory::parent(&world.directory), Ok(11));
        directory::set_parent(&world.directory, &world.directory.change(), 2).unwrap();
        while !world.model.is_empty() {
            world.remove();
        }
        world.judge("when everything was removed");
    }
}

#[test]
fn a_listing_gives_what_stays_exactly_once() {
    for (seed, (arguments, _)) in (1..20).zip(KINDS.iter().cycle()) {
        let mut world = World::new(arguments, 512, seed);
        // It begins in one block, and has many at the end.
        (0..20).for_each(|_| world.step(10));
        let mut stayed: BTreeSet<Vec<u8>> = world.model.keys().cloned().collect();
        let mut given = BTreeMap::<Vec<u8>, usize>::new();
        let mut entries = Entries::default();
        let mut position = 0;
        loop {
            directory::list(&world.directory, position, &mut entries).unwrap();
            if entries.is_empty() {
                break;
            }
            let taken = 1 + world.random.below(8);
            for (name, entry) in entries.iter().take(taken) {
                *given.entry(name.to_vec()).or_default() += 1;
                assert!(entry.next > position);
                position = entry.next;
            }
            let changes = if world.model.len() < 400 { 10 } else { 2 };
            (0..world.random.below(changes)).for_each(|_| world.step(8));
            stayed.retain(|name| world.model.contains_key(name));
        }
        assert!(!stayed.is_empty());
        for name in &stayed {
            assert_eq!(given.get(name), Some(&1), "{name:?}");
        }
    }
}

#[test]
fn a_disk_without_room() {
    for (seed, (arguments, _)) in (1..).zip(KINDS) {
        let mut world = World::new(arguments, 128, seed);
        for room in (0..6).chain([20, 100]) {
            world.directory.room.set(room);
            let name = loop {
                let name = any_name(&mut world.random);
                match world.insert(name.clone()) {
                    Ok(()) => {}
                    Err(errno) => {
                        assert_eq!(errno, Errno::ENOSPC);
                        break name;
                    }
                }
            };
            assert_eq!(directory::find(&world.directory, &name), Ok(None));
            assert_eq!(list_all(&world.directory), world.model);
        }
        world.judge("when there was no room");
    }
}

/// A name of the greatest length that no other number has.
fn long_name(number: u32) -> Vec<u8> {
    let mut name = vec![b'n'; directory::NAME_LEN_MAX];
    let text = number.to_string();
    name[100..100 + text.len()].copy_from_slice(text.as_bytes());
    name
}

#[test]
fn an_index_of_three_levels() {
    let mut world =
        World::new(&["-t", "ext4", "-b", "1024", "-O", "^has_journal,^resize_inode,large_dir"], 12 << 10, 1);
    world.directory.format.is_large = false;
    // In the order of hashes each block is left half full, so the index grows fast.
    let hasher =
        NameHasher { version: HashVersion::HalfMd4, is_unsigned: false, seed: world.directory.format.hash_seed };
    let mut names: Vec<_> = (0..9_000).map(long_name).collect();
    names.sort_by_cached_key(|name| hasher.hash(name));
    let mut rest = names.into_iter();
    let full = rest.find_map(|name| world.insert(name).err());
    assert_eq!((full, world.directory.count() > 7000), (Some(Errno::ENOSPC), true));
    world.directory.format.is_large = true;
    let before = world.directory.count();
    rest.for_each(|name| world.insert(name).unwrap());
    assert!(world.directory.count() > before + 50);
    (0..100).for_each(|_| world.remove());
    world.judge("a deep index");
}
