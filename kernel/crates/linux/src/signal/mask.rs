//! Blocking and unblocking signals.

use abi::Sigset;

use crate::thread::{Attention, Thread};

/// Whether a thread has a signal it would take now.
pub(crate) fn has_deliverable(thread: &Thread) -> bool {
    let process = thread.process().signals.lock();
    let own = thread.signals.lock_nested();
    !process.pending.set().union(own.pending.set()).difference(own.blocked).is_empty()
}

/// Sets the mask of the calling thread. What cannot be blocked is left out.
pub(crate) fn set(thread: &Thread, mask: Sigset) {
    thread.signals.lock().blocked = mask.difference(Sigset::UNBLOCKABLE);
    refresh(thread);
}

/// Calls the thread's own attention if a signal can be delivered now.
pub(crate) fn refresh(thread: &Thread) {
    if has_deliverable(thread) {
        thread.note(Attention::SIGNAL);
    }
}

/// Sets a mask for the length of a call (`ppoll`, `rt_sigsuspend`). If a handler runs, it sees this mask, and its return
/// restores the old one. The call ends with [`restore_mask_unless`].
pub fn set_temporary_mask(thread: &Thread, mask: Sigset) {
    let mut signals = thread.signals.lock();
    signals.saved = Some(signals.blocked);
    signals.blocked = mask.difference(Sigset::UNBLOCKABLE);
    drop(signals);
    refresh(thread);
}

/// Ends what [`set_temporary_mask`] began. When the call was interrupted, the exit path restores the mask after it has
/// looked for a signal to deliver.
pub fn restore_mask_unless(thread: &Thread, is_interrupted: bool) {
    if is_interrupted {
        thread.note(Attention::RESTORE_MASK);
    } else {
        restore(thread);
    }
}

/// Returns to the mask before the temporary one.
pub(crate) fn restore(thread: &Thread) {
    let saved = thread.signals.lock().saved.take();
    if let Some(mask) = saved {
        set(thread, mask);
    }
}
