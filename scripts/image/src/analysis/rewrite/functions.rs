//! Branches near a system call that no search through the file finds.
//!
//! # 1. Branches with a distance of one byte
//!
//! They reach 128 bytes. Around a system call every proven instruction is looked at, and every byte of which nothing is known.
//!
//! # 2. Code that overlaps with other code
//!
//! Behind a branch into an instruction, and where a proven instruction is followed by the inside of one, other instructions
//! begin than those that are proven, until both agree again. All their bytes count as targets, and where they agree.
//!
//! # 3. Computed branches
//!
//! A function may compute a target from one of its own labels: distances between labels, sizes of instructions. It has to name
//! that label, and to branch to what is in a register or in memory. A function in which both is found is left alone; a jump
//! table is not that, as its base lies elsewhere. Where no function is known, what lies between the targets of calls stands for one.
//!
//! What is not seen: code that computes a target inside another function without naming an address of it anywhere in the
//! file.

use std::collections::HashSet;
use std::ops::Range;

use iced_x86::{FlowControl, Instruction, OpKind};

use super::super::code_map::{CodeMap, Place};
use super::super::forbidden::{direct_target, ends_flow};
use super::super::object::Object;

/// How far a branch with one byte reaches, its own size included.
const SHORT_REACH: u64 = 130;
/// How much is looked at where no function is known.
const NEIGHBOURHOOD: u64 = 2048;
/// How many functions may begin inside another one before an address in it.
const NESTED_MAX: usize = 64;
/// Code that was entered inside an instruction falls in with the other hardly ever later than this.
const MERGE_MAX: usize = 32;

/// The targets of all branches with a distance of one byte that can reach a range.
pub(super) fn short_targets(map: &CodeMap<'_>, range: &Range<u64>) -> Vec<u64> {
    let near = range.start.saturating_sub(SHORT_REACH)..range.end.saturating_add(SHORT_REACH);
    let targets = near.filter_map(|address| match map.place(address) {
        Place::Start => {
            let instruction = map.decode(address)?;
            direct_target(&instruction).map(|(target, _)| target)
        }
        Place::Unknown => {
            let opcode = map.byte(address)?;
            let is_branch = matches!(opcode, 0x70..=0x7f | 0xe0..=0xe3 | 0xeb);
            let distance = map.byte(address.wrapping_add(1)).filter(|_| is_branch)?;
            Some(address.wrapping_add(2).wrapping_add_signed(i64::from(distance.cast_signed())))
        }
        Place::Inside | Place::Outside => None,
    });
    targets.collect()
}

/// Where code goes on behind the proven instructions of a range, if that is no proven instruction.
pub(super) fn loose_ends(map: &CodeMap<'_>, range: &Range<u64>) -> Vec<u64> {
    let starts = range.clone().filter(|&address| map.place(address) == Place::Start);
    let ends = starts.filter_map(|address| map.decode(address).filter(|instruction| !ends_flow(instruction)));
    ends.map(|instruction| instruction.next_ip()).filter(|&next| map.place(next) != Place::Start).collect()
}

/// The bytes of the code that begins at some places which are no proven instructions, to the point where it falls in with proven
/// code.
pub(super) fn overlaps(map: &CodeMap<'_>, beginnings: &[u64]) -> HashSet<u64> {
    let mut bytes = HashSet::new();
    for &beginning in beginnings {
        let mut address = beginning;
        for _ in 0..MERGE_MAX {
            if !matches!(map.place(address), Place::Inside | Place::Unknown) {
                break;
            }
            let Some(instruction) = map.decode(address).filter(|instruction| !instruction.is_invalid()) else { break };
            bytes.extend(address..=instruction.next_ip());
            bytes.extend(direct_target(&instruction).map(|(target, _)| target));
            if ends_flow(&instruction) {
                break;
            }
            address = instruction.next_ip();
        }
    }
    bytes
}

/// Functions, as far as they are known.
pub(super) struct FunctionMap {
    /// Those of known extent, by their start.
    ranges: Vec<Range<u64>>,
    /// Where others begin.
    starts: Vec<u64>,
}

impl FunctionMap {
    /// Takes ranges and starts that are sorted.
    pub(super) fn new(ranges: Vec<Range<u64>>, starts: Vec<u64>) -> Self {
        Self { ranges, starts }
    }

    /// The function around an address: of several the one that begins last. One of unknown extent is cut to
    /// [`NEIGHBOURHOOD`] bytes on both sides.
    pub(super) fn around(&self, address: u64) -> Range<u64> {
        let end = self.ranges.partition_point(|range| range.start <= address);
        let mut outer = self.ranges.get(..end).unwrap_or_default().iter().rev().take(NESTED_MAX);
        if let Some(known) = outer.find(|range| range.contains(&address)) {
            return known.clone();
        }
        let next = self.starts.partition_point(|&start| start <= address);
        let start = next.checked_sub(1).and_then(|last| self.starts.get(last));
        let low = address.saturating_sub(NEIGHBOURHOOD);
        let high = address.saturating_add(NEIGHBOURHOOD);
        start.map_or(low, |&start| start.max(low))..self.starts.get(next).map_or(high, |&end| end.min(high))
    }
}

/// Whether a function may compute branches to its own labels.
pub(super) fn computes_branches(object: &Object<'_>, map: &CodeMap<'_>, range: &Range<u64>) -> bool {
    let mut has_branch = false;
    let mut names_label = false;
    for address in range.clone().filter(|&address| map.place(address) == Place::Start) {
        let Some(instruction) = map.decode(address) else { continue };
        has_branch |= is_computed(&instruction);
        names_label |= named(&instruction, object.has_fixed_address()).any(|label| range.contains(&label));
    }
    has_branch && names_label
}

/// An indirect jump that is no call of another library.
fn is_computed(instruction: &Instruction) -> bool {
    instruction.flow_control() == FlowControl::IndirectBranch && !instruction.is_ip_rel_memory_operand()
}

/// The addresses that an instruction names: the places of its memory operands and, if addresses are fixed, immediate operands.
fn named(instruction: &Instruction, is_fixed: bool) -> impl Iterator<Item = u64> {
    (0..instruction.op_count()).filter_map(move |operand| match instruction.op_kind(operand) {
        OpKind::Memory if instruction.is_ip_rel_memory_operand() => Some(instruction.ip_rel_memory_address()),
        OpKind::Memory if is_fixed => Some(instruction.memory_displacement64()),
        OpKind::Immediate32 | OpKind::Immediate32to64 | OpKind::Immediate64 if is_fixed => {
            Some(instruction.immediate(operand))
        }
        _ => None,
    })
}
