//! The reschedule point and preemption: where a CPU chooses what it runs.
//!
//! All of it runs with interrupts off. `sched` says in its own documentation, step by step, what is done here and why.

use core::sync::atomic::Ordering;

use sched::balance::{self, BALANCE_PERIOD_NS};
use sched::{Arrival, CpuSet, Leave, Place, WEIGHT_UNIT};
use sync::rcu;
use x86_64::instructions::interrupts as cpu_interrupts;

use super::context::{Context, TABLE};
use super::cpu::{self, Cpu, Fate};
use super::{switch, timer};
use crate::arch::clock;
use crate::arch::percpu::{self, PerCpu};

/// Lets the most deserving thread of this CPU run. Interrupts are off. Returns when the calling thread runs again, perhaps elsewhere.
pub(super) fn reschedule(mut leave: Leave) {
    let cpu = cpu::current();
    let current = PerCpu::context();
    percpu::switch_is_made();
    if let Some(thread) = PerCpu::thread() {
        thread.forget_reschedule();
    }
    if take_inbox(cpu, current) && leave == Leave::Blocks {
        // Woken before it had left.
        leave = Leave::Preempted;
    }
    let mut fate = Fate::Stays;
    if let Some(context) = current
        && leave != Leave::Blocks
        && !context.node.affinity().contains(cpu.index as usize)
    {
        (leave, fate) = (Leave::Moves, Fate::Moves);
    }
    choose(cpu, current, leave, fate);
}

/// Ends the calling thread's time for ever.
pub(super) fn leave_for_ever() -> ! {
    let cpu = cpu::current();
    percpu::switch_is_made();
    let current = PerCpu::context();
    take_inbox(cpu, current);
    choose(cpu, current, Leave::Blocks, Fate::Ends);
    unreachable!("a thread that has ended was switched to");
}

pub(super) fn choose(cpu: &'static Cpu, current: Option<&'static Context>, leave: Leave, fate: Fate) {
    let now_ns = clock::now_ns();
    let mut queue = cpu.queue.lock();
    let next = queue.schedule(&TABLE, now_ns, leave);
    cpu.publish(&queue);
    timer::follow(cpu, &queue, now_ns);
    drop(queue);
    let next = next.map(|id| TABLE.get(id));
    let is_same = match (current, next) {
        (Some(current), Some(next)) => core::ptr::eq(current, next),
        (None, None) => true,
        _ => false,
    };
    if is_same {
        return;
    }
    if let Some(context) = current
        // SAFETY: null, or the calling thread, which lives.
        && let Some(thread) = unsafe { context.thread().as_ref() }
    {
        thread.was_preempted();
        thread.accounting().count_switch(leave == Leave::Blocks);
    }
    rcu::quiescent(cpu.index);
    switch::switch(cpu, next, fate);
}

/// Enters in the queue of this CPU what others have handed to it. True: `current` was among them. It is not entered, as it has not left yet.
#[inline]
pub(super) fn take_inbox(cpu: &'static Cpu, current: Option<&'static Context>) -> bool {
    // Nearly always there is nothing, and nobody has been told that this CPU looks: who comes now sends an interrupt.
    (cpu.is_notified.load(Ordering::Relaxed) || !cpu.inbox.is_empty()) && empty_inbox(cpu, current)
}

#[inline(never)]
fn empty_inbox(cpu: &'static Cpu, current: Option<&'static Context>) -> bool {
    let mut has_current = false;
    cpu.is_notified.store(false, Ordering::SeqCst);
    for id in cpu.inbox.take(&TABLE) {
        let context = TABLE.get(id);
        if current.is_some_and(|current| core::ptr::eq(current, context)) {
            has_current = true;
        } else {
            wait_until_off(context);
            if context.node.affinity().contains(cpu.index as usize) {
                enter(cpu, context);
            } else {
                send(context);
            }
        }
        cpu.incoming.fetch_sub(1, Ordering::Relaxed);
    }
    has_current
}

/// Waits until a thread that somebody handed over is off its last CPU, which only has to finish a switch.
fn wait_until_off(context: &Context) {
    while context.is_on_cpu.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
}

/// Enters a thread in the queue of this CPU; sends it on if it may not run here any more.
fn enter(cpu: &'static Cpu, context: &'static Context) {
    let mut queue = cpu.queue.lock();
    let quickly = queue.enqueue_woken(&TABLE, context.id(), context.arrival(), cpu.armed_ns.get());
    let preempts = quickly.unwrap_or_else(|| {
        let now_ns = clock::now_ns();
        let preempts = queue.enqueue(&TABLE, context.id(), now_ns, context.arrival());
        // Where a choice follows, that sets the timer.
        if !preempts {
            timer::follow(cpu, &queue, now_ns);
        }
        preempts
    });
    if !context.node.affinity().contains(cpu.index as usize) {
        queue.remove(&TABLE, context.id(), clock::now_ns());
        cpu.publish(&queue);
        drop(queue);
        context.set_arrival(Arrival::Moved);
        return send(context);
    }
    cpu.publish(&queue);
    drop(queue);
    if preempts {
        ask_here();
    }
    if cpu::count() > 1 && cpu.runnable() > 1 && context.node.affinity() != CpuSet::of(cpu.index as usize) {
        ask_for_help(cpu);
    }
}

/// Makes this CPU choose again at the next opportunity.
pub(super) fn ask_here() {
    percpu::want_switch();
    if let Some(thread) = PerCpu::thread() {
        thread.note_reschedule();
    }
}

/// Makes a CPU choose again.
pub(super) fn ask(cpu: &Cpu) {
    if cpu.index == PerCpu::number() {
        ask_here();
    } else {
        cpu::interrupt(cpu.index as usize);
    }
}

/// Brings a runnable thread, which is in no queue, to a CPU where it may run. Interrupts are off.
pub(super) fn send(context: &'static Context) {
    let node = &context.node;
    let own = cpu::current();
    if context.is_on_cpu.load(Ordering::Acquire) {
        // Its CPU is switching away from it: who finishes that finds it there.
        hand_to(cpu::get(node.cpu()).unwrap_or(own), context);
        return;
    }
    if cpu::count() == 1 {
        return enter(own, context);
    }
    let target = balance::place(node.affinity(), node.policy().urgency(), node.cpu(), cpu::count(), cpu::load_of);
    match target.and_then(cpu::get) {
        Some(target) if target.index != own.index => hand_to(target, context),
        // An affinity always names a CPU that there is.
        _ => enter(own, context),
    }
}

fn hand_to(target: &'static Cpu, context: &'static Context) {
    target.incoming.fetch_add(1, Ordering::Relaxed);
    let is_halting = target.inbox.push(&TABLE, context.id());
    if target.index == PerCpu::number() {
        ask_here();
    } else if is_halting || !target.is_notified.swap(true, Ordering::SeqCst) {
        cpu::interrupt(target.index as usize);
    }
}

/// Another CPU has put something in the inbox, or wants this one to choose again.
pub(crate) fn on_reschedule_interrupt(_vector: u8) {
    let Some(cpu) = PerCpu::scheduler() else { return };
    let current = PerCpu::context();
    take_inbox(cpu, current);
    if percpu::may_switch() {
        rcu::quiescent(cpu.index);
    }
    if cpu.is_asked_to_balance.swap(false, Ordering::Relaxed) {
        steal(cpu);
    }
    ask_here();
}

/// The way out of an interrupt in kernel code finds that a switch is due: the thread is preempted here.
///
/// # Safety
/// Called by interrupt_in_kernel only, on the thread's own stack, interrupts off.
#[unsafe(no_mangle)]
unsafe extern "C" fn nacre_preempt() {
    if percpu::is_switch_due() {
        reschedule(Leave::Preempted);
    }
}

/// The count of what forbids a switch has gone to zero, and one is wanted.
#[cold]
pub(crate) fn preempt_now() {
    if cpu_interrupts::are_enabled() && PerCpu::context().is_some() {
        cpu_interrupts::disable();
        if percpu::is_switch_due() {
            reschedule(Leave::Preempted);
        }
        cpu_interrupts::enable();
    }
}

/// For the exit path: another thread first, if one is due.
pub(crate) fn reschedule_on_exit() {
    cpu_interrupts::disable();
    reschedule(Leave::Preempted);
    cpu_interrupts::enable();
}

/// Lets others run first.
#[inline]
pub(crate) fn yield_now() {
    cpu_interrupts::disable();
    let cpu = cpu::current();
    if cpu.runnable() > 1 || !cpu.inbox.is_empty() {
        reschedule(Leave::Yields);
    }
    cpu_interrupts::enable();
}

/// Looks for a thread on busier CPUs and takes one. Interrupts are off. True: there is one more in the queue here.
pub(super) fn steal(cpu: &'static Cpu) -> bool {
    let count = cpu::count();
    if count < 2 {
        return false;
    }
    for source in balance::sources(cpu.index as usize, count, cpu::load_of) {
        let Some(source) = cpu::get(source) else { continue };
        let now_ns = clock::now_ns();
        let mut queue = source.queue.lock();
        let taken = queue.take_for(&TABLE, cpu.index as usize, cpu.load(), now_ns);
        source.publish(&queue);
        drop(queue);
        if let Some(id) = taken {
            let context = TABLE.get(id);
            context.set_arrival(Arrival::Moved);
            wait_until_off(context);
            cpu.counts.migrations.fetch_add(1, Ordering::Relaxed);
            enter(cpu, context);
            return true;
        }
    }
    false
}

/// What a busy CPU does from its timer: takes a thread if another CPU has much more to do.
pub(super) fn balance(cpu: &'static Cpu, now_ns: u64) {
    if now_ns >= cpu.balance_ns.get() {
        cpu.balance_ns.set(now_ns.saturating_add(BALANCE_PERIOD_NS));
        steal(cpu);
    }
}

/// Wakes a CPU that could take some of what waits on this one, if there is one. Not under the lock of a queue.
pub(super) fn ask_for_help(cpu: &Cpu) {
    // Who was asked already will have one more.
    let load = |index: usize| {
        let mut load = cpu::load_of(index);
        if cpu::get(index).is_some_and(|other| other.is_asked_to_balance.load(Ordering::Relaxed)) {
            load.weight = load.weight.saturating_add(u64::from(WEIGHT_UNIT));
            load.runnable = load.runnable.saturating_add(1);
        }
        load
    };
    let waiting = || cpu.queue.lock().waiting(&TABLE);
    let helper = balance::helper(cpu.index as usize, cpu::count(), load, waiting);
    if let Some(helper) = helper.and_then(cpu::get)
        && !helper.is_asked_to_balance.swap(true, Ordering::Relaxed)
    {
        cpu::interrupt(helper.index as usize);
    }
}

/// Whether another CPU has more threads than it can run.
pub(super) fn is_another_crowded(cpu: &Cpu) -> bool {
    (0..cpu::count())
        .any(|other| other != cpu.index as usize && cpu::get(other).is_some_and(|other| other.runnable() > 1))
}

/// Whether the thread of a context waits in a queue or runs.
pub(super) fn is_runnable(context: &Context) -> bool {
    context.state.load(Ordering::Relaxed) == super::context::RUNNABLE || context.node.place() != Place::Off
}
