//! Where a program is, as it knows itself: addresses in code that the kernel put beside it are those of the code it stands for.
//!
//! A call by the C entry that needs the exit path is shown as one that was made by the vDSO's copy of the same function, which
//! uses `syscall`: there it can be restarted, and there its caller is found by who walks the stack.

use crate::registers::Registers;
use crate::thread::Thread;

/// Puts the program where it would be in its own code. For the exit path and for signals, before anybody looks at the registers
/// on the program's behalf.
pub(crate) fn show_original(thread: &Thread, registers: &mut Registers) {
    if let Some(kernel) = thread.platform().call_by_syscall()
        && kernel.contains(&registers.rip)
        && let Some(address) = thread.process().image().call_by_syscall
    {
        registers.rip = address + (registers.rip - kernel.start);
    }
}
