//! What each CPU keeps for itself, reached through the gs base.
//!
//! The first fields are known to the assembly by offset (traps.s). A CPU's `PerCpu` lives for ever and only that CPU writes
//! it, but for `pending`, which anybody may raise.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::null;
use core::sync::atomic::{AtomicU32, Ordering};

use linux::thread::Thread;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::GsBase;

/// A CPU's own data. Invariant: the gs base of a CPU in the kernel is the address of its `PerCpu`.
#[repr(C)]
pub(crate) struct PerCpu {
    this: Cell<*const PerCpu>,
    /// Top of the current thread's kernel stack, less 8: what the first push of an entry lands on.
    kernel_stack: Cell<usize>,
    /// Where the entry keeps the program's rsp for two instructions.
    scratch: Cell<usize>,
    thread: Cell<*const Thread>,
    /// Not zero: there is work before the program may go on (a signal, a reschedule).
    pending: AtomicU32,
    index: u32,
    kernel_stack_bottom: Cell<usize>,
}

const _: () = assert!(
    offset_of!(PerCpu, kernel_stack) == 8
        && offset_of!(PerCpu, scratch) == 16
        && offset_of!(PerCpu, thread) == 24
        && offset_of!(PerCpu, pending) == 32
        && offset_of!(PerCpu, kernel_stack_bottom) == 40
);

impl PerCpu {
    /// The data of CPU number `index`, not in use yet.
    pub(crate) const fn new(index: u32) -> PerCpu {
        PerCpu {
            this: Cell::new(null()),
            kernel_stack: Cell::new(0),
            scratch: Cell::new(0),
            thread: Cell::new(null()),
            pending: AtomicU32::new(0),
            index,
            kernel_stack_bottom: Cell::new(0),
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
        self.kernel_stack_bottom.set(bottom);
    }

    /// Sets the thread that the entries act for; it must outlive its time as the current one.
    pub(crate) fn set_thread(&self, thread: *const Thread) {
        self.thread.set(thread);
    }

    /// The thread that the program runs as, if one runs yet.
    pub(crate) fn thread(&self) -> Option<&'static Thread> {
        // SAFETY: `set_thread` is given threads that live while they are current; callers are code of that thread.
        unsafe { self.thread.get().as_ref() }
    }

    /// Asks for exit work before the program goes on.
    pub(crate) fn raise_pending(&self) {
        self.pending.store(1, Ordering::SeqCst);
    }

    /// Clears the request; the caller then looks at everything that could have caused it.
    pub(crate) fn clear_pending(&self) {
        self.pending.store(0, Ordering::SeqCst);
    }
}

// SAFETY: the cells are touched only by the CPU that owns the value; `pending` is atomic.
unsafe impl Sync for PerCpu {}
