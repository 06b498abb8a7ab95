//! What each CPU keeps for itself, reached through the gs base.
//!
//! The first fields are known to the assembly by offset (traps.s). A CPU's `PerCpu` lives for ever and only that CPU touches
//! it.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::null;
use core::sync::atomic::AtomicU32;

use linux::{Registers, Thread};
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{GsBase, KernelGsBase, LStar};

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
}

const _: () = assert!(
    offset_of!(PerCpu, kernel_stack) == 8
        && offset_of!(PerCpu, scratch) == 16
        && offset_of!(PerCpu, thread) == 24
        && offset_of!(PerCpu, attention) == 32
        && offset_of!(PerCpu, kernel_stack_bottom) == 40
        && offset_of!(PerCpu, has_own_gs) == 48
        && offset_of!(PerCpu, program_frame) == 56
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

    /// Looks at the thread's own attention word again.
    pub(crate) fn restore_attention(&self) {
        if let Some(thread) = self.thread() {
            self.attention.set(thread.attention_word());
        }
    }

    /// The thread that the program runs as, if one runs yet.
    pub(crate) fn thread(&self) -> Option<&'static Thread> {
        // SAFETY: `set_thread` is given threads that live while they are current; callers are code of that thread.
        unsafe { self.thread.get().as_ref() }
    }
}

/// Gives the program of this CPU's thread the gs base `address`, which lies in the lower half.
pub(crate) fn set_program_gs(address: u64) {
    super::interrupts::without(|| {
        let cpu = PerCpu::current();
        cpu.has_own_gs.set(1);
        // The fast way back does not know of it: make this return the slow one, which swaps.
        cpu.attention.set(&raw const ALWAYS_ATTENTION);
        // SAFETY: a byte that only ever becomes 1, read by entries on this CPU, which are masked now.
        unsafe { (&raw mut program_has_gs).write_volatile(1) };
        KernelGsBase::write(VirtAddr::new_truncate(address));
        LStar::write(VirtAddr::new(&raw const syscall_entry_own_gs as u64));
    });
}

/// What a CPU looks at to be sure to find something.
static ALWAYS_ATTENTION: AtomicU32 = AtomicU32::new(1);

/// The gs base of the program of this CPU's thread.
pub(crate) fn program_gs() -> u64 {
    if PerCpu::current().has_own_gs.get() == 0 { 0 } else { KernelGsBase::read().as_u64() }
}

unsafe extern "C" {
    static mut program_has_gs: u8;
    static syscall_entry_own_gs: u8;
}

/// What a CPU without a thread looks at.
static NO_ATTENTION: AtomicU32 = AtomicU32::new(0);

// SAFETY: the cells are touched only by the CPU that owns the value.
unsafe impl Sync for PerCpu {}
