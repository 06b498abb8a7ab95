//! Finds the system calls that can be rewritten, and how.
//!
//! The kernel puts a jump to a stub where a `syscall` is called; see [`image_format::Site`] for what a patch says. A jump has five
//! bytes and a `syscall` has two, so instructions beside it move into the stub. This must not be seen by any path through the
//! program. What is not proven stays a `syscall`, which traps and is always right.
//!
//! # 1. The choice
//!
//! 1. Form A covers the fewest instructions in front of the `syscall` that have five bytes. Whoever branches to the `syscall`
//!    itself, is put back there by a restart, or returns to it from a signal handler finds it in its place.
//! 2. Form B covers the `syscall` and instructions behind it, or on both sides.
//! 3. There is no way through the padding between functions: docs/REWRITING.md has the figures.
//!
//! # 2. What is proven of every covered instruction
//!
//! 1. It is an instruction: control flow from proven roots reaches it, or a function of known extent contains it ([`super`]).
//! 2. It does the same in a stub ([`movable`]). It reads and writes the program's stack where that is, as a stub pushes nothing.
//! 3. Control reaches it only from the covered instruction before it, the first one excepted: no branch leads there,
//!    whose distance has four bytes ([`references`]) or one ([`functions`]), and no address of it is found in code, data, symbols,
//!    call frame information or exception tables ([`references`], [`super::object`]). The return address of a call is never
//!    inside a patch, as calls are not covered.
//! 4. Where only one instruction is covered there is nothing to be reached, so that only a branch into this instruction
//!    counts: it would be code that overlaps with other code.
//! 5. All of a patch lies in one page, so that the kernel changes it at once or not at all.
//!
//! # 3. What is seen of it
//!
//! 1. The address of an instruction is seen in signal frames, by debuggers, in rcx behind a system call, and by
//!    `pthread_cancel`, which asks whether the interrupted address lies between two labels around a `syscall`. The kernel shows the
//!    address in the program for every address in a stub. A label is the address of an instruction in a symbol: a patch that
//!    has one inside is refused, so that all of a patch lies on one side of it. With labels stripped, what is covered in front of
//!    the `syscall` is covered one by one: each place in the stub has its own place in the program.
//! 2. `rt_sigreturn` is left alone: unwinders and debuggers recognise the code that a signal handler returns to by its bytes.
//! 3. A child of `vfork` or `clone` goes on behind the `syscall`, perhaps on another stack; nothing is kept on a stack.
//! 4. `setjmp` and `longjmp` go on behind calls, which are not covered.
//! 5. A program that reads its own code reads the jump. One that changes its code changes a copy whose bytes no longer agree with the
//!    checksum, and that is not patched again.
//! 6. r11 and the status flags are what Linux leaves, or nobody looks ([`liveness`]).
//!
//! # 4. What is assumed
//!
//! No code computes the address of a covered byte from something that names neither it nor another label of its function. A
//! distance in a table, or from one label to another, never leads into an instruction; a branch or a pointer may.

mod choice;
mod functions;
mod liveness;
mod movable;
mod references;
mod targets;
#[cfg(test)]
mod tests;

use std::fmt;

use image_format::Site;

use super::code_map::{CodeMap, Place};
use super::object::Object;
use choice::{Candidate, Chooser};
use targets::Targets;

/// The `syscall` instruction.
const SYSCALL: [u8; 2] = [0x0f, 0x05];
const SYSCALL_SIZE: u64 = 2;

/// Why a system call stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// It may not be code.
    Unproven = 0,
    /// A branch leads to one of the instructions that would have to move.
    BranchTarget,
    /// Data, a symbol or an instruction names one of them.
    Named,
    /// A branch or a call is too near.
    Branch,
    /// An instruction with an operand relative to its own address is too near.
    RelativeOperand,
    /// An instruction is too near that must stay where it is for another reason.
    Unmovable,
    /// The function computes branches to its own labels.
    ComputedBranch,
    /// It returns from a signal handler.
    SignalReturn,
    /// A page ends there.
    PageEnd,
}

impl Reason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Unproven,
        Self::BranchTarget,
        Self::Named,
        Self::Branch,
        Self::RelativeOperand,
        Self::Unmovable,
        Self::ComputedBranch,
        Self::SignalReturn,
        Self::PageEnd,
    ];
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unproven => "not proven to be code",
            Self::BranchTarget => "branch to what would move",
            Self::Named => "name of what would move",
            Self::Branch => "branch or call beside it",
            Self::RelativeOperand => "relative operand beside it",
            Self::Unmovable => "fixed instruction beside it",
            Self::ComputedBranch => "computed branches around it",
            Self::SignalReturn => "return from a signal handler",
            Self::PageEnd => "end of a page",
        })
    }
}

/// A system call that stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Where the `syscall` lies in the file.
    pub file_offset: u64,
    /// Why.
    pub reason: Reason,
}

/// What becomes of all system calls of a file.
#[derive(Default)]
pub(super) struct Found {
    pub(super) sites: Vec<Site>,
    pub(super) left: Vec<Left>,
}

impl Found {
    fn leave(&mut self, object: &Object<'_>, address: u64, reason: Reason) {
        self.left.extend(object.file_offset(address).map(|file_offset| Left { file_offset, reason }));
    }
}

/// Decides on every system call of a file.
pub(super) fn find(object: &Object<'_>, map: &CodeMap<'_>) -> Found {
    let mut found = Found::default();
    let mut candidates = Vec::new();
    for address in object.code_with(SYSCALL) {
        match map.place(address) {
            Place::Start => candidates.push(Candidate::new(map, address)),
            Place::Unknown if object.may_be_code(address) => found.leave(object, address, Reason::Unproven),
            Place::Unknown | Place::Inside | Place::Outside => {}
        }
    }
    let targets = Targets::find(object, map, &candidates);
    let chooser = Chooser::new(object, map, &targets);
    for (candidate, choice) in candidates.iter().zip(chooser.choose(&candidates)) {
        match choice.and_then(|choice| choice.site(object, map)) {
            Some(site) => found.sites.push(site),
            None => found.leave(object, candidate.address, chooser.why_not(candidate)),
        }
    }
    // The same bytes may be mapped twice.
    found.left.sort_unstable_by_key(|left| left.file_offset);
    found.left.dedup_by_key(|left| left.file_offset);
    found
}
