//! [`AddressSpace`]: the lower half of one process. mmap and its family, and page faults.
//!
//! # How it works
//!
//! 1. Two layers. The map of areas says what belongs where; the page table holds what is there
//!    now. Pages appear on the first access (`fault.rs`) and go with their area, at once.
//! 2. Ownership. A page table entry owns a reference to its frame and knows its [`PageKind`]. An
//!    entry is writable only when a store may go straight to the frame: an anonymous frame with no
//!    other reference, or a page of a shared object that was told ([`MappedObject::page_for_write`]).
//!    Any other store faults, and the fault copies, unless the frame turns out to be exclusive.
//! 3. Copy on write needs nothing else: the zero page and pages of files are never writable in private
//!    areas, and fork ([`AddressSpace::fork`]) makes anonymous frames have two references, so both sides
//!    copy on the next store and the last one to do so keeps the frame.
//! 4. Objects are asked for pages with no lock held, since that may sleep. The fault
//!    then looks again whether area, page and object still belong together (`fault.rs`).
//! 5. Code sites. Pages of private executable file mappings that hold instructions not fit for ring 0
//!    are mapped as copies with those instructions replaced (`code.rs`), and `syscall`s that can be rewritten are
//!    (`rewrite.rs`).
//!
//! # Locks
//!
//! One sleeping mutex, rank [`sync::rank::ADDRESS_SPACE`], around all state. Under it: the
//! page table, frames, [`Mappings`], and the two calls of [`MappedObject`] that are marked so. References to
//! objects and frames of files that an operation drops are dropped after the mutex.
//!
//! # What it does not do
//!
//! No swap, no huge pages yet, no NUMA. Overcommit is Linux's heuristic: only what can obviously
//! never work is refused; running out shows in a fault as [`FaultError::OutOfMemory`].
//!
//! [`PageKind`]: crate::page_table::PageKind
//! [`Mappings`]: crate::object::Mappings
//! [`MappedObject`]: crate::object::MappedObject
//! [`MappedObject::page_for_write`]: crate::object::MappedObject::page_for_write

mod advise;
mod ahead;
mod brk;
mod code;
mod fault;
mod fork;
mod lock;
mod map;
mod peek;
mod placement;
mod populate;
mod protect;
mod query;
mod remap;
mod request;
mod rewrite;
mod state;
mod synchronize;
mod unmap;
mod word;

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};

use sync::atomic::AtomicBool;
use sync::{Mutex, MutexGuard, rank};

use crate::area::Area;
use crate::page_table::PageTable;
use crate::rewrite::PublishedIndex;
use state::State;

pub use peek::PresentPage;
pub use request::{
    Access, AreaSnapshot, Backing, FaultError, FaultKind, Layout, Limits, MapOptions, MapRequest, Sharing, Usage,
};
pub use word::WordOwner;

/// The most areas of one address space (Linux's default `vm.max_map_count`).
pub const AREA_COUNT_MAX: usize = 65530;

/// The lower half of one process.
pub struct AddressSpace {
    state: Mutex<State>,
    /// Of the stubs in the state.
    stubs: PublishedIndex,
    /// [`PageTable::root`], which never changes.
    root: u64,
    /// Itself, for the notes of objects.
    this: Weak<Self>,
    /// A shared mapping that may be written is or was here. Set before the mapping is there, and never taken back.
    has_shared: AtomicBool,
}

impl AddressSpace {
    /// An empty address space on an empty page table.
    #[must_use]
    pub fn new(page_table: Box<dyn PageTable>, layout: Layout) -> Arc<Self> {
        let root = page_table.root();
        Self::with_state(State::new(page_table, layout), root)
    }

    fn with_state(state: State, root: u64) -> Arc<Self> {
        let has_shared = AtomicBool::new(state.areas.iter().any(Area::is_shared));
        let stubs = state.rewritten.index().clone();
        let state = Mutex::new(rank::ADDRESS_SPACE, state);
        Arc::new_cyclic(|this| Self { state, stubs, root, this: this.clone(), has_shared })
    }

    /// [`PageTable::root`], without a lock: for switching to this address space.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Sets the resource limits. What is mapped already stays.
    pub fn set_limits(&self, limits: Limits) {
        self.state().limits = limits;
    }

    /// Sets where the heap begins and, until the program moves it, ends (exec). Rounded up to a page.
    pub fn set_brk_base(&self, base: usize) {
        self.state().heap = brk::Heap::at(base);
    }

    /// Sets the address whose area is shown as `[stack]` (exec).
    pub fn set_stack_start(&self, address: usize) {
        self.state().stack_start = address;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
