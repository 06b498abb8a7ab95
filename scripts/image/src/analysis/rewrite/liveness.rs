//! Whether anything reads r11 or the status flags as a system call leaves them.
//!
//! # 1. What is proven
//!
//! All paths from behind the `syscall` are followed. r11 is dead when each of them writes all of it before anything reads a
//! part; the status flags (overflow, sign, zero, auxiliary carry, parity, carry) when each path writes every one of them before
//! anything reads it. A direct call is followed into the function, [`DEPTH_MAX`] deep.
//!
//! 1. A `ret`, an indirect call or an indirect jump through memory relative to the instruction pointer (a call of another
//!    library) ends a path: the calling convention of the psABI passes nothing in r11's old value or in the status flags across
//!    the borders of functions, and neither does that of Go.
//! 2. Any other indirect jump leaves both alive.
//! 3. Another `syscall` puts the flags into r11, so that a read of r11 behind it is one of the flags.
//! 4. What is not code, or more than [`PATH_MAX`] instructions, leaves both alive.
//!
//! # 2. What a wrong answer would do
//!
//! The kernel leaves what is dead in any state. A function that returns a flag which it has set before its system call, by
//! hand and against the psABI, would return another one.

use std::collections::HashMap;

use iced_x86::{
    FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register, RflagsBits, UsedMemory,
};

use super::super::code_map::CodeMap;

/// The instructions that are looked at for one system call.
const PATH_MAX: usize = 400;
/// How deep calls are followed.
const DEPTH_MAX: u8 = 3;
/// The flags that arithmetic sets.
const STATUS: u32 = RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::CF | RflagsBits::PF;

/// What is dead behind a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dead {
    pub(super) r11: bool,
    pub(super) flags: bool,
}

/// What nobody has written yet, on the way to an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pending {
    r11: bool,
    flags: u32,
    /// Whether r11 holds flags that were pending at another system call.
    is_copied: bool,
    /// How much has been pushed since the system call and is still there.
    pushed_bytes: i32,
    /// Whether the word at the top of the stack has been stored since the stack pointer moved.
    is_top_stored: bool,
}

impl Pending {
    const ALL: Self = Self { r11: true, flags: STATUS, is_copied: false, pushed_bytes: 0, is_top_stored: false };

    /// What is pending on either of two ways.
    fn or(self, other: Self) -> Self {
        Self {
            r11: self.r11 || other.r11,
            flags: self.flags | other.flags,
            is_copied: self.is_copied || other.is_copied,
            pushed_bytes: self.pushed_bytes.max(other.pushed_bytes),
            is_top_stored: self.is_top_stored || other.is_top_stored,
        }
    }
}

/// Follows everything behind a system call.
pub(super) fn behind(map: &CodeMap<'_>, address: u64) -> Dead {
    let mut paths = Paths {
        map,
        factory: InstructionInfoFactory::new(),
        dead: Dead { r11: true, flags: true },
        seen: HashMap::new(),
        work: vec![(address, Pending::ALL, 0)],
        count: 0,
    };
    paths.follow();
    paths.dead
}

struct Paths<'m, 'a> {
    map: &'m CodeMap<'a>,
    factory: InstructionInfoFactory,
    dead: Dead,
    /// What was pending when an instruction was looked at.
    seen: HashMap<u64, Pending>,
    work: Vec<(u64, Pending, u8)>,
    count: usize,
}

impl Paths<'_, '_> {
    fn follow(&mut self) {
        while let Some((address, pending, depth)) = self.work.pop() {
            self.follow_path(address, pending, depth);
        }
    }

    fn follow_path(&mut self, mut address: u64, mut pending: Pending, depth: u8) {
        // What is alive already need not be followed.
        while (pending.r11 && self.dead.r11) || ((pending.flags != 0 || pending.is_copied) && self.dead.flags) {
            if let Some(&seen) = self.seen.get(&address) {
                pending = pending.or(seen);
                if pending == seen {
                    return;
                }
            }
            self.seen.insert(address, pending);
            self.count += 1;
            let instruction = self.map.decode(address).filter(|instruction| !instruction.is_invalid());
            let Some(instruction) = instruction.filter(|_| self.count <= PATH_MAX) else {
                return self.give_up(pending);
            };
            let takes_own = pending.pushed_bytes > 0 || pending.is_top_stored;
            self.look_at(&instruction, &mut pending);
            match instruction.flow_control() {
                FlowControl::Return if takes_own => return self.give_up(pending),
                FlowControl::Return | FlowControl::IndirectCall | FlowControl::Exception => return,
                FlowControl::IndirectBranch if instruction.is_ip_rel_memory_operand() => return,
                FlowControl::IndirectBranch | FlowControl::XbeginXabortXend => return self.give_up(pending),
                FlowControl::UnconditionalBranch => address = instruction.near_branch_target(),
                FlowControl::ConditionalBranch => {
                    self.work.push((instruction.near_branch_target(), pending, depth));
                    address = instruction.next_ip();
                }
                FlowControl::Call if instruction.mnemonic() != Mnemonic::Syscall => {
                    if depth < DEPTH_MAX {
                        let pending = Pending { pushed_bytes: 0, is_top_stored: false, ..pending };
                        self.work.push((instruction.near_branch_target(), pending, depth + 1));
                    }
                    return;
                }
                _ => address = instruction.next_ip(),
            }
        }
    }

    fn give_up(&mut self, pending: Pending) {
        self.dead.r11 &= !pending.r11;
        self.dead.flags &= pending.flags == 0 && !pending.is_copied;
    }

    /// Takes account of what an instruction reads, and then of what it writes.
    fn look_at(&mut self, instruction: &Instruction, pending: &mut Pending) {
        let is_syscall = instruction.mnemonic() == Mnemonic::Syscall;
        if instruction.rflags_read() & pending.flags != 0 && !is_syscall {
            self.dead.flags = false;
        }
        let info = self.factory.info(instruction);
        let mut writes_r11 = false;
        for used in info.used_registers().iter().filter(|used| used.register().full_register() == Register::R11) {
            let is_whole = matches!(used.register(), Register::R11 | Register::R11D);
            match used.access() {
                OpAccess::None | OpAccess::NoMemAccess => {}
                OpAccess::Write if is_whole => writes_r11 = true,
                _ => {
                    self.dead.r11 &= !pending.r11;
                    self.dead.flags &= !pending.is_copied;
                }
            }
        }
        let writes = |used: &&UsedMemory| matches!(used.access(), OpAccess::Write | OpAccess::ReadWrite);
        let is_top = |used: &UsedMemory| {
            used.base() == Register::RSP && used.index() == Register::None && used.displacement() == 0
        };
        let moves_stack = info.used_registers().iter().any(|used| {
            used.register().full_register() == Register::RSP
                && !matches!(used.access(), OpAccess::None | OpAccess::Read | OpAccess::CondRead)
        });
        pending.is_top_stored =
            !moves_stack && (pending.is_top_stored || info.used_memory().iter().filter(writes).any(is_top));
        pending.pushed_bytes = match pushed_bytes(instruction) {
            Some(bytes) => pending.pushed_bytes.saturating_add(bytes),
            None if moves_stack => 0,
            None => pending.pushed_bytes,
        };
        pending.r11 &= !writes_r11;
        pending.is_copied = if is_syscall { pending.flags != 0 } else { pending.is_copied && !writes_r11 };
        pending.flags &= !written_flags(instruction);
    }
}

/// How far an instruction moves the stack pointer down, if it adds or subtracts, pushes or pops.
fn pushed_bytes(instruction: &Instruction) -> Option<i32> {
    let is_stack_pointer = instruction.op0_kind() == OpKind::Register && instruction.op0_register() == Register::RSP;
    let immediate = || instruction.try_immediate(1).ok().and_then(|value| i32::try_from(value.cast_signed()).ok());
    match instruction.mnemonic() {
        Mnemonic::Add if is_stack_pointer => immediate()?.checked_neg(),
        Mnemonic::Sub if is_stack_pointer => immediate(),
        _ => Some(-instruction.stack_pointer_increment()).filter(|&bytes| bytes != 0),
    }
}

/// The flags that an instruction is sure to write. An undefined flag may be the old one.
fn written_flags(instruction: &Instruction) -> u32 {
    let is_repeated = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    match instruction.mnemonic() {
        // It puts them back.
        Mnemonic::Syscall => 0,
        // By no bits, they leave the flags alone.
        Mnemonic::Shl
        | Mnemonic::Shr
        | Mnemonic::Sal
        | Mnemonic::Sar
        | Mnemonic::Shld
        | Mnemonic::Shrd
        | Mnemonic::Rol
        | Mnemonic::Ror
        | Mnemonic::Rcl
        | Mnemonic::Rcr => 0,
        Mnemonic::Cmpsb | Mnemonic::Cmpsw | Mnemonic::Cmpsd | Mnemonic::Cmpsq if is_repeated => 0,
        Mnemonic::Scasb | Mnemonic::Scasw | Mnemonic::Scasd | Mnemonic::Scasq if is_repeated => 0,
        // Every processor clears the auxiliary carry, and nothing reads it.
        Mnemonic::And | Mnemonic::Or | Mnemonic::Xor | Mnemonic::Test => instruction.rflags_modified(),
        _ => instruction.rflags_modified() & !instruction.rflags_undefined(),
    }
}
