//! The places around system calls where control may arrive from elsewhere.

use std::collections::HashMap;
use std::ops::Range;

use super::super::code_map::CodeMap;
use super::super::object::Object;
use super::Reason;
use super::choice::Candidate;
use super::functions::{merges, short_targets};
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
        let wanted = Wanted {
            bytes: AddressSet::new(candidates.iter().flat_map(reach).collect()),
            starts: AddressSet::new(candidates.iter().flat_map(Candidate::starts).collect()),
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
        names.extend(object.labels().filter(|&address| wanted.bytes.contains(address)));
        branches.extend(object.landing_pads(|function| wanted.bytes.touches(function)));
        branches.extend(merges(map, &branches));
        targets.extend(names.into_iter().map(|address| (address, Reason::Named)));
        targets.extend(branches.into_iter().map(|address| (address, Reason::BranchTarget)));
        Self(targets)
    }

    /// What leads into a range other than to its start.
    pub(super) fn inside(&self, range: &Range<u64>) -> Option<Reason> {
        (range.start + 1..range.end).find_map(|address| self.0.get(&address).copied())
    }
}
