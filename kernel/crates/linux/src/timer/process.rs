//! [`ProcessTimers`]: the timers of a process.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

use abi::signal::SI_TIMER;
use abi::time::{ITIMER_PROF, ITIMER_REAL, ITIMER_VIRTUAL};
use abi::{Errno, Rlimit, Siginfo, Signal};
use sync::{Mutex, Once, rank};

use super::timer::{HardLimit, hide_sequence};
use super::{Event, Expiry, Timer, TimerClock};
use crate::process::Process;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// The timers that send a process signals.
pub(crate) struct ProcessTimers {
    /// By `ITIMER_*`; made when first set.
    intervals: [Once<Arc<Timer>>; 3],
    posix: Mutex<PosixTimers>,
    /// Watches over `RLIMIT_CPU`; made when first set.
    cpu_limit: Once<Arc<Timer>>,
}

#[derive(Default)]
struct PosixTimers {
    /// By number; with the clock that the program named.
    timers: BTreeMap<i32, (Arc<Timer>, i32)>,
    next_id: i32,
}

impl ProcessTimers {
    pub(crate) fn new() -> Self {
        Self {
            intervals: [const { Once::new() }; 3],
            posix: Mutex::new(rank::PROCESS, PosixTimers::default()),
            cpu_limit: Once::new(),
        }
    }

    /// The interval timer `which` (`ITIMER_*`), if it was ever set.
    pub(crate) fn interval(&self, which: i32) -> Result<Option<&Arc<Timer>>, Errno> {
        let index = usize::try_from(which).map_err(|_| Errno::EINVAL)?;
        self.intervals.get(index).map(Once::get).ok_or(Errno::EINVAL)
    }

    /// A POSIX timer, and the clock that the program named.
    pub(crate) fn posix(&self, id: i32) -> Result<(Arc<Timer>, i32), Errno> {
        self.posix.lock().timers.get(&id).cloned().ok_or(Errno::EINVAL)
    }

    /// All of them, the last made first.
    pub(crate) fn all_posix(&self) -> Vec<(Arc<Timer>, i32)> {
        self.posix.lock().timers.values().rev().cloned().collect()
    }

    /// Enters a POSIX timer, which `make` makes given its number.
    pub(crate) fn add_posix(
        &self,
        clock: i32,
        make: impl FnOnce(i32) -> Result<Arc<Timer>, Errno>,
    ) -> Result<i32, Errno> {
        let mut posix = self.posix.lock();
        let mut id = posix.next_id;
        while posix.timers.contains_key(&id) {
            id = id.checked_add(1).unwrap_or(0);
        }
        let timer = make(id)?;
        posix.timers.insert(id, (timer, clock));
        posix.next_id = id.checked_add(1).unwrap_or(0);
        Ok(id)
    }

    /// Deletes all POSIX timers, as another program is to run.
    pub(crate) fn delete_all_posix(&self) {
        let timers = core::mem::take(&mut self.posix.lock().timers);
        for (timer, _) in timers.values() {
            timer.delete();
        }
    }

    /// Deletes a POSIX timer.
    pub(crate) fn delete_posix(&self, id: i32) -> Result<(), Errno> {
        let (timer, _) = self.posix.lock().timers.remove(&id).ok_or(Errno::EINVAL)?;
        // The service forgets it too.
        timer.delete();
        Ok(())
    }
}

/// The interval timer `which` (`ITIMER_*`) of a process, made if need be.
pub(crate) fn interval_timer(process: &Arc<Process>, which: i32) -> Result<Arc<Timer>, Errno> {
    let index = usize::try_from(which).map_err(|_| Errno::EINVAL)?;
    let place = process.timers.intervals.get(index).ok_or(Errno::EINVAL)?;
    place
        .try_call_once(|| {
            let weak = Arc::downgrade(process);
            let (clock, signal) = match which {
                ITIMER_REAL => (TimerClock::Monotonic, Signal::SIGALRM),
                ITIMER_VIRTUAL => (TimerClock::ProcessUser(weak.clone()), Signal::SIGVTALRM),
                ITIMER_PROF => (TimerClock::ProcessCpu(weak.clone()), Signal::SIGPROF),
                _ => return Err(Errno::EINVAL),
            };
            Timer::new(process.system(), clock, Event::Interval(weak, signal))
        })
        .cloned()
}

/// Watches over the CPU time of a process, whose `RLIMIT_CPU` has been set: `SIGXCPU` every second from the soft limit on,
/// `SIGKILL` at the hard limit.
pub(crate) fn limit_cpu(process: &Arc<Process>, limit: Rlimit) -> Result<(), Errno> {
    const UNLIMITED: u64 = u64::MAX;
    let own = &process.timers.cpu_limit;
    if limit.rlim_cur == UNLIMITED && own.get().is_none() {
        return Ok(());
    }
    let timer = own.try_call_once(|| {
        let weak = Arc::downgrade(process);
        let event = Event::CpuLimit(weak.clone(), HardLimit::default());
        Timer::new(process.system(), TimerClock::ProcessCpu(weak), event)
    })?;
    let nanoseconds = |seconds: u64| seconds.saturating_mul(NS_PER_SECOND);
    if let Event::CpuLimit(_, hard) = timer.event() {
        hard.0.store(nanoseconds(limit.rlim_max), Relaxed);
    }
    // As on Linux, none at all stands for a second.
    let expires_ns = nanoseconds(limit.rlim_cur.max(1));
    timer.set((limit.rlim_cur != UNLIMITED).then_some(Expiry::At(expires_ns)), 0);
    Ok(())
}

/// Tells the timer behind a signal that the signal was taken, which begins its next period, and completes the
/// information for the program.
#[inline]
pub(crate) fn delivered(process: &Process, info: &mut Siginfo) {
    if info.si_code == SI_TIMER || info.signal() == Some(Signal::SIGALRM) {
        timer_delivered(process, info);
    }
}

#[cold]
fn timer_delivered(process: &Process, info: &mut Siginfo) {
    if info.si_code == SI_TIMER {
        if let Ok((timer, _)) = process.timers.posix(info.word(0).cast_signed()) {
            timer.posix_signal_taken(info);
        }
        hide_sequence(info);
    }
    if info.signal() == Some(Signal::SIGALRM)
        && let Ok(Some(timer)) = process.timers.interval(ITIMER_REAL)
    {
        timer.signal_taken();
    }
}
