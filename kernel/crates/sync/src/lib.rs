//! Synchronisation for the whole kernel: locks, wait queues, parking, rings, and the seam to the machine.
//!
//! Everything that can be got wrong about concurrency lives here, so that the crates above can forbid `unsafe`:
//!
//! - [`SpinLock`] and [`IrqSpinLock`]: short critical sections; debug builds check the order of [`rank`]s and
//!   report what is wrong with the places in the source; [`order`] counts how often locks were waited for.
//! - [`Mutex`]: sleeps, hands the lock to the longest waiter, takes no spinlock.
//! - [`WaitQueue`], [`WaitNode`], [`Wake`], [`Parker`]: how threads wait for events and how events find threads.
//! - [`keyed`]: queues of waiters found by a key, which futexes are made of.
//! - [`SeqLock`]: small data that is read far more often than written.
//! - [`rcu`]: data that readers reach without a lock or a count, and that is freed when none can see it.
//! - [`ring`]: bounded queues with one consumer and one or many producers.
//! - [`BatchQueue`]: many contexts append, one takes all at once.
//! - [`ChangeCount`]: whether something was taken away while somebody took it without a lock.
//! - [`Lookout`]: when somebody looks at what others leave in a place that they mostly clear themselves.
//! - [`ArcView`]: a counted reference with a way into it at hand.
//! - [`Once`], [`Lazy`]: one-time initialisation.
//! - [`machine`]: the functions that the machine (or the fakes of the host tests) supplies at link time.
//! - [`atomic`]: the atomics of the kernel. Under `--cfg loom` they are loom's, and the tests in `model` explore every
//!   interleaving of the algorithms of this crate.
//!
//! This crate knows no threads, no scheduler and no CPU: it asks the machine to wait and to wake.

#![cfg_attr(not(any(test, loom)), no_std)]

extern crate alloc;

/// Declares a `const fn`, which is not `const` in a loom build: loom registers its objects at run time.
macro_rules! const_fn {
    ($(#[$attribute:meta])* $visibility:vis const fn $($rest:tt)*) => {
        #[cfg(not(loom))]
        $(#[$attribute])* $visibility const fn $($rest)*
        #[cfg(loom)]
        $(#[$attribute])* $visibility fn $($rest)*
    };
}

pub mod atomic;
pub mod batch_queue;
mod cell;
mod change_count;
#[cfg(all(target_arch = "x86_64", not(loom)))]
mod copy;
mod held;
pub mod keyed;
mod lookout;
pub mod machine;
mod mutex;
pub mod order;
mod park;
pub mod rank;
#[cfg(any(not(loom), test))]
pub mod rcu;
pub mod ring;
mod seqlock;
mod spinlock;
mod turnstile;
#[cfg(not(loom))]
mod view;
mod wait_queue;
mod waiters;

#[cfg(all(test, loom))]
mod model;
#[cfg(test)]
mod test_machine;

pub use batch_queue::BatchQueue;
pub use change_count::ChangeCount;
pub use held::HeldRanks;
pub use lookout::Lookout;
pub use mutex::{Mutex, MutexGuard};
pub use park::Parker;
pub use rank::Rank;
pub use seqlock::SeqLock;
pub use spin::{lazy::Lazy, once::Once};
pub use spinlock::{IrqSpinLock, IrqSpinLockGuard, SpinLock, SpinLockGuard};
#[cfg(not(loom))]
pub use view::ArcView;
pub use wait_queue::{Turn, WaitNode, WaitQueue, Wake};
