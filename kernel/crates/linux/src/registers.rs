//! [`Registers`]: the general registers of a program, as entry code saves them.

/// The registers of a program while the kernel works for it, in the order of Linux's `pt_regs`.
///
/// The machine fills it on entry and loads it on exit. `cs` and `ss` are the machine's own affair: nothing in this crate
/// changes them, and programs are always shown the selectors Linux uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// The system call number, as `rax` held it on entry; without meaning for faults and interrupts.
    pub original_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const _: () = assert!(size_of::<Registers>() == 168, "entry code counts on it");

/// The flags a program or a signal may change.
pub mod flags {
    #![expect(missing_docs, reason = "the flags' own names")]
    pub const CF: u64 = 1 << 0;
    pub const FIXED: u64 = 1 << 1;
    pub const PF: u64 = 1 << 2;
    pub const AF: u64 = 1 << 4;
    pub const ZF: u64 = 1 << 6;
    pub const SF: u64 = 1 << 7;
    pub const TF: u64 = 1 << 8;
    pub const IF: u64 = 1 << 9;
    pub const DF: u64 = 1 << 10;
    pub const OF: u64 = 1 << 11;
    pub const RF: u64 = 1 << 16;
    pub const AC: u64 = 1 << 18;
    pub const NT: u64 = 1 << 14;
    pub const ID: u64 = 1 << 21;
    /// What `popf` changes in ring 3.
    pub const POPPED: u64 = PROGRAM & !RF | NT | ID;
    /// What a program may choose for itself through `rt_sigreturn`.
    pub const PROGRAM: u64 = CF | PF | AF | ZF | SF | TF | DF | OF | RF | AC;
}

/// The length of the `syscall` instruction: going back by this much repeats the call.
const SYSCALL_INSTRUCTION_LEN: u64 = 2;

impl Registers {
    /// A program about to run its first instruction. The machine puts in its own `cs` and `ss`.
    pub fn at_start(entry: u64, stack_pointer: u64) -> Self {
        Self { rip: entry, rsp: stack_pointer, rflags: flags::IF | flags::FIXED, ..Self::default() }
    }

    /// The six words a system call's arguments are in.
    #[inline]
    pub fn arguments(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// A general register by the number instructions give it.
    pub(crate) fn general(&mut self, number: u8) -> &mut u64 {
        match number & 15 {
            0 => &mut self.rax,
            1 => &mut self.rcx,
            2 => &mut self.rdx,
            3 => &mut self.rbx,
            4 => &mut self.rsp,
            5 => &mut self.rbp,
            6 => &mut self.rsi,
            7 => &mut self.rdi,
            8 => &mut self.r8,
            9 => &mut self.r9,
            10 => &mut self.r10,
            11 => &mut self.r11,
            12 => &mut self.r12,
            13 => &mut self.r13,
            14 => &mut self.r14,
            _ => &mut self.r15,
        }
    }

    /// Makes the program issue the system call `number` again when it continues.
    pub(crate) fn rewind_to_syscall(&mut self, number: u64) {
        self.rax = number;
        self.rip = self.rip.wrapping_sub(SYSCALL_INSTRUCTION_LEN);
    }
}
