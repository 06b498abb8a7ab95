//! The machine of the current thread.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::frames::Account;
use crate::random::Random;

/// What the threads of one test share.
#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) clock: Clock,
    pub(crate) frames: Arc<Account>,
    pub(crate) entropy: Mutex<Random>,
}

thread_local! {
    static CURRENT: RefCell<Arc<Machine>> = RefCell::default();
}

/// The machine this thread runs on.
pub(crate) fn current() -> Arc<Machine> {
    CURRENT.with_borrow(Arc::clone)
}

/// Puts this thread on another machine.
pub(crate) fn set_current(machine: Arc<Machine>) {
    CURRENT.set(machine);
}

/// Locks a mutex of the fakes. A test that panicked with the lock has failed already; the others go on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
