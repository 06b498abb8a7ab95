//! Where a program is, as it knows itself: addresses in code that the kernel put beside it are those of the code it stands for.
//!
//! - A program in the stub of a rewritten call site ([`mm::rewrite`]) is shown at the instruction of its own that the stub is
//!   about to execute. Registers are put so on the exit path, before anybody looks at them on the program's behalf, and are left
//!   so: a program that goes on in the middle of a site traps there and is put into the stub again.
//! - A call by the C entry that needs the exit path is shown as one that was made by the vDSO's copy of the same function, which
//!   uses `syscall`: there it can be restarted, and there its caller is found by who walks the stack.
//! - A single step does not see the jump to a stub, which is no instruction of the program.

use mm::USER_END;
use mm::rewrite::may_be_stub;

use crate::fault::Fault;
use crate::registers::Registers;
use crate::thread::Thread;

/// DR6: a single step.
const DEBUG_STEP: u64 = 1 << 14;

/// Puts the program where it would be in its own code.
#[inline]
pub(crate) fn show_original(thread: &Thread, registers: &mut Registers) {
    if may_be_stub(address(registers.rip)) {
        leave_stub(thread, registers);
    } else if registers.rip >= USER_END as u64
        && let Some(kernel) = thread.platform().call_by_syscall()
        && kernel.contains(&registers.rip)
        && let Some(address) = thread.process().image().call_by_syscall
    {
        registers.rip = address + (registers.rip - kernel.start);
    }
}

#[cold]
fn leave_stub(thread: &Thread, registers: &mut Registers) {
    let rip = address(registers.rip);
    let known = thread.process().look_at_address_space(&sync::rcu::read()).known_original_address(rip);
    let Some(original) = known.unwrap_or_else(|| thread.address_space().original_address(rip)) else { return };
    if original.is_return && registers.rcx == registers.rip {
        registers.rcx = original.address as u64;
    }
    registers.rip = original.address as u64;
}

/// Whether a fault is no affair of the program: it arrived in the middle of a rewritten site, where instructions were that are now
/// in the stub, or was stepped into the stub. The registers then lead on.
pub(crate) fn goes_on(thread: &Thread, registers: &mut Registers, fault: Fault) -> bool {
    let rip = address(registers.rip);
    let stand_in = match fault {
        Fault::InvalidOpcode => thread.address_space().stand_in(rip),
        Fault::Breakpoint => thread.address_space().stand_in(rip.wrapping_sub(1)),
        Fault::Debug { reasons } if reasons & DEBUG_STEP != 0 && may_be_stub(rip) => {
            thread.address_space().stand_in_after_jump(rip)
        }
        _ => None,
    };
    if let Some(address) = stand_in {
        registers.rip = address as u64;
    }
    stand_in.is_some()
}

/// An instruction pointer as an address; one that is none lies nowhere.
fn address(rip: u64) -> usize {
    usize::try_from(rip).unwrap_or(usize::MAX)
}
