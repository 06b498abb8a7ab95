//! The seam to the hardware's page tables: one [`PageTable`] is the lower half of one address space.
//!
//! The address space calls it with its own mutex held, so an implementation needs no lock against
//! other callers, only against the hardware. Addresses are page aligned and below [`crate::USER_END`].
//! An entry owns the reference of the frame it maps.

use abi::Errno;
use bitflags::bitflags;

use crate::frame::{Frame, FrameNumber};
use crate::range::PageRange;

bitflags! {
    /// What a program may do with a page.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Rights: u8 {
        /// Loads.
        const READ = 1;
        /// Stores.
        const WRITE = 2;
        /// Instruction fetch.
        const EXECUTE = 4;
    }
}

/// Who owns the contents of a mapped frame. Stored in two of the entry's software bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PageKind {
    /// The shared zero page; never writable.
    Zero = 0,
    /// A page of a private mapping's own (anonymous, or the copy of a file page).
    Anonymous = 1,
    /// A page of a file's cache.
    File = 2,
    /// A page of shared anonymous memory.
    Shared = 3,
}

/// One present entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageEntry {
    /// The mapped frame. The entry holds a reference to it.
    pub frame: FrameNumber,
    /// The rights as the hardware enforces them.
    pub rights: Rights,
    /// Who owns the contents.
    pub kind: PageKind,
    /// Used since the bit was last cleared.
    pub accessed: bool,
    /// Written since the bit was last cleared.
    pub dirty: bool,
}

/// How many pages of each kind an operation removed (the zero page is counted nowhere).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCounts {
    /// Pages of kind [`PageKind::Anonymous`].
    pub anonymous: usize,
    /// Pages of kind [`PageKind::File`].
    pub file: usize,
    /// Pages of kind [`PageKind::Shared`].
    pub shared: usize,
}

impl PageCounts {
    /// Counts one page.
    pub fn add(&mut self, kind: PageKind) {
        match kind {
            PageKind::Zero => {}
            PageKind::Anonymous => self.anonymous += 1,
            PageKind::File => self.file += 1,
            PageKind::Shared => self.shared += 1,
        }
    }
}

/// The lower half of one address space.
///
/// Rights are either none or include READ, as x86 has it. An entry with no rights is present for
/// this trait, with its frame, and absent for the hardware.
pub trait PageTable: Send {
    /// The value that makes these tables current (the physical address of the root).
    fn root(&self) -> u64;

    /// Enters `frame` at `address`, which must have no entry, and takes over its reference.
    /// ENOMEM, and the frame released, when a table page cannot be allocated.
    fn map(&mut self, address: usize, frame: Frame, rights: Rights, kind: PageKind) -> Result<(), Errno>;

    /// Replaces the frame of a present entry in one step and flushes the page before the old
    /// frame's reference is dropped. The accessed and dirty bits start clear.
    fn replace(&mut self, address: usize, frame: Frame, rights: Rights, kind: PageKind);

    /// Removes one entry, flushes it, and returns its frame.
    fn unmap(&mut self, address: usize) -> Option<Frame>;

    /// Gives one present entry exactly `rights`; flushes when that takes a right away. No entry: no effect.
    fn protect(&mut self, address: usize, rights: Rights);

    /// Looks one page up.
    fn lookup(&self, address: usize) -> Option<PageEntry>;

    /// The first present entry in `range`, skipping missing table pages as a whole.
    fn next_present(&self, range: PageRange) -> Option<(usize, PageEntry)>;

    /// Removes every entry of `range`. The order is: clear, flush on every CPU that runs these
    /// tables (one batch), then drop the frames and the table pages left empty.
    fn unmap_range(&mut self, range: PageRange) -> PageCounts;

    /// Removes the entries of kind [`PageKind::File`] in `range` that `is_wanted` names and that were not used since the
    /// last call for them; with `takes_used`, the others too, which lose the mark of having been used otherwise. The order
    /// is that of [`Self::unmap_range`].
    fn take_unused(&mut self, range: PageRange, takes_used: bool, is_wanted: &dyn Fn(usize) -> bool) -> PageCounts;

    /// Gives every present entry of `range` the rights `rights`, then flushes once. WRITE is
    /// granted only to entries of kind [`PageKind::Anonymous`] whose frame has one reference;
    /// every other entry gets the rest of `rights` and the fault path decides on the first store.
    fn protect_range(&mut self, range: PageRange, rights: Rights);

    /// Moves the entries of `from` to the same offsets from `to` (no overlap, no entries at the
    /// destination), and flushes the old place. On ENOMEM nothing has moved.
    fn move_range(&mut self, from: PageRange, to: usize) -> Result<(), Errno>;
}
