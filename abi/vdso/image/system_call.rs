//! Asking the kernel.

use core::arch::asm;

/// Does a system call and returns its answer: negative ones are errors.
///
/// # Safety
/// The kernel does what the call says with the program's memory.
#[inline(always)]
pub(crate) unsafe fn system_call(number: usize, arguments: [usize; 3]) -> isize {
    let answer: isize;
    // SAFETY: per the contract; `syscall` changes rax, rcx and r11.
    unsafe {
        asm!("syscall", inlateout("rax") number => answer, in("rdi") arguments[0], in("rsi") arguments[1],
            in("rdx") arguments[2], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    answer
}
