//! [`Inode`]: one inode of the file system in memory.
//!
//! Where its blocks are is kept here, and written through: every change of the map goes to the record in the same [`Change`].
//! Attributes are kept by the layer above, which says when they are to be written ([`Inode::save`]). There is one `Inode` for an
//! inode number at a time; the layer above sees to that.
//!
//! # Locks
//!
//! `ATTRIBUTES`: see [`attribute`]. `LAYOUTS`: held while pages are on their way to the disk, and while blocks are taken away, so that no data is written to a
//! block that is somebody else's by then. Taken before a change is begun, never in one. `BLOCK_MAPS`: the map.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use block::Buffer;
use journal::Journal;
use sync::atomic::{AtomicU64, Ordering::Relaxed};
use sync::{Mutex, MutexGuard, rank};

use crate::allocate::INODE_CREDITS;
use crate::bytes::{get_u16, get_u32, put_u16, put_u32, split};
use crate::checksum::inode_seed;
use crate::map::{INSERT_CREDITS, Map, Place, REMOVE_CREDITS, Run, extent};
use crate::record::{self, DELETED_OFFSET, GENERATION_OFFSET, LEN_OLD, MAP_LEN, MAP_OFFSET, Record, flag};
use crate::record_place::{change_record, record_place};
use crate::superblock::{Incompatible, ReadOnlyCompatible};
use crate::{Change, DirectoryBlocks, DirectoryFormat, FileSystem, ROOT_INODE, attribute, corrupt};

/// Bytes behind the first 128 that the fields known here take.
const EXTRA_LEN: u16 = 32;
/// What making an inode changes: bitmaps, descriptors, its record, and one block of contents with its place.
pub const CREATE_CREDITS: u32 = INODE_CREDITS + INSERT_CREDITS + 2;

/// What a new inode is.
#[derive(Clone, Copy, Debug)]
pub struct NewInode<'a> {
    /// Its attributes.
    pub record: Record,
    /// The device number of a device node.
    pub represents: u64,
    /// Where a symbolic link leads; empty for all else.
    pub target: &'a [u8],
}

/// One inode.
pub struct Inode {
    file_system: Arc<FileSystem>,
    number: u32,
    kind: u16,
    /// The seed of the checksums of its record, directory blocks and extents; None without them.
    seed: Option<u32>,
    format: DirectoryFormat,
    pub(crate) map: Mutex<Map>,
    layout: Mutex<()>,
    attributes: Mutex<()>,
    /// Whether it had extended attributes when it was read.
    had_attributes: bool,
    changed: LastChange,
    mapped: LastChange,
}

impl Inode {
    /// Reads an inode that a directory names: one that is in use and not reserved.
    pub fn open(file_system: &Arc<FileSystem>, number: u32) -> Result<(Self, Record), Errno> {
        if number != ROOT_INODE && number < file_system.superblock.first_inode {
            return Err(corrupt(format_args!("a directory names the reserved inode {number}")));
        }
        let (inode, record) = Self::read(file_system, number)?;
        if record.links == 0 {
            return Err(corrupt(format_args!("a directory names the inode {number}, which is not in use")));
        }
        Ok((inode, record))
    }

    /// Reads an inode, whatever it is for.
    pub fn read(file_system: &Arc<FileSystem>, number: u32) -> Result<(Self, Record), Errno> {
        let superblock = &file_system.superblock;
        let (buffer, start) = record_place(file_system, number)?;
        let bytes = buffer.read_sealed(|bytes| bytes.get(start..start + superblock.inode_len).map(<[u8]>::to_vec));
        let bytes = bytes.ok_or(Errno::EIO)?;
        let has_long_size = superblock.incompatible.contains(Incompatible::LARGE_DIRECTORIES);
        let record = Record::parse(number, &bytes, has_long_size)?;
        let seed = seed_of(file_system, number, get_u32(&bytes, GENERATION_OFFSET));
        if seed.is_some_and(|seed| !record::is_sealed(seed, &bytes)) {
            return Err(corrupt(format_args!("the checksum of inode {number} is wrong")));
        }
        let mut root = [0; MAP_LEN];
        root.copy_from_slice(bytes.get(MAP_OFFSET..MAP_OFFSET + MAP_LEN).ok_or(Errno::EIO)?);
        let has_huge = superblock.read_only_compatible.contains(ReadOnlyCompatible::HUGE_FILES);
        let sectors = record::get_blocks(&bytes, has_huge, superblock.block_len);
        let map = Map::new(get_u32(&bytes, 32), root, sectors, record.size);
        let mut inode = Self::new(file_system, number, record::kind_of(record.mode), seed, map);
        inode.had_attributes = attribute::are_there(&bytes);
        Ok((inode, record))
    }

    fn new(file_system: &Arc<FileSystem>, number: u32, kind: u16, seed: Option<u32>, map: Map) -> Self {
        Self {
            file_system: file_system.clone(),
            number,
            kind,
            seed,
            format: DirectoryFormat { checksum_seed: seed, ..*file_system.directory_format() },
            map: Mutex::new(rank::BLOCK_MAPS, map),
            layout: Mutex::new(rank::LAYOUTS, ()),
            attributes: Mutex::new(rank::ATTRIBUTES, ()),
            had_attributes: false,
            changed: LastChange::new(file_system),
            mapped: LastChange::new(file_system),
        }
    }

    /// Makes an inode in the directory `parent`, with contents if it is a link. A name for it is for the caller to make, in the same
    /// change; if that fails, [`Inode::discard`].
    pub fn create(change: &Change<'_>, parent: &Self, new: &NewInode<'_>) -> Result<Self, Errno> {
        let file_system = &parent.file_system;
        let kind = record::kind_of(new.record.mode);
        let is_directory = kind == record::KIND_DIRECTORY;
        let number = file_system.allocate_inode(change, parent.number, is_directory)?;
        let generation = file_system.generation();
        let has_blocks = [record::KIND_DIRECTORY, record::KIND_REGULAR, record::KIND_SYMLINK].contains(&kind);
        let is_short_link = kind == record::KIND_SYMLINK && new.target.len() < MAP_LEN;
        let has_extents = has_blocks && !is_short_link && file_system.superblock.has_extents();
        let inherited = parent.map.lock().flags & flag::INHERITED;
        let flags = if is_directory { inherited } else { inherited & !(0x1_0000) };
        let mut root = if has_extents { extent::empty_root() } else { [0; MAP_LEN] };
        if !has_blocks {
            put_device(&mut root, new.represents);
        } else if is_short_link && let Some(bytes) = root.get_mut(..new.target.len()) {
            bytes.copy_from_slice(new.target);
        }
        let flags = if has_extents { flags | flag::EXTENTS } else { flags };
        let map = Map::new(flags, root, 0, new.target.len() as u64);
        let seed = seed_of(file_system, number, generation);
        let inode = Self::new(file_system, number, kind, seed, map);
        let extra_len = EXTRA_LEN.max(file_system.superblock.extra_len_wanted & !3);
        inode.put_map(change, &mut inode.map.lock(), |bytes| {
            bytes.fill(0);
            put_u32(bytes, GENERATION_OFFSET, generation);
            if bytes.len() > LEN_OLD {
                put_u16(bytes, LEN_OLD, extra_len);
            }
            new.record.put(bytes);
        })?;
        if kind == record::KIND_SYMLINK
            && !is_short_link
            && let Err(errno) = inode.write_link(change, new.target)
        {
            inode.discard(change)?;
            return Err(errno);
        }
        Ok(inode)
    }

    fn write_link(&self, change: &Change<'_>, target: &[u8]) -> Result<(), Errno> {
        if target.len() >= self.block_len() {
            return Err(Errno::ENAMETOOLONG);
        }
        let buffer = self.add_block(change, 0)?;
        change.write(&buffer, |bytes| {
            if let Some(bytes) = bytes.get_mut(..target.len()) {
                bytes.copy_from_slice(target);
            }
        })
    }

    /// Undoes [`Inode::create`] in its change.
    pub fn discard(&self, change: &Change<'_>) -> Result<(), Errno> {
        self.remove_all(change)?;
        attribute::release(self, change)?;
        self.free(change)
    }

    /// Adds a block of metadata for a block of the file.
    fn add_block(&self, change: &Change<'_>, logical: u32) -> Result<Arc<Buffer>, Errno> {
        let goal = self.goal(logical)?;
        let block = self.file_system.allocate_block(change, goal)?;
        let mut map = self.map.lock();
        let run = Run { logical, count: 1, place: Place::Data(block) };
        if let Err(errno) = self.insert(change, &mut map, run) {
            self.file_system.free_blocks(change, block, 1, true)?;
            return Err(errno);
        }
        drop(map);
        change.create(block)
    }

    /// The place where a block of the file would be best: behind the one before it, or in the inode's group.
    pub(crate) fn goal(&self, logical: u32) -> Result<u64, Errno> {
        if let Some(before) = logical.checked_sub(1) {
            let run = self.find_run(before)?;
            if let Place::Data(block) | Place::Unwritten(block) = run.place {
                return Ok(block + 1);
            }
        }
        let (group, _) = self.file_system.superblock.group_of_inode(self.number).unwrap_or((0, 0));
        Ok(self.file_system.superblock.group_start(group))
    }

    pub(crate) fn find_run(&self, logical: u32) -> Result<Run, Errno> {
        self.find(&mut self.map.lock(), logical)
    }

    // ---- What it is -------------------------------------------------------------------------------------------------

    /// The file system it is in.
    pub fn file_system(&self) -> &Arc<FileSystem> {
        &self.file_system
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn block_len(&self) -> usize {
        self.file_system.superblock.block_len
    }

    /// The seed of its checksums; None without them.
    pub fn checksum_seed(&self) -> Option<u32> {
        self.seed
    }

    /// Whether its contents are metadata: they are in buffers, and a journal knows them.
    pub(crate) fn has_metadata(&self) -> bool {
        self.kind != record::KIND_REGULAR
    }

    /// The space taken, in units of 512 bytes.
    pub fn sectors(&self) -> u64 {
        self.map.lock().sectors
    }

    /// The largest length it can have: what its map reaches, and what its record can say.
    pub fn size_max(&self) -> u64 {
        let features = self.file_system.superblock.read_only_compatible;
        let mapped = self.blocks_max(&self.map.lock()).saturating_mul(self.block_len() as u64);
        let sized = if features.contains(ReadOnlyCompatible::LARGE_FILES) { i64::MAX } else { i32::MAX.into() };
        // The space taken counts sectors in 32 bits, or 48.
        let counted =
            if features.contains(ReadOnlyCompatible::HUGE_FILES) { u64::MAX } else { u64::from(u32::MAX) * 512 };
        mapped.min(sized.cast_unsigned()).min(counted)
    }

    /// Whether it is encrypted, so that its contents and names mean nothing.
    pub fn is_encrypted(&self) -> bool {
        self.map.lock().flags & flag::ENCRYPTED != 0
    }

    /// Whether it had extended attributes when it was read.
    pub fn had_attributes(&self) -> bool {
        self.had_attributes
    }

    /// Its flags, as in the record.
    pub fn flags(&self) -> u32 {
        self.map.lock().flags
    }

    /// Sets those of its flags that are in `mask`, and do not say how its contents are kept.
    pub fn set_flags(&self, change: &Change<'_>, mask: u32, flags: u32) -> Result<(), Errno> {
        let mut map = self.map.lock();
        map.flags = map.flags & !mask | flags & mask;
        self.store_map(change, &mut map)
    }

    /// The device number of a device node.
    pub fn represents(&self) -> u64 {
        let map = self.map.lock();
        match get_u32(&map.root, 0) {
            0 => get_u32(&map.root, 4).into(),
            // The old form: eight bits each, which is what the low 16 bits of the other are.
            old => (old & 0xffff).into(),
        }
    }

    /// Where a symbolic link of this length leads.
    pub fn link_target(&self, len: u64) -> Result<Vec<u8>, Errno> {
        let len = usize::try_from(len).ok().filter(|len| *len > 0 && *len < self.block_len().max(MAP_LEN));
        let len = len.ok_or_else(|| corrupt(format_args!("the link {} is too long", self.number)))?;
        let (is_short, root) = {
            let map = self.map.lock();
            (len < MAP_LEN && !map.has_extents(), map.root)
        };
        // Without extents a link with a block of its own is told by the space it takes, but for one of attributes.
        if is_short && self.is_short_link()? {
            return Ok(root.get(..len).unwrap_or_default().to_vec());
        }
        let buffer = self.block(0)?;
        Ok(buffer.read(|bytes| bytes.get(..len).unwrap_or_default().to_vec()))
    }

    fn is_short_link(&self) -> Result<bool, Errno> {
        let sectors = self.map.lock().sectors;
        let has_attributes = self.read_record(|bytes| get_u32(bytes, 104) != 0 || get_u16(bytes, 118) != 0)?;
        let of_attributes = if has_attributes { self.block_len() as u64 / 512 } else { 0 };
        Ok(sectors <= of_attributes)
    }

    /// A block of a directory or link.
    fn block(&self, logical: u32) -> Result<Arc<Buffer>, Errno> {
        match self.find_run(logical)?.place {
            Place::Data(block) => Ok(self.file_system.cache.get(block)?),
            _ => Err(corrupt(format_args!("block {logical} of inode {} is missing", self.number))),
        }
    }

    // ---- The record -------------------------------------------------------------------------------------------------

    /// Looks at the bytes of the record.
    pub fn read_record<R>(&self, look: impl FnOnce(&[u8]) -> R) -> Result<R, Errno> {
        let (buffer, start) = record_place(&self.file_system, self.number)?;
        let end = start + self.file_system.superblock.inode_len;
        Ok(buffer.read(|bytes| look(bytes.get(start..end).unwrap_or_default())))
    }

    /// Changes bytes of the record other than the map.
    pub fn change_record<R>(&self, change: &Change<'_>, apply: impl FnOnce(&mut [u8]) -> R) -> Result<R, Errno> {
        self.changed.note(change);
        change_record(&self.file_system, change, self.number, apply)
    }

    /// Writes the attributes. The length is what the map says: what is behind it may not be on the disk yet.
    pub fn save(&self, change: &Change<'_>, record: &Record) -> Result<(), Errno> {
        let mut map = self.map.lock();
        self.put_map(change, &mut map, |bytes| record.put(bytes))
    }

    /// Writes the map.
    pub(crate) fn store_map(&self, change: &Change<'_>, map: &mut Map) -> Result<(), Errno> {
        self.mapped.note(change);
        self.put_map(change, map, |_| {})
    }

    fn put_map(&self, change: &Change<'_>, map: &mut Map, apply: impl FnOnce(&mut [u8])) -> Result<(), Errno> {
        let has_huge = self.file_system.superblock.read_only_compatible.contains(ReadOnlyCompatible::HUGE_FILES);
        let block_len = self.block_len();
        self.change_record(change, |bytes| {
            apply(bytes);
            record::put_size(bytes, map.size);
            record::put_blocks(bytes, map.sectors, has_huge, block_len, &mut map.flags);
            put_u32(bytes, 32, map.flags);
            if let Some(root) = bytes.get_mut(MAP_OFFSET..MAP_OFFSET + MAP_LEN) {
                root.copy_from_slice(&map.root);
            }
        })
    }

    /// Counts blocks that belong to the inode and not to its map: those of attributes.
    pub fn count_blocks(&self, change: &Change<'_>, count: i64) -> Result<(), Errno> {
        let mut map = self.map.lock();
        let unit = i64::try_from(self.block_len() / 512).unwrap_or(1);
        map.sectors = map.sectors.saturating_add_signed(count.saturating_mul(unit));
        self.store_map(change, &mut map)
    }

    /// Takes a block for attributes, near the inode.
    pub fn allocate_attribute_block(&self, change: &Change<'_>) -> Result<u64, Errno> {
        let block = self.file_system.allocate_block(change, self.goal(0)?)?;
        self.count_blocks(change, 1)?;
        Ok(block)
    }

    /// The lock of extended attributes.
    pub(crate) fn lock_attributes(&self) -> MutexGuard<'_, ()> {
        self.attributes.lock()
    }

    /// Makes stable what was changed of it, and all data that was written. With `data_only`, of the changes only what is needed to find
    /// the data.
    pub fn make_stable(&self, data_only: bool) -> Result<(), Errno> {
        let Some(journal) = self.file_system.journal() else { return self.file_system.write_metadata() };
        let last = if data_only { &self.mapped } else { &self.changed };
        let is_flushed = last.get().map_or(Ok(false), |transaction| journal.force(transaction));
        let is_flushed = self.file_system.watched(is_flushed)?;
        if !is_flushed {
            self.file_system.cache.volume().flush()?;
        }
        Ok(())
    }

    // ---- The end ----------------------------------------------------------------------------------------------------

    /// The lock of what is where.
    pub(crate) fn lock_layout(&self) -> MutexGuard<'_, ()> {
        self.layout.lock()
    }

    pub(crate) fn try_lock_layout(&self) -> Option<MutexGuard<'_, ()>> {
        self.layout.try_lock()
    }

    /// Takes all blocks away in one change, of an inode that has only few.
    fn remove_all(&self, change: &Change<'_>) -> Result<(), Errno> {
        let mut map = self.map.lock();
        if !self.has_map(&map) {
            return Ok(());
        }
        let mut next = Some(0);
        while let Some(first) = next {
            next = self.remove(change, &mut map, first, 1 << 32)?;
        }
        Ok(())
    }

    /// Whether its map is one.
    fn has_map(&self, map: &Map) -> bool {
        let has_blocks = [record::KIND_DIRECTORY, record::KIND_REGULAR, record::KIND_SYMLINK].contains(&self.kind);
        has_blocks && (map.has_extents() || self.kind != record::KIND_SYMLINK || map.sectors > 0)
    }

    /// Takes the blocks of the file `first..end` away, in as many changes as that needs. The layout is locked.
    pub(crate) fn remove_in_changes(&self, first: u32, end: u64) -> Result<(), Errno> {
        let mut next = Some(first);
        while let Some(first) = next {
            let change = self.file_system.begin(REMOVE_CREDITS)?;
            next = self.remove(&change, &mut self.map.lock(), first, end)?;
        }
        Ok(())
    }

    /// Frees an inode without names that nobody uses, and all its blocks.
    pub fn delete(&self) -> Result<(), Errno> {
        let _layout = self.lock_layout();
        self.forget_waiting(0);
        let is_short = self.kind == record::KIND_SYMLINK && self.is_short_link()?;
        if !is_short && self.has_map(&self.map.lock()) {
            self.remove_in_changes(0, 1 << 32)?;
        }
        let change = self.file_system.begin(INODE_CREDITS + 3 + attribute::CREDITS)?;
        attribute::release(self, &change)?;
        self.file_system.remove_orphan(&change, self)?;
        self.free(&change)
    }

    fn free(&self, change: &Change<'_>) -> Result<(), Errno> {
        let now = split(sync::machine::realtime_ns() / 1_000_000_000).0;
        {
            let mut map = self.map.lock();
            map.size = 0;
            self.put_map(change, &mut map, |bytes| {
                put_u32(bytes, DELETED_OFFSET, now);
                put_u16(bytes, 26, 0);
            })?;
        }
        self.file_system.free_inode(change, self.number, self.kind == record::KIND_DIRECTORY)
    }
}

/// The transaction in which something was changed last, if there is a journal.
struct LastChange(AtomicU64);

impl LastChange {
    /// What was changed before the inode was read is not known: the newest transaction has it, or an older one.
    fn new(file_system: &FileSystem) -> Self {
        let newest = file_system.journal().map(Journal::newest);
        Self(AtomicU64::new(newest.map_or(u64::MAX, u64::from)))
    }

    fn note(&self, change: &Change<'_>) {
        if let Some(transaction) = change.transaction() {
            self.0.store(transaction.into(), Relaxed);
        }
    }

    fn get(&self) -> Option<u32> {
        u32::try_from(self.0.load(Relaxed)).ok()
    }
}

impl DirectoryBlocks for Inode {
    fn format(&self) -> &DirectoryFormat {
        &self.format
    }

    fn number(&self) -> u32 {
        self.number
    }

    fn count(&self) -> u32 {
        u32::try_from(self.map.lock().size / self.block_len() as u64).unwrap_or(u32::MAX)
    }

    fn get(&self, index: u32) -> Result<Arc<Buffer>, Errno> {
        if index >= self.count() {
            return Err(corrupt(format_args!("directory {} has no block {index}", self.number)));
        }
        self.block(index)
    }

    fn append(&self, change: &Change<'_>) -> Result<(u32, Arc<Buffer>), Errno> {
        let index = self.count();
        let buffer = self.add_block(change, index)?;
        let mut map = self.map.lock();
        map.size = (u64::from(index) + 1) * self.block_len() as u64;
        self.store_map(change, &mut map)?;
        drop(map);
        Ok((index, buffer))
    }

    fn has_index(&self) -> bool {
        self.map.lock().flags & flag::INDEX != 0
    }

    fn set_has_index(&self, change: &Change<'_>, has_index: bool) -> Result<(), Errno> {
        let mut map = self.map.lock();
        map.flags = if has_index { map.flags | flag::INDEX } else { map.flags & !flag::INDEX };
        self.store_map(change, &mut map)
    }
}

impl Inode {
    /// The length of a directory or link, and what the disk says of that of a file.
    pub fn size_on_disk(&self) -> u64 {
        self.map.lock().size
    }
}

fn seed_of(file_system: &FileSystem, number: u32, generation: u32) -> Option<u32> {
    let superblock = &file_system.superblock;
    superblock.has_checksums().then(|| inode_seed(superblock.checksum_seed, number, generation))
}

/// Writes a device number in the form Linux chooses: the old one if it fits.
fn put_device(root: &mut [u8], represents: u64) {
    let number = split(represents).0;
    let is_old = number >> 16 == 0;
    put_u32(root, if is_old { 0 } else { 4 }, number);
}
