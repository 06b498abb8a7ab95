//! [`TimerClock`]: the time a timer goes by.

use alloc::sync::{Arc, Weak};

use sync::machine;

use crate::process::Process;
use crate::thread::Thread;

/// How often a CPU clock that is about to reach its time is looked at: while its threads sleep it does not come nearer.
const CPU_CLOCK_PERIOD_NS: u64 = 1_000_000;

/// The time a timer goes by. The time of day is not among them: nothing sets it, so a point in it is one of
/// [`TimerClock::Monotonic`].
pub(crate) enum TimerClock {
    /// The clock of [`machine::now_ns`].
    Monotonic,
    /// The CPU time of a process.
    ProcessCpu(Weak<Process>),
    /// The CPU time of a process in its program.
    ProcessUser(Weak<Process>),
    /// The CPU time of a thread.
    ThreadCpu(Weak<Thread>),
    /// The CPU time of a thread in its program.
    ThreadUser(Weak<Thread>),
}

impl TimerClock {
    /// The time. A clock whose process or thread is gone stands at the end of time, so that what waits for it ends.
    pub(crate) fn now_ns(&self) -> u64 {
        match self {
            Self::Monotonic => machine::now_ns(),
            Self::ProcessCpu(process) => process.upgrade().map_or(u64::MAX, |process| process.runtime_ns()),
            Self::ProcessUser(process) => process.upgrade().map_or(u64::MAX, |process| process.cpu_time().user_ns),
            Self::ThreadCpu(thread) => thread.upgrade().map_or(u64::MAX, |thread| thread.runtime_ns()),
            Self::ThreadUser(thread) => thread.upgrade().map_or(u64::MAX, |thread| thread.cpu_time().user_ns),
        }
    }

    /// The first moment, on the clock of [`machine::now_ns`], at which this clock can reach `time_ns`.
    pub(crate) fn earliest_ns(&self, time_ns: u64) -> u64 {
        let threads = match self {
            Self::Monotonic => return time_ns,
            Self::ProcessCpu(process) | Self::ProcessUser(process) => sum(process, |_| 1),
            Self::ThreadCpu(_) | Self::ThreadUser(_) => 1,
        };
        let rest_ns = time_ns.saturating_sub(self.now_ns());
        let wait_ns = if rest_ns == 0 { 0 } else { (rest_ns / threads.max(1)).max(CPU_CLOCK_PERIOD_NS) };
        machine::now_ns().saturating_add(wait_ns)
    }

    /// Whether it counts CPU time.
    pub(crate) fn is_of_cpu(&self) -> bool {
        !matches!(self, Self::Monotonic)
    }
}

/// Adds something up over the threads of a process, without allocating.
fn sum(process: &Weak<Process>, value: impl Fn(&Arc<Thread>) -> u64) -> u64 {
    process.upgrade().map_or(u64::MAX, |process| process.signals.lock().threads().iter().map(value).sum())
}
