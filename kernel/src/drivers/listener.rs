//! A function that an interrupt calls, set by an upper layer while interrupts may come.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicUsize, Ordering};

/// A place for one function; calls before it is set are dropped.
pub(super) struct Listener<A> {
    /// The function's address; zero while there is none.
    function: AtomicUsize,
    argument: PhantomData<fn(A)>,
}

impl<A> Listener<A> {
    /// No function yet.
    pub(super) const fn new() -> Self {
        Self { function: AtomicUsize::new(0), argument: PhantomData }
    }

    /// Sets the function, in place of an earlier one.
    pub(super) fn set(&self, function: fn(A)) {
        self.function.store(function as usize, Ordering::Release);
    }

    /// Calls the function, if there is one.
    pub(super) fn call(&self, argument: A) {
        let address = self.function.load(Ordering::Acquire);
        if address != 0 {
            // SAFETY: a value that is not zero was stored by `set` from a function of this type.
            let function = unsafe { core::mem::transmute::<usize, fn(A)>(address) };
            function(argument);
        }
    }
}
