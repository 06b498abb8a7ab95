//! [`SharedFs`]: root, working directory and umask of threads that share them.
//!
//! A call takes them as they are when it begins, by a counted reference under RCU: one that walks twice sees the same both
//! times. A change makes them anew.

use alloc::sync::Arc;

use sync::rcu::{RcuCell, ReadGuard};
use sync::{Mutex, rank};
use vfs::{FsContext, PathRef};

/// The file system context of one thread or several.
pub(crate) struct SharedFs {
    current: RcuCell<FsContext>,
    /// Held by who changes them.
    changes: Mutex<()>,
}

impl SharedFs {
    /// Threads with this context.
    pub(crate) fn new(context: Arc<FsContext>) -> Arc<Self> {
        Arc::new(Self { current: RcuCell::new(context), changes: Mutex::new(rank::FS_CONTEXT, ()) })
    }

    /// The context as it is now.
    #[inline]
    pub(crate) fn get(&self) -> Arc<FsContext> {
        self.current.load()
    }

    /// The context, for the length of a read section.
    #[inline]
    pub(crate) fn look<'a>(&'a self, section: &'a ReadGuard) -> &'a FsContext {
        self.current.get(section)
    }

    /// Leaves for the root of the mounts, which is answered: whoever had this has ended.
    pub(crate) fn leave(&self) -> PathRef {
        let _changes = self.changes.lock();
        let context = FsContext::new(Arc::clone(&self.get().namespace));
        let root = context.root.clone();
        self.current.replace(Arc::new(context));
        root
    }

    /// Changes the context; nothing changes when that fails.
    pub(crate) fn change<R, E>(&self, change: impl FnOnce(&mut FsContext) -> Result<R, E>) -> Result<R, E> {
        let _changes = self.changes.lock();
        let mut context = (*self.get()).clone();
        let result = change(&mut context)?;
        self.current.replace(Arc::new(context));
        Ok(result)
    }
}
