//! [`ThreadSignals`]: what a thread has of signals.
//!
//! Masks and the alternate stack are written by the thread alone; senders read the masks without a lock. The queue has one.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use abi::{Signal, Sigset};

use super::published::{Published, PublishedGuard};
use super::{AlternateStack, PendingSignals};

/// Stands for no mask: nobody blocks `SIGKILL`.
const NO_MASK: u64 = u64::MAX;

/// What a thread has of signals.
pub(crate) struct ThreadSignals {
    /// Signals sent to this thread alone.
    pending: Published<PendingSignals>,
    /// Signals it does not want now.
    blocked: AtomicU64,
    /// Signals the thread waits for with `rt_sigtimedwait`: not thrown away, and it is told of them, blocked or not.
    awaited: AtomicU64,
    /// The mask to return to after a call with a temporary one.
    saved: AtomicU64,
    stack: StackCell,
}

/// An [`AlternateStack`] that only its thread uses.
#[derive(Default)]
struct StackCell {
    base: AtomicU64,
    size: AtomicU64,
    flags: AtomicU32,
}

impl ThreadSignals {
    pub(crate) fn new() -> Self {
        Self {
            pending: Published::new(PendingSignals::new()),
            blocked: AtomicU64::new(0),
            awaited: AtomicU64::new(0),
            saved: AtomicU64::new(NO_MASK),
            stack: StackCell::default(),
        }
    }

    /// Takes the lock of the signals sent to this thread alone. The process's may be held.
    #[inline]
    pub(crate) fn lock(&self) -> PublishedGuard<'_, PendingSignals> {
        self.pending.lock_nested()
    }

    /// Which signals sent to this thread alone wait.
    #[inline]
    pub(crate) fn pending(&self) -> Sigset {
        self.pending.set()
    }

    /// The signals it does not want now.
    #[inline]
    pub(crate) fn blocked(&self) -> Sigset {
        Sigset::from_bits(self.blocked.load(SeqCst))
    }

    /// Changes the mask and answers the old one. The caller looks at the pending signals afterwards: see
    /// [`super::mask::set`]. A thread that does not run yet may have its mask set by its maker.
    #[inline]
    pub(crate) fn replace_blocked(&self, mask: Sigset) -> Sigset {
        Sigset::from_bits(self.blocked.swap(mask.difference(Sigset::UNBLOCKABLE).bits(), SeqCst))
    }

    /// The signals it waits for.
    #[inline]
    pub(crate) fn awaited(&self) -> Sigset {
        Sigset::from_bits(self.awaited.load(SeqCst))
    }

    /// Says which signals it waits for.
    pub(crate) fn set_awaited(&self, set: Sigset) {
        self.awaited.store(set.bits(), SeqCst);
    }

    /// Whether the thread is to be told when this signal is sent.
    #[inline]
    pub(crate) fn wants(&self, signal: Signal) -> bool {
        !self.blocked().contains(signal) || self.awaited().contains(signal)
    }

    /// The mask to return to after a call with a temporary one.
    #[inline]
    pub(crate) fn saved(&self) -> Option<Sigset> {
        let bits = self.saved.load(Relaxed);
        (bits != NO_MASK).then_some(Sigset::from_bits(bits))
    }

    /// Says to which mask to return.
    #[inline]
    pub(crate) fn set_saved(&self, mask: Option<Sigset>) {
        self.saved.store(mask.map_or(NO_MASK, Sigset::bits), Relaxed);
    }

    /// Where handlers with `SA_ONSTACK` run.
    #[inline]
    pub(crate) fn stack(&self) -> AlternateStack {
        let StackCell { base, size, flags } = &self.stack;
        AlternateStack { base: base.load(Relaxed), size: size.load(Relaxed), flags: flags.load(Relaxed) }
    }

    /// Sets where handlers with `SA_ONSTACK` run.
    #[inline]
    pub(crate) fn set_stack(&self, stack: AlternateStack) {
        self.stack.base.store(stack.base, Relaxed);
        self.stack.size.store(stack.size, Relaxed);
        self.stack.flags.store(stack.flags, Relaxed);
    }
}
