//! Extended attributes, beside debugfs and e2fsck.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use abi::Errno;
use block::{Disk, Volume};
use ext::bytes::{get_u32, put_u32};
use ext::checksum::crc32c;
use ext::{FileSystem, Inode, Options, attribute};
use testkit::Random;

use crate::image::{self, ImageFile, Loaded, Scratch};

/// Places in a block of attributes.
const REFERENCES: usize = 4;
const CHECKSUM: usize = 16;
/// Kinds of file systems: with room in the inode and without, with checksums and without.
const KINDS: [&[&str]; 4] = [
    &["-t", "ext4", "-b", "1024", "-I", "256", "-O", "^has_journal"],
    &["-t", "ext4", "-b", "4096", "-I", "512", "-O", "^has_journal,metadata_csum_seed"],
    &["-t", "ext2", "-b", "1024", "-I", "128"],
    &["-t", "ext3", "-b", "2048", "-I", "256", "-O", "^has_journal,^ext_attr"],
];
const FILES: [&str; 4] = ["/file", "/directory", "/other", "/link"];

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

struct World {
    file: ImageFile,
    loaded: Loaded,
    file_system: Arc<FileSystem>,
    inodes: Vec<Inode>,
    scratch: Scratch,
}

impl World {
    fn new(arguments: &[&str]) -> Self {
        println!("{arguments:?}");
        image::install();
        let scratch = Scratch::new();
        let tree = scratch.path("tree");
        fs::create_dir_all(tree.join("directory")).unwrap();
        fs::write(tree.join("file"), b"contents").unwrap();
        fs::write(tree.join("other"), b"").unwrap();
        std::os::unix::fs::symlink("target", tree.join("link")).unwrap();
        let file = ImageFile::make(scratch.path("image"), arguments, &tree, "2M");
        Self::open(file, scratch)
    }

    fn open(file: ImageFile, scratch: Scratch) -> Self {
        let loaded = file.load();
        let disk = Disk::new("vda".to_owned(), 0xfc00, Box::new(loaded.fake.clone()));
        let file_system = FileSystem::open(Volume::whole(&disk), Options::default()).unwrap();
        file_system.begin_writing().unwrap();
        let open = |path: &&str| Inode::open(&file_system, file.stat(path).number).unwrap().0;
        let inodes = FILES.iter().map(open).collect();
        Self { file, loaded, file_system, inodes, scratch }
    }

    fn set(&self, inode: usize, name: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
        let change = self.file_system.begin(attribute::CREDITS).unwrap();
        attribute::set(&self.inodes[inode], &change, name, value)
    }

    /// All attributes of an inode.
    fn all(&self, inode: usize) -> Model {
        let mut names = Vec::new();
        attribute::names(&self.inodes[inode], &mut |name| names.push(name.to_vec())).unwrap();
        let value = |name: Vec<u8>| (name.clone(), attribute::get(&self.inodes[inode], &name).unwrap());
        let count = names.len();
        let all: Model = names.into_iter().map(value).collect();
        assert_eq!(all.len(), count, "no name twice");
        all
    }

    /// Writes everything, lets e2fsck judge, and begins again.
    fn judge(self, context: &str) -> Self {
        self.file_system.end_writing().unwrap();
        self.file.store(&self.loaded);
        self.file.check(context);
        Self::open(self.file, self.scratch)
    }

    /// What debugfs says of a file with these names.
    fn of_debugfs(&self, path: &str, names: impl Iterator<Item = Vec<u8>>) -> Model {
        let place = self.scratch.path("value");
        let value = |name: Vec<u8>| {
            let text = std::str::from_utf8(&name).unwrap();
            let _ = fs::remove_file(&place);
            self.file.ask(&format!("ea_get -f {} {path} {text}", place.display()));
            (name, fs::read(&place).unwrap())
        };
        names.map(value).collect()
    }
}

/// A name that debugfs takes as it is.
fn any_name(random: &mut Random) -> Vec<u8> {
    let prefix = *random.pick(&["user.", "trusted.", "security."]);
    let len = if random.one_in(10) { 1 + random.below(200) } else { 1 + random.below(12) };
    let letters = (0..len).map(|_| *random.pick(b"abcXYZ019_.-"));
    prefix.bytes().chain(letters).collect()
}

fn any_value(random: &mut Random) -> Vec<u8> {
    let len_max = *random.pick(&[1, 8, 40, 40, 300, 1500]);
    let mut value = vec![0; random.below(len_max)];
    random.fill(&mut value);
    value
}

#[test]
fn attributes_of_debugfs() {
    // Of the last kind debugfs refuses to make any.
    for arguments in &KINDS[..3] {
        let world = World::new(arguments);
        let mut random = Random::new(4);
        let mut models = vec![Model::new(); FILES.len()];
        for (path, model) in FILES.iter().zip(&mut models) {
            // debugfs takes no empty values.
            let mut room = 600;
            loop {
                let (name, value) = (any_name(&mut random), any_value(&mut random));
                let len = name.len() + value.len() + 24;
                if value.is_empty() || len > 300 {
                    continue;
                }
                room -= len as i32;
                if room < 0 {
                    break;
                }
                let place = world.scratch.path("value");
                fs::write(&place, &value).unwrap();
                let text = std::str::from_utf8(&name).unwrap();
                world.file.change(&format!("ea_set -f {} {path} {text}\n", place.display()));
                model.insert(name, value);
            }
        }
        let world = World::open(world.file, world.scratch);
        for (inode, model) in models.iter().enumerate() {
            assert!(world.all(inode) == *model && !model.is_empty(), "{}", FILES[inode]);
            assert_eq!(attribute::get(&world.inodes[inode], b"user.absent"), Err(Errno::ENODATA));
            assert_eq!(attribute::get(&world.inodes[inode], b"system.data"), Err(Errno::EOPNOTSUPP));
        }
    }
}

#[test]
fn random_changes() {
    for (seed, arguments) in (1..).zip(KINDS) {
        let mut world = World::new(arguments);
        let mut random = Random::new(seed);
        let mut models = vec![Model::new(); FILES.len()];
        let mut full = 0;
        for round in 0..8 {
            for _ in 0..60 {
                let inode = random.below(FILES.len());
                let model = &mut models[inode];
                let known = model.keys().nth(random.below(model.len().max(1))).cloned();
                let name = known.filter(|_| random.one_in(2)).unwrap_or_else(|| any_name(&mut random));
                if random.one_in(3) {
                    let expected = model.remove(&name).map(drop).ok_or(Errno::ENODATA);
                    assert_eq!(world.set(inode, &name, None), expected);
                    continue;
                }
                let value = any_value(&mut random);
                match world.set(inode, &name, Some(&value)) {
                    Ok(()) => drop(model.insert(name, value)),
                    Err(errno) => {
                        assert_eq!(errno, Errno::ENOSPC);
                        full += 1;
                    }
                }
            }
            for (inode, model) in models.iter().enumerate() {
                assert!(world.all(inode) == *model, "{} in round {round}", FILES[inode]);
            }
            if round % 4 == 3 {
                world = world.judge("after random changes");
                for (path, model) in FILES.iter().zip(&models) {
                    let filled = model.iter().filter(|(_, value)| !value.is_empty());
                    let filled: Model = filled.map(|(name, value)| (name.clone(), value.clone())).collect();
                    assert_eq!(world.of_debugfs(path, filled.keys().cloned()), filled);
                }
            }
        }
        assert!(full > 0, "some did not fit");
        for (inode, model) in models.iter().enumerate() {
            model.keys().for_each(|name| world.set(inode, name, None).unwrap());
            assert!(world.all(inode).is_empty());
        }
        world.judge("when all were removed");
    }
}

/// Lets the other file have the block of the first, as Linux does for equal attributes.
fn share(world: &World) {
    let old = world.inodes[0].read_record(|record| get_u32(record, 104)).unwrap();
    let change = world.file_system.begin(attribute::CREDITS).unwrap();
    let buffer = world.file_system.cache().get(old.into()).unwrap();
    let superblock = world.file_system.superblock();
    change
        .write(&buffer, |bytes| {
            put_u32(bytes, REFERENCES, 2);
            put_u32(bytes, CHECKSUM, 0);
            if superblock.has_checksums() {
                let sum = crc32c(crc32c(superblock.checksum_seed, &u64::from(old).to_le_bytes()), bytes);
                put_u32(bytes, CHECKSUM, sum);
            }
        })
        .unwrap();
    world.inodes[2].change_record(&change, |record| put_u32(record, 104, old)).unwrap();
    world.inodes[2].count_blocks(&change, 1).unwrap();
}

#[test]
fn shared_blocks_are_copied_when_one_changes() {
    for arguments in KINDS {
        for goes in [0, 2] {
            let world = World::new(arguments);
            // More than fits in the inode.
            world.set(0, b"user.large", Some(&[7; 700])).unwrap();
            share(&world);
            let world = world.judge("a shared block");
            let whole = world.all(0);
            assert_eq!(world.all(2), whole);
            // One changes: the other does not.
            world.set(goes, b"user.large", Some(&[9; 650])).unwrap();
            let other = 2 - goes;
            assert_eq!(world.all(other), whole);
            assert_eq!(attribute::get(&world.inodes[goes], b"user.large").unwrap(), [9; 650]);
            let world = world.judge("after the copy");
            // Now each has its own, and no third is taken.
            let free = world.file_system.blocks_available();
            world.set(other, b"user.large", Some(&[1; 640])).unwrap();
            assert_eq!(world.file_system.blocks_available(), free);
            world.judge("both changed");
        }
    }
}

#[test]
fn a_shared_block_is_left_to_the_other() {
    for arguments in KINDS {
        let world = World::new(arguments);
        world.set(0, b"user.large", Some(&[7; 700])).unwrap();
        share(&world);
        let free = world.file_system.blocks_available();
        world.set(2, b"user.large", None).unwrap();
        assert_eq!((world.all(0).len(), world.all(2).len()), (1, 0));
        let world = world.judge("one has left");
        world.set(0, b"user.large", None).unwrap();
        assert_eq!(world.file_system.blocks_available(), free + 1);
        let world = world.judge("both have left");
        let change = world.file_system.begin(attribute::CREDITS).unwrap();
        attribute::release(&world.inodes[0], &change).unwrap();
        drop(change);
        world.set(0, b"user.large", Some(&[7; 700])).unwrap();
        let change = world.file_system.begin(attribute::CREDITS).unwrap();
        attribute::release(&world.inodes[0], &change).unwrap();
        drop(change);
        assert_eq!(world.file_system.blocks_available(), free + 1);
        world.judge("released");
    }
}

#[test]
fn names_of_any_bytes() {
    for arguments in KINDS {
        let world = World::new(arguments);
        for byte in [1, 0x7f, 0x80, 0xe9, 0xff] {
            let name = [b"user.", &[byte; 200][..]].concat();
            let _fits_or_not = world.set(0, &name, Some(b"value"));
        }
        let before = world.all(0);
        assert!(before.len() > 2);
        let world = world.judge("names of any bytes");
        assert_eq!(world.all(0), before);
    }
}

#[test]
fn damaged_attributes_are_told_and_nothing_else() {
    let seed = 6;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    // Without checksums, so that more is met than they.
    let world = World::new(KINDS[3]);
    world.set(0, b"user.large", Some(&[7; 700])).unwrap();
    world.set(0, b"user.small", Some(&[8; 20])).unwrap();
    world.set(0, b"security.other", Some(&[9; 10])).unwrap();
    let number = world.inodes[0].read_record(|record| get_u32(record, 104)).unwrap();
    let buffer = world.file_system.cache().get(number.into()).unwrap();
    let sane_block = buffer.read(<[u8]>::to_vec);
    let sane_record = world.inodes[0].read_record(<[u8]>::to_vec).unwrap();
    let mut answers = BTreeMap::<Result<(), i32>, u32>::new();
    for _ in 0..2000 {
        let (mut block, mut record) = (sane_block.clone(), sane_record.clone());
        for _ in 0..1 + random.below(3) {
            let (bytes, range) = if random.one_in(2) { (&mut block, 0..120) } else { (&mut record, 104..240) };
            let at = range.start + random.below(range.len());
            bytes[at] = *random.pick(&[0, 1, 4, 16, 100, 0xff, bytes[at] ^ 1, bytes[at].wrapping_add(4)]);
        }
        let change = world.file_system.begin(attribute::CREDITS).unwrap();
        change.write(&buffer, |bytes| bytes.copy_from_slice(&block)).unwrap();
        world.inodes[0].change_record(&change, |bytes| bytes[104..].copy_from_slice(&record[104..])).unwrap();
        let mut count = |answer: Result<(), Errno>| {
            *answers.entry(answer.map_err(|errno| errno.as_negative() as i32)).or_default() += 1;
        };
        count(attribute::names(&world.inodes[0], &mut |name| assert!(name.len() < 300)));
        count(attribute::get(&world.inodes[0], b"user.large").map(drop));
        count(attribute::set(&world.inodes[0], &change, b"user.small", Some(b"new")));
        count(attribute::set(&world.inodes[0], &change, b"user.large", Some(&[1; 650])));
    }
    println!("{answers:?}");
    let known = [Ok(()), Err(Errno::EUCLEAN), Err(Errno::ENODATA), Err(Errno::ENOSPC)];
    let known = known.map(|answer| answer.map_err(|errno| errno.as_negative() as i32));
    assert!(answers.keys().all(|answer| known.contains(answer)));
    assert!(answers[&known[0]] > 100 && answers[&known[1]] > 100);
}

#[test]
fn without_a_journal_buffers_are_written_when_there_are_too_many() {
    const LIMIT: usize = 64;
    let world = World::new(&["-t", "ext2", "-b", "1024"]);
    let cache = world.file_system.cache();
    cache.set_limit(LIMIT);
    for block in 500..1500 {
        let change = world.file_system.begin(1).unwrap();
        // Nobody reads these blocks again.
        drop(change.create(block).unwrap());
        assert!(cache.count() <= 4 * LIMIT, "{}", cache.count());
    }
}
