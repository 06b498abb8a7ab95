//! Finds the instructions in a program that must not run in ring 0 as they are, and the system calls that can be rewritten.
//!
//! The program runs at the kernel's own privilege, so an instruction that Linux answers with SIGSEGV would do something
//! there. The kernel replaces the first byte of each such instruction when it maps the code; here, on the host, is
//! decided where they are. A byte is changed only if it is proven to begin an instruction: a wrong change would break
//! the program, a missed one leaves a program that is broken anyway with less protection.
//!
//! # 1. What proves code
//!
//! 1. Ranges: functions in the symbol tables and in the call frame information (`.eh_frame`, which stays in stripped
//!    files). A whole range is code if it decodes without a gap and its branches agree with that ([`sweep`]).
//! 2. Roots: the entry point, initialisers and finalisers, and every target of a direct branch in proven code. From there
//!    control flow is followed ([`descent`]).
//! 3. Suspects: addresses that proven code or data mention, entries of jump tables, and what lies between proven
//!    parts. A suspect is tried: everything that follows from it must be consistent with what is proven, and at least one
//!    reference in it must be of a kind that no random bytes contain ([`suspects`]).
//!
//! What remains is counted and left alone. Which system calls in proven code can be rewritten is decided in [`rewrite`].
//!
//! # 2. What it does not do
//!
//! It does not follow indirect branches other than by the rules above, and knows nothing of code made at run time.

pub mod cache;
mod code_map;
mod descent;
mod exception_table;
mod forbidden;
mod object;
pub mod rewrite;
mod suspects;
mod sweep;
#[cfg(test)]
mod tests;

use image_format::{Site, SiteKind};

use code_map::CodeMap;
use object::Object;
use rewrite::Left;

/// Changes whenever the analysis may give another result; results in the cache are bound to it.
pub const VERSION: u32 = 7;

/// What is known about one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Analysis {
    /// The instructions that must not run and the system calls that can be rewritten, sorted by their place in the file.
    pub sites: Vec<Site>,
    /// The other system calls, sorted likewise.
    pub left: Vec<Left>,
    /// How many bytes are proven to be code.
    pub proven_bytes: u64,
    /// How many bytes of executable segments are not, padding left out.
    pub unproven_bytes: u64,
}

/// Analyses an ELF file for x86-64. A file without executable segments, or none at all, has no sites.
pub fn analyse(bytes: &[u8]) -> Analysis {
    let Some(object) = Object::parse(bytes) else { return Analysis::default() };
    let mut map = CodeMap::new(&object);
    for range in object.function_ranges() {
        sweep::prove_range(&mut map, range);
    }
    descent::follow(&mut map, object.roots());
    suspects::prove_suspects(&mut map, &object);
    let mut sites: Vec<Site> = map
        .proven_since(0)
        .filter(forbidden::is_forbidden)
        .filter_map(|instruction| {
            let file_offset = object.file_offset(instruction.ip())?;
            let original = *bytes.get(usize::try_from(file_offset).ok()?)?;
            Some(Site { file_offset, kind: SiteKind::Privileged, original })
        })
        .collect();
    let rewrite::Found { sites: system_calls, left } = rewrite::find(&object, &map);
    sites.extend(system_calls);
    sites.sort_unstable_by_key(|site| site.file_offset);
    // The same bytes may be mapped twice.
    let mut free_from = 0;
    sites.retain(|site| {
        let is_free = site.file_offset >= free_from;
        free_from = free_from.max(site.end());
        is_free
    });
    let (proven_bytes, unproven_bytes) = map.count();
    Analysis { sites, left, proven_bytes, unproven_bytes }
}

impl Analysis {
    /// How many instructions must not run.
    pub fn privileged_count(&self) -> usize {
        self.sites.iter().filter(|site| site.kind == SiteKind::Privileged).count()
    }

    /// How many system calls can be rewritten.
    pub fn rewritten_count(&self) -> usize {
        self.sites.len() - self.privileged_count()
    }
}
