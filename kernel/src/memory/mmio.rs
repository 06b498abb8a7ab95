//! Windows onto device registers: mapped uncached, for ever.
#![expect(clippy::cast_possible_truncation, reason = "addresses have 64 bits on this machine")]

use super::{PAGE_BYTES, paging, stacks};

/// Maps `len` bytes of device registers at `physical` and returns where. `None`: no room or no memory.
pub(crate) fn map(physical: u64, len: usize) -> Option<usize> {
    let page = PAGE_BYTES as u64;
    let first = physical & !(page - 1);
    let end = physical.checked_add(len as u64)?.checked_next_multiple_of(page)?;
    let bytes = usize::try_from(end - first).ok()?;
    let address = stacks::reserve(bytes / PAGE_BYTES)?;
    // SAFETY: the range was reserved for this; what lies at a device's address is the driver's to know.
    unsafe { paging::map_kernel(address, first, bytes, true)? };
    Some(address + (physical - first) as usize)
}
