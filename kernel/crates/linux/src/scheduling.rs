//! [`Scheduling`]: how a thread is scheduled: what its program asked for, and what waiters lend it.
//!
//! The machine schedules by the more urgent of two policies: the thread's own ([`Parameters::policy`]), and that of the most
//! urgent thread that waits for something this one holds ([`boost`]). A nice value is kept beside a policy that has no use
//! for it, as Linux does, and counts again when the thread returns to one that has.
//!
//! Whoever changes either of the two puts the outcome in force under the lock ([`rank::SCHEDULING`]), so that the last change
//! wins. Where a thread may run is kept by the machine alone.

use abi::resource::{IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE, IOPRIO_CLASS_NONE, IOPRIO_CLASS_RT, IOPRIO_CLASS_SHIFT};
use abi::resource::{SCHED_BATCH, SCHED_FIFO, SCHED_IDLE, SCHED_OTHER, SCHED_RR};
use sched::Policy;
use sync::{IrqSpinLock, rank};

use crate::thread::Thread;

/// The policies of sched(7) that there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Other,
    Batch,
    Idle,
    Fifo,
    RoundRobin,
}

impl Class {
    /// The class of a number (`SCHED_*`); none for `SCHED_DEADLINE` and unknown ones.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            SCHED_OTHER => Self::Other,
            SCHED_BATCH => Self::Batch,
            SCHED_IDLE => Self::Idle,
            SCHED_FIFO => Self::Fifo,
            SCHED_RR => Self::RoundRobin,
            _ => return None,
        })
    }

    /// Its number.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Other => SCHED_OTHER,
            Self::Batch => SCHED_BATCH,
            Self::Idle => SCHED_IDLE,
            Self::Fifo => SCHED_FIFO,
            Self::RoundRobin => SCHED_RR,
        }
    }

    /// Whether its threads have priorities.
    pub(crate) fn is_realtime(self) -> bool {
        matches!(self, Self::Fifo | Self::RoundRobin)
    }

    /// Whether its threads share by nice value.
    pub(crate) fn is_nice(self) -> bool {
        matches!(self, Self::Other | Self::Batch)
    }
}

/// What the program asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parameters {
    pub class: Class,
    /// -20 to 19.
    pub nice: i8,
    /// 1 to 99 in a real-time class, else 0.
    pub priority: u8,
    /// New threads get none of its privileges.
    pub resets_on_fork: bool,
}

impl Parameters {
    /// Those of a thread nobody said anything of.
    pub(crate) const DEFAULT: Self = Self { class: Class::Other, nice: 0, priority: 0, resets_on_fork: false };

    /// The policy they amount to.
    pub(crate) fn policy(self) -> Policy {
        match self.class {
            Class::Other => Policy::Other { nice: self.nice },
            Class::Batch => Policy::Batch { nice: self.nice },
            Class::Idle => Policy::Idle,
            Class::Fifo => Policy::Fifo { priority: self.priority },
            Class::RoundRobin => Policy::RoundRobin { priority: self.priority },
        }
    }

    /// What a thread inherits from one that has these.
    fn inherited(self) -> Self {
        if !self.resets_on_fork {
            return self;
        }
        let nice = if self.class.is_realtime() { 0 } else { self.nice.max(0) };
        let class = if self.class.is_realtime() { Class::Other } else { self.class };
        Self { class, nice, priority: 0, resets_on_fork: false }
    }
}

/// How a thread is scheduled.
pub(crate) struct Scheduling(IrqSpinLock<State>);

#[derive(Clone, Copy)]
struct State {
    own: Parameters,
    /// The policy of the most urgent waiter.
    boost: Option<Policy>,
    /// As `ioprio_set` was told; 0: by policy and nice value.
    io_priority: u16,
}

impl State {
    fn effective(&self) -> Policy {
        let own = self.own.policy();
        self.boost.map_or(own, |boost| own.or_more_urgent(boost))
    }

    /// The I/O priority that counts: what was asked for, else what follows from the policy.
    fn effective_io_priority(&self) -> u16 {
        if self.io_priority >> IOPRIO_CLASS_SHIFT != IOPRIO_CLASS_NONE {
            return self.io_priority;
        }
        let class = match self.own.class {
            Class::Other | Class::Batch => IOPRIO_CLASS_BE,
            Class::Idle => IOPRIO_CLASS_IDLE,
            Class::Fifo | Class::RoundRobin => IOPRIO_CLASS_RT,
        };
        let level = u16::try_from(i16::from(self.own.nice) + 20).unwrap_or(0) / 5;
        class << IOPRIO_CLASS_SHIFT | level
    }
}

impl Scheduling {
    pub(crate) const fn new() -> Self {
        let state = State { own: Parameters::DEFAULT, boost: None, io_priority: 0 };
        Self(IrqSpinLock::new(rank::SCHEDULING, state))
    }

    /// What the program asked for.
    pub(crate) fn parameters(&self) -> Parameters {
        self.0.lock().own
    }

    /// The policy in force, waiters counted.
    pub(crate) fn effective(&self) -> Policy {
        self.0.lock().effective()
    }

    /// What `ioprio_set` was told, 0 if nothing.
    pub(crate) fn io_priority(&self) -> u16 {
        self.0.lock().io_priority
    }

    pub(crate) fn set_io_priority(&self, priority: u16) {
        self.0.lock().io_priority = priority;
    }

    /// The I/O priority that counts: what was asked for, else what follows from the policy.
    pub(crate) fn effective_io_priority(&self) -> u16 {
        self.0.lock().effective_io_priority()
    }
}

/// Changes what a thread is asked to be scheduled by, if `change` agrees to it, and puts it in force.
pub(crate) fn change<E>(thread: &Thread, change: impl FnOnce(&mut Parameters) -> Result<(), E>) -> Result<(), E> {
    update(thread, |state| change(&mut state.own))?;
    crate::futex::priority_changed(thread);
    Ok(())
}

/// Lends a thread the policy of the most urgent one that waits for it, in place of what it was lent before. To be called
/// under whatever lock says who waits, if that ranks before [`rank::SCHEDULING`].
pub(crate) fn boost(thread: &Thread, policy: Policy) {
    lend(thread, Some(policy));
}

/// Takes back what a thread was lent: nobody waits for it any more.
pub(crate) fn unboost(thread: &Thread) {
    lend(thread, None);
}

fn lend(thread: &Thread, boost: Option<Policy>) {
    let lent = update(thread, |state| {
        state.boost = boost;
        Ok::<_, core::convert::Infallible>(())
    });
    match lent {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

/// Gives a new thread, which has a context and does not run yet, what it inherits. The machine has copied where the
/// parent may run, and what it was lent as well, which is not inherited.
pub(crate) fn inherit(thread: &Thread, parent: &Thread) {
    let parents = *parent.scheduling().0.lock();
    let (State { own, io_priority, .. }, in_force) = (parents, parents.effective());
    let mut state = thread.scheduling().0.lock();
    *state = State { own: own.inherited(), boost: None, io_priority };
    thread.futex.publish_priority(state.own.priority);
    // The machine has copied what is in force for the parent, which is mostly the same.
    if state.effective() != in_force {
        thread.platform().set_policy(thread, state.effective());
    }
}

fn update<E>(thread: &Thread, change: impl FnOnce(&mut State) -> Result<(), E>) -> Result<(), E> {
    let mut state = thread.scheduling().0.lock();
    let before = state.effective();
    change(&mut state)?;
    thread.futex.publish_priority(state.own.priority);
    let after = state.effective();
    if after != before {
        thread.platform().set_policy(thread, after);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REALTIME: Parameters = Parameters { class: Class::Fifo, nice: -5, priority: 50, resets_on_fork: true };

    #[test]
    fn privileges_are_not_inherited_on_request() {
        assert_eq!(REALTIME.inherited(), Parameters::DEFAULT);
        let nice = Parameters { class: Class::Batch, nice: -5, priority: 0, resets_on_fork: true };
        assert_eq!(nice.inherited(), Parameters { nice: 0, resets_on_fork: false, ..nice });
        let humble = Parameters { nice: 7, ..nice };
        assert_eq!(humble.inherited(), Parameters { nice: 7, resets_on_fork: false, ..nice });
        let plain = Parameters { resets_on_fork: false, ..REALTIME };
        assert_eq!(plain.inherited(), plain);
    }

    #[test]
    fn the_more_urgent_counts() {
        let mut state = State { own: Parameters::DEFAULT, boost: None, io_priority: 0 };
        assert_eq!(state.effective(), Policy::Other { nice: 0 });
        state.boost = Some(Policy::Fifo { priority: 3 });
        assert_eq!(state.effective(), Policy::Fifo { priority: 3 });
        state.own = REALTIME;
        assert_eq!(state.effective(), Policy::Fifo { priority: 50 });
        state.boost = Some(Policy::RoundRobin { priority: 50 });
        assert_eq!(state.effective(), Policy::Fifo { priority: 50 });
    }

    #[test]
    fn io_priorities_follow_the_policy() {
        let effective = |own, io_priority| State { own, boost: None, io_priority }.effective_io_priority();
        assert_eq!(effective(Parameters::DEFAULT, 0), 2 << 13 | 4);
        assert_eq!(effective(Parameters { nice: -20, ..Parameters::DEFAULT }, 0), 2 << 13);
        assert_eq!(effective(Parameters { nice: 19, ..Parameters::DEFAULT }, 0), 2 << 13 | 7);
        assert_eq!(effective(Parameters { class: Class::Idle, ..Parameters::DEFAULT }, 0), 3 << 13 | 4);
        assert_eq!(effective(REALTIME, 0), 1 << 13 | 3);
        assert_eq!(effective(REALTIME, 3 << 13), 3 << 13);
    }
}
