//! The Rust side of traps.s: short shells around what linux, mm and the drivers decide.
#![expect(clippy::cast_possible_truncation, reason = "addresses have 64 bits on this machine")]

use linux::{Fault, Registers};
use mm::USER_END;
use x86_64::instructions::interrupts as cpu_interrupts;
use x86_64::registers::debug::Dr6;

use super::percpu::PerCpu;
use super::{interrupts, user_copy, vector_state};
use crate::panic::die_of_fault;
use crate::platform::deferred;
use crate::threads;

const DIVIDE_ERROR: u8 = 0;
const DEBUG: u8 = 1;
const BREAKPOINT: u8 = 3;
const OVERFLOW: u8 = 4;
const BOUND: u8 = 5;
const INVALID_OPCODE: u8 = 6;
const INVALID_TSS: u8 = 10;
const SEGMENT_NOT_PRESENT: u8 = 11;
const STACK_SEGMENT: u8 = 12;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;
const X87_ERROR: u8 = 16;
const ALIGNMENT_CHECK: u8 = 17;
const SIMD_ERROR: u8 = 19;

const RFLAGS_IF: u64 = 1 << 9;
/// The reserved ones of DR6 (SDM volume 3, 18.2.3).
const DR6_CLEAR: u64 = 0xffff_0ff0;

/// There is more to do after a system call. The frame is complete. Interrupts are off.
///
/// # Safety
/// Called by syscall_entry only, with the frame of the program at the top of the kernel stack.
#[unsafe(no_mangle)]
unsafe extern "C" fn nacre_syscall_exit(registers: &mut Registers) {
    PerCpu::current().restore_attention();
    cpu_interrupts::enable();
    if let Some(thread) = PerCpu::thread() {
        linux::syscall_exit(thread, registers);
    }
}

/// An exception in program code. The frame is on the kernel stack; interrupts are off.
///
/// # Safety
/// Called by fault_common only, with the frame of the program.
#[unsafe(no_mangle)]
unsafe extern "C" fn nacre_program_fault(registers: &mut Registers, vector: u8, address: usize) {
    threads::cpu::count_exception(vector);
    let error_code = registers.original_rax;
    registers.original_rax = u64::MAX;
    let fault = match vector {
        PAGE_FAULT => Fault::PageFault { address, error_code },
        DIVIDE_ERROR => Fault::DivideError,
        DEBUG => {
            let reasons = Dr6::read_raw() & 0xffff;
            // SAFETY: DR6 only reports; these are its reserved bits.
            unsafe { core::arch::asm!("mov dr6, {}", in(reg) DR6_CLEAR, options(nomem, nostack, preserves_flags)) };
            Fault::Debug { reasons }
        }
        BREAKPOINT => Fault::Breakpoint,
        OVERFLOW => Fault::Overflow,
        BOUND => Fault::BoundRange,
        INVALID_OPCODE => Fault::InvalidOpcode,
        INVALID_TSS => Fault::InvalidTss { error_code },
        SEGMENT_NOT_PRESENT => Fault::SegmentNotPresent { error_code },
        STACK_SEGMENT => Fault::StackSegment { error_code },
        GENERAL_PROTECTION => Fault::GeneralProtection { error_code },
        X87_ERROR => {
            let (control, status) = vector_state::x87_words();
            Fault::FloatingPoint { control, status }
        }
        ALIGNMENT_CHECK => Fault::AlignmentCheck,
        SIMD_ERROR => Fault::Simd { mxcsr: vector_state::mxcsr() },
        _ => die_of_fault(registers, vector, address, "exception that no program can cause"),
    };
    cpu_interrupts::enable();
    match PerCpu::thread() {
        Some(thread) => linux::fault_entry(thread, registers, fault),
        None => die_of_fault(registers, vector, address, "exception outside of the kernel before there is a program"),
    }
}

/// An exception in kernel code on a kernel stack: a copy from or to the program, or a bug.
///
/// # Safety
/// Called by fault_common only; the frame lies just below the interrupted stack pointer.
#[unsafe(no_mangle)]
unsafe extern "C" fn nacre_kernel_fault(registers: &mut Registers, vector: u8, address: usize) {
    let copy = if matches!(vector, PAGE_FAULT | GENERAL_PROTECTION) {
        user_copy::find_fault(registers.rip as usize)
    } else {
        None
    };
    threads::cpu::count_exception(vector);
    let Some(copy) = copy else { die_of_fault(registers, vector, address, "unexpected exception in the kernel") };
    let can_page_in = vector == PAGE_FAULT && !copy.is_nofault && address < USER_END;
    if can_page_in && let Some(thread) = PerCpu::thread() {
        let were_enabled = registers.rflags & RFLAGS_IF != 0;
        if were_enabled {
            cpu_interrupts::enable();
        }
        let is_resolved = linux::page_in(thread, address, registers.original_rax);
        cpu_interrupts::disable();
        if is_resolved {
            return;
        }
    }
    registers.rip = copy.fixup as u64;
}

/// An exception that ends the kernel.
///
/// # Safety
/// Called by traps.s only, with a frame that stays.
#[unsafe(no_mangle)]
unsafe extern "C" fn nacre_fatal_fault(registers: &Registers, vector: u8, address: usize) -> ! {
    let reason = match vector {
        8 => "double fault: no usable stack",
        18 => "machine check",
        _ => "exception outside of any kernel stack",
    };
    die_of_fault(registers, vector, address, reason)
}

/// A non-maskable interrupt. Takes no lock: it may have interrupted anything.
///
/// # Safety
/// Called by nmi_common only.
#[unsafe(no_mangle)]
unsafe extern "C" fn nacre_nmi(registers: &Registers) {
    super::ipi::stop_if_asked(registers);
    die_of_fault(registers, 2, 0, "non-maskable interrupt");
}

/// A device interrupt. Interrupts are off; the stack is the interrupt stack. False: the program made it up.
///
/// # Safety
/// Called by interrupt_common only.
#[unsafe(no_mangle)]
unsafe extern "C" fn nacre_interrupt(vector: u8, from_program: bool, registers: &Registers) -> bool {
    PerCpu::current().set_interrupted(from_program, registers);
    if interrupts::dispatch(vector) {
        deferred::run();
        return true;
    }
    if !from_program {
        log::warn!("interrupt {vector:#x} has no handler");
    }
    !from_program
}

/// Work before the program goes on: signals. Interrupts are off.
///
/// # Safety
/// Called by traps.s only, with the frame of the program at the top of the kernel stack.
#[unsafe(no_mangle)]
unsafe extern "C" fn nacre_exit_work(registers: &mut Registers) {
    PerCpu::current().restore_attention();
    cpu_interrupts::enable();
    if let Some(thread) = PerCpu::thread() {
        linux::interrupt_exit(thread, registers);
    }
}
