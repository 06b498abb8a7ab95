//! A lock in front of a spinlock, in loom builds only.
//!
//! loom's scheduler is not fair to a thread that could release a lock while two others spin for it, so a model with such
//! a lock never ends. In front of an [`crate::IrqSpinLock`] loom's own lock makes the others block instead. Elsewhere this
//! is nothing at all, and [`crate::SpinLock`], which has no turnstile, is what the model tests of the spinning use.

/// Nothing.
#[cfg(not(loom))]
pub(crate) struct Turnstile;

/// The right to pass.
#[cfg(not(loom))]
pub(crate) struct Turn<'a>(core::marker::PhantomData<&'a Turnstile>);

#[cfg(not(loom))]
impl Turnstile {
    pub(crate) const fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn pass(&self) -> Turn<'_> {
        Turn(core::marker::PhantomData)
    }

    #[inline(always)]
    pub(crate) fn try_pass(&self) -> Option<Turn<'_>> {
        Some(Turn(core::marker::PhantomData))
    }
}

/// A blocking lock.
#[cfg(loom)]
pub(crate) struct Turnstile(loom::sync::Mutex<()>);

/// The right to pass.
#[cfg(loom)]
pub(crate) struct Turn<'a>(#[expect(dead_code, reason = "held until dropped")] loom::sync::MutexGuard<'a, ()>);

#[cfg(loom)]
impl Turnstile {
    pub(crate) fn new() -> Self {
        Self(loom::sync::Mutex::new(()))
    }

    pub(crate) fn pass(&self) -> Turn<'_> {
        Turn(self.0.lock().unwrap_or_else(|poison| poison.into_inner()))
    }

    pub(crate) fn try_pass(&self) -> Option<Turn<'_>> {
        self.0.try_lock().ok().map(Turn)
    }
}
