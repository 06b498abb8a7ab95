//! Where threads go: the CPU of a thread that wakes ([`place`]), and the balancer's decision ([`Load::surplus_over`],
//! [`sources`]).
//!
//! # 1. The rule
//!
//! The load of a CPU is the sum of the weights of its runnable threads, running and waiting. A thread of weight `w` moves
//! from `a` to `b` only if `load(a) - load(b) > w`. With threads of equal weight that says: only if `a` has at least two more
//! than `b`.
//!
//! # 2. It converges by itself
//!
//! Such a move changes the sum of the squares of the loads by `2 w (w - (load(a) - load(b)))`, which is negative. The sum of
//! squares is a positive integer, so after finitely many moves, in any order and by any CPU, none is left to make; and no move
//! can be the reverse of another, since that would raise the sum again. So balancing needs no plan, no domain and no rate limit
//! to stop threads going to and fro, and the CPUs do it each for itself. Loads read from other CPUs may be old; so
//! the owner of the queue decides again, under its lock, with its own true load.
//!
//! # 3. Nothing idles beside work
//!
//! An idle CPU has load 0. If another has two runnable threads, of which one that waits may run here, then `load(a) >= w + w' >
//! w`: the rule allows the move. A CPU that becomes idle asks all others, the most loaded first, so it stays idle only if no thread
//! that waits anywhere may run on it.
//!
//! What comes to wait later finds it asleep. So a CPU that has one thread too many wakes a [`helper`]: at each of its timer's events,
//! which it has while anything waits, and when a thread comes to it that has to wait. The helper is the least loaded of the
//! CPUs on which anything may run that waits here, and so finds something to take. Thus nothing waits beside an idle CPU for longer
//! than it takes to the next event. Both look at [`SEARCH_MAX`](crate::SEARCH_MAX) threads; what waits behind as many that may go
//! nowhere else is not found.
//!
//! # 4. Real-time threads
//!
//! They weigh as much as any thread can, so they spread over the CPUs first, and what they starve moves away from them. Priorities
//! are strict within a CPU; across CPUs, [`place`] sends a thread that would have to wait to where the least urgent runs.

use crate::node::{CPUS_MAX, CpuSet};
use crate::policy::Urgency;

/// How often a CPU that is busy looks for work elsewhere. An idle one looks at once.
pub const BALANCE_PERIOD_NS: u64 = 50_000_000;

/// What a CPU has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The sum of the weights of its runnable threads.
    pub weight: u64,
    /// How many they are.
    pub runnable: u32,
    /// The urgency of the one that runs.
    pub running: Urgency,
}

impl Load {
    /// The difference that a balancer may move a part of: a thread of less weight than this, and no other, gains by moving from
    /// here to a CPU of load `other`. None if there is no such thread.
    #[must_use]
    pub fn surplus_over(self, other: Self) -> Option<u64> {
        // The last thread of a CPU runs; moving it would gain nothing.
        self.weight.checked_sub(other.weight).filter(|surplus| *surplus > 0 && self.runnable > 1)
    }

    /// True if the CPU has nothing to run.
    #[must_use]
    pub const fn is_idle(self) -> bool {
        self.runnable == 0
    }
}

/// The CPU for a thread that has become runnable: where it was if that is free, else one that is free, else where it was; if it may
/// not be there, the least loaded. A real-time thread goes where it need not wait, if there is such a CPU. None if the
/// thread may run nowhere.
///
/// `load` is what each CPU last published, for CPUs below `cpus`.
pub fn place(
    affinity: CpuSet,
    urgency: Urgency,
    previous: usize,
    cpus: usize,
    load: impl Fn(usize) -> Load,
) -> Option<usize> {
    let is_allowed = |cpu: &usize| affinity.contains(*cpu);
    let cpus = cpus.min(CPUS_MAX);
    let previous = Some(previous).filter(|cpu| *cpu < cpus && is_allowed(cpu));
    if let Some(previous) = previous.filter(|cpu| load(*cpu).is_idle()) {
        return Some(previous);
    }
    let allowed = (0..cpus).filter(is_allowed);
    if urgency > Urgency::FAIR {
        let at_home = previous.filter(|cpu| load(*cpu).running < urgency);
        return at_home.or_else(|| allowed.min_by_key(|cpu| (load(*cpu).running, load(*cpu).weight)));
    }
    if let Some(idle) = allowed.clone().find(|cpu| load(*cpu).is_idle()) {
        return Some(idle);
    }
    previous.or_else(|| allowed.min_by_key(|cpu| load(*cpu).weight))
}

/// What waits on a CPU; see [`RunQueue::waiting`](crate::RunQueue::waiting).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Where any of it may run.
    pub cpus: CpuSet,
    /// The least weight of a thread among it; the greatest there is if nothing waits.
    pub least: u64,
}

/// The CPU that should be told to look for work, as it could take some of what waits on the CPU `here`: the least loaded one where
/// any of it may run. `waiting` is asked only if there is a CPU with less to do.
pub fn helper(
    here: usize,
    cpus: usize,
    load: impl Fn(usize) -> Load,
    waiting: impl FnOnce() -> Waiting,
) -> Option<usize> {
    let cpus = cpus.min(CPUS_MAX);
    let own = load(here);
    let surplus = |cpu: usize| own.surplus_over(load(cpu)).filter(|_| cpu != here);
    if !(0..cpus).any(|cpu| surplus(cpu).is_some()) {
        return None;
    }
    let waiting = waiting();
    let could_help =
        |cpu: &usize| waiting.cpus.contains(*cpu) && surplus(*cpu).is_some_and(|surplus| surplus > waiting.least);
    (0..cpus).filter(could_help).min_by_key(|cpu| load(*cpu).weight)
}

/// The CPUs from which `here` may take a thread, the most loaded first. The caller locks each in turn and asks
/// [`RunQueue::take_for`](crate::RunQueue::take_for) until one gives.
pub fn sources(here: usize, cpus: usize, load: impl Fn(usize) -> Load) -> impl Iterator<Item = usize> {
    let own = if here < cpus { load(here) } else { Load::default() };
    let mut seen = CpuSet::of(here);
    core::iter::from_fn(move || {
        let (_, next) = (0..cpus.min(CPUS_MAX))
            .filter(|cpu| !seen.contains(*cpu))
            .map(|cpu| (load(cpu), cpu))
            .filter(|(load, _)| load.surplus_over(own).is_some())
            .map(|(load, cpu)| (load.weight, cpu))
            .max()?;
        seen.0 |= CpuSet::of(next).0;
        Some(next)
    })
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Policy, WEIGHT_UNIT};

    fn load(threads: u32) -> Load {
        let running = if threads == 0 { Urgency::NOTHING } else { Urgency::FAIR };
        Load { weight: u64::from(threads * WEIGHT_UNIT), runnable: threads, running }
    }

    #[test]
    fn a_difference_of_one_moves_nothing() {
        let unit = u64::from(WEIGHT_UNIT);
        let may_move = |from, to| load(from).surplus_over(load(to)).is_some_and(|surplus| unit < surplus);
        assert!(!may_move(1, 0) && !may_move(2, 1) && !may_move(3, 3) && !may_move(3, 4));
        assert!(may_move(2, 0) && may_move(3, 1) && may_move(9, 2));
    }

    #[test]
    fn sources_come_by_load() {
        let threads = [1, 5, 0, 7, 5, 2];
        let from = |here| sources(here, threads.len(), |cpu| load(threads[cpu])).collect::<Vec<_>>();
        assert_eq!(from(2), [3, 4, 1, 5]);
        assert_eq!(from(1), [3]);
        assert_eq!(from(3), []);
    }

    #[test]
    fn the_least_loaded_that_could_take_something_helps() {
        let threads = [3, 0, 1, 0, 2];
        let helper = |here, cpus, least| {
            let waiting = Waiting { cpus: CpuSet(cpus), least };
            helper(here, threads.len(), |cpu| load(threads[cpu]), || waiting)
        };
        let unit = u64::from(WEIGHT_UNIT);
        assert_eq!(helper(0, u64::MAX, unit), Some(1));
        assert_eq!(helper(0, 0b01001, unit), Some(3));
        assert_eq!(helper(0, 0b10101, unit), Some(2));
        assert_eq!(helper(0, 0b10001, unit), None);
        assert_eq!(helper(0, 0b10001, 15), Some(4));
        assert_eq!(helper(2, u64::MAX, unit), None);
        assert_eq!(helper(1, u64::MAX, unit), None);
    }

    #[test]
    fn who_has_nothing_to_give_is_not_asked_what_waits() {
        assert_eq!(helper(0, 3, |_| load(1), || unreachable!("nothing waits")), None);
    }

    #[test]
    fn a_thread_goes_home_or_to_where_it_is_free() {
        let threads = [1, 0, 2, 0];
        let at = |affinity, previous| {
            place(CpuSet(affinity), Urgency::FAIR, previous, threads.len(), |cpu| load(threads[cpu]))
        };
        assert_eq!(at(u64::MAX, 3), Some(3));
        assert_eq!(at(u64::MAX, 0), Some(1));
        assert_eq!(at(0b101, 2), Some(2));
        assert_eq!(at(0b101, 1), Some(0));
        assert_eq!(at(1 << 40, 1), None);
    }

    #[test]
    fn a_real_time_thread_goes_where_it_need_not_wait() {
        let policies = [Policy::Fifo { priority: 50 }, Policy::Fifo { priority: 10 }, Policy::Idle];
        let running = |cpu: usize| Load { running: policies[cpu].urgency(), ..load(1) };
        let at = |priority, affinity, previous| {
            let urgency = Policy::Fifo { priority }.urgency();
            place(CpuSet(affinity), urgency, previous, policies.len(), running)
        };
        assert_eq!(at(60, u64::MAX, 0), Some(0));
        assert_eq!(at(50, u64::MAX, 0), Some(2));
        assert_eq!(at(20, 0b011, 0), Some(1));
        assert_eq!(at(5, 0b001, 0), Some(0));
    }
}
