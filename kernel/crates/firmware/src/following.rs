//! [`Follower`]: the kernel's clock goes by the hypervisor's for as long as the machine runs.
//!
//! KVM says when its clock showed what, and how fast the counter runs ([`super::pvclock`]); it says it anew when the machine was moved
//! to another host, stopped and continued, or when the host has found another frequency. A version changes with it, and the vDSO's page
//! ([`vdso::page`]) tells nobody a time while the kernel has not followed the version that is there.
//!
//! # What holds
//!
//! 1. The kernel's time is the hypervisor's plus something that grows when it must, by 2, and else stays. A machine that was stopped finds
//!    afterwards what the hypervisor says of the time in between, as it does on Linux.
//! 2. It never goes back. Where the hypervisor's clock would have it go back by up to [`BACK_NS_MAX`], it goes on from where it is:
//!    updates of KVM differ by rounding, and have had worse errors. When the time by the old rate is further ahead than that, or
//!    behind, the counter may be another one, and nobody has been told that time, as the version has changed since. What was told last was
//!    the hypervisor's time then, but for the error of the rate: so much is added ([`ERROR_SHIFT`], [`ERROR_NS_MAX`]). What is
//!    known to have been told counts in any case.
//! 3. Rates are rounded down, so that between two updates the kernel's time is behind the hypervisor's, by less than it would have
//!    to go back.
//! 4. A counter that is not stable (the flag `PVCLOCK_TSC_STABLE_BIT`) is no clock by itself: programs have to ask the kernel, which reads
//!    what the hypervisor says of the CPU it runs on; no answer is below the latest one of any CPU.
//!
//! `PVCLOCK_GUEST_STOPPED` is for watchdogs, of which there are none here.
//!
//! The page has room for one structure, the first CPU's. Where all counters agree it holds for all.

use core::sync::atomic::{AtomicU64, Ordering};

use vdso::page::{Clock, HYPERVISOR_WORDS, MONOTONIC, Rate};

use crate::pvclock::Time;

/// By how much the hypervisor's clock may go back without being believed.
pub const BACK_NS_MAX: u64 = 1_000_000_000;
/// The rate that a hypervisor tells is wrong by less than one in 2^18, four parts in a million.
const ERROR_SHIFT: u32 = 18;
/// Between two updates there are rarely more than five minutes in which the machine runs.
const ERROR_NS_MAX: u64 = 5_000_000;
/// So many cycles before the reading that it is made from a rate begins, so that counters that are a little behind are still ahead of that.
const MARGIN_CYCLES: u64 = 1 << 24;

/// What is known of the hypervisor's clock.
#[derive(Debug)]
pub struct Follower {
    /// Added to the hypervisor's time, modulo 2^64.
    offset_ns: AtomicU64,
    /// No time before this is told any more.
    latest_ns: AtomicU64,
}

/// What a machine does for a follower.
pub trait Counter {
    /// Reads the counter of the CPU that runs, after everything that precedes.
    fn cycles(&self) -> u64;

    /// What the hypervisor says of this CPU; none while it writes.
    fn own_words(&self) -> Option<[u32; HYPERVISOR_WORDS]>;

    /// Whether counters are known to differ, whatever the hypervisor says.
    fn is_skewed(&self) -> bool;

    /// The counter's frequency is another one.
    fn note_frequency(&self, frequency_hz: u64);
}

impl Follower {
    /// Begins to follow: the kernel's time goes on from where it is. Interrupts are disabled, and nobody else asks for the time.
    pub fn start(clock: &Clock, counter: &impl Counter) -> Self {
        let follower = Self { offset_ns: AtomicU64::new(0), latest_ns: AtomicU64::new(0) };
        clock.follow(
            || counter.cycles(),
            |old, words, now| {
                let Some(time) = Time::of_words(words) else { return old };
                let now_ns = old.nanoseconds(now);
                follower.offset_ns.store(now_ns.wrapping_sub(time.nanoseconds(now)), Ordering::Relaxed);
                follower.latest_ns.store(now_ns, Ordering::Relaxed);
                follower.take(clock, &time, counter);
                rate(&time, now, now_ns)
            },
        );
        follower
    }

    /// The time where the page tells none: follows, and asks again. Interrupts are disabled.
    pub fn now_ns(&self, clock: &Clock, counter: &impl Counter) -> u64 {
        loop {
            if clock.is_overtaken() {
                self.follow(clock, counter);
            }
            if let Some(now_ns) = clock.nanoseconds(MONOTONIC, || counter.cycles()) {
                return now_ns;
            }
            if clock.is_withdrawn() {
                let now_ns = said_of_own(counter).map(|said_ns| self.shifted(said_ns));
                return self.tell(now_ns.unwrap_or_else(|| clock.rate().nanoseconds(counter.cycles())));
            }
        }
    }

    fn follow(&self, clock: &Clock, counter: &impl Counter) {
        clock.follow(|| counter.cycles(), |old, words, now| self.rate_after(clock, counter, old, words, now));
    }

    /// The rate by what the hypervisor says now.
    fn rate_after(
        &self,
        clock: &Clock,
        counter: &impl Counter,
        old: Rate,
        words: [u32; HYPERVISOR_WORDS],
        now: u64,
    ) -> Rate {
        // Where counters differ, what is said of the first CPU is nothing for this one's.
        let time = Time::of_words(words).filter(|time| time.is_stable && !counter.is_skewed());
        let said_ns = match &time {
            Some(time) => Some(time.nanoseconds(now)),
            None => said_of_own(counter),
        };
        let by_hypervisor = said_ns.map_or(0, |said_ns| self.shifted(said_ns));
        let error_ns = (by_hypervisor.saturating_sub(old.base_ns) >> ERROR_SHIFT).min(ERROR_NS_MAX);
        let believed = by_hypervisor.saturating_sub(error_ns)..=by_hypervisor.saturating_add(BACK_NS_MAX);
        let by_old = Some(old.nanoseconds(now)).filter(|by_old| now >= old.base_cycles && believed.contains(by_old));
        let told = match by_old {
            // Nobody was told a time by the rate.
            _ if clock.is_withdrawn() => by_hypervisor,
            Some(by_old) => by_old,
            None => by_hypervisor.saturating_add(error_ns),
        };
        let now_ns = self.tell(by_hypervisor.max(told));
        if let Some(said_ns) = said_ns {
            self.offset_ns.store(now_ns.wrapping_sub(said_ns), Ordering::Relaxed);
        }
        let Some(time) = time else {
            clock.withdraw();
            return old;
        };
        self.take(clock, &time, counter);
        rate(&time, now, now_ns)
    }

    /// Takes over what else the hypervisor says.
    fn take(&self, clock: &Clock, time: &Time, counter: &impl Counter) {
        if let Some(frequency_hz) = time.frequency_hz() {
            counter.note_frequency(frequency_hz);
        }
        if !time.is_stable {
            clock.withdraw();
        } else if !counter.is_skewed() {
            clock.reinstate();
        }
    }

    /// The kernel's time when the hypervisor's is `said_ns`; zero before the start.
    fn shifted(&self, said_ns: u64) -> u64 {
        let now_ns = said_ns.wrapping_add(self.offset_ns.load(Ordering::Relaxed));
        u64::try_from(now_ns.cast_signed()).unwrap_or(0)
    }

    /// This time, or the latest that anybody was told, if that is later.
    fn tell(&self, now_ns: u64) -> u64 {
        now_ns.max(self.latest_ns.fetch_max(now_ns, Ordering::AcqRel))
    }
}

/// The hypervisor's time by what it says of this CPU; none if that makes no sense.
fn said_of_own(counter: &impl Counter) -> Option<u64> {
    loop {
        let Some(words) = counter.own_words() else {
            core::hint::spin_loop();
            continue;
        };
        let time = Time::of_words(words)?;
        let cycles = counter.cycles();
        if counter.own_words() == Some(words) {
            return Some(time.nanoseconds(cycles));
        }
    }
}

/// The rate that the hypervisor tells, from a time at a reading of the counter on.
fn rate(time: &Time, cycles: u64, now_ns: u64) -> Rate {
    let multiplier = time.nanoseconds_per_tick();
    let margin_ns = u64::try_from((u128::from(MARGIN_CYCLES) * u128::from(multiplier)) >> 32).unwrap_or(u64::MAX);
    match (cycles.checked_sub(MARGIN_CYCLES), now_ns.checked_sub(margin_ns)) {
        (Some(base_cycles), Some(base_ns)) => Rate { base_cycles, base_ns, multiplier },
        _ => Rate { base_cycles: cycles, base_ns: now_ns, multiplier },
    }
}
