//! [`CachedAcl`]: what is known of the access control lists of an inode.
//!
//! An inode that was read from a disk and has extended attributes may have lists: that is unknown until somebody is
//! checked for whom it counts. Whether one decides stands in the word of the mode as well ([`crate::Metadata`]), which
//! is changed under the lock here.
//!
//! Lock rank: `FILE_TABLES`, for the pointer.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use sync::{SpinLock, rank};

use super::Acl;

/// The file system has to be asked for the list that decides.
const UNKNOWN: u8 = 1;
/// There is, or may be, one for what is made in the directory.
const DEFAULT: u8 = 2;

/// The list that decides, if it is known, and whether there may be another for what is made.
pub(crate) struct CachedAcl {
    state: AtomicU8,
    /// None while it is unknown.
    access: SpinLock<Option<Arc<Acl>>>,
}

impl CachedAcl {
    /// There are none.
    pub(crate) const fn none() -> Self {
        Self { state: AtomicU8::new(0), access: SpinLock::new(rank::FILE_TABLES, None) }
    }

    /// The file system has to be asked.
    pub(crate) fn set_unknown(&self, change_mode: impl FnOnce()) {
        let _access = self.access.lock();
        self.state.store(UNKNOWN | DEFAULT, Relaxed);
        change_mode();
    }

    /// What `look` finds, and the list that decides, or that there is none; None when the file system has to be asked.
    pub(crate) fn known<R>(&self, look: impl FnOnce() -> R) -> (R, Option<Option<Arc<Acl>>>) {
        let access = self.access.lock();
        let is_known = self.state.load(Relaxed) & UNKNOWN == 0;
        (look(), is_known.then(|| access.clone()))
    }

    /// Sets the list that decides, and changes the mode with it.
    pub(crate) fn set(&self, list: Option<Arc<Acl>>, change_mode: impl FnOnce()) {
        let mut access = self.access.lock();
        let others = self.state.load(Relaxed) & DEFAULT;
        self.state.store(others, Relaxed);
        change_mode();
        let old = core::mem::replace(&mut *access, list);
        drop(access);
        drop(old);
    }

    /// Takes what the file system answered, and changes the mode with it, unless somebody has set another list since it
    /// was asked.
    pub(crate) fn take_read(&self, list: Option<Arc<Acl>>, change_mode: impl FnOnce()) {
        let mut access = self.access.lock();
        let state = self.state.load(Relaxed);
        if state & UNKNOWN != 0 {
            self.state.store(state & !UNKNOWN, Relaxed);
            change_mode();
            *access = list;
        }
    }

    /// Runs `look` while nobody changes what is known.
    pub(crate) fn held<R>(&self, look: impl FnOnce() -> R) -> R {
        let _access = self.access.lock();
        look()
    }

    /// Whether there may be a list for what is made in the directory.
    #[inline]
    pub(crate) fn may_have_default(&self) -> bool {
        self.state.load(Relaxed) & DEFAULT != 0
    }

    /// Says whether there is one. Under the inode's lock.
    pub(crate) fn set_has_default(&self, has_default: bool) {
        let _access = self.access.lock();
        let others = self.state.load(Relaxed) & !DEFAULT;
        self.state.store(others | if has_default { DEFAULT } else { 0 }, Relaxed);
    }
}
