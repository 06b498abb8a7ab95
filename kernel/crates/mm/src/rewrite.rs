//! Rewritten call sites: `syscall` instructions of a program that became jumps.
//!
//! # 1. What is written where
//!
//! The image builder has found places where a `syscall` has room around it ([`CallPatch`]). When the page of such a place is mapped
//! as code, the covered instructions move into a *stub* beside the image and a `jmp rel32` takes their place ([`stub`]).
//! The stub runs them, sets rcx to the address after the `syscall`, as that would, and jumps to the kernel's second entry
//! through a word of the kernel. Nothing is pushed. What was analysed is checked byte by byte first.
//!
//! # 2. Why every jump into the middle is safe
//!
//! The builder has proven that the program does not jump to a covered instruction but the first. Here it need not be believed: at
//! every place where a covered instruction began there is now a byte that no instruction begins with, or a breakpoint. In the tail of the
//! site that is a filler. In the distance of the jump it is a choice of where the stub lies ([`place`]).
//! Who arrives there all the same, by a computed jump, by returning from a signal handler to the address it was given, or by
//! the analysis being wrong, traps and is put at the same instruction in the stub.
//!
//! # 3. What the program sees
//!
//! Its own text differs from the file at these places. `/proc/self/maps` shows the stubs as `[stubs]`. These areas are sealed, as by
//! `mseal`: to unmap, move or change them is refused with EPERM. An instruction pointer that the program is shown is never
//! in a stub: [`AddressSpace::original_address`] says where it is in its own code.
//!
//! # 4. What is left alone
//!
//! A place where the bytes are not those analysed, where no stub can lie, and everything when [`enable`] was not called.
//!
//! [`AddressSpace::original_address`]: crate::AddressSpace::original_address

mod index;
mod place;
mod stub;
mod table;

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

pub(crate) use index::PublishedIndex;
pub use stub::{CallPatch, OriginalAddress};
pub(crate) use stub::{STUB_LEN_MAX, Stub};
pub(crate) use table::{POOL_LENGTHS, Table, has_place};

/// The low halves of the addresses of the words through which stubs enter the kernel; zero: nothing is rewritten.
static ENTRIES: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

/// All stubs lie between these.
static STUBS_START: AtomicUsize = AtomicUsize::new(usize::MAX);
static STUBS_END: AtomicUsize = AtomicUsize::new(0);

static WRITTEN: AtomicU64 = AtomicU64::new(0);
static LEFT: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Why a site was left as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Its bytes are not those that were analysed.
    Changed,
    /// There is no place for a stub of it.
    NoPlace,
    /// There is no memory for a stub.
    NoMemory,
}

/// How often sites were rewritten, and were not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Sites written, again when their page was mapped again.
    pub written: u64,
    /// Sites whose bytes were not those analysed.
    pub changed: u64,
    /// Sites for which no stub had a place.
    pub no_place: u64,
    /// Sites without memory for a stub.
    pub no_memory: u64,
}

/// Has sites rewritten from now on. `entries` are addresses of words that hold those of the kernel's second entry, for sites
/// after which nothing reads flags and r11, and for all others; they lie in the upper two gigabytes, so that the low half says all.
pub fn enable(entries: [u32; 2]) {
    for (place, entry) in ENTRIES.iter().zip(entries) {
        place.store(entry, Relaxed);
    }
}

/// Where a stub finds its entry; none when nothing is rewritten.
pub(crate) fn entry(is_full: bool) -> Option<u32> {
    let [plain, full] = &ENTRIES;
    let entry = if is_full { full } else { plain }.load(Relaxed);
    (entry != 0).then_some(entry)
}

/// Whether `address` may lie in a stub: false for nearly all addresses that do not. Takes no lock.
#[inline]
#[must_use]
pub fn may_be_stub(address: usize) -> bool {
    STUBS_START.load(Relaxed) <= address && address < STUBS_END.load(Relaxed)
}

/// Notes that there will be stubs in this range.
pub(crate) fn note_stubs(start: usize, end: usize) {
    STUBS_START.fetch_min(start, Relaxed);
    STUBS_END.fetch_max(end, Relaxed);
}

/// Counts a site.
pub(crate) fn count(outcome: Result<(), Left>) {
    let counter = match outcome {
        Ok(()) => &WRITTEN,
        Err(left) => &LEFT[left as usize],
    };
    counter.fetch_add(1, Relaxed);
}

/// The counters.
#[must_use]
pub fn statistics() -> Statistics {
    let left = |left: Left| LEFT[left as usize].load(Relaxed);
    Statistics {
        written: WRITTEN.load(Relaxed),
        changed: left(Left::Changed),
        no_place: left(Left::NoPlace),
        no_memory: left(Left::NoMemory),
    }
}
