//! Which handler a vector has.
//!
//! Handlers run with interrupts off on an IST stack: they touch only always-mapped memory, acknowledge, wake and return.
//! The table is written by drivers at start-up and read by every interrupt; it needs no lock.

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::apic;

/// A function for an interrupt; it is given its vector.
pub(crate) type Handler = fn(u8);

const FIRST_DEVICE_VECTOR: u8 = 0x30;
const LAST_DEVICE_VECTOR: u8 = 0xdf;
/// The local APIC's timer.
pub(crate) const TIMER_VECTOR: u8 = 0xe0;
/// Another CPU wants this one to choose a thread again.
pub(crate) const RESCHEDULE_VECTOR: u8 = 0xf0;
/// Another CPU wants this one to flush translations.
pub(crate) const FLUSH_VECTOR: u8 = 0xf1;
/// Another CPU is switching the machine off.
pub(crate) const PARK_VECTOR: u8 = 0xf2;
/// The local APIC's spurious vector; it wants no acknowledgement.
pub(crate) const SPURIOUS_VECTOR: u8 = 0xff;

static HANDLERS: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];
static NEXT_VECTOR: AtomicU8 = AtomicU8::new(FIRST_DEVICE_VECTOR);

/// A vector nobody has yet; `None` when all are given out. Vectors are never returned.
pub(crate) fn allocate_vector() -> Option<u8> {
    NEXT_VECTOR
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |vector| (vector <= LAST_DEVICE_VECTOR).then(|| vector + 1))
        .ok()
}

/// Makes `handler` answer `vector`, in place of an earlier one.
pub(crate) fn set_handler(vector: u8, handler: Handler) {
    HANDLERS[usize::from(vector)].store(handler as usize, Ordering::Release);
}

/// Runs the handler of `vector` and acknowledges. False: nobody handles it.
pub(super) fn dispatch(vector: u8) -> bool {
    let address = HANDLERS[usize::from(vector)].load(Ordering::Acquire);
    if address == 0 {
        return vector == SPURIOUS_VECTOR;
    }
    // SAFETY: a value that is not zero was stored by `set_handler` from a `Handler`.
    let handler = unsafe { core::mem::transmute::<usize, Handler>(address) };
    handler(vector);
    apic::acknowledge();
    true
}

/// Runs `action` with interrupts off on this CPU.
#[inline]
pub(crate) fn without<R>(action: impl FnOnce() -> R) -> R {
    x86_64::instructions::interrupts::without_interrupts(action)
}

/// Switches interrupts off on this CPU and says whether they were on.
#[inline(always)]
pub(crate) fn disable_save() -> bool {
    let were_enabled = x86_64::instructions::interrupts::are_enabled();
    if were_enabled {
        // SAFETY: masking interrupts breaks nothing; what follows is not moved before it.
        unsafe { core::arch::asm!("cli", options(nostack, preserves_flags)) };
    }
    were_enabled
}

/// Undoes `disable_save`, given its answer.
#[inline(always)]
pub(crate) fn restore(were_enabled: bool) {
    if were_enabled {
        // SAFETY: they were on; what precedes is not moved behind it.
        unsafe { core::arch::asm!("sti", options(nostack, preserves_flags)) };
    }
}
