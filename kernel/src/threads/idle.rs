//! The idle loop: how a CPU waits that has nothing to run.
//!
//! All of it runs with interrupts off, but where it says otherwise.

use core::sync::atomic::Ordering;

use sched::Leave;
use sync::machine::NEVER;
use sync::rcu;
use x86_64::instructions::interrupts as cpu_interrupts;

use super::cpu::{self, Cpu, Fate};
use super::schedule::{choose, steal, take_inbox};
use super::timer;
use crate::arch::clock;
use crate::arch::percpu;
use crate::drivers;
use crate::memory::tlb;
use crate::platform::deferred;

/// The longest that an idle CPU polls before it halts: about what an interrupt and a halt cost twice.
const POLL_MAX_NS: u64 = 50_000;
/// A new idle time counts one part in so many of the usual one.
const IDLE_MEMORY: u64 = 4;

/// What a CPU does that has nothing to do, for ever: waits for threads and runs them. The calling stack becomes the idle loop's.
pub(crate) fn run_idle() -> ! {
    cpu_interrupts::disable();
    let cpu = cpu::current();
    let mut since_ns = clock::now_ns();
    cpu.counts.idle_since_ns.store(since_ns, Ordering::Relaxed);
    rcu::idle_exit(cpu.index);
    enter_idleness(cpu);
    loop {
        take_inbox(cpu, None);
        if cpu.runnable() == 0 && !steal(cpu) {
            wait_for_work(cpu, since_ns);
            continue;
        }
        let now_ns = clock::now_ns();
        remember_idle_time(cpu, now_ns.saturating_sub(since_ns));
        percpu::switch_is_made();
        leave_idleness(cpu);
        cpu.counts.idle_since_ns.store(NEVER, Ordering::Relaxed);
        choose(cpu, None, Leave::Preempted, Fate::Stays);
        enter_idleness(cpu);
        since_ns = clock::now_ns();
        cpu.counts.idle_since_ns.store(since_ns, Ordering::Relaxed);
    }
}

/// From now on this CPU reads nothing of programs, and nothing under RCU but in interrupts, which say so themselves.
#[inline]
fn enter_idleness(cpu: &Cpu) {
    tlb::enter_idle();
    rcu::idle_enter(cpu.index);
}

fn leave_idleness(cpu: &Cpu) {
    rcu::idle_exit(cpu.index);
    tlb::leave_idle();
}

fn remember_idle_time(cpu: &Cpu, idle_ns: u64) {
    cpu.counts.idle_ns.fetch_add(idle_ns, Ordering::Relaxed);
    let usual_ns = cpu.idle_usual_ns.get().min(POLL_MAX_NS * IDLE_MEMORY);
    let idle_ns = idle_ns.min(POLL_MAX_NS * IDLE_MEMORY);
    cpu.idle_usual_ns.set(usual_ns - usual_ns / IDLE_MEMORY + idle_ns / IDLE_MEMORY);
}

/// Polls for a while if idle times have been short, then halts until an interrupt. Interrupts are off, and off again on return.
fn wait_for_work(cpu: &'static Cpu, since_ns: u64) {
    if cpu::count() > 1 && cpu.idle_usual_ns.get() < POLL_MAX_NS {
        let until_ns = since_ns.saturating_add(POLL_MAX_NS);
        // Who hands something over need not interrupt a CPU that looks.
        cpu.is_notified.store(true, Ordering::SeqCst);
        cpu_interrupts::enable();
        let begin_ns = clock::now_ns();
        let mut now_ns = begin_ns;
        while cpu.inbox.is_empty() && cpu.runnable() == 0 && now_ns < until_ns {
            core::hint::spin_loop();
            now_ns = clock::now_ns();
        }
        cpu_interrupts::disable();
        cpu.is_notified.store(false, Ordering::SeqCst);
        cpu.counts.polled_ns.fetch_add(now_ns.saturating_sub(begin_ns), Ordering::Relaxed);
    }
    deferred::run();
    if rcu::has_deferred(cpu.index) {
        rcu::reclaim();
    }
    if !cpu.inbox.is_empty() || cpu.runnable() != 0 {
        return;
    }
    timer::set_for_idle(cpu);
    if drivers::needs_polling() {
        drivers::poll();
    }
    if cpu.inbox.prepare_halt() && cpu.runnable() == 0 {
        cpu.counts.halts.fetch_add(1, Ordering::Relaxed);
        cpu_interrupts::enable_and_hlt();
        cpu_interrupts::disable();
    }
    cpu.inbox.finish_halt();
}
