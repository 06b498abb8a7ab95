//! The seam to the machine: functions resolved at link time.
//!
//! The kernel defines the `nacre_*` symbols in `kernel/src/platform`, the host tests in `tests/testkit`, each with
//! `#[unsafe(no_mangle)]` and exactly the signature below. The crates of the kernel call the safe functions here.
//!
//! # Waiting and waking
//!
//! [`wait_for_wake`] puts the current thread to sleep while `*state == `[`PARKED`]; [`wake_waiter`] makes a thread look
//! at its state again. The caller has set the state to [`PARKED`], and a waker changes it before it calls
//! [`wake_waiter`]. No wake may be lost between the look and the sleep: the machine makes the thread wakeable (or
//! disables interrupts, on one CPU) before it looks. Spurious returns are allowed.
//!
//! A [`ThreadHandle`] may be stale by the time it is woken, because the thread can see its new state by itself, return
//! and end. The machine therefore makes handles that are harmless when stale (slots with generations, or thread records
//! that are never freed).
//!
//! # User memory
//!
//! Addresses are those of the program, already known to lie in the user half. The copies return how many bytes they
//! moved; less than asked means that the next byte cannot be accessed. They page memory in, and so may sleep; the
//! `_nofault` forms never do, and are for use under locks that a page fault may need. The slices are kernel memory.

use core::panic::Location;

use crate::atomic::AtomicU32;
use crate::held::HeldRanks;

/// The value of a thread's state word while the thread waits in [`wait_for_wake`].
pub const PARKED: u32 = 2;

/// A deadline that never comes.
pub const NEVER: u64 = u64::MAX;

/// Names a thread to the machine. Waking a thread that has ended does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct ThreadHandle(pub u64);

// SAFETY: the definitions, in kernel/src/platform and tests/testkit, have these signatures and are safe to call with
// any arguments of these types: they check what they must and uphold the module documentation.
unsafe extern "Rust" {
    safe fn nacre_now_ns() -> u64;
    safe fn nacre_realtime_ns() -> u64;
    safe fn nacre_current_thread() -> ThreadHandle;
    safe fn nacre_wait_for_wake(state: &AtomicU32, deadline_ns: u64);
    safe fn nacre_wake_waiter(thread: ThreadHandle);
    safe fn nacre_release_waiter(thread: ThreadHandle);
    safe fn nacre_interrupts_disable_save() -> bool;
    safe fn nacre_interrupts_restore(were_enabled: bool);
    safe fn nacre_preemption_disable();
    safe fn nacre_preemption_enable();
    safe fn nacre_current_cpu() -> u32;
    safe fn nacre_held_ranks() -> &'static HeldRanks;
    safe fn nacre_copy_from_user(destination: &mut [u8], source: usize) -> usize;
    safe fn nacre_copy_to_user(destination: usize, source: &[u8]) -> usize;
    safe fn nacre_copy_from_user_nofault(destination: &mut [u8], source: usize) -> usize;
    safe fn nacre_copy_to_user_nofault(destination: usize, source: &[u8]) -> usize;
    safe fn nacre_read_user_u64(address: usize) -> Option<u64>;
    safe fn nacre_read_user_u32(address: usize) -> Option<u32>;
    safe fn nacre_write_user_u64(address: usize, value: u64) -> bool;
    safe fn nacre_write_user_u32(address: usize, value: u32) -> bool;
    safe fn nacre_copy_string_from_user(destination: &mut [u8], source: usize) -> Option<usize>;
    safe fn nacre_page_in_user(address: usize, is_store: bool) -> bool;
    safe fn nacre_load_user_u32(address: usize) -> Option<u32>;
    safe fn nacre_compare_exchange_user_u32(address: usize, old: u32, new: u32) -> Option<Result<u32, u32>>;
    safe fn nacre_fill_entropy(destination: &mut [u8]);
    safe fn nacre_crc32c(sum: u32, bytes: &[u8]) -> Option<u32>;
}

/// Nanoseconds since boot; never goes back.
#[inline]
pub fn now_ns() -> u64 {
    nacre_now_ns()
}

/// Nanoseconds since 1970-01-01 UTC; may be set.
#[inline]
pub fn realtime_ns() -> u64 {
    nacre_realtime_ns()
}

/// The calling thread.
#[inline]
pub fn current_thread() -> ThreadHandle {
    nacre_current_thread()
}

/// Sleeps while `*state == PARKED`, at most until `deadline_ns` ([`NEVER`] for no limit). May return early.
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub fn wait_for_wake(state: &AtomicU32, deadline_ns: u64) {
    assert_may_sleep();
    nacre_wait_for_wake(state, deadline_ns);
}

/// Makes `thread`, if it is in [`wait_for_wake`], look at its state. Callable from interrupts and under any lock that
/// stands before [`crate::rank::RUN_QUEUE`].
#[inline]
pub fn wake_waiter(thread: ThreadHandle) {
    nacre_wake_waiter(thread);
}

/// As [`wake_waiter`], for a caller that goes on with something else, as one does who lets go of a lock: a thread that has just got the
/// CPU keeps it for a moment.
#[inline]
pub fn release_waiter(thread: ThreadHandle) {
    nacre_release_waiter(thread);
}

/// Disables interrupts on this CPU and says whether they were enabled.
#[inline]
pub fn interrupts_disable_save() -> bool {
    nacre_interrupts_disable_save()
}

/// Undoes [`interrupts_disable_save`], given its answer.
#[inline]
pub fn interrupts_restore(were_enabled: bool) {
    nacre_interrupts_restore(were_enabled);
}

/// Keeps the calling thread on its CPU, with no other thread before it there, until [`preemption_enable`]. Calls nest.
#[inline]
pub fn preemption_disable() {
    nacre_preemption_disable();
}

/// Undoes one [`preemption_disable`]. The outermost runs another thread if one became due meanwhile.
#[inline]
pub fn preemption_enable() {
    nacre_preemption_enable();
}

/// The number of the CPU that runs this; it stays true while preemption or interrupts are disabled.
#[inline]
pub fn current_cpu() -> u32 {
    nacre_current_cpu()
}

/// Tells the CPU, or loom, that this is one turn of a busy loop.
#[inline]
pub fn spin_hint() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::hint::spin_loop();
}

/// Copies from user memory, paging it in. Returns the bytes copied; fewer than `destination.len()` means a fault.
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub fn copy_from_user(destination: &mut [u8], source: usize) -> usize {
    assert_may_access_user_memory();
    nacre_copy_from_user(destination, source)
}

/// Copies to user memory, paging it in. Returns the bytes copied; fewer than `source.len()` means a fault.
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub fn copy_to_user(destination: usize, source: &[u8]) -> usize {
    assert_may_access_user_memory();
    nacre_copy_to_user(destination, source)
}

/// As [`copy_from_user`], but stops at memory that is not present. For use under locks.
#[inline]
pub fn copy_from_user_nofault(destination: &mut [u8], source: usize) -> usize {
    nacre_copy_from_user_nofault(destination, source)
}

/// As [`copy_to_user`], but stops at memory that is not present or not writable. For use under locks.
#[inline]
pub fn copy_to_user_nofault(destination: usize, source: &[u8]) -> usize {
    nacre_copy_to_user_nofault(destination, source)
}

/// Copies a string from user memory, paging it in, and answers its length; all of `destination`, a multiple of eight bytes, if
/// there is no NUL in the first so many. None: memory ends before the string does. What lies behind the NUL is of no meaning.
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub fn copy_string_from_user(destination: &mut [u8], source: usize) -> Option<usize> {
    assert_may_access_user_memory();
    debug_assert!(destination.len().is_multiple_of(WORD_LEN), "strings are copied by words");
    nacre_copy_string_from_user(destination, source)
}

/// Structures up to this size are copied word by word: a copy with a loop costs more than it moves.
const WORDWISE_LEN_MAX: usize = 32;
const WORD_LEN: usize = size_of::<u64>();

/// Whether something of this size is copied by words and half a word.
const fn is_wordwise(len: usize) -> bool {
    len <= WORDWISE_LEN_MAX && len.is_multiple_of(WORD_LEN / 2)
}

/// Fills `destination` from user memory, paging it in; false if it cannot be accessed. For structures: where the length is
/// known to the compiler, nothing but the loads is left of it.
#[inline(always)]
#[cfg_attr(debug_assertions, track_caller)]
pub fn read_user_struct(destination: &mut [u8], source: usize) -> bool {
    if !is_wordwise(destination.len()) {
        return copy_from_user(destination, source) == destination.len();
    }
    assert_may_access_user_memory();
    let (words, rest) = destination.as_chunks_mut::<WORD_LEN>();
    let rest_at = source + words.len() * WORD_LEN;
    for (index, word) in words.iter_mut().enumerate() {
        let Some(value) = nacre_read_user_u64(source + index * WORD_LEN) else { return false };
        *word = value.to_ne_bytes();
    }
    if let Some(half) = rest.first_chunk_mut() {
        let Some(value) = nacre_read_user_u32(rest_at) else { return false };
        *half = value.to_ne_bytes();
    }
    true
}

/// Copies `source` to user memory; otherwise as [`read_user_struct`].
#[inline(always)]
#[cfg_attr(debug_assertions, track_caller)]
pub fn write_user_struct(destination: usize, source: &[u8]) -> bool {
    if !is_wordwise(source.len()) {
        return copy_to_user(destination, source) == source.len();
    }
    assert_may_access_user_memory();
    let (words, rest) = source.as_chunks::<WORD_LEN>();
    for (index, word) in words.iter().enumerate() {
        if !nacre_write_user_u64(destination + index * WORD_LEN, u64::from_ne_bytes(*word)) {
            return false;
        }
    }
    let rest_at = destination + words.len() * WORD_LEN;
    rest.first_chunk().is_none_or(|half| nacre_write_user_u32(rest_at, u32::from_ne_bytes(*half)))
}

/// Does what a page fault of the program at `address` would do, without the access. False: the access cannot be made to
/// work. For use after a `_nofault` copy came up short and the locks are dropped.
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub fn page_in_user(address: usize, is_store: bool) -> bool {
    assert_may_access_user_memory();
    nacre_page_in_user(address, is_store)
}

/// Reads an aligned word of user memory in one access. `None` if it is not present: page it in and try again.
#[inline]
pub fn load_user_u32(address: usize) -> Option<u32> {
    nacre_load_user_u32(address)
}

/// Compares and exchanges an aligned word of user memory atomically (sequentially consistent). `None` if it is not
/// present and writable: page it in and try again.
#[inline]
pub fn compare_exchange_user_u32(address: usize, old: u32, new: u32) -> Option<Result<u32, u32>> {
    nacre_compare_exchange_user_u32(address, old, new)
}

/// Fills `destination` with random bytes fit for keys.
#[inline]
pub fn fill_entropy(destination: &mut [u8]) {
    nacre_fill_entropy(destination);
}

/// Continues a CRC-32C over bytes, without complements at begin and end, by an instruction of the processor; None where it has none.
#[inline]
pub fn crc32c(sum: u32, bytes: &[u8]) -> Option<u32> {
    nacre_crc32c(sum, bytes)
}

/// The record of locks of the current context, in builds that check the order of locks.
#[inline]
pub(crate) fn held_ranks() -> Option<&'static HeldRanks> {
    if cfg!(all(debug_assertions, not(loom))) { Some(nacre_held_ranks()) } else { None }
}

/// Notes that the context begins a read section.
#[cfg(all(debug_assertions, not(loom)))]
#[track_caller]
pub(crate) fn note_read_section() {
    nacre_held_ranks().push_section(Location::caller());
}

/// Notes that the context ends a read section.
#[cfg(all(debug_assertions, not(loom)))]
pub(crate) fn forget_read_section() {
    nacre_held_ranks().pop_section();
}

/// In debug builds, panics if the caller holds a spinlock or reads under RCU.
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub fn assert_may_sleep() {
    if let Some(held) = held_ranks() {
        held.check_sleep(Location::caller());
    }
}

/// In debug builds, panics if the caller holds a lock that a page fault may need.
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub fn assert_may_access_user_memory() {
    if let Some(held) = held_ranks() {
        held.check_user_access(Location::caller());
    }
}
