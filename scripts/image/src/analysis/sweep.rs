//! Functions of known extent: all of it is code, or something is wrong with the extent.

use std::ops::Range;

use super::code_map::{CodeMap, Place};
use super::forbidden::direct_target;

/// Proves a range that decodes without a gap, ends with an instruction, and whose branches into itself hit instructions.
/// Otherwise nothing is proven but that it begins with code; the caller's descent takes it from there.
pub(super) fn prove_range(map: &mut CodeMap<'_>, range: Range<u64>) {
    if map.is_covered(&range) {
        return;
    }
    if let Some(starts) = decode_all(map, &range) {
        for address in starts {
            if let Some(instruction) = map.decode(address) {
                map.prove(&instruction);
            }
        }
    } else {
        super::descent::follow(map, vec![range.start]);
    }
}

/// The addresses of all instructions of a range, if they are consistent.
fn decode_all(map: &CodeMap<'_>, range: &Range<u64>) -> Option<Vec<u64>> {
    let mut decoder = map.decoder(range.start)?;
    let mut starts = Vec::new();
    let mut targets = Vec::new();
    while decoder.ip() < range.end {
        let instruction = decoder.decode();
        if instruction.is_invalid() || instruction.next_ip() > range.end || map.place(instruction.ip()) == Place::Inside
        {
            return None;
        }
        starts.push(instruction.ip());
        targets.extend(direct_target(&instruction).map(|(target, _)| target).filter(|target| range.contains(target)));
    }
    let is_start = |target: u64| {
        starts.binary_search(&target).is_ok()
            // A jump over a lock prefix.
            || (starts.binary_search(&target.wrapping_sub(1)).is_ok() && map.byte(target.wrapping_sub(1)) == Some(0xf0))
    };
    targets.into_iter().all(is_start).then_some(starts)
}
