//! [`AddressSpace`]: the lower half of one process. mmap and its family, and page faults.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use bitflags::bitflags;

use crate::object::{CodeSite, MappedObject};
use crate::page_table::{PageTable, Rights};
use crate::range::PageRange;

/// Where things go in an address space; the random part is chosen by the caller.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Mappings without an address are placed downwards from here.
    pub mmap_base: usize,
}

/// Resource limits, in bytes. `u64::MAX` is none.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// RLIMIT_AS.
    pub address_space: u64,
    /// RLIMIT_DATA.
    pub data: u64,
    /// RLIMIT_STACK.
    pub stack: u64,
    /// RLIMIT_MEMLOCK.
    pub locked: u64,
    /// CAP_IPC_LOCK: the lock limit does not bind.
    pub may_lock_any: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            address_space: u64::MAX,
            data: u64::MAX,
            stack: 8 << 20,
            locked: 8 << 20,
            may_lock_any: true,
        }
    }
}

/// How changes of a mapping travel (the MAP_TYPE bits of mmap).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// MAP_PRIVATE: changes stay in this address space.
    Private,
    /// MAP_SHARED and MAP_SHARED_VALIDATE: changes are changes of the object.
    Shared,
}

bitflags! {
    /// The flags of mmap that change what it does.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct MapOptions: u32 {
        /// MAP_FIXED: exactly there, replacing what is there.
        const FIXED = 1;
        /// MAP_FIXED_NOREPLACE: exactly there, or EEXIST.
        const FIXED_NOREPLACE = 1 << 1;
        /// MAP_GROWSDOWN: a stack.
        const GROWS_DOWN = 1 << 2;
        /// MAP_NORESERVE: not counted against memory.
        const NORESERVE = 1 << 3;
        /// MAP_POPULATE: page everything in.
        const POPULATE = 1 << 4;
        /// MAP_NONBLOCK: makes POPULATE a no-op, as on Linux.
        const NONBLOCK = 1 << 5;
        /// MAP_LOCKED: as mlock.
        const LOCKED = 1 << 6;
    }
}

/// What a mapping shows.
#[derive(Clone)]
pub enum Backing {
    /// Zeroes.
    Anonymous,
    /// A file.
    File {
        /// Its pages.
        object: Arc<dyn MappedObject>,
        /// Byte offset of the first page in the file; page aligned.
        offset: u64,
        /// What the descriptor (READ, WRITE) and the mount (EXECUTE) allow.
        access: Rights,
    },
}

/// The arguments of mmap.
#[derive(Clone)]
pub struct MapRequest {
    /// The wanted address, or a hint.
    pub address: usize,
    /// Length in bytes.
    pub length: usize,
    /// PROT_READ, PROT_WRITE, PROT_EXEC.
    pub rights: Rights,
    /// MAP_PRIVATE or MAP_SHARED.
    pub sharing: Sharing,
    /// The other flags.
    pub options: MapOptions,
    /// What is mapped.
    pub backing: Backing,
}

bitflags! {
    /// The flags of mremap.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RemapOptions: u32 {
        /// MREMAP_MAYMOVE.
        const MAY_MOVE = 1;
        /// MREMAP_FIXED.
        const FIXED = 2;
        /// MREMAP_DONTUNMAP.
        const DONT_UNMAP = 4;
    }
}

/// The advice of madvise; unknown numbers are refused by [`Advice::from_raw`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice(pub u32);

/// What an access wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

/// Why an access cannot be made to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// Nothing is mapped there: SIGSEGV, SEGV_MAPERR.
    Unmapped,
    /// The mapping does not allow it: SIGSEGV, SEGV_ACCERR.
    Rights,
    /// Beyond the end of the file, or it cannot be read: SIGBUS, BUS_ADRERR.
    BeyondEnd,
    /// No memory is left.
    OutOfMemory,
}

/// One area, for `/proc/self/maps` and core dumps.
#[derive(Clone, Debug)]
pub struct AreaSnapshot {
    /// Its addresses.
    pub range: PageRange,
    /// What the program may do.
    pub rights: Rights,
    /// MAP_SHARED.
    pub is_shared: bool,
    /// Byte offset in the file.
    pub offset: u64,
    /// Device number of the file, or 0.
    pub device: u64,
    /// Inode number of the file, or 0.
    pub inode: u64,
    /// The path of the file, `[heap]`, `[stack]`, or empty.
    pub name: Vec<u8>,
}

/// Sizes in pages, for `/proc/self/status`, `statm` and getrusage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All mapped (VmSize).
    pub mapped: usize,
    /// The most ever mapped (VmPeak).
    pub mapped_max: usize,
    /// Locked (VmLck).
    pub locked: usize,
    /// Private writable, not stack (VmData).
    pub data: usize,
    /// Stacks (VmStk).
    pub stack: usize,
    /// Executable and not writable (VmExe and VmLib).
    pub executable: usize,
    /// Resident pages of private mappings' own (RssAnon).
    pub resident_anonymous: usize,
    /// Resident pages of files (RssFile).
    pub resident_file: usize,
    /// Resident pages of shared memory (RssShmem).
    pub resident_shared: usize,
    /// The most ever resident (VmHWM).
    pub resident_max: usize,
}

/// The lower half of one process.
pub struct AddressSpace {
    page_table: sync::Mutex<Box<dyn PageTable>>,
}

#[expect(unused_variables, reason = "bodies are being written")]
impl AddressSpace {
    /// An empty address space.
    #[must_use]
    pub fn new(page_table: Box<dyn PageTable>, layout: Layout) -> Arc<Self> {
        todo!()
    }

    /// [`PageTable::root`], without a lock (for context switches).
    #[must_use]
    pub fn root(&self) -> u64 {
        todo!()
    }

    /// Sets the resource limits.
    pub fn set_limits(&self, limits: Limits) {
        todo!()
    }

    /// mmap. Returns the address.
    pub fn map(&self, request: MapRequest) -> Result<usize, Errno> {
        todo!()
    }

    /// munmap.
    pub fn unmap(&self, address: usize, length: usize) -> Result<(), Errno> {
        todo!()
    }

    /// mprotect.
    pub fn protect(&self, address: usize, length: usize, rights: Rights) -> Result<(), Errno> {
        todo!()
    }

    /// mremap. Returns the new address.
    pub fn remap(
        &self,
        old_address: usize,
        old_length: usize,
        new_length: usize,
        options: RemapOptions,
        new_address: usize,
    ) -> Result<usize, Errno> {
        todo!()
    }

    /// madvise.
    pub fn advise(&self, address: usize, length: usize, advice: i32) -> Result<(), Errno> {
        todo!()
    }

    /// brk: the new break, or the old one when `new_break` cannot be had.
    pub fn brk(&self, new_break: usize) -> usize {
        todo!()
    }

    /// Sets where the heap begins (exec).
    pub fn set_brk_base(&self, base: usize) {
        todo!()
    }

    /// Sets the address whose area is shown as `[stack]` (exec).
    pub fn set_stack_start(&self, address: usize) {
        todo!()
    }

    /// Makes one access at `address` work, or says why it cannot.
    pub fn fault(&self, address: usize, access: Access) -> Result<(), FaultError> {
        todo!()
    }

    /// Pages a range in as far as possible (MAP_POPULATE).
    pub fn populate(&self, range: PageRange) {
        todo!()
    }

    /// mincore: one byte for each page.
    pub fn residency(&self, address: usize, length: usize) -> Result<Vec<u8>, Errno> {
        todo!()
    }

    /// msync.
    pub fn synchronize(&self, address: usize, length: usize, flags: i32) -> Result<(), Errno> {
        todo!()
    }

    /// mlock, and mlock2 with `on_fault`.
    pub fn lock(&self, address: usize, length: usize, on_fault: bool) -> Result<(), Errno> {
        todo!()
    }

    /// munlock.
    pub fn unlock(&self, address: usize, length: usize) -> Result<(), Errno> {
        todo!()
    }

    /// mlockall.
    pub fn lock_all(&self, flags: i32) -> Result<(), Errno> {
        todo!()
    }

    /// munlockall.
    pub fn unlock_all(&self) {
        todo!()
    }

    /// The areas in address order.
    #[must_use]
    pub fn areas(&self) -> Vec<AreaSnapshot> {
        todo!()
    }

    /// Sizes.
    #[must_use]
    pub fn usage(&self) -> Usage {
        todo!()
    }

    /// The code site at `address`, when it lies in a private executable file mapping.
    #[must_use]
    pub fn code_site_at(&self, address: usize) -> Option<CodeSite> {
        todo!()
    }

    /// Removes everything (exec, exit).
    pub fn clear(&self) {
        todo!()
    }
}
