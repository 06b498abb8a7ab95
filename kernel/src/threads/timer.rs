//! The timer of each CPU: sleeps, the service of `linux::timer`, turns of threads, balancing.
//!
//! 1. The timer fires once, at the earliest of what a CPU waits for. It is set anew only for something earlier: one that fires too early
//!    finds nothing and is set again. A CPU that idles and waits for nothing has no timer running; one that
//!    runs one thread takes a few interrupts a second, to tell the program's time from the kernel's ([`SAMPLE_MAX_NS`]).
//! 2. A sleeping thread has its timer on the CPU where it fell asleep.
//! 3. The service has one time for the machine; the CPU that set it last serves it.
//! 4. The counter reaches only so far: see [`TIMER_NS_MAX`].

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use sched::{GRANULE_MIN_NS, RunQueue, ThreadId, TimerId, TimerStorage};
use sync::machine::NEVER;
use sync::rcu;

use super::context::{Context, TABLE};
use super::cpu::{self, Cpu};
use super::{schedule, wait};
use crate::arch::percpu::{self, PerCpu};
use crate::arch::{apic, clock};
use crate::drivers;
use crate::platform::{expire_timers, profile};

/// How far ahead the timer is set at most, so that its counter cannot overflow (4 s at 1 GHz).
const TIMER_NS_MAX: u64 = 2_000_000_000;
/// How often it is looked whether the program or the kernel runs: at first, and for a thread that has been alone for long.
const SAMPLE_MIN_NS: u64 = 10_000_000;
const SAMPLE_MAX_NS: u64 = 160_000_000;
/// How often devices without an interrupt are looked at.
const POLL_NS: u64 = 500_000;

/// When the service wants to be called.
static SERVICE_NS: AtomicU64 = AtomicU64::new(NEVER);
/// Which CPU calls it.
static SERVICE_CPU: AtomicU32 = AtomicU32::new(0);

/// What a timer of a queue is for: a sleeping thread.
pub(crate) type Sleeper = ThreadId;

/// Where the timer of a sleep is.
#[derive(Clone, Copy)]
pub(crate) struct Sleep {
    cpu: u32,
    id: TimerId,
}

/// Sets when the service is called. Interrupts are off.
pub(crate) fn set_service(deadline_ns: u64) {
    SERVICE_CPU.store(PerCpu::number(), Ordering::Relaxed);
    SERVICE_NS.store(deadline_ns, Ordering::Relaxed);
    if let Some(cpu) = PerCpu::scheduler() {
        arm(cpu, deadline_ns);
    }
}

/// Makes the timer fire at `at_ns` at the latest.
#[inline]
fn arm(cpu: &Cpu, at_ns: u64) {
    if at_ns < cpu.armed_ns.get() {
        let at_ns = at_ns.min(clock::now_ns().saturating_add(TIMER_NS_MAX));
        cpu.armed_ns.set(at_ns);
        apic::set_timer(at_ns);
    }
}

/// Before there are threads on this CPU.
pub(super) fn set_without_thread(deadline_ns: u64) {
    let now_ns = clock::now_ns();
    let poll_ns = if drivers::needs_polling() { now_ns.saturating_add(POLL_NS) } else { NEVER };
    let service_ns = SERVICE_NS.load(Ordering::Relaxed);
    let at_ns = deadline_ns.min(poll_ns).min(service_ns);
    if at_ns != NEVER {
        apic::set_timer(at_ns.min(now_ns.saturating_add(TIMER_NS_MAX)));
    }
}

/// Makes the timer fire when the turn of the running thread is over. Under the lock of the queue.
#[inline]
pub(super) fn follow(cpu: &Cpu, queue: &RunQueue, now_ns: u64) {
    let armed_ns = cpu.armed_ns.get();
    let ahead_ns = armed_ns.saturating_sub(now_ns);
    // No turn is shorter than the first: a timer that fires by then needs no second look.
    let is_early = ahead_ns <= GRANULE_MIN_NS || (ahead_ns <= SAMPLE_MIN_NS && queue.has_no_event_before(armed_ns));
    if !is_early {
        set_for_turn(cpu, queue, now_ns);
    }
}

/// Sets the timer for the end of a turn, or for a sample that comes first.
#[inline(never)]
fn set_for_turn(cpu: &Cpu, queue: &RunQueue, now_ns: u64) {
    if let Some(at_ns) = queue.next_event(&TABLE) {
        arm(cpu, at_ns.max(now_ns.saturating_add(GRANULE_MIN_NS)));
    }
    if cpu.armed_ns.get() > now_ns.saturating_add(SAMPLE_MIN_NS) && queue.current().is_some() {
        cpu.sample_ns.set(SAMPLE_MIN_NS);
        arm(cpu, now_ns.saturating_add(SAMPLE_MIN_NS));
    }
}

/// Sets the timer for a CPU that has nothing to run.
pub(super) fn set_for_idle(cpu: &Cpu) {
    arm(cpu, wanted_ns(cpu, clock::now_ns()));
}

/// The next time at which this CPU has something to do, other than a turn.
#[inline]
fn wanted_ns(cpu: &Cpu, now_ns: u64) -> u64 {
    let mut at_ns = cpu.sleepers.lock().next_deadline().unwrap_or(NEVER);
    if SERVICE_CPU.load(Ordering::Relaxed) == cpu.index {
        at_ns = at_ns.min(SERVICE_NS.load(Ordering::Relaxed));
    }
    if cpu.index == 0 && drivers::needs_polling() {
        at_ns = at_ns.min(now_ns.saturating_add(POLL_NS));
    }
    at_ns.min(now_ns.saturating_add(profile::period_ns()))
}

/// Starts the timer of a sleep. False: there is no memory for it.
pub(super) fn start_sleep(context: &Context, deadline_ns: u64) -> bool {
    loop {
        let wanted = {
            let _guard = percpu::SwitchGuard::new();
            let cpu = cpu::current();
            let mut sleepers = cpu.sleepers.lock();
            if let Ok(id) = sleepers.start(deadline_ns, context.id()) {
                context.sleep.set(Some(Sleep { cpu: cpu.index, id }));
                arm(cpu, deadline_ns);
                return true;
            }
            (cpu.index, sleepers.next_capacity(), sleepers.capacity())
        };
        let (index, capacity, before) = wanted;
        let Some(storage) = TimerStorage::allocate(capacity) else { return false };
        let Some(cpu) = cpu::get(index as usize) else { return false };
        let mut sleepers = cpu.sleepers.lock();
        let old = sleepers.grow(storage);
        let is_full = sleepers.capacity() == before && sleepers.len() >= before;
        drop(sleepers);
        drop(old);
        if is_full {
            return false;
        }
    }
}

/// Ends the timer of a sleep, if it has not fired.
pub(super) fn end_sleep(context: &Context) {
    if let Some(sleep) = context.sleep.take()
        && let Some(cpu) = cpu::get(sleep.cpu as usize)
    {
        cpu.sleepers.lock().cancel(sleep.id);
    }
}

/// The timer's interrupt.
pub(crate) fn on_interrupt(_vector: u8) {
    let Some(cpu) = PerCpu::scheduler() else { return };
    cpu.armed_ns.set(NEVER);
    profile::sample(cpu.index);
    cpu.counts.timer_interrupts.fetch_add(1, Ordering::Relaxed);
    wake_sleepers(cpu);
    let now_ns = clock::now_ns();
    if SERVICE_CPU.load(Ordering::Relaxed) == cpu.index && SERVICE_NS.load(Ordering::Relaxed) <= now_ns {
        SERVICE_NS.store(NEVER, Ordering::Relaxed);
        expire_timers();
    }
    if cpu.index == 0 && drivers::needs_polling() {
        drivers::poll();
    }
    if percpu::may_switch() {
        rcu::quiescent(cpu.index);
    }
    let is_in_kernel = !PerCpu::current().has_interrupted_program();
    if let Some(thread) = PerCpu::thread() {
        thread.tick(is_in_kernel);
    }
    let mut queue = cpu.queue.lock();
    let is_over = queue.tick(&TABLE, now_ns);
    cpu.publish(&queue);
    // A turn that is over is followed by a choice, which sets the timer.
    let turn_ns = if is_over { NEVER } else { queue.next_event(&TABLE).unwrap_or(NEVER) };
    let is_alone = cpu.runnable() <= 1;
    drop(queue);
    if is_over {
        schedule::ask_here();
    }
    let mut at_ns = wanted_ns(cpu, now_ns);
    if PerCpu::context().is_some() {
        schedule::balance(cpu, now_ns);
        if !is_alone {
            schedule::ask_for_help(cpu);
        }
        at_ns = at_ns.min(turn_ns.max(now_ns.saturating_add(GRANULE_MIN_NS)));
        let spacing_ns = if is_alone { cpu.sample_ns.get().saturating_mul(2) } else { 0 };
        cpu.sample_ns.set(spacing_ns.clamp(SAMPLE_MIN_NS, SAMPLE_MAX_NS));
        at_ns = at_ns.min(now_ns.saturating_add(cpu.sample_ns.get()));
        if schedule::is_another_crowded(cpu) {
            at_ns = at_ns.min(cpu.balance_ns.get());
        }
    }
    arm(cpu, at_ns);
}

fn wake_sleepers(cpu: &Cpu) {
    loop {
        // One at a time: waking takes the locks of queues.
        let due = cpu.sleepers.lock().expire(clock::now_ns());
        let Some((_, id)) = due else { return };
        wait::wake_id(id);
    }
}
