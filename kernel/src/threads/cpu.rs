//! [`Cpu`]: what the scheduler keeps of a CPU, and where to find it.

use alloc::boxed::Box;
use core::cell::Cell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use linux::CpuCounters;
use sched::balance::Load;
use sched::{CPUS_MAX, Inbox, RunQueue, TimerQueue, Urgency, WEIGHT_UNIT};
use sync::machine::NEVER;
use sync::{HeldRanks, IrqSpinLock, rank};

use super::context::Context;
use super::timer::Sleeper;
use crate::arch::percpu::PerCpu;
use crate::arch::{clock, ipi};
use crate::memory::tlb;

/// The scheduler's part of a CPU. Lives for ever.
pub(crate) struct Cpu {
    pub(crate) index: u32,
    pub(crate) queue: IrqSpinLock<RunQueue>,
    pub(crate) inbox: Inbox,
    /// The threads that sleep until a time, by the CPU on which they fell asleep.
    pub(crate) sleepers: IrqSpinLock<TimerQueue<Sleeper>>,
    /// [`Load`] as of the last change: weight, then runnable and urgency.
    weight: AtomicU64,
    runnable: AtomicU32,
    urgency: AtomicU64,
    /// How many threads are in the inbox, or just taken from it.
    pub(crate) incoming: AtomicU32,
    /// An interrupt that makes the CPU look in its inbox is on its way.
    pub(crate) is_notified: AtomicBool,
    /// A CPU with much more to do wants this one to take some of it.
    pub(crate) is_asked_to_balance: AtomicBool,
    /// When the timer fires; only this CPU touches it.
    pub(crate) armed_ns: Cell<u64>,
    pub(crate) balance_ns: Cell<u64>,
    pub(crate) sample_ns: Cell<u64>,
    /// Where the idle loop's registers are, while a thread runs.
    pub(crate) idle_stack_pointer: Cell<usize>,
    /// What the CPU leaves in the switch that is under way: no context for the idle loop.
    pub(crate) leaving: Cell<Option<&'static Context>>,
    pub(crate) fate: Cell<Fate>,
    /// Whose vector registers this CPU has.
    pub(crate) vector_owner: Cell<u32>,
    /// The usual length of idle times, for the choice between polling and halting.
    pub(crate) idle_usual_ns: Cell<u64>,
    /// From when on it looks at devices while it is idle.
    pub(super) looks_from_ns: Cell<u64>,
    /// The locks that are held outside of any thread.
    pub(crate) held: HeldRanks,
    pub(crate) counts: Counts,
}

/// What happens to a thread that has left its stack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing: it waits in the queue or to be woken.
    Stays,
    /// It goes to a CPU where it may run.
    Moves,
    /// It has ended.
    Ends,
}

/// Counts of what a CPU did, for reports. Each is written by its CPU alone, but for the notifications.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) switches: AtomicU64,
    pub(crate) idle_ns: AtomicU64,
    /// Since when it is idle; [`NEVER`] while it is not.
    pub(crate) idle_since_ns: AtomicU64,
    pub(crate) halts: AtomicU64,
    pub(crate) polled_ns: AtomicU64,
    pub(crate) notifications: AtomicU64,
    pub(crate) migrations: AtomicU64,
    pub(crate) timer_interrupts: AtomicU64,
    pub(crate) wakes: AtomicU64,
    /// By the number of the exception.
    pub(crate) exceptions: [AtomicU64; linux::EXCEPTION_COUNT],
}

impl Counts {
    /// Counts one more. By the CPU itself, with interrupts off: nobody else writes.
    #[inline]
    pub(crate) fn add_own(counter: &AtomicU64) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }
}

// SAFETY: the cells are touched by the CPU of the value alone, with interrupts or preemption off.
unsafe impl Sync for Cpu {}

static CPUS: [AtomicPtr<Cpu>; CPUS_MAX] = [const { AtomicPtr::new(null_mut()) }; CPUS_MAX];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Makes the scheduler's part of the calling CPU, whose number is the next one. Once for each CPU, before it takes interrupts.
pub(crate) fn start_cpu() {
    let index = PerCpu::current().index();
    let cpu: &'static Cpu = Box::leak(Box::new(Cpu {
        index,
        queue: IrqSpinLock::new(rank::RUN_QUEUE, RunQueue::new(index)),
        inbox: Inbox::new(),
        sleepers: IrqSpinLock::new(rank::TIMERS, TimerQueue::new()),
        weight: AtomicU64::new(0),
        runnable: AtomicU32::new(0),
        urgency: AtomicU64::new(0),
        incoming: AtomicU32::new(0),
        is_notified: AtomicBool::new(false),
        is_asked_to_balance: AtomicBool::new(false),
        armed_ns: Cell::new(NEVER),
        balance_ns: Cell::new(0),
        sample_ns: Cell::new(0),
        idle_stack_pointer: Cell::new(0),
        leaving: Cell::new(None),
        fate: Cell::new(Fate::Stays),
        vector_owner: Cell::new(super::context::NO_CPU),
        idle_usual_ns: Cell::new(NEVER),
        looks_from_ns: Cell::new(0),
        held: HeldRanks::new(),
        counts: Counts::default(),
    }));
    PerCpu::current().set_scheduler(cpu);
    CPUS[index as usize].store(core::ptr::from_ref(cpu).cast_mut(), Ordering::Release);
    COUNT.fetch_max(index as usize + 1, Ordering::AcqRel);
}

/// What a CPU has done.
pub(crate) fn counters(index: u32) -> CpuCounters {
    let Some(cpu) = get(index as usize) else { return CpuCounters::default() };
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let since_ns = read(&cpu.counts.idle_since_ns);
    let idle_now_ns = if since_ns == NEVER { 0 } else { clock::now_ns().saturating_sub(since_ns) };
    CpuCounters {
        idle_ns: read(&cpu.counts.idle_ns).saturating_add(idle_now_ns),
        polled_ns: read(&cpu.counts.polled_ns),
        halts: read(&cpu.counts.halts),
        switches: read(&cpu.counts.switches),
        migrations: read(&cpu.counts.migrations),
        timer_interrupts: read(&cpu.counts.timer_interrupts),
        reschedule_interrupts: read(&cpu.counts.notifications),
        flush_interrupts: tlb::served(index),
        wakes: read(&cpu.counts.wakes),
        runnable: cpu.runnable(),
    }
}

/// Counts an exception on this CPU. Interrupts are off.
pub(crate) fn count_exception(vector: u8) {
    let counter = PerCpu::scheduler().and_then(|cpu| cpu.counts.exceptions.get(usize::from(vector)));
    if let Some(counter) = counter {
        Counts::add_own(counter);
    }
}

/// The exceptions of a CPU.
pub(crate) fn exceptions(index: u32) -> linux::ExceptionCounters {
    let Some(cpu) = get(index as usize) else { return [0; linux::EXCEPTION_COUNT] };
    core::array::from_fn(|vector| cpu.counts.exceptions[vector].load(Ordering::Relaxed))
}

/// How many CPUs run threads.
pub(crate) fn count() -> usize {
    COUNT.load(Ordering::Acquire)
}

/// A CPU by its number. `None`: it does not run threads.
pub(crate) fn get(index: usize) -> Option<&'static Cpu> {
    let cpu = CPUS.get(index)?.load(Ordering::Acquire);
    // SAFETY: stored by `start_cpu` from a leaked box.
    unsafe { cpu.as_ref() }
}

/// The CPU that runs this; the caller cannot migrate.
#[inline]
pub(crate) fn current() -> &'static Cpu {
    PerCpu::scheduler().expect("the scheduler has started on this CPU")
}

impl Cpu {
    /// Publishes what the CPU has to do; under the lock of its queue.
    #[inline]
    pub(crate) fn publish(&self, queue: &RunQueue) {
        let load = queue.load();
        self.weight.store(load.weight, Ordering::Relaxed);
        self.urgency.store(u64::from(load.running.to_bits()), Ordering::Relaxed);
        self.runnable.store(load.runnable, Ordering::Relaxed);
    }

    /// What the CPU had to do when it last said so, with what has been handed to it since: or all that is woken at once would go to the
    /// same idle CPU.
    #[inline]
    pub(crate) fn load(&self) -> Load {
        let incoming = self.incoming.load(Ordering::Relaxed);
        let running = Urgency::from_bits(u8::try_from(self.urgency.load(Ordering::Relaxed)).unwrap_or(u8::MAX));
        Load {
            weight: self.weight.load(Ordering::Relaxed) + u64::from(incoming) * u64::from(WEIGHT_UNIT),
            runnable: self.runnable.load(Ordering::Relaxed) + incoming,
            running: if incoming > 0 { running.max(Urgency::FAIR) } else { running },
        }
    }

    /// How many threads run and wait here.
    #[inline]
    pub(crate) fn runnable(&self) -> u32 {
        self.runnable.load(Ordering::Relaxed)
    }
}

/// The load of a CPU by its number; that of one that does not run threads makes nobody go there.
pub(crate) fn load_of(index: usize) -> Load {
    get(index).map_or(Load { weight: u64::MAX, runnable: u32::MAX, running: Urgency::from_bits(u8::MAX) }, Cpu::load)
}

/// Makes another CPU look at what it should do.
pub(crate) fn interrupt(index: usize) {
    if let Some(cpu) = get(index) {
        cpu.counts.notifications.fetch_add(1, Ordering::Relaxed);
        ipi::reschedule(cpu.index);
    }
}
