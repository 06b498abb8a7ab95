//! What has to reach the disk, and in which order: [`Volume::commit`].
//!
//! # The order of writes
//!
//! After a crash at any moment `fsck.fat` must find nothing that costs a file that was on the disk before. What it
//! repairs without loss: clusters in use that belong to nothing, chains longer than the size of their file, a wrong
//! count of free clusters. What it cannot: two files with one cluster, entries for clusters that are free, directories
//! with old data for entries. So, for [`Volume::commit`]:
//!
//! 1. New clusters of directories are written first, then a flush: nothing leads to them before they make sense.
//! 2. Then the FATs, then a flush: no entry leads to a cluster that is free. Up to here clusters are only taken, never
//!    freed.
//! 3. Then the entries of directories, then a flush: from here on no entry on the disk leads to what was let go of.
//! 4. Only now what was let go of is free in the FAT, in memory first, and can be taken again.
//!
//! The contents of a file are written before its size and first cluster go into its entry, and stable with the flush of
//! step 2.
//!
//! Whatever shortens a chain updates the entry at the same time, so that step 3 includes it.

use alloc::collections::BTreeSet;
use sync::atomic::Ordering::Relaxed;

use abi::Errno;

use super::volume::{Next, State, Volume};

impl Volume {
    pub(super) fn write_blocks(&self, state: &mut State, numbers: &BTreeSet<u64>) -> Result<(), Errno> {
        let buffers = numbers.iter().filter_map(|number| self.buffers.find(*number)).collect();
        state.needs_flush = true;
        self.watched(self.buffers.write(buffers))
    }

    /// Makes stable what was written.
    pub(super) fn flush(&self, state: &mut State) -> Result<(), Errno> {
        if state.needs_flush {
            self.watched(self.buffers.volume().flush())?;
            state.needs_flush = false;
        }
        Ok(())
    }

    /// Notes that contents of a file were written.
    pub(super) fn note_written(&self) {
        self.lock().needs_flush = true;
    }

    /// Brings the FAT and all directories to the disk, as the file's documentation says.
    pub(super) fn commit(&self, state: &mut State) -> Result<(), Errno> {
        if self.is_stopped() {
            return Err(Errno::EROFS);
        }
        self.reap(state)?;
        let fresh = state.fresh.clone();
        if !fresh.is_empty() {
            self.write_blocks(state, &fresh)?;
            self.flush(state)?;
            state.fresh.clear();
        }
        self.write_fat(state)?;
        self.flush(state)?;
        let dirty = state.dirty.clone();
        if !dirty.is_empty() {
            self.write_blocks(state, &dirty)?;
            self.flush(state)?;
            state.dirty.clear();
        }
        if !state.let_go.is_empty() {
            self.free(state)?;
            self.write_fat(state)?;
        }
        state.is_old = false;
        Ok(())
    }

    /// Whether there is something to be committed.
    pub(super) fn has_uncommitted(&self, state: &State) -> bool {
        let is_clean = state.fresh.is_empty() && state.dirty_fat.is_empty() && state.dirty.is_empty();
        !is_clean || !state.let_go.is_empty()
    }

    /// Forgets what was to be committed, as it never will be. What is in the blocks in memory can be read until the
    /// end.
    pub(super) fn forget_uncommitted(&self, state: &mut State) {
        state.fresh.clear();
        state.dirty_fat.clear();
        state.dirty.clear();
        state.let_go.clear();
        state.nameless.clear();
        (state.let_go_count, state.is_old) = (0, false);
    }

    fn write_fat(&self, state: &mut State) -> Result<(), Errno> {
        let dirty = state.dirty_fat.clone();
        if !dirty.is_empty() {
            self.write_blocks(state, &dirty)?;
            state.dirty_fat.clear();
        }
        Ok(())
    }

    /// Frees in the FAT what was let go of.
    fn free(&self, state: &mut State) -> Result<(), Errno> {
        state.let_go_count = 0;
        for gone in core::mem::take(&mut state.let_go) {
            for run in gone.runs {
                for cluster in run.cluster..run.cluster + run.count {
                    if self.entry(cluster)? == 0 {
                        return Err(self.damaged("a cluster belongs to two files"));
                    }
                    self.set_next(state, cluster, Next::Free)?;
                    state.free = state.free.saturating_add(1);
                    if gone.is_directory {
                        let first = self.geometry.block_of(cluster);
                        (first..first + self.geometry.cluster_blocks).for_each(|number| self.buffers.forget(number));
                    }
                }
            }
        }
        Ok(())
    }

    /// Marks the volume as in use: stable before anything else is written.
    pub(super) fn begin_writing(&self) -> Result<(), Errno> {
        let mut state = self.lock();
        self.set_in_use(&mut state, true)?;
        self.is_read_only.store(false, Relaxed);
        Ok(())
    }

    /// Writes the count of free clusters and marks the volume as complete. Nothing is written after this.
    pub(super) fn end_writing(&self) -> Result<(), Errno> {
        let mut state = self.lock();
        if self.is_read_only.swap(true, Relaxed) || self.is_stopped() {
            return Ok(());
        }
        self.commit(&mut state)?;
        self.write_info(&mut state)?;
        self.flush(&mut state)?;
        self.set_in_use(&mut state, false)
    }

    /// Writes nothing any more, and leaves the volume marked as in use.
    pub(super) fn stop_writing(&self) {
        self.is_stopped.store(true, Relaxed);
    }

    fn set_in_use(&self, state: &mut State, is_in_use: bool) -> Result<(), Errno> {
        let at = self.geometry.state_offset();
        let buffer = self.block(0)?;
        buffer.change(|boot| {
            if let Some(byte) = boot.get_mut(at) {
                *byte = *byte & !1 | u8::from(is_in_use);
            }
        });
        buffer.mark_dirty();
        self.write_blocks(state, &BTreeSet::from([0]))?;
        self.flush(state)
    }
}
