//! What a file mapping maps: [`MappedObject`], implemented by the page caches of files.
//!
//! The address space calls the methods that may sleep with no lock held: a page fault drops its
//! mutex, fetches the page, and afterwards checks that the area is still the same. So an object may
//! take its own locks, and may call [`Mappings::truncate`] while it holds those.
//!
//! [`Mappings`] is the way back, from an object to the address spaces that map it, for a
//! truncation, or a shortage of memory, to take pages away from programs.

pub(crate) mod leaving;
mod mappings;
mod page_set;
mod shared_memory;

use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::Errno;

use crate::frame::Frame;
use crate::rewrite::CallPatch;

pub use leaving::settle;
pub use mappings::Mappings;
pub use page_set::PageSet;
pub(crate) use shared_memory::SharedMemory;

/// A place in a file's page that is changed when the page is mapped for execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeSite {
    /// Where it begins in its page.
    pub offset_in_page: u16,
    /// The byte that stands there in the file.
    pub original: u8,
    /// How a `syscall` is rewritten there. None: an instruction that must not run in ring 0; its first byte is replaced.
    pub call: Option<CallPatch>,
}

/// The pages of a file, as mappings see them.
pub trait MappedObject: Any + Send + Sync {
    /// The page `index` of the file, as its cache holds it; changes to it are changes to the file.
    /// EFAULT beyond the end of the file (the program gets SIGBUS), ENOMEM when memory ran out,
    /// anything else when reading failed (SIGBUS as well). May sleep.
    fn page(&self, index: u64) -> Result<Frame, Errno>;

    /// As [`Self::page`], if nothing has to be read from a disk or a server for it. Most objects never read.
    fn page_at_hand(&self, index: u64) -> Option<Frame> {
        self.page(index).ok()
    }

    /// As [`Self::page`], before the first store through a shared mapping: the file system
    /// allocates blocks, marks the page dirty, updates times. May sleep.
    fn page_for_write(&self, index: u64) -> Result<Frame, Errno> {
        self.page(index)
    }

    /// Sites of page `index` to change before it is executed. None or empty: nothing to
    /// do. Called with the address space locked: takes no lock that comes before it.
    fn code_sites(&self, index: u64) -> Option<Vec<CodeSite>> {
        let _ = index;
        None
    }

    /// Whether the page is in memory now (mincore). Called with the address space locked: does no
    /// I/O and takes no lock that comes before it.
    fn is_resident(&self, index: u64) -> bool {
        let _ = index;
        true
    }

    /// Writes the pages `first..end` back to stable storage (msync with MS_SYNC). May sleep.
    fn synchronize(&self, first: u64, end: u64) -> Result<(), Errno> {
        let _ = (first, end);
        Ok(())
    }

    /// Punches a hole over the pages `first..end` (MADV_REMOVE). May sleep.
    fn remove_pages(&self, first: u64, end: u64) -> Result<(), Errno> {
        let _ = (first, end);
        Err(Errno::EOPNOTSUPP)
    }

    /// Where the address spaces that map the object are noted. An object that can lose pages
    /// (truncation, holes) embeds a [`Mappings`] and returns it.
    fn mappings(&self) -> Option<&Mappings> {
        None
    }

    /// True for memory without a file behind it (shared anonymous memory, tmpfs): its pages count as
    /// shared memory, and stores to them need no notice by [`Self::page_for_write`] once mapped.
    fn is_shared_memory(&self) -> bool {
        false
    }

    /// The path shown in `/proc/self/maps`.
    fn name(&self) -> Vec<u8>;

    /// Device and inode number shown in `/proc/self/maps`.
    fn device_and_inode(&self) -> (u64, u64);

    /// What tells the object from every other one there is or was, however it was opened. Called with the address space
    /// locked: takes no lock. An object that is no file of its own overrides this, with [`new_identity`].
    fn identity(&self) -> (u64, u64) {
        self.device_and_inode()
    }
}

/// An identity that no object has, and no file.
pub fn new_identity() -> (u64, u64) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    (u64::MAX, LAST.fetch_add(1, Ordering::Relaxed))
}
