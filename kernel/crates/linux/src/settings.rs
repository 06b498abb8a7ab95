//! [`Settings`]: what `/proc/sys` lets a program change of the kernel as a whole.
//!
//! Each has an effect where it is read; a setting that would have none is not here, and another value of it is refused.

use core::sync::atomic::AtomicU32;

use crate::system::{PID_MAX, THREADS_MAX};

/// The values in force.
#[derive(Debug)]
pub struct Settings {
    /// `kernel.pid_max`: the numbers of threads lie below it.
    pub pid_max: AtomicU32,
    /// `kernel.threads-max`: the most threads.
    pub threads_max: AtomicU32,
    /// `kernel.randomize_va_space`: 0 no address is random, 1 all but the heap's, 2 all.
    pub address_randomness: AtomicU32,
}

impl Settings {
    /// The least that `kernel.pid_max` can be.
    pub const PID_MAX_MIN: u32 = 301;
    /// The least that `kernel.threads-max` can be.
    pub const THREADS_MAX_MIN: u32 = 20;

    /// The defaults.
    pub(crate) const fn new() -> Self {
        Self {
            pid_max: AtomicU32::new(PID_MAX),
            threads_max: AtomicU32::new(THREADS_MAX),
            address_randomness: AtomicU32::new(2),
        }
    }
}
