//! [`Deadline`]: when a wait ends for lack of a wake.

use sync::machine::{self, NEVER};

use crate::thread::Thread;
use crate::wait;

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// None.
    Never,
    /// On the clock of [`machine::now_ns`].
    Monotonic(u64),
    /// On the clock of [`machine::realtime_ns`], which may be set meanwhile.
    Realtime(u64),
}

impl Deadline {
    /// So far from now.
    pub(crate) fn after(duration_ns: u64) -> Self {
        Self::Monotonic(machine::now_ns().saturating_add(duration_ns))
    }

    /// Parks the thread. True: the time has come.
    #[inline]
    pub(super) fn park(self, thread: &Thread) -> bool {
        match self {
            Self::Never => wait::park(thread, NEVER),
            Self::Monotonic(time_ns) => wait::park(thread, time_ns),
            // If the clock was set meanwhile, the caller parks again.
            Self::Realtime(time_ns) => wait::park_until_time_of_day(thread, time_ns),
        }
    }
}
