//! Instructions that must not run in ring 0: what they do in ring 3.
//!
//! Their first byte was replaced when the code was mapped, so they arrive as invalid opcodes. Most are general protection
//! faults in ring 3; a few are invalid there too, some interrupt vectors are open to programs, and `popf` simply works and
//! leaves alone what a program may not change, so it is executed here.

use abi::{
    Siginfo, Signal,
    signal::{ILL_ILLOPN, SI_KERNEL},
};
use mm::user::read_user_struct;

use super::{Consequence, GENERAL_PROTECTION, INVALID_OPCODE};
use crate::registers::{Registers, flags};

/// The most bytes an instruction has.
const INSTRUCTION_LEN_MAX: usize = 15;
const OPERAND_SIZE_PREFIX: u8 = 0x66;
const POPF: u8 = 0x9d;
const INT: u8 = 0xcd;
const TWO_BYTE_OPCODE: u8 = 0x0f;

/// What comes of an instruction that was not let run.
pub(super) enum Outcome {
    /// A signal.
    Raised(Consequence),
    /// It was executed; the registers are those after it.
    Executed,
    /// It needs memory at this address that is not there.
    NeedsMemory(usize),
}

/// The bytes of the instruction that matter.
struct Instruction {
    /// Opcode, and what follows as far as it was needed.
    opcode: [u8; 3],
    /// Its length up to and including the first opcode byte.
    len: usize,
    is_16_bit: bool,
}

/// Does what the instruction at the program's instruction pointer does in ring 3. `first` is its first byte as it is in
/// the file.
pub(super) fn execute(registers: &mut Registers, first: u8) -> Outcome {
    let Some(instruction) = read(registers.rip, first) else {
        return Outcome::Raised(protection(0));
    };
    match instruction.opcode {
        [POPF, ..] => pop_flags(registers, &instruction),
        [INT, vector, _] => Outcome::Raised(interrupt(registers, vector, instruction.len + 1)),
        // monitor, mwait, clac and stac do not exist in ring 3.
        [TWO_BYTE_OPCODE, 0x01, 0xc8..=0xcb] => Outcome::Raised(Consequence {
            trap_number: INVALID_OPCODE,
            error_code: 0,
            info: Siginfo::fault(Signal::SIGILL, ILL_ILLOPN, registers.rip),
        }),
        _ => Outcome::Raised(protection(0)),
    }
}

/// Reads past the prefixes. None when the instruction goes on in memory that is not there.
fn read(address: u64, first: u8) -> Option<Instruction> {
    let address = usize::try_from(address).ok()?;
    let byte = |offset: usize| match offset {
        0 => Some(first),
        _ => read_user_struct::<u8>(address.checked_add(offset)?).ok(),
    };
    let mut is_16_bit = false;
    for offset in 0..INSTRUCTION_LEN_MAX {
        match byte(offset)? {
            OPERAND_SIZE_PREFIX => is_16_bit = true,
            // Segment, address size, lock and repeat prefixes, and REX.
            0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x67 | 0xf0 | 0xf2 | 0xf3 | 0x40..=0x4f => {}
            opcode @ (INT | TWO_BYTE_OPCODE) => {
                let second = byte(offset + 1)?;
                let third = if opcode == TWO_BYTE_OPCODE { byte(offset + 2).unwrap_or(0) } else { 0 };
                return Some(Instruction { opcode: [opcode, second, third], len: offset + 1, is_16_bit });
            }
            opcode => return Some(Instruction { opcode: [opcode, 0, 0], len: offset + 1, is_16_bit }),
        }
    }
    None
}

fn protection(error_code: u64) -> Consequence {
    Consequence { trap_number: GENERAL_PROTECTION, error_code, info: Siginfo::new(Signal::SIGSEGV, SI_KERNEL) }
}

/// `int` with a vector in the instruction: only the breakpoint and overflow gates are open to programs, and these are
/// traps: the program is already past the instruction.
fn interrupt(registers: &mut Registers, vector: u8, len: usize) -> Consequence {
    let signal = match vector {
        3 => Signal::SIGTRAP,
        4 => Signal::SIGSEGV,
        // The error code names the closed gate of the interrupt table.
        _ => return protection(u64::from(vector) << 3 | 2),
    };
    registers.rip = registers.rip.wrapping_add(len as u64);
    registers.rflags &= !flags::RF;
    Consequence { trap_number: u64::from(vector), error_code: 0, info: Siginfo::new(signal, SI_KERNEL) }
}

/// `popf` with the rights of ring 3.
fn pop_flags(registers: &mut Registers, instruction: &Instruction) -> Outcome {
    let address = usize::try_from(registers.rsp).unwrap_or(usize::MAX);
    let size = if instruction.is_16_bit { size_of::<u16>() } else { size_of::<u64>() };
    let popped = if instruction.is_16_bit {
        read_user_struct::<u16>(address).map(u64::from)
    } else {
        read_user_struct::<u64>(address)
    };
    let Ok(popped) = popped else { return Outcome::NeedsMemory(address) };
    registers.rflags = with_popped(registers.rflags, popped, instruction.is_16_bit);
    registers.rsp = registers.rsp.wrapping_add(size as u64);
    registers.rip = registers.rip.wrapping_add(instruction.len as u64);
    Outcome::Executed
}

/// The flags after `popf`. A 16-bit one leaves the upper half alone.
fn with_popped(old: u64, popped: u64, is_16_bit: bool) -> u64 {
    let width = if is_16_bit { u64::from(u16::MAX) } else { u64::MAX };
    let changed = flags::POPPED & width;
    (old & !changed | popped & changed) & !flags::RF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popf_cannot_turn_interrupts_off() {
        let old = flags::IF | flags::FIXED | flags::CF;
        assert_eq!(with_popped(old, 0, false), flags::IF | flags::FIXED);
        assert_eq!(with_popped(old, u64::MAX, false) & !(flags::POPPED | flags::IF | flags::FIXED), 0);
        assert_eq!(with_popped(old | flags::AC, 0, true), flags::IF | flags::FIXED | flags::AC);
    }

    #[test]
    fn closed_gates_are_named() {
        let mut registers = Registers { rip: 0x1000, ..Registers::default() };
        assert_eq!(interrupt(&mut registers, 0x80, 2).error_code, 0x402);
        assert_eq!(registers.rip, 0x1000);
        assert_eq!(interrupt(&mut registers, 3, 2).trap_number, 3);
        assert_eq!(registers.rip, 0x1002);
    }
}
