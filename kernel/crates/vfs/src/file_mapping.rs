//! [`FileMapping`]: a file that was found by name, as mappings of it see it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use abi::{Errno, FallocateFlags};
use file::OpenFile;
use mm::Frame;
use mm::object::{CodeSite, MappedObject, Mappings};

use crate::page_cache::ErrorMark;
use crate::vnode_file::{error_mark, sync_contents};
use crate::{PathRef, VnodeFile, path_name};

/// A file as mappings see it.
pub(crate) struct FileMapping {
    path: PathRef,
    /// As on Linux what was opened lasts as long as a mapping of it, with its locks and its lease, and counts as one
    /// user of the file with it.
    open: Arc<OpenFile>,
    /// It counts as a mapping that may store, for the file's seals.
    may_store: bool,
    errors: ErrorMark,
}

impl FileMapping {
    /// A mapping of `file`, which `open` has open.
    pub(crate) fn new(file: &VnodeFile, open: &Arc<OpenFile>, may_store: bool) -> Self {
        let path = file.path().clone();
        let errors = error_mark(&path);
        Self { path, open: Arc::clone(open), may_store, errors }
    }
}

/// Where what is mapped was found, if that was by name.
pub fn mapped_place(object: &dyn MappedObject) -> Option<PathRef> {
    (object as &dyn Any).downcast_ref::<FileMapping>().map(|mapping| mapping.path.clone())
}

/// What is mapped, as it was opened for that, if it was found by name.
pub fn mapped_open(object: &dyn MappedObject) -> Option<Arc<OpenFile>> {
    (object as &dyn Any).downcast_ref::<FileMapping>().map(|mapping| Arc::clone(&mapping.open))
}

impl Drop for FileMapping {
    fn drop(&mut self) {
        if let Some(seals) = self.path.inode().seals().filter(|_| self.may_store) {
            seals.end_mapping();
        }
        self.path.inode().unmapped();
    }
}

impl MappedObject for FileMapping {
    fn page(&self, index: u64) -> Result<Frame, Errno> {
        self.path.inode().page(index)
    }

    fn page_at_hand(&self, index: u64) -> Option<Frame> {
        self.path.inode().page_at_hand(index)
    }

    fn page_for_write(&self, index: u64) -> Result<Frame, Errno> {
        self.path.inode().page_for_write(index)
    }

    fn code_sites(&self, index: u64) -> Option<Vec<CodeSite>> {
        let inode = self.path.inode();
        inode.code_sites(index).or_else(|| crate::fs::root::known_sites(inode.metadata(), index))
    }

    fn is_resident(&self, index: u64) -> bool {
        self.path.inode().is_resident(index)
    }

    fn synchronize(&self, _first: u64, _end: u64) -> Result<(), Errno> {
        sync_contents(&**self.path.inode(), true, &self.errors)
    }

    fn remove_pages(&self, first: u64, end: u64) -> Result<(), Errno> {
        let page = mm::PAGE_SIZE as u64;
        let offset = first.checked_mul(page).ok_or(Errno::EINVAL)?;
        let len = end.saturating_sub(first).checked_mul(page).ok_or(Errno::EINVAL)?;
        let inode = self.path.inode();
        let _lock = inode.metadata().lock();
        inode.prepare_change()?;
        inode.allocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len)
    }

    fn mappings(&self) -> Option<&Mappings> {
        self.path.inode().mappings()
    }

    fn is_shared_memory(&self) -> bool {
        self.path.inode().is_memory()
    }

    fn name(&self) -> Vec<u8> {
        path_name(None, &self.path)
    }

    fn device_and_inode(&self) -> (u64, u64) {
        let metadata = self.path.inode().metadata();
        (metadata.device(), metadata.number())
    }
}
