//! [`Timer`]: one timer that a program set.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::signal::SI_KERNEL;
use abi::{Errno, PollEvents, Siginfo, Signal};
use sched::TimerId;
use sync::{IrqSpinLock, WaitQueue, machine, rank};

use super::{Place, TimerClock};
use crate::process::Process;
use crate::signal::send;
use crate::system::System;
use crate::thread::Thread;

/// The tick by which Linux looks at timers of CPU time: their shortest period, and that of a timer whose signal is ignored.
const TICK_NS: u64 = 4_000_000;
/// How often a process beyond its soft limit of CPU time is told.
const CPU_LIMIT_PERIOD_NS: u64 = 1_000_000_000;
/// The position of Linux's `si_sys_private` among the words of a `siginfo_t`; programs never see a value there.
const SEQUENCE_WORD: usize = 4;

/// What happens when a timer expires.
pub(crate) enum Event {
    /// The signal of an interval timer (`setitimer`).
    Interval(Weak<Process>, Signal),
    /// What a POSIX timer does.
    Posix(Notification),
    /// The descriptor becomes readable.
    Readable(WaitQueue),
    /// The process has used the CPU time it may use (`RLIMIT_CPU`).
    CpuLimit(Weak<Process>, HardLimit),
}

/// The CPU time, in nanoseconds, at which a process is killed.
#[derive(Default)]
pub(crate) struct HardLimit(pub AtomicU64);

/// What a POSIX timer does (`struct sigevent`).
pub(crate) struct Notification {
    /// Whose timer it is.
    pub process: Weak<Process>,
    /// The thread that gets the signal, if it is not just any.
    pub thread: Option<Weak<Thread>>,
    /// None: nothing.
    pub signal: Option<Signal>,
    /// How the program asked to be told (`SIGEV_*`), and by which signal, sent or not.
    pub asked: (i32, i32),
    /// The number of the timer.
    pub id: i32,
    /// `si_value`.
    pub value: u64,
}

/// What a timer is set to, and what is left of it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Setting {
    /// Until the next expiry; 0 when there is none.
    pub value_ns: u64,
    /// The period; 0 for none.
    pub interval_ns: u64,
}

/// When a timer is to expire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expiry {
    /// At a time of its clock.
    At(u64),
    /// At a time of the day, whatever happens to that clock.
    OfDay(u64),
}

/// One timer.
pub(crate) struct Timer {
    clock: TimerClock,
    event: Event,
    place: Place,
    state: IrqSpinLock<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is to come.
    Idle,
    /// It will expire.
    Running,
    /// It has expired, and the next period begins when its event is taken.
    Expired,
}

struct State {
    stage: Stage,
    /// The entry in the service.
    entry: Option<TimerId>,
    /// When it expires or has expired: on its clock, or on that of the time of day.
    expires_ns: u64,
    is_of_day: bool,
    /// Setting the clock ends the wait for it.
    is_cancelled_by_set: bool,
    /// It was.
    is_cancelled: bool,
    interval_ns: u64,
    /// Expiries nobody has read.
    ticks: u64,
    /// Expiries that brought no signal of their own, up to the signal delivered last.
    overrun: u64,
    /// Tells the signal of the current setting from those of earlier ones.
    sequence: u32,
    /// It can be set no more: somebody may still hold it.
    is_deleted: bool,
}

impl State {
    /// Moves the expiry beyond `now_ns` and says how many periods that took.
    fn forward(&mut self, now_ns: u64) -> u64 {
        let Some(late_ns) = now_ns.checked_sub(self.expires_ns) else { return 0 };
        let periods = (late_ns / self.interval_ns.max(1)).saturating_add(1);
        self.expires_ns = self.expires_ns.saturating_add(periods.saturating_mul(self.interval_ns));
        periods
    }
}

impl Timer {
    /// A timer that is not set.
    pub(crate) fn new(system: &Arc<System>, clock: TimerClock, event: Event) -> Result<Arc<Self>, Errno> {
        let place = Place::take(system)?;
        if let Event::Posix(notification) = &event {
            notification.with_target(send::keep_place);
        }
        let state = State {
            stage: Stage::Idle,
            entry: None,
            expires_ns: 0,
            is_of_day: false,
            is_cancelled_by_set: false,
            is_cancelled: false,
            interval_ns: 0,
            ticks: 0,
            overrun: 0,
            sequence: 0,
            is_deleted: false,
        };
        Ok(Arc::new(Self { clock, event, place, state: IrqSpinLock::new(rank::TIMER, state) }))
    }

    /// The time it goes by.
    pub(crate) fn clock(&self) -> &TimerClock {
        &self.clock
    }

    /// What happens when it expires.
    pub(super) fn event(&self) -> &Event {
        &self.event
    }

    /// What a POSIX timer does.
    pub(crate) fn notification(&self) -> Option<&Notification> {
        if let Event::Posix(notification) = &self.event { Some(notification) } else { None }
    }

    /// Sets it to expire at a time of its clock, or not at all, and answers what it was set to.
    pub(crate) fn set(self: &Arc<Self>, expiry: Option<Expiry>, interval_ns: u64) -> Setting {
        self.set_cancellable(expiry, interval_ns, false)
    }

    /// As [`Self::set`]; and if asked for, setting the clock ends the wait for a time of the day.
    pub(crate) fn set_cancellable(
        self: &Arc<Self>,
        expiry: Option<Expiry>,
        interval_ns: u64,
        is_cancelled_by_set: bool,
    ) -> Setting {
        let mut state = self.state.lock();
        let old = self.look(&mut state);
        let cancelled = state.entry.take().and_then(|entry| self.place.cancel(entry));
        state.stage = Stage::Idle;
        state.ticks = 0;
        state.overrun = 0;
        state.sequence = state.sequence.wrapping_add(1);
        state.interval_ns = interval_ns;
        state.is_cancelled_by_set = is_cancelled_by_set;
        state.is_cancelled = false;
        if let Some(expiry) = expiry
            && !state.is_deleted
        {
            (state.expires_ns, state.is_of_day) = match expiry {
                Expiry::At(time_ns) => (time_ns, false),
                Expiry::OfDay(time_ns) => (time_ns, true),
            };
            self.run(&mut state);
        }
        drop(state);
        drop(cancelled);
        old
    }

    /// Stops it for ever.
    #[inline]
    pub(crate) fn delete(self: &Arc<Self>) {
        self.state.lock().is_deleted = true;
        self.set(None, 0);
    }

    /// What is left until it expires, and its period.
    pub(crate) fn get(self: &Arc<Self>) -> Setting {
        self.look(&mut self.state.lock())
    }

    /// Takes the expiries nobody has read, and begins the next period. `ECANCELED` when the clock was set instead.
    pub(crate) fn take_ticks(self: &Arc<Self>) -> Result<u64, Errno> {
        let mut state = self.state.lock();
        if core::mem::take(&mut state.is_cancelled) {
            state.ticks = 0;
            return Err(Errno::ECANCELED);
        }
        self.begin_next(&mut state);
        Ok(core::mem::take(&mut state.ticks))
    }

    /// Says how many expiries nobody has read.
    pub(crate) fn set_ticks(&self, ticks: u64) {
        self.state.lock().ticks = ticks;
        if let Some(readers) = self.readers() {
            readers.wake(PollEvents::READABLE.bits());
        }
    }

    /// Whether there are expiries nobody has read.
    pub(crate) fn has_ticks(&self) -> bool {
        self.state.lock().ticks > 0
    }

    /// Who waits for expiries of a timer behind a descriptor.
    pub(crate) fn readers(&self) -> Option<&WaitQueue> {
        match &self.event {
            Event::Readable(queue) => Some(queue),
            Event::Interval(..) | Event::Posix(_) | Event::CpuLimit(..) => None,
        }
    }

    /// The expiries nobody has read, left there.
    pub(crate) fn ticks(&self) -> u64 {
        self.state.lock().ticks
    }

    /// How many expiries the signal delivered last stood for beside its own.
    pub(crate) fn overrun(&self) -> i32 {
        clamp(self.state.lock().overrun)
    }

    /// The signal of an interval timer was taken: the next period begins.
    pub(crate) fn signal_taken(self: &Arc<Self>) {
        self.begin_next(&mut self.state.lock());
    }

    /// The signal of a POSIX timer was taken: the next period begins, and the signal says how many were missed.
    pub(crate) fn posix_signal_taken(self: &Arc<Self>, info: &mut Siginfo) {
        let mut state = self.state.lock();
        if state.stage != Stage::Expired || info.word(SEQUENCE_WORD) != state.sequence {
            return;
        }
        let periods = self.begin_next(&mut state);
        state.overrun = periods.saturating_sub(1);
        let overrun = state.overrun.saturating_add(u64::from(info.word(1)));
        *info = info.with_word(1, clamp(overrun).unsigned_abs());
    }

    /// Whether anything happens when it expires.
    fn is_silent(&self) -> bool {
        matches!(&self.event, Event::Posix(notification) if notification.signal.is_none())
    }

    /// The time by which it expires.
    fn now_ns(&self, state: &State) -> u64 {
        if state.is_of_day { machine::realtime_ns() } else { self.clock.now_ns() }
    }

    /// Makes the timer run to its expiry.
    fn run(self: &Arc<Self>, state: &mut State) {
        state.stage = Stage::Running;
        if !self.is_silent() {
            let deadline_ns = if state.is_of_day {
                machine::now_ns().saturating_add(state.expires_ns.saturating_sub(machine::realtime_ns()))
            } else {
                self.clock.earliest_ns(state.expires_ns)
            };
            state.entry = self.place.start(deadline_ns, Arc::clone(self) as _);
        }
    }

    /// Begins the next period of a timer whose event was taken; answers how many have begun since it expired.
    #[inline]
    fn begin_next(self: &Arc<Self>, state: &mut State) -> u64 {
        if state.stage != Stage::Expired {
            return 0;
        }
        let periods = state.forward(self.now_ns(state));
        state.ticks = state.ticks.saturating_add(periods.saturating_sub(1));
        self.run(state);
        periods
    }

    /// Begins the next period though nobody took the event of the last: a short period must not keep the machine busy.
    fn begin_next_tick(self: &Arc<Self>, state: &mut State, now_ns: u64) {
        state.forward(now_ns.saturating_add(TICK_NS.saturating_sub(state.interval_ns)));
        self.run(state);
    }

    /// What a program sees when it asks.
    fn look(self: &Arc<Self>, state: &mut State) -> Setting {
        let now_ns = self.now_ns(state);
        let interval_ns = state.interval_ns;
        match &self.event {
            Event::Readable(_) => {
                // Asking counts as taking.
                self.begin_next(state);
                let is_running = state.stage == Stage::Running;
                Setting { value_ns: if is_running { state.expires_ns.saturating_sub(now_ns) } else { 0 }, interval_ns }
            }
            Event::CpuLimit(..) => Setting::default(),
            // Expired and not delivered: Linux shows the shortest time there is, and for interval timers nothing.
            Event::Interval(..) if state.stage != Stage::Running => Setting { value_ns: 0, interval_ns },
            Event::Interval(..) => Setting { value_ns: state.expires_ns.saturating_sub(now_ns).max(1000), interval_ns },
            Event::Posix(_) if self.is_silent() && state.stage == Stage::Running => {
                if interval_ns > 0 {
                    state.forward(now_ns);
                }
                Setting { value_ns: state.expires_ns.saturating_sub(now_ns), interval_ns }
            }
            Event::Posix(_) if state.stage == Stage::Idle => Setting { value_ns: 0, interval_ns },
            Event::Posix(_) => {
                let mut expires_ns = state.expires_ns;
                if state.stage == Stage::Expired && expires_ns <= now_ns {
                    let rest_ns = interval_ns - (now_ns - expires_ns) % interval_ns;
                    expires_ns = now_ns.saturating_add(rest_ns);
                }
                Setting { value_ns: expires_ns.saturating_sub(now_ns).max(1), interval_ns }
            }
        }
    }

    /// It has expired: tells whom it is to tell.
    fn happen(self: &Arc<Self>, state: &mut State, now_ns: u64) {
        state.stage = if state.interval_ns > 0 { Stage::Expired } else { Stage::Idle };
        match &self.event {
            Event::Readable(queue) => {
                state.ticks = state.ticks.saturating_add(1);
                queue.wake(PollEvents::READABLE.bits());
            }
            Event::Interval(process, signal) => {
                if self.clock.is_of_cpu() && state.interval_ns > 0 {
                    self.begin_next_tick(state, now_ns);
                }
                if let Some(process) = process.upgrade() {
                    send::send_from_timer(&process, None, Siginfo::new(*signal, SI_KERNEL));
                }
            }
            Event::CpuLimit(process, hard_limit) => {
                let Some(process) = process.upgrade() else { return };
                let is_beyond = now_ns >= hard_limit.0.load(Relaxed);
                if !is_beyond {
                    state.expires_ns = state.expires_ns.saturating_add(CPU_LIMIT_PERIOD_NS);
                    self.run(state);
                }
                let signal = if is_beyond { Signal::SIGKILL } else { Signal::SIGXCPU };
                send::send_from_timer(&process, None, Siginfo::new(signal, SI_KERNEL));
            }
            Event::Posix(notification) => {
                if !notification.send(state.sequence) && state.interval_ns > 0 {
                    self.begin_next_tick(state, now_ns);
                }
            }
        }
    }
}

impl super::service::Expire for Timer {
    fn expire(self: Arc<Self>, id: TimerId) {
        let mut state = self.state.lock();
        // It may have been set anew in the meantime.
        if state.entry != Some(id) {
            return;
        }
        state.entry = None;
        let now_ns = self.now_ns(&state);
        if now_ns < state.expires_ns {
            self.run(&mut state);
        } else {
            self.happen(&mut state, now_ns);
        }
    }

    fn clock_was_set(self: Arc<Self>) {
        let mut state = self.state.lock();
        if !state.is_of_day || state.stage != Stage::Running {
            return;
        }
        let cancelled = state.entry.take().and_then(|entry| self.place.cancel(entry));
        self.run(&mut state);
        if state.is_cancelled_by_set
            && let Event::Readable(queue) = &self.event
        {
            state.is_cancelled = true;
            state.ticks = state.ticks.saturating_add(1);
            queue.wake(PollEvents::READABLE.bits());
        }
        drop(state);
        drop(cancelled);
    }
}

impl Notification {
    /// Sends the signal. False: it is ignored.
    fn send(&self, sequence: u32) -> bool {
        let Some(signal) = self.signal else { return true };
        let info = Siginfo::timer(signal, self.id, 0, self.value).with_word(SEQUENCE_WORD, sequence);
        let mut is_sent = true;
        self.with_target(|process, thread| is_sent = send::send_from_timer(process, thread, info));
        is_sent
    }

    /// Calls `action` with the process, and the thread if there is a special one, while they are there.
    fn with_target(&self, action: impl FnOnce(&Process, Option<&Thread>)) {
        let Some(process) = self.process.upgrade() else { return };
        match &self.thread {
            None => action(&process, None),
            Some(thread) => {
                if let Some(thread) = thread.upgrade() {
                    action(&process, Some(&thread));
                }
            }
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Event::Posix(notification) = &self.event {
            notification.with_target(send::give_up_place);
        }
    }
}

/// The private part of a signal's information, taken out before a program sees it.
pub(super) fn hide_sequence(info: &mut Siginfo) {
    *info = info.with_word(SEQUENCE_WORD, 0);
}

/// A count as programs see it.
fn clamp(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expired_at(expires_ns: u64, interval_ns: u64) -> State {
        State {
            stage: Stage::Expired,
            entry: None,
            expires_ns,
            is_of_day: false,
            is_cancelled_by_set: false,
            is_cancelled: false,
            interval_ns,
            ticks: 0,
            overrun: 0,
            sequence: 0,
            is_deleted: false,
        }
    }

    #[test]
    fn forwarding_leaves_the_expiry_ahead() {
        for (now_ns, periods, next_ns) in [(99, 0, 100), (100, 1, 110), (109, 1, 110), (110, 2, 120), (195, 10, 200)] {
            let mut state = expired_at(100, 10);
            assert_eq!(state.forward(now_ns), periods);
            assert_eq!(state.expires_ns, next_ns);
        }
    }

    #[test]
    fn forwarding_does_not_overflow() {
        let mut state = expired_at(0, 1);
        assert_eq!(state.forward(u64::MAX), u64::MAX);
        assert_eq!(state.expires_ns, u64::MAX);
        assert_eq!(expired_at(1, u64::MAX).forward(u64::MAX - 1), 1);
    }

    #[test]
    fn counts_are_cut_to_what_programs_see() {
        assert_eq!(clamp(7), 7);
        assert_eq!(clamp(u64::MAX), i32::MAX);
    }
}
