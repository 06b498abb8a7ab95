//! [`Domain`]: the CPUs, how far each has come, and what waits to be freed. The theory is in the parent module.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use super::Deferred;
use crate::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
use crate::machine;
use crate::rank;
use crate::spinlock::SpinLock;

/// The most CPUs there can be.
pub const CPUS_MAX: usize = if cfg!(loom) { 3 } else { 64 };
/// The most values that wait for a grace period in one list; a CPU has two lists.
pub const BATCH_MAX: usize = if cfg!(loom) { 2 } else { 64 };

/// What a running CPU adds to its count when it passes.
const PASS: u64 = 2;
/// Set in the count of a CPU that idles.
const IDLE: u64 = 1;

/// Turns of a busy loop that [`Domain::synchronize`] gives the others before it sleeps.
#[cfg(not(loom))]
const SPINS_MAX: u32 = 200;
/// How long it sleeps before it looks again.
#[cfg(not(loom))]
const PAUSE_NS: u64 = 100_000;

pub(crate) struct Domain {
    /// By CPU: whether it has ever run.
    online: AtomicU64,
    cpus: [Cpu; CPUS_MAX],
    /// A `fn(u32)`, or null.
    kick: AtomicPtr<()>,
}

/// Aligned so that CPUs do not share cache lines.
#[repr(align(128))]
struct Cpu {
    /// Written by this CPU only.
    count: AtomicU64,
    /// The number of values in the lists. Written under the lock.
    deferred: AtomicUsize,
    lists: SpinLock<Lists>,
}

/// What is deferred. Not for one CPU alone: [`Domain::flush`] takes the lists of all.
struct Lists {
    /// Waits for its grace period, which has begun.
    waiting: Option<Box<Batch>>,
    /// Gets a grace period next.
    collecting: Option<Box<Batch>>,
}

struct Batch {
    /// Never more than it has room for.
    values: Vec<Deferred>,
    noted: Noted,
}

impl Batch {
    fn new() -> Box<Self> {
        Box::new(Self { values: Vec::with_capacity(BATCH_MAX), noted: Noted([IDLE; CPUS_MAX]) })
    }
}

/// The counts of all CPUs when a grace period began; [`IDLE`] is set in those that need not pass.
struct Noted([u64; CPUS_MAX]);

impl Domain {
    const_fn! {
        /// All CPUs are off but the first.
        pub(crate) const fn new() -> Self {
            #[cfg(not(loom))]
            let cpus = [const { Cpu::new() }; CPUS_MAX];
            #[cfg(loom)]
            let cpus = core::array::from_fn(|_| Cpu::new());
            Self { online: AtomicU64::new(1), cpus, kick: AtomicPtr::new(core::ptr::null_mut()) }
        }
    }

    #[inline]
    fn cpu(&self, cpu: u32) -> &Cpu {
        &self.cpus[cpu as usize]
    }

    #[inline]
    pub(crate) fn quiescent(&self, cpu: u32) {
        let count = &self.cpu(cpu).count;
        // Release and fence: section 4, cases 1 and 2.
        count.store(count.load(Ordering::Relaxed).wrapping_add(PASS), Ordering::Release);
        fence(Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn idle_enter(&self, cpu: u32) {
        self.set_online(cpu);
        let count = &self.cpu(cpu).count;
        count.store(count.load(Ordering::Relaxed) | IDLE, Ordering::Release);
    }

    #[inline]
    pub(crate) fn idle_exit(&self, cpu: u32) {
        self.set_online(cpu);
        let count = &self.cpu(cpu).count;
        // The next even number, from an odd one as from an even one.
        let next = (count.load(Ordering::Relaxed) & !IDLE).wrapping_add(PASS);
        count.store(next, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Who does not see this CPU online has not published yet what it would wait for: the fence behind each call.
    #[inline]
    fn set_online(&self, cpu: u32) {
        let bit = 1 << cpu;
        if self.online.load(Ordering::Relaxed) & bit == 0 {
            self.online.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether readers on `cpu` are waited for.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn is_watched(&self, cpu: u32) -> bool {
        let is_online = self.online.load(Ordering::Relaxed) & (1 << cpu) != 0;
        is_online && self.cpu(cpu).count.load(Ordering::Relaxed) & IDLE == 0
    }

    #[cfg(not(loom))]
    pub(crate) fn install_kick(&self, kick: fn(cpu: u32)) {
        self.kick.store(kick as *mut (), Ordering::Release);
    }

    fn kick(&self, cpu: usize) {
        let kick = self.kick.load(Ordering::Acquire);
        if !kick.is_null() {
            // SAFETY: only `install_kick` stores here, and it stores a function of this type.
            let kick = unsafe { mem::transmute::<*mut (), fn(u32)>(kick) };
            kick(u32::try_from(cpu).unwrap_or(u32::MAX));
        }
    }

    /// The caller is in no read section and may be switched out: so its CPU has none.
    fn pass(&self) {
        machine::preemption_disable();
        self.quiescent(machine::current_cpu());
        machine::preemption_enable();
    }

    /// Begins a grace period for what was unpublished before.
    fn note(&self) -> Noted {
        // Section 4, case 2.
        fence(Ordering::SeqCst);
        let online = self.online.load(Ordering::Relaxed);
        let count_of = |cpu: usize| match online >> cpu & 1 {
            0 => IDLE,
            // Acquire: an idle CPU has finished what it read, section 4, case 3.
            _ => self.cpus[cpu].count.load(Ordering::Acquire),
        };
        Noted(core::array::from_fn(count_of))
    }

    /// The first CPU that has not passed since.
    fn first_behind(&self, noted: &Noted) -> Option<usize> {
        let is_behind = |(cpu, noted): (usize, &u64)| {
            let is_behind = noted & IDLE == 0 && self.cpus[cpu].count.load(Ordering::Acquire) == *noted;
            is_behind.then_some(cpu)
        };
        noted.0.iter().enumerate().find_map(is_behind)
    }

    pub(crate) fn synchronize(&self) {
        machine::assert_may_sleep();
        let noted = self.note();
        self.pass();
        let mut rounds = 0;
        while let Some(cpu) = self.first_behind(&noted) {
            if rounds == 0 {
                (cpu..CPUS_MAX).filter(|cpu| noted.0[*cpu] & IDLE == 0).for_each(|cpu| self.kick(cpu));
            }
            wait_a_little(rounds);
            rounds += 1;
        }
    }

    pub(crate) fn defer(&self, value: Deferred) {
        machine::assert_may_sleep();
        let mut room = None;
        loop {
            machine::preemption_disable();
            let cpu = self.cpu(machine::current_cpu());
            let mut lists = cpu.lists.lock();
            machine::preemption_enable();
            if lists.collecting.is_none() {
                lists.collecting = room.take();
            }
            let is_missing = match &mut lists.collecting {
                Some(batch) if batch.values.len() < BATCH_MAX => {
                    batch.values.push(value);
                    lists.count(cpu);
                    return;
                }
                batch => batch.is_none(),
            };
            drop(lists);
            if is_missing {
                room = Some(Batch::new());
            } else {
                self.make_room();
            }
        }
    }

    /// The list of this CPU is full: frees what can be freed, and waits for it if nothing can.
    fn make_room(&self) {
        let ripe = self.take_ripe();
        if ripe.is_none() {
            self.synchronize();
            drop(self.take_ripe());
        }
    }

    pub(crate) fn reclaim(&self) -> bool {
        drop(self.take_ripe());
        machine::preemption_disable();
        let is_left = self.has_deferred(machine::current_cpu());
        machine::preemption_enable();
        is_left
    }

    #[inline]
    pub(crate) fn has_deferred(&self, cpu: u32) -> bool {
        self.cpu(cpu).deferred.load(Ordering::Relaxed) != 0
    }

    /// Takes what has had its grace period off the list of this CPU, and begins one for the rest. To be dropped without locks.
    fn take_ripe(&self) -> Option<Box<Batch>> {
        self.pass();
        machine::preemption_disable();
        let index = machine::current_cpu();
        let cpu = self.cpu(index);
        let mut ripe = None;
        if self.has_deferred(index) {
            let mut lists = cpu.lists.lock();
            ripe = lists.waiting.take_if(|batch| self.first_behind(&batch.noted).is_none());
            if lists.waiting.is_none()
                && let Some(mut batch) = lists.collecting.take()
            {
                batch.noted = self.note();
                lists.waiting = Some(batch);
                // As at the beginning: this CPU reads nothing, and need not pass once more.
                self.quiescent(index);
            }
            lists.count(cpu);
        }
        machine::preemption_enable();
        ripe
    }

    pub(crate) fn flush(&self) {
        let mut all = Vec::new();
        for cpu in &self.cpus {
            let mut lists = cpu.lists.lock();
            let taken = [lists.waiting.take(), lists.collecting.take()];
            lists.count(cpu);
            drop(lists);
            all.extend(taken.into_iter().flatten());
        }
        self.synchronize();
        drop(all);
    }
}

impl Cpu {
    const_fn! {
        const fn new() -> Self {
            let lists = SpinLock::new(rank::RCU, Lists { waiting: None, collecting: None });
            Self { count: AtomicU64::new(0), deferred: AtomicUsize::new(0), lists }
        }
    }
}

impl Lists {
    fn count(&self, cpu: &Cpu) {
        let count = [&self.waiting, &self.collecting].into_iter().flatten().map(|batch| batch.values.len()).sum();
        cpu.deferred.store(count, Ordering::Relaxed);
    }
}

/// Lets the others go on: at first by spinning, then by sleeping.
#[cfg(not(loom))]
fn wait_a_little(rounds: u32) {
    if rounds < SPINS_MAX {
        machine::spin_hint();
    } else {
        let _is_timed_out = crate::Parker::new().park_until(machine::now_ns().saturating_add(PAUSE_NS));
    }
}

#[cfg(loom)]
fn wait_a_little(_rounds: u32) {
    machine::spin_hint();
}

#[cfg(all(test, not(loom)))]
mod tests {
    use alloc::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32};
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn domain_with_two_cpus() -> Domain {
        let domain = Domain::new();
        domain.idle_exit(1);
        domain
    }

    #[test]
    fn who_passes_or_idles_is_not_waited_for() {
        let domain = domain_with_two_cpus();
        let noted = domain.note();
        assert_eq!(domain.first_behind(&noted), Some(0));
        domain.quiescent(0);
        assert_eq!(domain.first_behind(&noted), Some(1));
        domain.idle_enter(1);
        assert_eq!(domain.first_behind(&noted), None);
        // Idling it is not waited for at all, nor does it matter when that ends.
        let noted = domain.note();
        domain.idle_exit(1);
        domain.quiescent(0);
        assert_eq!(domain.first_behind(&noted), None);
        assert!(domain.is_watched(1) && !domain.is_watched(2));
        // Idling twice is idling once.
        domain.idle_enter(1);
        domain.idle_enter(1);
        assert!(!domain.is_watched(1));
        domain.idle_exit(1);
        domain.idle_exit(1);
        assert!(domain.is_watched(1));
    }

    #[test]
    fn a_cpu_that_does_not_pass_is_kicked_and_waited_for() {
        static KICKED: AtomicU32 = AtomicU32::new(0);
        let domain = Arc::new(Domain::new());
        domain.idle_exit(63);
        domain.install_kick(|cpu| KICKED.store(cpu, core::sync::atomic::Ordering::Relaxed));
        let is_over = Arc::new(AtomicBool::new(false));
        let waiting = {
            let (domain, is_over) = (Arc::clone(&domain), Arc::clone(&is_over));
            thread::spawn(move || {
                // As if this were CPU 0.
                domain.idle_enter(0);
                domain.synchronize();
                is_over.store(true, Ordering::Relaxed);
            })
        };
        thread::sleep(Duration::from_millis(20));
        assert!(!is_over.load(Ordering::Relaxed));
        assert_eq!(KICKED.load(Ordering::Relaxed), 63);
        domain.quiescent(63);
        waiting.join().unwrap();
    }

    /// Counts those that were dropped.
    struct Counted(Arc<AtomicU32>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_deferred_is_dropped_after_a_grace_period() {
        let domain = Domain::new();
        // The threads of tests have the lowest CPUs that are free.
        domain.idle_enter(0);
        domain.idle_exit(63);
        let dropped = Arc::new(AtomicU32::new(0));
        for _ in 0..5 {
            domain.defer(Deferred::from_box(Box::new(Counted(Arc::clone(&dropped)))));
            domain.reclaim();
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
        domain.idle_enter(63);
        domain.flush();
        assert_eq!(dropped.load(Ordering::Relaxed), 5);
        assert!(!domain.reclaim());
    }

    #[test]
    fn full_lists_are_waited_for() {
        let domain = Domain::new();
        domain.idle_enter(0);
        let dropped = Arc::new(AtomicU32::new(0));
        // The thread may be on any CPU, and each has two lists.
        let (all, held_max) = (3 * CPUS_MAX * BATCH_MAX, 2 * CPUS_MAX * BATCH_MAX);
        for _ in 0..all {
            domain.defer(Deferred::from_box(Box::new(Counted(Arc::clone(&dropped)))));
        }
        assert!(dropped.load(Ordering::Relaxed) >= u32::try_from(all - held_max).unwrap());
        assert!(domain.cpus.iter().all(|cpu| cpu.deferred.load(Ordering::Relaxed) <= 2 * BATCH_MAX));
        drop(domain);
        assert_eq!(dropped.load(Ordering::Relaxed), u32::try_from(all).unwrap());
    }

    #[test]
    fn every_kind_is_dropped() {
        let value = Arc::new(());
        drop(Deferred::from_arc(Arc::clone(&value)));
        drop(Deferred::from_weak(Arc::downgrade(&value)));
        drop(Deferred::from_box(Box::new(Arc::clone(&value))));
        assert_eq!((Arc::strong_count(&value), Arc::weak_count(&value)), (1, 0));
    }
}
