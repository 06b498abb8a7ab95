//! The places around system calls where control may arrive from elsewhere.

use std::collections::HashMap;
use std::ops::Range;

use super::super::code_map::{CodeMap, Place};
use super::super::object::Object;
use super::Reason;
use super::choice::Candidate;
use super::functions::{loose_ends, overlaps, short_targets};
use super::references::{self, AddressSet, Wanted};

/// Code that is entered inside an instruction so far in front falls in with the other code before it reaches a patch.
const OVERLAP_REACH: u64 = 64;

/// All that are known, with what leads there.
pub(super) struct Targets(HashMap<u64, Reason>);

impl Targets {
    /// Searches the file for what leads to, or names, anything near one of the candidates.
    pub(super) fn find(object: &Object<'_>, map: &CodeMap<'_>, candidates: &[Candidate]) -> Self {
        let reach = |candidate: &Candidate| {
            let range = candidate.range();
            range.start.saturating_sub(OVERLAP_REACH)..range.end
        };
        // At the first byte everybody may arrive.
        let inside = candidates.iter().flat_map(|candidate| candidate.range().skip(1));
        let names = AddressSet::new(inside.collect());
        let wanted = Wanted {
            targets: AddressSet::new(candidates.iter().flat_map(reach).collect()),
            names,
            starts: AddressSet::new(candidates.iter().flat_map(Candidate::starts).collect()),
            is_fixed: object.has_fixed_address(),
        };
        let mut targets = HashMap::new();
        let mut branches: Vec<u64> =
            candidates.iter().flat_map(|candidate| short_targets(map, &reach(candidate))).collect();
        let mut names = Vec::new();
        for reference in references::find(object, map, &wanted) {
            match reference {
                references::Found::Branch(address) => branches.push(address),
                references::Found::Name(address) => names.push(address),
            }
        }
        names.extend(object.labels().filter(|&address| wanted.targets.contains(address)));
        branches.extend(object.landing_pads(|function| wanted.targets.touches(function)));
        let reaches = candidates.iter().flat_map(|candidate| loose_ends(map, &reach(candidate)));
        let inside = branches.iter().chain(&names).copied().filter(|&address| map.place(address) == Place::Inside);
        branches.extend(overlaps(map, &reaches.chain(inside).collect::<Vec<_>>()));
        targets.extend(branches.into_iter().map(|address| (address, Reason::BranchTarget)));
        targets.extend(names.into_iter().map(|address| (address, Reason::Named)));
        Self(targets)
    }

    /// What leads into a range other than to its start.
    pub(super) fn inside(&self, range: &Range<u64>) -> Option<Reason> {
        (range.start + 1..range.end).find_map(|address| self.0.get(&address).copied())
    }
}
