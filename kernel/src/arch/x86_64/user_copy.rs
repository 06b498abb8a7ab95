//! Safe faces of user_copy.s, and the fixup table that lets a copy survive a fault.
//!
//! Addresses are checked against the program's half here once more, whatever the caller did.

use core::arch::global_asm;

use mm::USER_END;

global_asm!(include_str!("user_copy.s"));

unsafe extern "C" {
    fn user_copy(destination: usize, source: usize, len: usize) -> usize;
    fn user_copy_nofault(destination: usize, source: usize, len: usize) -> usize;
    fn user_copy_string(destination: usize, source: usize, len: usize) -> usize;
    fn user_read_u64(address: usize) -> Word;
    fn user_read_u32(address: usize) -> Word;
    fn user_write_u64(address: usize, value: u64) -> u64;
    fn user_write_u32(address: usize, value: u32) -> u64;
    fn user_load_u32(address: usize) -> u64;
    fn user_compare_exchange_u32(address: usize, old: u32, new: u32) -> u64;
    static user_copy_nofault_start: u8;
    static user_copy_nofault_end: u8;
    static __user_copy_fixups_start: Fixup;
    static __user_copy_fixups_end: Fixup;
}

/// A word and whether it could not be read, in two registers.
#[repr(C)]
struct Word {
    value: u64,
    has_failed: u64,
}

/// Both fields are distances from themselves.
#[repr(C)]
struct Fixup {
    at: i32,
    to: i32,
}

/// What a fault at `rip` in the kernel means for a copy.
pub(super) struct CopyFault {
    /// Where to go on when the page cannot be had.
    pub(super) fixup: usize,
    /// The copy must not page in.
    pub(super) is_nofault: bool,
}

/// Whether a range lies in the program's half.
pub(super) fn is_user_range(address: usize, len: usize) -> bool {
    address.checked_add(len).is_some_and(|end| end <= USER_END)
}

/// Bytes copied from the program to `destination`; fewer than asked means a fault.
pub(crate) fn from_user(destination: &mut [u8], source: usize) -> usize {
    if !is_user_range(source, destination.len()) {
        return 0;
    }
    // SAFETY: the destination is ours to write; the source is in the program's half, and faults there are recovered.
    destination.len() - unsafe { user_copy(destination.as_mut_ptr() as usize, source, destination.len()) }
}

/// Bytes copied from `source` to the program; fewer than asked means a fault.
pub(crate) fn to_user(destination: usize, source: &[u8]) -> usize {
    if !is_user_range(destination, source.len()) {
        return 0;
    }
    // SAFETY: the source is ours to read; the destination is in the program's half, and faults there are recovered.
    source.len() - unsafe { user_copy(destination, source.as_ptr() as usize, source.len()) }
}

/// A string of the program and how long it is, or all of `destination` if it is longer; `None` on a fault before its end.
pub(crate) fn string_from_user(destination: &mut [u8], source: usize) -> Option<usize> {
    let len = destination.len();
    if source >= USER_END || !len.is_multiple_of(size_of::<u64>()) || len == 0 {
        return None;
    }
    // SAFETY: the destination is ours to write, and whole words of it; the source begins in the program's half, whose end nothing
    // is mapped behind, and faults there are recovered.
    let copied = unsafe { user_copy_string(destination.as_mut_ptr() as usize, source, len) };
    (copied <= len).then_some(copied)
}

/// As `from_user`, but a page that is not there is a fault.
pub(crate) fn from_user_nofault(destination: &mut [u8], source: usize) -> usize {
    if !is_user_range(source, destination.len()) {
        return 0;
    }
    // SAFETY: as in `from_user`.
    destination.len() - unsafe { user_copy_nofault(destination.as_mut_ptr() as usize, source, destination.len()) }
}

/// As `to_user`, but a page that is not there is a fault.
pub(crate) fn to_user_nofault(destination: usize, source: &[u8]) -> usize {
    if !is_user_range(destination, source.len()) {
        return 0;
    }
    // SAFETY: as in `to_user`.
    source.len() - unsafe { user_copy_nofault(destination, source.as_ptr() as usize, source.len()) }
}

/// Copies between program memory and kernel memory by address, for frames. Returns the bytes copied.
///
/// # Safety
/// The kernel side, `len` bytes, is valid for the access and no reference to it exists.
pub(crate) unsafe fn raw_to_user(destination: usize, source: usize, len: usize, may_page_in: bool) -> usize {
    if !is_user_range(destination, len) {
        return 0;
    }
    // SAFETY: the program's side recovers from faults; the kernel's is the caller's promise.
    len - unsafe {
        if may_page_in { user_copy(destination, source, len) } else { user_copy_nofault(destination, source, len) }
    }
}

/// As `raw_to_user`, the other way.
///
/// # Safety
/// As for `raw_to_user`.
pub(crate) unsafe fn raw_from_user(destination: usize, source: usize, len: usize, may_page_in: bool) -> usize {
    if !is_user_range(source, len) {
        return 0;
    }
    // SAFETY: as in `raw_to_user`.
    len - unsafe {
        if may_page_in { user_copy(destination, source, len) } else { user_copy_nofault(destination, source, len) }
    }
}

/// Whether a word is the program's as far as it can be. What lies right behind the program's half is never mapped, so the end of
/// a word there faults.
#[inline]
fn is_user_word(address: usize) -> bool {
    address < USER_END
}

/// A word of the program, fetched once and paged in; `None` when it cannot be had.
#[inline]
pub(crate) fn read_u64(address: usize) -> Option<u64> {
    if !is_user_word(address) {
        return None;
    }
    // SAFETY: the address is in the program's half, and a fault there is recovered.
    let word = unsafe { user_read_u64(address) };
    (word.has_failed == 0).then_some(word.value)
}

/// As `read_u64`, half as much.
#[inline]
pub(crate) fn read_u32(address: usize) -> Option<u32> {
    if !is_user_word(address) {
        return None;
    }
    // SAFETY: as in `read_u64`.
    let word = unsafe { user_read_u32(address) };
    if word.has_failed == 0 { u32::try_from(word.value).ok() } else { None }
}

/// Stores a word to the program, which is paged in; false when it cannot be stored.
#[inline]
pub(crate) fn write_u64(address: usize, value: u64) -> bool {
    // SAFETY: as in `read_u64`.
    is_user_word(address) && unsafe { user_write_u64(address, value) } == 0
}

/// As `write_u64`, half as much.
#[inline]
pub(crate) fn write_u32(address: usize, value: u32) -> bool {
    // SAFETY: as in `read_u64`.
    is_user_word(address) && unsafe { user_write_u32(address, value) } == 0
}

/// One 32-bit word of the program, fetched once; `None` on a fault or a misaligned address.
pub(crate) fn load_u32(address: usize) -> Option<u32> {
    if !is_user_range(address, 4) || !address.is_multiple_of(4) {
        return None;
    }
    // SAFETY: the address is in the program's half, and a fault there is recovered.
    u32::try_from(unsafe { user_load_u32(address) }).ok()
}

/// Atomically replaces `old` by `new` in program memory. `None` on a fault, else what was there, `Err` when not `old`.
pub(crate) fn compare_exchange_u32(address: usize, old: u32, new: u32) -> Option<Result<u32, u32>> {
    if !is_user_range(address, 4) || !address.is_multiple_of(4) {
        return None;
    }
    // SAFETY: as in `load_u32`.
    let previous = u32::try_from(unsafe { user_compare_exchange_u32(address, old, new) }).ok()?;
    Some(if previous == old { Ok(previous) } else { Err(previous) })
}

/// Looks a faulting kernel instruction up.
pub(super) fn find_fault(rip: usize) -> Option<CopyFault> {
    let start = &raw const __user_copy_fixups_start;
    let end = &raw const __user_copy_fixups_end;
    let count = (end as usize - start as usize) / size_of::<Fixup>();
    // SAFETY: the linker script puts the table of `Fixup`s between the two symbols, in read-only memory.
    let table = unsafe { core::slice::from_raw_parts(start, count) };
    let relative = |field: &i32| (field as *const i32 as usize).wrapping_add_signed(*field as isize);
    let entry = table.iter().find(|entry| relative(&entry.at) == rip)?;
    let nofault = &raw const user_copy_nofault_start as usize..&raw const user_copy_nofault_end as usize;
    Some(CopyFault { fixup: relative(&entry.to), is_nofault: nofault.contains(&rip) })
}
