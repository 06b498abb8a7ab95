//! [`CachedAcl`]: what is known of the access control lists of an inode.
//!
//! One byte says whether there is anything to be looked at, so that an inode without lists costs a load. An inode that
//! was read from a disk and has extended attributes may have lists: that is unknown until somebody is checked for whom
//! it counts.
//!
//! Lock rank: `FILE_TABLES`, for the pointer.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use sync::{SpinLock, rank};

use super::Acl;

/// The file system has to be asked for the list that decides.
const UNKNOWN: u8 = 1;
/// There is a list that decides.
const ACCESS: u8 = 2;
/// There is, or may be, one for what is made in the directory.
const DEFAULT: u8 = 4;

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
    pub(crate) fn set_unknown(&self) {
        self.state.store(UNKNOWN | DEFAULT, Relaxed);
    }

    /// Whether there is, or may be, a list that decides.
    #[inline(always)]
    pub(crate) fn may_decide(&self) -> bool {
        self.state.load(Relaxed) & (UNKNOWN | ACCESS) != 0
    }

    /// The list that decides, or that there is none; None when the file system has to be asked.
    pub(crate) fn known(&self) -> Option<Option<Arc<Acl>>> {
        let access = self.access.lock();
        if self.state.load(Relaxed) & UNKNOWN != 0 { None } else { Some(access.clone()) }
    }

    /// Sets the list that decides.
    pub(crate) fn set(&self, list: Option<Arc<Acl>>) {
        let mut access = self.access.lock();
        let bit = if list.is_some() { ACCESS } else { 0 };
        let others = self.state.load(Relaxed) & DEFAULT;
        self.state.store(others | bit, Relaxed);
        let old = core::mem::replace(&mut *access, list);
        drop(access);
        drop(old);
    }

    /// Takes what the file system answered, unless somebody has set another list since it was asked. What it is then.
    pub(crate) fn take_read(&self, list: Option<Arc<Acl>>) -> Option<Arc<Acl>> {
        let mut access = self.access.lock();
        let state = self.state.load(Relaxed);
        if state & UNKNOWN != 0 {
            self.state.store(state & !UNKNOWN | if list.is_some() { ACCESS } else { 0 }, Relaxed);
            access.clone_from(&list);
        }
        access.clone()
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
