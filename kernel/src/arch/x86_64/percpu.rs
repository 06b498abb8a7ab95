//! What each CPU keeps for itself, reached through the gs base.
//!
//! The first fields are known to the assembly by offset (traps.s). A CPU's `PerCpu` lives for ever and only that CPU touches
//! it.

use core::cell::Cell;
use core::mem::offset_of;
use core::ops::Range;
use core::ptr::null;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use linux::{Registers, Thread};
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{GsBase, KernelGsBase, LStar};

use crate::threads::context::Context;
use crate::threads::cpu::Cpu;

/// A CPU's own data. Invariant: the gs base of a CPU in the kernel is the address of its `PerCpu`.
#[repr(C)]
pub(crate) struct PerCpu {
    this: Cell<*const PerCpu>,
    /// Top of the current thread's kernel stack, less 8: what the first push of an entry lands on.
    kernel_stack: Cell<usize>,
    /// Where the entry keeps the program's rsp for two instructions.
    scratch: Cell<usize>,
    thread: Cell<*const Thread>,
    /// The thread's attention word; not zero: there is work before the program may go on.
    attention: Cell<*const AtomicU32>,
    kernel_stack_bottom: Cell<usize>,
    /// Not zero: the thread has a gs base of its own, swapped out now.
    has_own_gs: Cell<u32>,
    index: u32,
    /// Where a system call saves the program's registers: the frame that ends at `kernel_stack`.
    program_frame: Cell<usize>,
    /// What forbids a switch, counted; [`NO_SWITCH_WANTED`] is set unless one is wanted.
    preemption: Cell<u32>,
    /// Not zero: the interrupt that is being served interrupted the program.
    interrupted_program: Cell<u32>,
    /// The context of the thread that runs; null in the idle loop.
    context: Cell<*const Context>,
    /// The scheduler's part of this CPU.
    scheduler: Cell<*const Cpu>,
    /// The registers of what the interrupt interrupted that is being served.
    interrupted: Cell<*const Registers>,
}

/// The bit of [`PerCpu::preemption`] that is clear while a switch is wanted.
const NO_SWITCH_WANTED: u32 = 1 << 31;
const PREEMPTION: usize = 64;
const CONTEXT: usize = 72;
const SCHEDULER: usize = 80;
const THREAD: usize = 24;
const INDEX: usize = 52;

const _: () = assert!(
    offset_of!(PerCpu, kernel_stack) == 8
        && offset_of!(PerCpu, scratch) == 16
        && offset_of!(PerCpu, thread) == 24
        && offset_of!(PerCpu, attention) == 32
        && offset_of!(PerCpu, kernel_stack_bottom) == 40
        && offset_of!(PerCpu, has_own_gs) == 48
        && offset_of!(PerCpu, index) == INDEX
        && offset_of!(PerCpu, program_frame) == 56
        && offset_of!(PerCpu, thread) == THREAD
        && offset_of!(PerCpu, preemption) == PREEMPTION
        && offset_of!(PerCpu, context) == CONTEXT
        && offset_of!(PerCpu, scheduler) == SCHEDULER
);

impl PerCpu {
    /// The data of CPU number `index`, not in use yet.
    pub(crate) const fn new(index: u32) -> PerCpu {
        PerCpu {
            this: Cell::new(null()),
            kernel_stack: Cell::new(0),
            scratch: Cell::new(0),
            thread: Cell::new(null()),
            attention: Cell::new(&raw const NO_ATTENTION),
            kernel_stack_bottom: Cell::new(0),
            has_own_gs: Cell::new(0),
            index,
            program_frame: Cell::new(0),
            preemption: Cell::new(NO_SWITCH_WANTED),
            interrupted_program: Cell::new(0),
            context: Cell::new(null()),
            scheduler: Cell::new(null()),
            interrupted: Cell::new(null()),
        }
    }

    /// Makes `this` the data of the CPU that runs this.
    ///
    /// # Safety
    /// No other CPU uses `this`, and nothing on this CPU has taken a reference from an earlier installation.
    pub(crate) unsafe fn install(this: &'static PerCpu) {
        this.this.set(this);
        GsBase::write(VirtAddr::from_ptr(this));
    }

    /// The data of the CPU that runs this. Stays true only while the caller cannot migrate.
    pub(crate) fn current() -> &'static PerCpu {
        let this: *const PerCpu;
        // SAFETY: the gs base is this CPU's PerCpu from `install` on, its first word its own address; it lives for ever.
        unsafe {
            core::arch::asm!("mov {}, gs:[0]", out(reg) this, options(nostack, readonly, pure, preserves_flags));
            &*this
        }
    }

    /// Number of this CPU, from 0.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Sets the stack that entries from the program use, `[bottom, top)`.
    pub(crate) fn set_kernel_stack(&self, bottom: usize, top: usize) {
        debug_assert!(top.is_multiple_of(16) && bottom < top, "kernel stack is misaligned");
        self.kernel_stack.set(top - 8);
        self.program_frame.set(top - 8 - size_of::<Registers>());
        self.kernel_stack_bottom.set(bottom);
    }

    /// Sets the thread that the entries act for; it must outlive its time as the current one.
    pub(crate) fn set_thread(&self, thread: *const Thread, attention: *const AtomicU32) {
        self.thread.set(thread);
        self.attention.set(attention);
    }

    /// Forgets the thread: nothing runs on this CPU that belongs to a program.
    pub(crate) fn clear_thread(&self) {
        self.thread.set(null());
        self.attention.set(&raw const NO_ATTENTION);
    }

    /// Looks at the thread's own attention word again.
    pub(crate) fn restore_attention(&self) {
        if let Some(thread) = PerCpu::thread() {
            self.attention.set(thread.attention_word());
        }
    }

    /// The thread that the program runs as, if one runs yet. The answer is the calling thread's own, wherever it runs.
    #[inline]
    pub(crate) fn thread() -> Option<&'static Thread> {
        let thread: *const Thread;
        // SAFETY: reads a field of this CPU's PerCpu in one instruction. `set_thread` is given threads that live while they are
        // current, and callers are code of that thread.
        unsafe {
            core::arch::asm!("mov {}, gs:[{field}]", out(reg) thread, field = const THREAD,
                options(nostack, readonly, preserves_flags));
            thread.as_ref()
        }
    }

    /// The context of the thread that runs; `None` in the idle loop and before there are threads.
    #[inline]
    pub(crate) fn context() -> Option<&'static Context> {
        let context: *const Context;
        // SAFETY: as in `thread`; contexts live for ever.
        unsafe {
            core::arch::asm!("mov {}, gs:[{field}]", out(reg) context, field = const CONTEXT,
                options(nostack, readonly, preserves_flags));
            context.as_ref()
        }
    }

    /// Sets the context of the thread that runs.
    pub(crate) fn set_context(&self, context: *const Context) {
        self.context.set(context);
    }

    /// The scheduler's part of the CPU that runs this.
    #[inline]
    pub(crate) fn scheduler() -> Option<&'static Cpu> {
        let scheduler: *const Cpu;
        // SAFETY: as in `thread`; the scheduler's parts live for ever.
        unsafe {
            core::arch::asm!("mov {}, gs:[{field}]", out(reg) scheduler, field = const SCHEDULER,
                options(nostack, readonly, preserves_flags));
            scheduler.as_ref()
        }
    }

    /// Sets the scheduler's part of this CPU.
    pub(crate) fn set_scheduler(&self, scheduler: &'static Cpu) {
        self.scheduler.set(scheduler);
    }

    /// The number of the CPU that runs this, at this moment.
    #[inline]
    pub(crate) fn number() -> u32 {
        let number: u32;
        // SAFETY: as in `thread`.
        unsafe {
            core::arch::asm!("mov {:e}, gs:[{field}]", out(reg) number, field = const INDEX,
                options(nostack, readonly, preserves_flags));
        }
        number
    }

    /// Notes whether the interrupt that is served now interrupted the program, and where its registers are.
    pub(crate) fn set_interrupted(&self, is_program: bool, registers: &Registers) {
        self.interrupted_program.set(u32::from(is_program));
        self.interrupted.set(registers);
    }

    /// The registers of what the interrupt interrupted that is served now. For handlers of interrupts, called by one.
    pub(crate) fn interrupted_registers(&self) -> Registers {
        // SAFETY: a handler runs between the entry, which set the pointer to the frame that it saved, and the return from that frame.
        // Interrupts are off, so it is this handler's own.
        unsafe { *self.interrupted.get() }
    }

    /// The stack that entries from the program use.
    pub(crate) fn kernel_stack(&self) -> core::ops::Range<u64> {
        self.kernel_stack_bottom.get() as u64..(self.kernel_stack.get() + 8) as u64
    }

    /// What a system call or an exception saved of the program of this CPU's thread, which is in the kernel. A system call saves its
    /// own registers alone.
    pub(crate) fn program_frame(&self) -> Registers {
        // SAFETY: the frame lies at the top of the current thread's kernel stack, which is mapped as long as it is current.
        unsafe { *(self.program_frame.get() as *const Registers) }
    }

    /// Whether the interrupt that is served now interrupted the program.
    pub(crate) fn has_interrupted_program(&self) -> bool {
        self.interrupted_program.get() != 0
    }

    /// Gives the program of the thread that comes its own gs base, or none (0). Interrupts are off.
    pub(crate) fn switch_program_gs(&self, address: u64) {
        if address != 0 {
            self.has_own_gs.set(1);
            KernelGsBase::write(VirtAddr::new_truncate(address));
            LStar::write(VirtAddr::new(&raw const syscall_entry_own_gs as u64));
        } else if self.has_own_gs.replace(0) != 0 {
            LStar::write(VirtAddr::new(&raw const syscall_entry as u64));
        }
    }

    /// Whether the thread that runs has a gs base of its own.
    pub(crate) fn has_own_gs(&self) -> bool {
        self.has_own_gs.get() != 0
    }
}

/// Forbids a switch on this CPU, once more.
#[inline]
pub(crate) fn forbid_switch() {
    // SAFETY: adds to a field of this CPU in one instruction, so it does not matter which CPU that is: a thread that could have been
    // moved just before cannot be any more.
    unsafe { core::arch::asm!("inc dword ptr gs:[{field}]", field = const PREEMPTION, options(nostack)) };
}

/// Undoes one `forbid_switch`. True: a switch is wanted, and nothing forbids it any more.
#[inline]
pub(crate) fn permit_switch() -> bool {
    let is_due: u8;
    // SAFETY: as in `forbid_switch`.
    unsafe {
        core::arch::asm!("dec dword ptr gs:[{field}]", "sete {}", out(reg_byte) is_due, field = const PREEMPTION,
            options(nostack));
    }
    is_due != 0
}

/// Notes that this CPU should choose a thread again.
#[inline]
pub(crate) fn want_switch() {
    // SAFETY: as in `forbid_switch`.
    unsafe { core::arch::asm!("and dword ptr gs:[{field}], 0x7fffffff", field = const PREEMPTION, options(nostack)) };
}

/// Notes that this CPU has chosen.
#[inline]
pub(crate) fn switch_is_made() {
    // SAFETY: as in `forbid_switch`.
    unsafe { core::arch::asm!("or dword ptr gs:[{field}], 0x80000000", field = const PREEMPTION, options(nostack)) };
}

/// Forbids a switch while it lives.
pub(crate) struct SwitchGuard(());

impl SwitchGuard {
    /// Forbids a switch.
    pub(crate) fn new() -> SwitchGuard {
        forbid_switch();
        SwitchGuard(())
    }
}

impl Drop for SwitchGuard {
    fn drop(&mut self) {
        if permit_switch() {
            crate::threads::schedule::preempt_now();
        }
    }
}

/// Whether nothing forbids a switch, but perhaps interrupts that are off.
pub(crate) fn may_switch() -> bool {
    preemption_word() & !NO_SWITCH_WANTED == 0
}

/// Whether a switch is wanted and nothing forbids it, but perhaps interrupts that are off.
#[inline]
pub(crate) fn is_switch_due() -> bool {
    preemption_word() == 0
}

#[inline]
fn preemption_word() -> u32 {
    let word: u32;
    // SAFETY: as in `PerCpu::thread`.
    unsafe {
        core::arch::asm!("mov {:e}, gs:[{field}]", out(reg) word, field = const PREEMPTION,
            options(nostack, readonly, preserves_flags));
    }
    word
}

/// Gives the program of this CPU's thread the gs base `address`, which lies in the lower half.
pub(crate) fn set_program_gs(address: u64) {
    super::interrupts::without(|| {
        let cpu = PerCpu::current();
        cpu.has_own_gs.set(1);
        // The fast way back does not know of it: make this return the slow one, which swaps.
        cpu.attention.set(&raw const ALWAYS_ATTENTION);
        // SAFETY: a byte that only ever becomes 1. A CPU has a thread with a gs base of its own only after the thread came to it, which
        // made the byte visible there too.
        unsafe { (&raw mut program_has_gs).write_volatile(1) };
        // Ways in that use gs at once are closed, to all threads: they share the code that goes there.
        // SAFETY: labels of syscall.s; the words are only ever touched as atomics.
        unsafe {
            let by_syscall = [&raw const site_by_syscall as usize, &raw const call_by_syscall as usize];
            site_entries.iter().for_each(|entry| entry.store(by_syscall[0], Ordering::Relaxed));
            call_entries.iter().for_each(|entry| entry.store(by_syscall[1], Ordering::Relaxed));
        }
        KernelGsBase::write(VirtAddr::new_truncate(address));
        LStar::write(VirtAddr::new(&raw const syscall_entry_own_gs as u64));
    });
}

/// What a CPU looks at to be sure to find something.
static ALWAYS_ATTENTION: AtomicU32 = AtomicU32::new(1);

/// The gs base of the program of this CPU's thread.
pub(crate) fn program_gs() -> u64 {
    // Both looks are at one CPU.
    super::interrupts::without(|| if PerCpu::current().has_own_gs() { KernelGsBase::read().as_u64() } else { 0 })
}

unsafe extern "C" {
    static mut program_has_gs: u8;
    static syscall_entry_own_gs: u8;
    static syscall_entry: u8;
    static site_entries: [AtomicUsize; 2];
    static call_entries: [AtomicUsize; CALL_ENTRIES];
    static site_by_syscall: u8;
    static call_by_syscall: u8;
    static call_return: u8;
}

/// The C entries: for calls without arguments up to those with six (syscall.s, the third way).
const CALL_ENTRIES: usize = 7;

/// Where the addresses of the C entries are, for programs to read: `call [table + 8 * arguments]`.
pub(crate) fn call_table() -> usize {
    &raw const call_entries as usize
}

/// The low halves of the addresses of the words through which stubs of rewritten call sites come in; the kernel lies in the upper two
/// gigabytes, so the rest is known.
pub(crate) fn site_words() -> [u32; 2] {
    let first = &raw const site_entries as usize;
    [first, first + size_of::<AtomicUsize>()].map(|address| {
        let [a, b, c, d, ..] = address.to_le_bytes();
        let low = u32::from_le_bytes([a, b, c, d]);
        debug_assert_eq!(low.cast_signed() as isize, address.cast_signed(), "the kernel is in the upper two gigabytes");
        low
    })
}

/// Where the C entry makes a call by the instruction.
pub(crate) fn call_code() -> Range<u64> {
    &raw const call_by_syscall as u64..&raw const call_return as u64 + 1
}

/// What a CPU without a thread looks at.
static NO_ATTENTION: AtomicU32 = AtomicU32::new(0);

// SAFETY: the cells are touched only by the CPU that owns the value.
unsafe impl Sync for PerCpu {}
