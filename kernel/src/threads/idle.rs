//! The idle loop: how a CPU waits that has nothing to run.
//!
//! 1. *Of several CPUs* one that has been idle for short times only looks into its inbox for a while before it halts: another CPU that
//!    hands it a thread need not interrupt it.
//! 2. *An only CPU* gets work from devices alone. While waits are short it looks at those that can be looked at ([`drivers::look`]):
//!    the host has no interrupt to bring, and no sleeping thread to wake for the CPU. That is a third of what an answer over the network
//!    takes. Linux does the same in guests of KVM (`cpuidle-haltpoll`), for as long.
//! 3. *A look that takes long* was interrupted, as the host ran somebody else, or found much to take. Either way there is more work than
//!    processors, and who looks keeps those from running that are to bring it: the CPU only halts for a while, and gets what comes in batches.
//!
//! All of it runs with interrupts off, but where it says otherwise.

use core::sync::atomic::{AtomicBool, Ordering};

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

/// The longest that one of several idle CPUs polls before it halts: about what an interrupt and a halt cost twice.
const POLL_MAX_NS: u64 = 50_000;
/// The longest that an only CPU looks at devices: as long as a client nearby takes to go on.
const LOOKING_MAX_NS: u64 = 200_000;
/// A look takes less, unless the host runs somebody else meanwhile or much has come.
const LOOK_TIME_MAX_NS: u64 = 60_000;
/// How long a CPU only halts after one that took longer.
const CONTENTION_NS: u64 = 3_000_000;
/// A new idle time counts one part in so many of the usual one.
const IDLE_MEMORY: u64 = 4;

/// Whether idle CPUs halt at once.
static HALTS_AT_ONCE: AtomicBool = AtomicBool::new(false);

/// From now on idle CPUs halt at once: they take less of the host's time, and answer later.
pub(crate) fn halt_at_once() {
    HALTS_AT_ONCE.store(true, Ordering::Relaxed);
}

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
    let usual_ns = cpu.idle_usual_ns.get().min(LOOKING_MAX_NS * IDLE_MEMORY);
    let idle_ns = idle_ns.min(LOOKING_MAX_NS * IDLE_MEMORY);
    cpu.idle_usual_ns.set(usual_ns - usual_ns / IDLE_MEMORY + idle_ns / IDLE_MEMORY);
}

/// Polls for a while if idle times have been short, then halts until an interrupt. Interrupts are off, and off again on return.
fn wait_for_work(cpu: &'static Cpu, since_ns: u64) {
    if !HALTS_AT_ONCE.load(Ordering::Relaxed) {
        poll(cpu, since_ns);
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

fn poll(cpu: &'static Cpu, since_ns: u64) {
    let usual_ns = cpu.idle_usual_ns.get();
    let is_alone = cpu::count() == 1;
    let begin_ns = clock::now_ns();
    let end_ns = if !is_alone && usual_ns < POLL_MAX_NS {
        watch_inbox(cpu, begin_ns, since_ns.saturating_add(POLL_MAX_NS))
    } else if is_alone && usual_ns < LOOKING_MAX_NS && since_ns >= cpu.looks_from_ns.get() {
        watch_devices(cpu, begin_ns, since_ns.saturating_add(LOOKING_MAX_NS))
    } else {
        return;
    };
    cpu.counts.polled_ns.fetch_add(end_ns.saturating_sub(begin_ns), Ordering::Relaxed);
}

/// Waits until another CPU hands over a thread, or until `until_ns`; when that was.
fn watch_inbox(cpu: &'static Cpu, mut now_ns: u64, until_ns: u64) -> u64 {
    // Who hands something over need not interrupt a CPU that looks.
    cpu.is_notified.store(true, Ordering::SeqCst);
    cpu_interrupts::enable();
    while is_idle(cpu) && now_ns < until_ns {
        core::hint::spin_loop();
        now_ns = clock::now_ns();
    }
    cpu_interrupts::disable();
    cpu.is_notified.store(false, Ordering::SeqCst);
    now_ns
}

/// Waits until a device has something, or until `until_ns`; when that was.
fn watch_devices(cpu: &'static Cpu, mut now_ns: u64, until_ns: u64) -> u64 {
    drivers::begin_looking(cpu.index);
    while is_idle(cpu) && now_ns < until_ns {
        drivers::look(cpu.index);
        // Without PAUSE, at which an emulator leaves the program and asks for the lock that its devices need.
        cpu_interrupts::enable();
        let before_ns = core::mem::replace(&mut now_ns, clock::now_ns());
        cpu_interrupts::disable();
        if now_ns.saturating_sub(before_ns) > LOOK_TIME_MAX_NS {
            cpu.looks_from_ns.set(now_ns.saturating_add(CONTENTION_NS));
            break;
        }
    }
    drivers::end_looking(cpu.index);
    now_ns
}

fn is_idle(cpu: &Cpu) -> bool {
    cpu.inbox.is_empty() && cpu.runnable() == 0
}
