//! Faults of the program's own instructions, and of the kernel's copies to and from its memory.
//!
//! A page fault is given to the address space; what that cannot serve, and every other exception, becomes a signal with
//! the information Linux gives. The program runs in ring 0, where the CPU says less than in ring 3: error codes get the
//! bit that says "in user mode", and instructions that must not run in ring 0 were made invalid ([`privileged`]).

mod privileged;

use abi::{
    Siginfo, Signal,
    signal::{
        BUS_ADRALN, BUS_ADRERR, FPE_FLTDIV, FPE_FLTINV, FPE_FLTOVF, FPE_FLTRES, FPE_FLTUND, FPE_INTDIV, ILL_ILLOPN,
        SEGV_ACCERR, SEGV_MAPERR, SI_KERNEL, TRAP_BRKPT, TRAP_HWBKPT, TRAP_TRACE,
    },
};
use mm::user::read_user_struct;
use mm::{Access, FaultError, FaultKind, USER_END};
use sync::machine;

use crate::exit;
use crate::platform::Outcome;
use crate::registers::Registers;
use crate::rewrite;
use crate::signal::force;
use crate::thread::{FaultRecord, Thread};
use crate::wait;

/// An exception raised by program code, as the machine reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Vector 0.
    DivideError,
    /// Vector 1, with the reasons from DR6.
    Debug {
        /// The low half of DR6.
        reasons: u64,
    },
    /// Vector 3.
    Breakpoint,
    /// Vector 4.
    Overflow,
    /// Vector 5.
    BoundRange,
    /// Vector 6.
    InvalidOpcode,
    /// Vector 10.
    InvalidTss {
        /// The CPU's error code.
        error_code: u64,
    },
    /// Vector 11.
    SegmentNotPresent {
        /// The CPU's error code.
        error_code: u64,
    },
    /// Vector 12: a non-canonical address relative to the stack.
    StackSegment {
        /// The CPU's error code.
        error_code: u64,
    },
    /// Vector 13: a non-canonical address, and much else.
    GeneralProtection {
        /// The CPU's error code.
        error_code: u64,
    },
    /// Vector 14.
    PageFault {
        /// CR2.
        address: usize,
        /// The CPU's error code.
        error_code: u64,
    },
    /// Vector 16, with the x87 control and status words.
    FloatingPoint {
        /// The control word: masks.
        control: u16,
        /// The status word: causes.
        status: u16,
    },
    /// Vector 17.
    AlignmentCheck,
    /// Vector 19, with MXCSR.
    Simd {
        /// MXCSR: causes and masks.
        mxcsr: u32,
    },
}

/// Bits of a page fault's error code.
mod page_fault_code {
    pub(super) const PROTECTION: u64 = 1;
    pub(super) const WRITE: u64 = 2;
    pub(super) const USER: u64 = 4;
    pub(super) const FETCH: u64 = 16;
}
use page_fault_code::{FETCH, PROTECTION, USER, WRITE};

/// DR6: a single step.
const DEBUG_STEP: u64 = 1 << 14;
/// DR6: one of the four breakpoint registers.
const DEBUG_BREAKPOINTS: u64 = 15;
/// Numbers of exceptions.
const DEBUG: u64 = 1;
const INVALID_OPCODE: u64 = 6;
const GENERAL_PROTECTION: u64 = 13;
const PAGE_FAULT: u64 = 14;

/// The instruction `int1`, a debug trap that QEMU's emulator takes for an invalid opcode.
const INT1: u8 = 0xf1;

/// What a fault means to the program.
struct Consequence {
    trap_number: u64,
    error_code: u64,
    info: Siginfo,
}

/// Serves a fault of program code: memory is paged in, or a signal is raised and delivered.
pub fn fault_entry(thread: &Thread, registers: &mut Registers, fault: Fault) {
    if let Fault::PageFault { address, error_code } = fault {
        page_fault(thread, address, error_code);
        return leave_if_asked(thread, registers);
    }
    if rewrite::goes_on(thread, registers, fault) {
        return leave_if_asked(thread, registers);
    }
    rewrite::show_original(thread, registers);
    if let Some(consequence) = consequence(thread, registers, fault) {
        let fault_address = thread.fault().fault_address;
        let Consequence { trap_number, error_code, info } = consequence;
        thread.set_fault(FaultRecord { trap_number, error_code, fault_address });
        force(thread, info);
    }
    leave_if_asked(thread, registers);
}

fn leave_if_asked(thread: &Thread, registers: &mut Registers) {
    if thread.needs_attention() {
        exit::leave(thread, registers, None);
    }
}

/// Serves a page fault of the kernel's own access to program memory. False: the access fails (`EFAULT`).
pub fn page_in(thread: &Thread, address: usize, error_code: u64) -> bool {
    let served =
        if address < USER_END { thread.address_space().fault(address, access(error_code)) } else { return false };
    thread.accounting().count_fault(served);
    served.is_ok()
}

fn access(error_code: u64) -> Access {
    if error_code & FETCH != 0 {
        Access::Execute
    } else if error_code & WRITE != 0 {
        Access::Write
    } else {
        Access::Read
    }
}

fn page_fault(thread: &Thread, address: usize, error_code: u64) {
    let served =
        if address < USER_END { serve(thread, address, access(error_code)) } else { Err(FaultError::Unmapped) };
    thread.accounting().count_fault(served);
    let Err(error) = served else { return };
    let (signal, code) = match error {
        FaultError::Unmapped => (Signal::SIGSEGV, SEGV_MAPERR),
        FaultError::Rights => (Signal::SIGSEGV, SEGV_ACCERR),
        FaultError::BeyondEnd => (Signal::SIGBUS, BUS_ADRERR),
        FaultError::OutOfMemory => return kill_for_memory(thread),
    };
    // Linux hides from a program whether something is mapped in the kernel's half.
    let hidden = if address < USER_END { 0 } else { PROTECTION };
    thread.set_fault(FaultRecord {
        trap_number: PAGE_FAULT,
        error_code: error_code | USER | hidden,
        fault_address: address as u64,
    });
    force(thread, Siginfo::fault(signal, code, address as u64));
}

/// Serves a fault. Where no memory is left, those have some time to give some back who want to be told.
fn serve(thread: &Thread, address: usize, access: Access) -> Result<FaultKind, FaultError> {
    /// How often it is tried again, and how long after the last time.
    const RETRIES_MAX: u32 = 20;
    const PAUSE_NS: u64 = 5_000_000;
    let mut served = thread.address_space().fault(address, access);
    for _ in 0..RETRIES_MAX {
        if served != Err(FaultError::OutOfMemory) || thread.is_interrupted() || !mm::pressure::tell_of_end() {
            break;
        }
        wait::park(thread, machine::now_ns().saturating_add(PAUSE_NS));
        served = thread.address_space().fault(address, access);
    }
    served
}

/// No memory is left for a page the program was promised, or for the kernel itself.
pub(crate) fn kill_for_memory(thread: &Thread) {
    log::error!("out of memory: killing process {}", thread.process().pid());
    thread.process().begin_exit(Outcome::Killed(Signal::SIGKILL));
}

/// What any fault but a page fault means; none when the program simply goes on.
fn consequence(thread: &Thread, registers: &mut Registers, fault: Fault) -> Option<Consequence> {
    let rip = registers.rip;
    let at = |signal, code| Siginfo::fault(signal, code, rip);
    let bare = |signal| Siginfo::new(signal, SI_KERNEL);
    let (trap_number, error_code, info) = match fault {
        Fault::DivideError => (0, 0, at(Signal::SIGFPE, FPE_INTDIV)),
        Fault::Debug { reasons } => (DEBUG, 0, at(Signal::SIGTRAP, debug_code(reasons))),
        Fault::Breakpoint => (3, 0, bare(Signal::SIGTRAP)),
        Fault::Overflow => (4, 0, bare(Signal::SIGSEGV)),
        Fault::BoundRange => (5, 0, bare(Signal::SIGSEGV)),
        Fault::InvalidOpcode => return invalid_opcode(thread, registers),
        Fault::InvalidTss { error_code } => (10, error_code, bare(Signal::SIGSEGV)),
        Fault::SegmentNotPresent { error_code } => (11, error_code, bare(Signal::SIGBUS)),
        Fault::StackSegment { error_code } => (12, error_code, bare(Signal::SIGBUS)),
        Fault::GeneralProtection { error_code } => (GENERAL_PROTECTION, error_code, bare(Signal::SIGSEGV)),
        Fault::FloatingPoint { control, status } => (16, 0, at(Signal::SIGFPE, x87_code(control, status)?)),
        Fault::AlignmentCheck => (17, 0, Siginfo::fault(Signal::SIGBUS, BUS_ADRALN, 0)),
        Fault::Simd { mxcsr } => (19, 0, at(Signal::SIGFPE, simd_code(mxcsr)?)),
        Fault::PageFault { .. } => return None,
    };
    Some(Consequence { trap_number, error_code, info })
}

fn debug_code(reasons: u64) -> i32 {
    if reasons & DEBUG_STEP != 0 {
        TRAP_TRACE
    } else if reasons & DEBUG_BREAKPOINTS != 0 {
        TRAP_HWBKPT
    } else {
        TRAP_BRKPT
    }
}

fn x87_code(control: u16, status: u16) -> Option<i32> {
    float_code(u32::from(status & !control))
}

fn simd_code(mxcsr: u32) -> Option<i32> {
    let masks = mxcsr >> 7;
    float_code(mxcsr & !masks)
}

/// The code for unmasked causes, in the order in which Linux asks for them; none when nothing is wrong.
fn float_code(causes: u32) -> Option<i32> {
    const ORDER: [(u32, i32); 5] = [
        (1, FPE_FLTINV),
        (1 << 2, FPE_FLTDIV),
        (1 << 3, FPE_FLTOVF),
        // Denormals count as underflow.
        (1 << 4 | 1 << 1, FPE_FLTUND),
        (1 << 5, FPE_FLTRES),
    ];
    ORDER.iter().find(|(bits, _)| causes & bits != 0).map(|(_, code)| *code)
}

/// An invalid opcode is one, or an instruction made invalid because it must not run in ring 0. None: it was executed.
fn invalid_opcode(thread: &Thread, registers: &mut Registers) -> Option<Consequence> {
    let address = usize::try_from(registers.rip).unwrap_or(usize::MAX);
    let Some(site) = thread.address_space().code_site_at(address) else {
        if read_user_struct::<u8>(address) == Ok(INT1) {
            registers.rip = registers.rip.wrapping_add(1);
            let info = Siginfo::fault(Signal::SIGTRAP, TRAP_BRKPT, registers.rip);
            return Some(Consequence { trap_number: DEBUG, error_code: 0, info });
        }
        return Some(Consequence {
            trap_number: INVALID_OPCODE,
            error_code: 0,
            info: Siginfo::fault(Signal::SIGILL, ILL_ILLOPN, registers.rip),
        });
    };
    match privileged::execute(thread.platform(), registers, site.original) {
        privileged::Outcome::Raised(consequence) => Some(consequence),
        privileged::Outcome::Executed => None,
        privileged::Outcome::NeedsMemory(address) => {
            page_fault(thread, address, 0);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floating_point_causes_have_an_order() {
        let masked_all = 0x1f80;
        assert_eq!(simd_code(masked_all | 0x3f), None);
        assert_eq!(simd_code(masked_all & !(1 << 9) | 1 << 2), Some(FPE_FLTDIV));
        assert_eq!(simd_code(0x3f), Some(FPE_FLTINV));
        assert_eq!(simd_code(0x20), Some(FPE_FLTRES));
        assert_eq!(x87_code(0x37f, 0x3f), None);
        assert_eq!(x87_code(0x37f & !4, 0x04), Some(FPE_FLTDIV));
        assert_eq!(x87_code(0x37f & !2, 0x02), Some(FPE_FLTUND));
    }

    #[test]
    fn access_follows_the_error_code() {
        assert_eq!(access(USER), Access::Read);
        assert_eq!(access(PROTECTION | WRITE), Access::Write);
        assert_eq!(access(FETCH), Access::Execute);
    }

    #[test]
    fn debug_reasons_have_codes() {
        assert_eq!(debug_code(DEBUG_STEP | 1), TRAP_TRACE);
        assert_eq!(debug_code(2), TRAP_HWBKPT);
        assert_eq!(debug_code(0), TRAP_BRKPT);
    }
}
