//! What a file mapping maps: [`MappedObject`], implemented by the page caches of files.
//!
//! Every method may sleep. The address space calls them with no lock held but, at most, none: the
//! fault path drops its mutex first and checks afterwards that the area is still the same.

use alloc::vec::Vec;

use abi::Errno;

use crate::frame::Frame;

/// An instruction of a file's page that must not run in ring 0; its first byte is replaced when
/// the page is mapped for execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeSite {
    /// Where the instruction begins in its page.
    pub offset_in_page: u16,
    /// The byte that stands there in the file.
    pub original: u8,
}

/// The pages of a file, as mappings see them.
pub trait MappedObject: Send + Sync {
    /// The page `index` of the file, as its cache holds it; changes to it are changes to the file.
    /// EFAULT beyond the end of the file (the program gets SIGBUS), ENOMEM when memory ran out,
    /// anything else when reading failed (SIGBUS as well).
    fn page(&self, index: u64) -> Result<Frame, Errno>;

    /// As [`Self::page`], before the first store through a shared mapping: the file system
    /// allocates blocks, marks the page dirty, updates times.
    fn page_for_write(&self, index: u64) -> Result<Frame, Errno> {
        self.page(index)
    }

    /// Sites of page `index` to make harmless before it is executed. None or empty: nothing to do.
    fn code_sites(&self, index: u64) -> Option<Vec<CodeSite>> {
        let _ = index;
        None
    }

    /// Whether the page is in memory now (mincore). Never sleeps for I/O.
    fn is_resident(&self, index: u64) -> bool {
        let _ = index;
        true
    }

    /// Writes the pages `first..end` back to stable storage (msync with MS_SYNC).
    fn synchronize(&self, first: u64, end: u64) -> Result<(), Errno> {
        let _ = (first, end);
        Ok(())
    }

    /// Punches a hole over the bytes of the pages `first..end` (MADV_REMOVE).
    fn remove_pages(&self, first: u64, end: u64) -> Result<(), Errno> {
        let _ = (first, end);
        Err(Errno::EOPNOTSUPP)
    }

    /// True for shared anonymous memory: its pages count as shared memory and not as file pages.
    fn is_shared_memory(&self) -> bool {
        false
    }

    /// The path shown in `/proc/self/maps`.
    fn name(&self) -> Vec<u8>;

    /// Device and inode number shown in `/proc/self/maps`.
    fn device_and_inode(&self) -> (u64, u64);
}
