//! Follows control flow from proven places.

use iced_x86::Instruction;

use super::code_map::{CodeMap, Place};
use super::forbidden::{direct_target, ends_flow, is_implausible, may_not_return};

/// Proves everything that is reached from `roots` and from the branches of all that is proven already.
pub(super) fn follow(map: &mut CodeMap<'_>, roots: Vec<u64>) {
    let mut work = roots;
    // What follows a call is looked at last: if the call does not return, it may be anything.
    let mut doubtful = Vec::new();
    loop {
        while let Some(address) = work.pop() {
            follow_run(map, address, &mut work, &mut doubtful);
        }
        let Some(address) = doubtful.pop() else { return };
        if map.place(address) == Place::Unknown && is_plausible_run(map, address) {
            work.push(address);
        }
    }
}

/// Proves the instructions from an address to the next one that does not, or may not, go on.
fn follow_run(map: &mut CodeMap<'_>, mut address: u64, work: &mut Vec<u64>, doubtful: &mut Vec<u64>) {
    while map.place(address) == Place::Unknown {
        let Some(instruction) = map.decode(address).filter(|instruction| fits(map, instruction)) else { return };
        map.prove(&instruction);
        work.extend(direct_target(&instruction).map(|(target, _)| target));
        if ends_flow(&instruction) {
            return;
        }
        address = instruction.next_ip();
        if may_not_return(&instruction) {
            doubtful.push(address);
            return;
        }
    }
}

/// Whether an instruction is one, and overlaps nothing that is proven.
pub(super) fn fits(map: &CodeMap<'_>, instruction: &Instruction) -> bool {
    !instruction.is_invalid()
        && (instruction.ip() + 1..instruction.next_ip()).all(|address| map.place(address) == Place::Unknown)
}

/// Whether the bytes behind a call look like the code to which it returns.
fn is_plausible_run(map: &CodeMap<'_>, start: u64) -> bool {
    let mut address = start;
    loop {
        match map.place(address) {
            Place::Start => return true,
            Place::Inside | Place::Outside => return false,
            Place::Unknown => {}
        }
        let Some(instruction) = map.decode(address).filter(|instruction| fits(map, instruction)) else { return false };
        if is_implausible(&instruction) || is_zeros(map, address) {
            return false;
        }
        if direct_target(&instruction)
            .is_some_and(|(target, _)| matches!(map.place(target), Place::Inside | Place::Outside))
        {
            return false;
        }
        if ends_flow(&instruction) || may_not_return(&instruction) {
            return true;
        }
        address = instruction.next_ip();
    }
}

/// Four zero bytes are two instructions that no compiler writes.
pub(super) fn is_zeros(map: &CodeMap<'_>, address: u64) -> bool {
    (address..address + 4).all(|address| map.byte(address) == Some(0))
}
