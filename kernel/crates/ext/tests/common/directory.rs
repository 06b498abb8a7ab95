//! What must hold for the blocks of a directory whatever is in them: shared by the tests here and by the fuzz target.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use abi::Errno;
use block::{Buffer, BufferCache, Disk, SECTOR_LEN, Volume};
use ext::directory::{self, Entries, Target};
use ext::{Change, DirectoryBlocks, DirectoryFormat};
use testkit::Random;
use testkit::disk::{FakeDisk, Image};

/// Bytes in a block: the fewest there can be, so that an index is deep soon.
pub(crate) const BLOCK_LEN: usize = 512;
/// Blocks that may be added to a damaged directory.
pub(crate) const SPARE: u32 = 12;
/// The longest list of a directory that makes sense, in answers of `list`.
const LISTS_MAX: usize = 20_000;

/// How the blocks are written.
pub(crate) fn format(checksum_seed: Option<u32>, may_have_index: bool) -> DirectoryFormat {
    DirectoryFormat {
        block_len: BLOCK_LEN,
        checksum_seed,
        has_file_types: true,
        may_have_index,
        is_large: true,
        hash_version: 1,
        hash_is_unsigned: false,
        hash_seed: [1, 2, 3, 4],
    }
}

/// A directory in blocks that follow each other on a disk in memory.
pub(crate) struct MemoryDirectory {
    cache: BufferCache,
    format: DirectoryFormat,
    count: Cell<u32>,
    count_max: u32,
    has_index: Cell<bool>,
}

impl MemoryDirectory {
    /// One with these blocks.
    pub(crate) fn new(format: DirectoryFormat, bytes: &[u8], has_index: bool, spare: u32) -> Self {
        let count = u32::try_from(bytes.len() / BLOCK_LEN).expect("a directory of a test is small");
        let sectors = u64::from(count + spare) * (BLOCK_LEN / SECTOR_LEN) as u64;
        let image = Image::from_bytes(&bytes[..count as usize * BLOCK_LEN]);
        let disk = Disk::new("vda".to_owned(), 0xfc00, Box::new(FakeDisk::new(image, sectors)));
        let cache = BufferCache::new(Volume::whole(&disk), BLOCK_LEN).expect("the length is one that can be");
        Self { cache, format, count: Cell::new(count), count_max: count + spare, has_index: Cell::new(has_index) }
    }

    /// A change of it.
    pub(crate) fn change(&self) -> Change<'_> {
        Change::direct(&self.cache)
    }
}

impl DirectoryBlocks for MemoryDirectory {
    fn format(&self) -> &DirectoryFormat {
        &self.format
    }

    fn number(&self) -> u32 {
        12
    }

    fn count(&self) -> u32 {
        self.count.get()
    }

    fn get(&self, index: u32) -> Result<Arc<Buffer>, Errno> {
        if index >= self.count.get() {
            return Err(Errno::EUCLEAN);
        }
        Ok(self.cache.get(index.into())?)
    }

    fn append(&self, change: &Change<'_>) -> Result<(u32, Arc<Buffer>), Errno> {
        let index = self.count.get();
        if index >= self.count_max {
            return Err(Errno::ENOSPC);
        }
        let buffer = change.create(index.into())?;
        self.count.set(index + 1);
        Ok((index, buffer))
    }

    fn has_index(&self) -> bool {
        self.has_index.get()
    }

    fn set_has_index(&self, _: &Change<'_>, has_index: bool) -> Result<(), Errno> {
        self.has_index.set(has_index);
        Ok(())
    }
}

/// The answer is a value or an error that tells of what may be.
fn told<T>(answer: Result<T, Errno>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(Errno::EUCLEAN | Errno::ENOSPC | Errno::ENOENT | Errno::EEXIST) => None,
        Err(errno) => panic!("{errno:?}"),
    }
}

/// Lists from the beginning; the names, and whether that went to the end.
fn list(directory: &MemoryDirectory) -> (BTreeSet<Vec<u8>>, bool) {
    let mut names = BTreeSet::new();
    let mut entries = Entries::default();
    let mut position = 0;
    for _ in 0..LISTS_MAX {
        if told(directory::list(directory, position, &mut entries)).is_none() {
            return (names, false);
        }
        if entries.is_empty() {
            return (names, true);
        }
        for (name, entry) in entries.iter() {
            assert!(entry.next > position && !name.is_empty() && name.len() <= 255);
            position = entry.next;
            names.insert(name.to_vec());
        }
    }
    panic!("a list without end");
}

/// Does all that can be done with a directory that may be damaged. Answers whether it could be listed.
pub(crate) fn exercise(directory: &MemoryDirectory, names: &[Vec<u8>], random: &mut Random) -> bool {
    let (listed, is_whole) = list(directory);
    let is_empty = told(directory::is_empty(directory));
    if is_whole && is_empty.is_some() {
        assert_eq!(is_empty, Some(listed.is_empty()));
    }
    told(directory::parent(directory));
    for name in names.iter().chain(&listed).step_by(1 + random.below(8)) {
        told(directory::find(directory, name));
    }
    // From positions that nobody was given.
    let mut entries = Entries::default();
    for _ in 0..4 {
        told(directory::list(directory, random.next_u64() >> random.below(64), &mut entries));
    }
    for _ in 0..24 {
        let target = Target { inode: 1 + random.below(99) as u32, kind: 8 };
        let name = random.pick(names).clone();
        match random.below(8) {
            0 => drop(told(directory::remove(directory, &directory.change(), &name))),
            1 => drop(told(directory::replace(directory, &directory.change(), &name, target))),
            2 => drop(told(directory::set_parent(directory, &directory.change(), target.inode))),
            _ => {
                let mut name = name;
                name.truncate(1 + random.below(name.len()));
                name[0] = b'A';
                told(directory::insert(directory, &directory.change(), &name, target));
                told(directory::find(directory, &name));
            }
        }
    }
    list(directory);
    told(directory::is_empty(directory));
    is_whole
}
