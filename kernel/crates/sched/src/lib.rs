//! Decisions about time: which timer is due, and, when there are threads to choose from, which thread runs.
//!
//! The crate is pure. It takes the time as an argument and returns what to do; it reads no clock, programs no interrupt,
//! and holds no lock. Whoever owns a value of this crate puts it behind the lock of its CPU.
//!
//! - [`TimerQueue`]: the timers of one CPU, behind `sync::rank::TIMERS`.
//!
//! Run queues, policies and load balancing have their place here too, one queue to each CPU, on the same terms. Until the
//! kernel runs more than one thread there is nothing to schedule, and so there is no scheduler.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod timer_queue;

pub use timer_queue::{TIMERS_MAX, TimerId, TimerQueue, TimerStorage};
