//! How many inodes there are in memory, of all file systems.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Inodes in memory.
static INODES: AtomicUsize = AtomicUsize::new(0);

/// How many inodes are in memory.
pub fn inode_count() -> usize {
    INODES.load(Relaxed)
}

/// Counts an inode as long as it lives.
pub(crate) struct Counted;

impl Counted {
    pub(crate) fn new() -> Self {
        INODES.fetch_add(1, Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        INODES.fetch_sub(1, Relaxed);
    }
}
