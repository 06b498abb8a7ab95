//! What of a volume is in memory and must be written, for the thread that writes back.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::Errno;
use sync::atomic::Ordering::Relaxed;

use crate::write_back::Cached;

use super::inode::FatInode;
use super::volume::{State, Volume};

/// A file with something to be written.
pub(super) struct Changed {
    inode: Arc<FatInode>,
    /// Whether it was so at the last look.
    is_old: bool,
}

impl State {
    /// Holds an inode until it was written. It is as old as its first change, or one that changes all the time would
    /// never be written.
    pub(super) fn add_changed(&mut self, volume: &Volume, inode: Arc<FatInode>) {
        // Under the lock: who gives everything up comes later, or this is seen.
        if !volume.is_stopped() {
            self.changed.entry(inode.metadata.number()).or_insert(Changed { inode, is_old: false });
        }
    }
}

impl Volume {
    /// Brings everything to the disk, stable. `EIO` when that cannot be any more.
    pub(super) fn synchronize(&self) -> Result<(), Errno> {
        if self.is_stopped() {
            self.abandon();
            return Err(Errno::EIO);
        }
        if self.is_read_only() {
            return Ok(());
        }
        let written = self.write_changed(true);
        let committed = self.commit_all();
        self.finished(written.map(drop).and(committed))
    }

    /// Gives back what files keep behind their ends that are open for ever.
    pub(super) fn let_room_go(&self) -> Result<(), Errno> {
        if self.is_stopped() || self.is_read_only() {
            return Ok(());
        }
        let inodes: Vec<_> = self.lock().inodes.values().filter_map(Weak::upgrade).collect();
        inodes.iter().filter(|inode| inode.kept.load(Relaxed) != 0).try_for_each(|inode| inode.let_room_go())
    }

    /// Brings to the disk what was dirty at the last call.
    pub(super) fn write_old(&self) -> Result<(), Errno> {
        if self.is_stopped() {
            self.abandon();
        }
        if self.is_read_only() {
            return Ok(());
        }
        let written = self.write_changed(false);
        let is_due = {
            let mut state = self.lock();
            self.reap(&mut state)?;
            let has_uncommitted = self.has_uncommitted(&state);
            let was_old = core::mem::replace(&mut state.is_old, has_uncommitted);
            has_uncommitted && was_old || !matches!(written, Ok(0))
        };
        let committed = if is_due { self.commit_all() } else { Ok(()) };
        self.finished(written.map(drop).and(committed))
    }

    /// Hands on how writing went. What the disk was lost under is given up.
    fn finished(&self, result: Result<(), Errno>) -> Result<(), Errno> {
        if result.is_ok() || !self.is_stopped() {
            return result;
        }
        self.abandon();
        result.map_err(|errno| if errno == Errno::EROFS { Errno::EIO } else { errno })
    }

    fn commit_all(&self) -> Result<(), Errno> {
        let mut state = self.lock_for_change()?;
        self.commit(&mut state)?;
        self.write_info(&mut state)?;
        self.flush(&mut state)
    }

    /// Writes the contents and entries of what waits for it, the latter to memory that [`Volume::commit`] writes: all,
    /// or what did so at the last call. How many there were; the first error of any.
    pub(super) fn write_changed(&self, is_all: bool) -> Result<usize, Errno> {
        let mut due = Vec::new();
        {
            let mut state = self.lock();
            for changed in state.changed.values_mut() {
                if is_all || changed.is_old {
                    due.push(changed.inode.clone());
                }
                changed.is_old = true;
            }
            state
                .changed
                .retain(|number, _| due.binary_search_by_key(number, |inode| inode.metadata.number()).is_err());
        }
        let count = due.len();
        let mut result = Ok(count);
        for inode in due {
            if let Err(errno) = inode.write_back() {
                // Gone with the disk, or tried again the next time.
                if self.is_stopped() {
                    inode.abandon();
                }
                self.lock().add_changed(self, inode);
                result = result.and(Err(errno));
            }
        }
        result
    }

    /// Gives up everything that is dirty: nothing is written any more. Each file tells its loss to who has it open.
    pub(super) fn abandon(&self) {
        let changed = {
            let mut state = self.lock();
            self.forget_uncommitted(&mut state);
            core::mem::take(&mut state.changed)
        };
        changed.values().for_each(|changed| changed.inode.abandon());
    }
}

impl Cached for Volume {
    fn write_back(&self) -> Result<(), Errno> {
        self.write_old()
    }

    fn write_all(&self) -> Result<(), Errno> {
        self.synchronize()
    }
}

/// Has a volume written back from time to time, as long as it is mounted.
pub(super) fn register(volume: &Arc<Volume>) {
    let cached: Weak<dyn Cached> = Arc::downgrade(volume) as _;
    crate::write_back::register(cached);
}
