//! Timers: interval timers, POSIX timers and the timers behind descriptors.
//!
//! - [`TimerService`]: the heap of what is due when, driven by the machine's timer interrupt.
//! - [`TimerClock`]: the time a timer goes by.
//! - [`Timer`]: one timer that a program set, whatever happens when it expires.
//! - [`ProcessTimers`]: the timers of a process.
//! - [`time_of_day`]: the setting of the wall clock.
//!
//! # Periods
//!
//! As on Linux, a periodic timer does not tick by itself. It expires once and stays so until its event is taken: the signal
//! is delivered, the descriptor is read or asked. Only then the missed periods are counted and the next is begun. A timer
//! with a short period can thus not drown its program. The exceptions are interval timers of CPU time, which their own
//! clock holds back, and timers whose signal is ignored, which tick with a lower bound.
//!
//! # Locks
//!
//! The state of a timer ([`sync::rank::TIMER`]) is locked while it sends its signal or wakes its readers, and while its entry in
//! the service changes. Expiry runs in an interrupt: it allocates nothing, as places in the signal queues and in the
//! service are taken when a timer is made.

mod clock;
mod process;
mod service;
mod time_of_day;
#[expect(clippy::module_inception, reason = "the type the module is named after")]
mod timer;

pub(crate) use clock::TimerClock;
pub(crate) use process::{ProcessTimers, delivered, interval_timer, limit_cpu};
pub use service::TimerService;
pub(crate) use service::{Expire, Place};
pub(crate) use timer::{Event, Expiry, Notification, Setting, Timer};
