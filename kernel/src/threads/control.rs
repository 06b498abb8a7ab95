//! The life of threads, their policy and affinity: the seam of `linux`.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::Errno;
use linux::{Thread, ThreadStart};
use sched::{CpuSet, Place, Policy};
use x86_64::instructions::interrupts as cpu_interrupts;

use super::context::{BLOCKED, Context, RUNNABLE, TABLE};
use super::cpu::{self, Cpu};
use super::{schedule, switch};
use crate::arch::percpu::{self, PerCpu};
use crate::arch::{clock, interrupts, vector_state};
use crate::memory::paging;

fn of(thread: &Thread) -> Option<&'static Context> {
    TABLE.of_word(thread.context().load(Ordering::Acquire))
}

/// Makes the context of a thread.
pub(crate) fn create(thread: &Arc<Thread>, start: ThreadStart) -> Result<(), Errno> {
    let context = TABLE.take().ok_or(Errno::EAGAIN)?;
    let (policy, affinity) = match PerCpu::context() {
        Some(own) => (own.node.policy(), own.node.affinity()),
        None => (Policy::Other { nice: 0 }, CpuSet::ALL),
    };
    context.set_thread(Arc::clone(thread), policy, affinity);
    context.fs_base.set(start.fs_base.unwrap_or_else(switch::read_fs_base));
    // The new thread has no gs base of its own but what it sets; one that its creator set is the creator's.
    context.gs_base.set(percpu::program_gs());
    context.root.store(paging::current_root(), Ordering::Relaxed);
    // SAFETY: the frame and the area are in the context's stack, on which nobody runs yet.
    unsafe {
        context.program_frame().write(start.registers);
        vector_state::save_whole_to(context.vector_area().as_ptr());
    }
    switch::prepare(context);
    thread.context().store(u64::from(context.id().0), Ordering::Release);
    Ok(())
}

/// Lets a thread run that has a context.
pub(crate) fn launch(thread: &Thread) {
    if let Some(context) = of(thread) {
        interrupts::without(|| schedule::send(context));
    }
}

/// Takes the context of a thread back that was not launched.
pub(crate) fn abandon(thread: &Thread) {
    let context = of(thread);
    thread.context().store(linux::NO_CONTEXT, Ordering::Release);
    if let Some(context) = context {
        drop(context.take_thread());
        TABLE.give_back(context);
    }
}

/// Ends the calling thread. Its `Thread` is let go here, in its own time; `farewell` is the last thing it does.
pub(crate) fn exit(farewell: &mut dyn FnMut()) -> ! {
    let Some(context) = PerCpu::context() else { unreachable!("a thread that runs has a context") };
    TABLE.trim();
    interrupts::without(|| PerCpu::current().clear_thread());
    drop(context.take_thread());
    cpu_interrupts::disable();
    farewell();
    schedule::leave_for_ever()
}

/// Makes a thread that runs its program on another CPU enter the kernel.
pub(crate) fn kick(thread: &Thread) {
    if let Some(context) = of(thread)
        && context.is_on_cpu.load(Ordering::SeqCst)
    {
        let cpu = context.node.cpu();
        if cpu != PerCpu::number() as usize && cpu < cpu::count() {
            cpu::interrupt(cpu);
        }
    }
}

/// The policy of a thread.
pub(crate) fn policy(thread: &Thread) -> Policy {
    of(thread).map_or(Policy::Other { nice: 0 }, |context| context.node.policy())
}

/// The CPUs on which a thread may run.
pub(crate) fn affinity(thread: &Thread) -> CpuSet {
    of(thread).map_or(CpuSet::ALL, |context| context.node.affinity())
}

/// Runs `action` under the lock of the queue that the thread of `context` belongs to.
fn with_queue<R>(context: &Context, action: impl FnOnce(&'static Cpu, &mut sched::RunQueue) -> R) -> R {
    loop {
        let cpu = cpu::get(context.node.cpu()).expect("a node names a CPU that there is");
        let mut queue = cpu.queue.lock();
        if context.node.cpu() == cpu.index as usize {
            return action(cpu, &mut queue);
        }
    }
}

/// Sets the policy of a thread.
pub(crate) fn set_policy(thread: &Thread, policy: Policy) {
    let Some(context) = of(thread) else { return };
    context.node.set_policy(policy);
    let (cpu, is_due) = with_queue(context, |cpu, queue| {
        let is_due = queue.follow_policy(&TABLE, context.id(), clock::now_ns());
        cpu.publish(queue);
        (cpu, is_due)
    });
    if is_due {
        interrupts::without(|| schedule::ask(cpu));
    }
}

/// Sets where a thread may run. On return it runs nowhere else.
pub(crate) fn set_affinity(thread: &Thread, cpus: CpuSet) {
    let Some(context) = of(thread) else { return };
    let is_allowed = |cpu: &Cpu| cpus.contains(cpu.index as usize);
    context.node.set_affinity(cpus);
    let (cpu, place, is_taken) = with_queue(context, |cpu, queue| {
        let place = queue.place(&TABLE, context.id());
        let is_taken = place == Place::Queued && !is_allowed(cpu);
        if is_taken {
            queue.remove(&TABLE, context.id(), clock::now_ns());
            cpu.publish(queue);
        }
        (cpu, place, is_taken)
    });
    if is_taken {
        context.set_arrival(sched::Arrival::Moved);
        interrupts::without(|| schedule::send(context));
        return;
    }
    if place != Place::Running || is_allowed(cpu) {
        return;
    }
    if PerCpu::context().is_some_and(|own| core::ptr::eq(own, context)) {
        schedule::reschedule_on_exit();
        return;
    }
    loop {
        let is_there =
            with_queue(context, |at, queue| queue.place(&TABLE, context.id()) == Place::Running && !is_allowed(at));
        if !is_there {
            return;
        }
        interrupts::without(|| schedule::ask(cpu));
        schedule::yield_now();
        core::hint::spin_loop();
    }
}

/// How long a thread has been on a CPU.
pub(crate) fn runtime_ns(thread: &Thread) -> u64 {
    let Some(context) = of(thread) else { return 0 };
    with_queue(context, |_, queue| queue.runtime_ns(&TABLE, context.id(), clock::now_ns()))
}

/// The CPU of a thread.
pub(crate) fn cpu_of(thread: &Thread) -> u32 {
    of(thread).map_or(0, |context| u32::try_from(context.node.cpu()).unwrap_or(0))
}

/// Whether a thread waits for nothing but a CPU.
pub(crate) fn is_runnable(thread: &Thread) -> bool {
    of(thread).is_none_or(|context| {
        debug_assert!(matches!(context.state.load(Ordering::Relaxed), RUNNABLE | BLOCKED));
        schedule::is_runnable(context)
    })
}

/// Lets others run first.
#[inline]
pub(crate) fn yield_now() {
    schedule::yield_now();
}

/// Makes the address space at `root` the calling thread's.
pub(crate) fn set_root(root: u64) {
    if let Some(context) = PerCpu::context() {
        context.root.store(root, Ordering::Relaxed);
    }
}

/// Sets the gs base of the calling thread.
pub(crate) fn set_gs(address: u64) {
    if let Some(context) = PerCpu::context() {
        context.gs_base.set(address);
    }
    percpu::set_program_gs(address);
}
