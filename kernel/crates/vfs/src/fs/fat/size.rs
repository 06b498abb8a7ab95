//! The size of a file, and the clusters for it.

use abi::Errno;
use sync::atomic::Ordering::Relaxed;

use super::inode::{FILE_LEN_MAX, FatInode};

impl FatInode {
    /// Finds clusters for `len` bytes; how many bytes there is room for then, at most `len`.
    pub(super) fn make_room(&self, len: u64) -> Result<u64, Errno> {
        let geometry = &self.volume.geometry;
        let wanted = geometry.clusters_for(len);
        let mut chain = self.chain().lock();
        chain.load(&self.volume, wanted)?;
        if chain.clusters() < wanted {
            self.volume.extend(&mut chain, wanted, false)?;
            self.is_moved.store(true, Relaxed);
        }
        Ok(len.min(chain.clusters() * geometry.cluster_len()))
    }

    /// How many clusters it shall have.
    pub(super) fn clusters_wanted(&self) -> u64 {
        self.volume.geometry.clusters_for(self.metadata.size()).max(self.kept.load(Relaxed))
    }

    /// Finds room up to `end`, and keeps it behind the end of the file (`FALLOC_FL_KEEP_SIZE`). The disk cannot say
    /// that there is no data in it, so it is kept as long as the file is open, as on Linux.
    pub(super) fn keep_room(&self, end: u64) -> Result<(), Errno> {
        self.volume.check_writable()?;
        let room = self.make_room(end);
        if matches!(room, Ok(room) if room >= end) {
            self.kept.fetch_max(self.volume.geometry.clusters_for(end), Relaxed);
            self.show_blocks();
            self.note_changed(&mut self.volume.lock());
            return Ok(());
        }
        self.give_back_room()?;
        room.and(Err(Errno::ENOSPC))
    }

    /// Gives back what is kept behind the end.
    pub(super) fn let_room_go(&self) -> Result<(), Errno> {
        self.kept.store(0, Relaxed);
        self.give_back_room()?;
        self.show_blocks();
        Ok(())
    }

    /// Gives back clusters behind the end. Those of the file change its entry, too.
    pub(super) fn give_back_room(&self) -> Result<(), Errno> {
        let wanted = self.clusters_wanted();
        let mut chain = self.chain().lock();
        chain.load(&self.volume, wanted + 1)?;
        if chain.clusters() > wanted {
            let mut state = self.volume.lock_for_change()?;
            self.volume.shorten(&mut state, &mut chain, wanted)?;
            self.update_entry(&mut state, chain.first())?;
            self.note_changed(&mut state);
            self.is_moved.store(true, Relaxed);
        }
        Ok(())
    }

    /// Makes zero what lies between the end and `position`, where there is room already.
    pub(super) fn clear_gap(&self, position: u64) -> Result<(), Errno> {
        let size = self.metadata.size();
        let page = mm::PAGE_SIZE as u64;
        if position <= size {
            return Ok(());
        }
        let offset = usize::try_from(size % page).unwrap_or(0);
        if offset != 0 {
            self.cache.zero(self, size / page, offset, mm::PAGE_SIZE - offset)?;
        }
        // The page that is written to is made whole by the cache.
        self.clear_on_disk(size.next_multiple_of(page), position / page * page)
    }

    /// Sets a longer length.
    pub(super) fn grow_to(&self, len: u64) -> Result<(), Errno> {
        if len > FILE_LEN_MAX {
            return Err(Errno::EFBIG);
        }
        let result = self.make_room(len).and_then(|room| {
            if room < len {
                return Err(Errno::ENOSPC);
            }
            self.clear_gap(len)?;
            let page = mm::PAGE_SIZE as u64;
            self.clear_on_disk(self.metadata.size().next_multiple_of(page).max(len / page * page), len)
        });
        if let Err(errno) = result {
            self.give_back_room()?;
            return Err(errno);
        }
        self.metadata.set_size(len);
        Ok(())
    }

    pub(super) fn cut_to(&self, len: u64) -> Result<(), Errno> {
        self.volume.check_writable()?;
        self.kept.store(0, Relaxed);
        self.metadata.set_size(len);
        self.cache.cut(self, len)?;
        self.give_back_room()?;
        let chain = self.chain().lock();
        let mut state = self.volume.lock_for_change()?;
        // The entry must not promise more than there is.
        self.update_entry(&mut state, chain.first())
    }
}
