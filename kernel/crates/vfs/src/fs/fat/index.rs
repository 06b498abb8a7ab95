//! [`Index`]: where in a large directory the names are, as FAT has no order.
//!
//! # 1. What it holds
//!
//! For each file the hash of the name it is shown by and that of its short name, both without regard to case, with the
//! slot of its own entry. A hash is only a hint: the entry is read, and compared. So the index may know more than there
//! is, never less.
//!
//! Also where room for new names is looked for: before that slot there are no so many free slots side by side.
//!
//! # 2. When it is there
//!
//! A search that has read [`SLOTS_MIN`] slots in vain makes it, from all slots. It is kept in step with what changes; a
//! change that fails halfway drops it. All indexes of a volume together have as many names as a share of memory; a
//! directory that would exceed that is searched slot by slot.
//!
//! Lock: `FAT_INDEXES`, after that of the volume; nothing is read under it.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use sync::atomic::{AtomicUsize, Ordering::Relaxed};

use abi::Errno;
use sync::{Mutex, rank};

use super::directory::Found;
use super::entry::{Entry, PARTS_MAX};
use super::inode::FatInode;
use super::name;

/// A directory with fewer slots is searched as fast.
pub(super) const SLOTS_MIN: u64 = 256;
/// Bytes of memory for which there may be one name in all indexes of a volume.
const MEMORY_OF_NAME: usize = 2048;
/// More entries with one hash are not looked at one by one.
const SAME_MAX: usize = 64;

/// How many names all indexes of a volume have.
pub(super) type Names = Arc<AtomicUsize>;

/// The names of one directory.
pub(super) struct Index {
    names: BTreeSet<(u32, u32)>,
    counted: usize,
    total: Names,
    /// No so many free slots side by side begin before this slot.
    room: (u64, u64),
}

impl Index {
    fn new(total: &Names) -> Self {
        Self { names: BTreeSet::new(), counted: 0, total: total.clone(), room: (u64::MAX, 0) }
    }

    /// Adds a file's names; whether there was room for them.
    fn add(&mut self, own: u64, shown: &[u8], entry: &Entry) -> bool {
        let Ok(slot) = u32::try_from(own) else { return false };
        self.names.insert((hash(shown), slot));
        if let Some(short) = name::text_of_short(&entry.short(), 0) {
            self.names.insert((hash(&short), slot));
        }
        let more = self.names.len() - self.counted;
        self.counted += more;
        self.total.fetch_add(more, Relaxed) + more <= names_max()
    }

    fn remove(&mut self, found: &Found) {
        let Ok(slot) = u32::try_from(found.own) else { return };
        self.names.remove(&(hash(&found.name), slot));
        if let Some(short) = name::text_of_short(&found.entry.short(), 0) {
            self.names.remove(&(hash(&short), slot));
        }
        self.total.fetch_sub(self.counted - self.names.len(), Relaxed);
        self.counted = self.names.len();
        // What was free before it may be long enough now.
        self.room.1 = self.room.1.min(found.first.saturating_sub(PARTS_MAX as u64));
    }

    /// The slots of files that may have this name; None for too many.
    fn slots(&self, text: &[u8]) -> Option<Vec<u64>> {
        let hash = hash(text);
        let same = self.names.range((hash, 0)..=(hash, u32::MAX)).map(|(_, slot)| u64::from(*slot));
        let slots: Vec<u64> = same.take(SAME_MAX + 1).collect();
        (slots.len() <= SAME_MAX).then_some(slots)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.total.fetch_sub(self.counted, Relaxed);
    }
}

/// The place of an index in its directory.
pub(super) struct IndexSlot(Mutex<Option<Index>>);

impl IndexSlot {
    pub(super) fn new() -> Self {
        Self(Mutex::new(rank::FAT_INDEXES, None))
    }

    /// The slots of files that may have a name; None when all slots must be looked at.
    pub(super) fn slots(&self, text: &[u8]) -> Option<Vec<u64>> {
        self.0.lock().as_ref()?.slots(text)
    }

    /// Drops it: it may no longer be right.
    pub(super) fn forget(&self) {
        let gone = self.0.lock().take();
        drop(gone);
    }

    /// Notes a file that has come.
    pub(super) fn add(&self, own: u64, shown: &[u8], entry: &Entry) {
        let mut slot = self.0.lock();
        if slot.as_mut().is_some_and(|index| !index.add(own, shown, entry)) {
            let gone = slot.take();
            drop(slot);
            drop(gone);
        }
    }

    /// Notes a file that goes.
    pub(super) fn remove(&self, found: &Found) {
        if let Some(index) = self.0.lock().as_mut() {
            index.remove(found);
        }
    }

    /// Where the search for so many free slots begins.
    pub(super) fn room_from(&self, wanted: u64) -> u64 {
        let slot = self.0.lock();
        let room = slot.as_ref().map(|index| index.room);
        room.filter(|(least, _)| wanted >= *least).map_or(0, |(_, from)| from)
    }

    /// Notes that no so many free slots begin before one.
    pub(super) fn note_room(&self, wanted: u64, from: u64) {
        if let Some(index) = self.0.lock().as_mut()
            && wanted <= index.room.0
        {
            index.room = (wanted, from);
        }
    }
}

impl FatInode {
    /// Makes the index, if there is memory for it.
    pub(super) fn make_index(&self) -> Result<(), Errno> {
        if self.volume.indexed.load(Relaxed) >= names_max() {
            return Ok(());
        }
        let mut index = Index::new(&self.volume.indexed);
        let mut fits = true;
        self.each_file(0, |found| {
            fits = index.add(found.own, &found.name, &found.entry);
            fits
        })?;
        let old = if fits { self.index.0.lock().replace(index) } else { None };
        drop(old);
        Ok(())
    }
}

fn names_max() -> usize {
    usize::try_from(mm::frame::total()).unwrap_or(usize::MAX).saturating_mul(mm::PAGE_SIZE / MEMORY_OF_NAME)
}

/// The same for names that are the same (FNV-1a).
fn hash(text: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193);
    name::trimmed(text).iter().fold(0x811c_9dc5, step)
}
