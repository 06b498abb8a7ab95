//! From one thread's registers and stack to another's.
//!
//! The kernel's own registers change with the stack. Of the program's, fs, gs and the vector registers are still in the CPU; they are saved
//! each time the thread leaves and loaded unless the CPU still has them: a thread that comes back to where nobody else ran finds
//! them in place.

use core::arch::global_asm;
use core::sync::atomic::Ordering;

use sched::{Arrival, ThreadId};
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{FsBase, KernelGsBase};
use x86_64::registers::segmentation::{FS, Segment64};

use super::context::{Context, TABLE};
use super::cpu::{self, Cpu, Fate};
use super::schedule;
use super::worker::Work;
use crate::arch::cpu::{Features, features};
use crate::arch::percpu::PerCpu;
use crate::arch::vector_state;
use crate::memory::paging;

global_asm!(include_str!("switch.s"));

unsafe extern "C" {
    fn switch_stacks(old: *mut usize, new: usize);
    fn thread_entry() -> !;
    fn worker_entry() -> !;
}

/// Words that `switch_stacks` takes from a stack, the return address last.
const SWITCH_WORDS: usize = 7;

/// Makes a switch to `context` start its thread: it begins in `thread_entry`, below the frame of its program.
pub(super) fn prepare(context: &Context) {
    let frame = context.program_frame() as usize;
    let start = frame - SWITCH_WORDS * size_of::<usize>();
    let words = start as *mut usize;
    // SAFETY: the words lie in the stack of the context, on which nobody runs.
    unsafe {
        words.write_bytes(0, SWITCH_WORDS - 1);
        words.add(SWITCH_WORDS - 1).write(thread_entry as *const () as usize);
    }
    context.stack_pointer.set(start);
}

/// Makes a switch to `context` begin to work: it begins in `worker_entry`, at the top of its stack.
pub(super) fn prepare_worker(context: &Context, work: Work, cpu: u32) {
    let top = context.stack_bounds().1;
    let start = top - SWITCH_WORDS * size_of::<usize>();
    let words = start as *mut usize;
    // SAFETY: the words lie in the stack of the context, on which nobody runs. The first two are r15 and r14.
    unsafe {
        words.write_bytes(0, SWITCH_WORDS - 1);
        words.write(work as usize);
        words.add(1).write(cpu as usize);
        words.add(SWITCH_WORDS - 1).write(worker_entry as *const () as usize);
    }
    context.stack_pointer.set(start);
}

/// The first Rust code of a worker. Interrupts are off.
///
/// # Safety
/// Called by `worker_entry` only, with what `prepare_worker` left on the stack.
#[unsafe(no_mangle)]
unsafe extern "C" fn nacre_worker_entry(work: usize, cpu: u32) -> ! {
    finish(cpu::current());
    // SAFETY: `prepare_worker` made the number of a function of this type.
    let work = unsafe { core::mem::transmute::<usize, Work>(work) };
    x86_64::instructions::interrupts::enable();
    work(cpu)
}

/// The first Rust code of a new thread, on its stack; its program follows. Interrupts are off.
///
/// # Safety
/// Called by `thread_entry` only.
#[unsafe(no_mangle)]
unsafe extern "C" fn nacre_thread_entry() {
    finish(cpu::current());
}

/// Leaves what runs on this CPU for `next`, or for the idle loop, and returns when it comes back, perhaps on another CPU. Interrupts are
/// off. `next` is another than what runs.
pub(super) fn switch(cpu: &'static Cpu, next: Option<&'static Context>, fate: Fate) {
    let leaves = PerCpu::context();
    cpu.counts.switches.fetch_add(1, Ordering::Relaxed);
    if let Some(context) = leaves {
        save_program(cpu, context, fate);
    }
    cpu.leaving.set(leaves);
    cpu.fate.set(fate);
    let per_cpu = PerCpu::current();
    let new = match next {
        Some(context) => {
            load_program(cpu, per_cpu, context);
            context.stack_pointer.get()
        }
        None => {
            per_cpu.set_context(core::ptr::null());
            per_cpu.clear_thread();
            cpu.idle_stack_pointer.get()
        }
    };
    let old = leaves.map_or(cpu.idle_stack_pointer.as_ptr(), |context| context.stack_pointer.as_ptr());
    // SAFETY: `new` was left by an earlier switch or made by `prepare`, and nobody else runs on that stack: the context was taken from
    // a queue by this CPU, after it was off its last one. What `old` points to belongs to who leaves.
    unsafe { switch_stacks(old, new) };
    // On the stack that `switch` was called on, but maybe on another CPU.
    finish(cpu::current());
}

/// Lets go of the thread that was left; on the stack of the next one.
#[inline]
fn finish(cpu: &'static Cpu) {
    let Some(left) = cpu.leaving.take() else { return };
    left.is_on_cpu.store(false, Ordering::Release);
    match cpu.fate.get() {
        Fate::Stays => {}
        Fate::Moves => {
            left.set_arrival(Arrival::Moved);
            schedule::send(left);
        }
        Fate::Ends => TABLE.give_back(left),
    }
}

/// Saves what of the program is in this CPU. A context without a thread, which is a worker's or of one that ends, never comes back to a program:
/// what the CPU has is another thread's, and stays.
fn save_program(cpu: &Cpu, context: &Context, fate: Fate) {
    if fate == Fate::Ends {
        cpu.vector_owner.set(super::context::NO_CPU);
        return;
    }
    if context.thread().is_null() {
        return;
    }
    context.fs_base.set(read_fs_base());
    if PerCpu::current().has_own_gs() {
        context.gs_base.set(KernelGsBase::read().as_u64());
    }
    // SAFETY: the area is the context's own, as large as a state, aligned to 64, and its header was zero at first.
    unsafe { vector_state::save_to(context.vector_area().as_ptr()) };
}

/// Loads what the program of `context` wants in this CPU; nothing, if there is none.
fn load_program(cpu: &Cpu, per_cpu: &'static PerCpu, context: &'static Context) {
    // Before the look at the attention word on the way to the program: see `control::kick`.
    context.is_on_cpu.store(true, Ordering::SeqCst);
    let (bottom, top) = context.stack_bounds();
    per_cpu.set_kernel_stack(bottom, top);
    per_cpu.set_context(context);
    let thread = context.thread();
    // SAFETY: the context holds its thread until that ends, on this CPU or another, and it has not ended: it is to run.
    let Some(running) = (unsafe { thread.as_ref() }) else { return per_cpu.clear_thread() };
    per_cpu.set_thread(thread, running.attention_word());
    let root = context.root.load(Ordering::Relaxed);
    if root != paging::current_root() {
        // SAFETY: the thread keeps its address space, and so the tables, while it lives; one that is on its way out may outlive
        // them, and then its context names the kernel's (`Table::forget_root`).
        unsafe { paging::set_root_of(&context.root) };
    }
    write_fs_base(context.fs_base.get());
    let gs_base = context.gs_base.get();
    if gs_base != 0 || per_cpu.has_own_gs() {
        per_cpu.switch_program_gs(gs_base);
    }
    let ThreadId(id) = context.id();
    if cpu.vector_owner.get() != id || context.vector_cpu.get() != cpu.index {
        // SAFETY: the area holds what `save_to` left there, or what was saved there when the thread was made.
        unsafe { vector_state::load_from(context.vector_area().as_ptr()) };
        cpu.vector_owner.set(id);
        context.vector_cpu.set(cpu.index);
    }
}

/// The program's fs base, as the CPU has it.
pub(super) fn read_fs_base() -> u64 {
    if features().contains(Features::FSGSBASE) { FS::read_base().as_u64() } else { FsBase::read().as_u64() }
}

fn write_fs_base(address: u64) {
    let address = VirtAddr::new_truncate(address);
    if features().contains(Features::FSGSBASE) {
        // SAFETY: fs is the program's; the kernel does not use it.
        unsafe { FS::write_base(address) };
    } else {
        FsBase::write(address);
    }
}
