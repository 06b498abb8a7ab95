//! Blocking and unblocking signals.

use abi::Sigset;

use crate::thread::{Attention, Thread};

/// Whether a thread has a signal it would take now.
#[inline]
pub(crate) fn has_deliverable(thread: &Thread) -> bool {
    let waiting = thread.process().signals.set().union(thread.signals.pending());
    !waiting.difference(thread.signals.blocked()).is_empty()
}

/// Sets the mask of the calling thread and answers the old one. What cannot be blocked is left out.
#[inline]
pub(crate) fn set(thread: &Thread, mask: Sigset) -> Sigset {
    let old = thread.signals.replace_blocked(mask);
    let of_process = thread.process().signals.set();
    let waiting = of_process.union(thread.signals.pending());
    if !waiting.is_empty() {
        changed(thread, mask.difference(Sigset::UNBLOCKABLE), old);
    }
    old
}

/// What a change of the mask means for signals that wait.
#[cold]
fn changed(thread: &Thread, new: Sigset, old: Sigset) {
    hand_on(thread, new.difference(old));
    refresh(thread);
}

/// Tells other threads of those signals of the process in `set`, which the thread does not take any more.
pub(crate) fn hand_on(thread: &Thread, set: Sigset) {
    let signals = &thread.process().signals;
    if signals.set().intersection(set).is_empty() {
        return;
    }
    let signals = signals.lock();
    signals.retarget_set(signals.pending.set().intersection(set), Some(thread));
}

/// Calls the thread's own attention if a signal can be delivered now.
#[inline]
pub(crate) fn refresh(thread: &Thread) {
    if has_deliverable(thread) {
        thread.note(Attention::SIGNAL);
    }
}

/// Sets a mask for the length of a call (`ppoll`, `rt_sigsuspend`). If a handler runs, it sees this mask, and its return
/// restores the old one. The call ends with [`restore_mask_unless`].
pub fn set_temporary_mask(thread: &Thread, mask: Sigset) {
    thread.signals.set_saved(Some(thread.signals.blocked()));
    set(thread, mask);
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
    if let Some(mask) = thread.signals.saved() {
        thread.signals.set_saved(None);
        set(thread, mask);
    }
}
