//! What the analysis found, for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use image_format::SiteKind;

use crate::analysis::Analysis;

/// One line for each site and for each system call that is left alone.
pub fn in_full(name: &str, analysis: &Analysis) -> String {
    let mut text = String::new();
    let (privileged, rewritten, left) = (analysis.privileged_count(), analysis.rewritten_count(), analysis.left.len());
    let (proven, unproven) = (analysis.proven_bytes, analysis.unproven_bytes);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{name}: {privileged} privileged instructions, {} system calls, {rewritten} rewritten; {proven} bytes proven, {unproven} not",
        rewritten + left
    );
    for site in &analysis.sites {
        let _ = match &site.kind {
            SiteKind::Privileged => writeln!(text, "  {:#x} privileged, {:02x}", site.file_offset, site.original),
            SiteKind::Syscall(patch) => writeln!(
                text,
                "  {:#x} rewritten: {} bytes, syscall at {}{}{}",
                site.file_offset,
                patch.length,
                patch.syscall_at,
                if patch.is_r11_dead { "" } else { ", r11 alive" },
                if patch.are_flags_dead { "" } else { ", flags alive" },
            ),
        };
    }
    for left in &analysis.left {
        let _ = writeln!(text, "  {:#x} left: {}", left.file_offset, left.reason);
    }
    text
}

/// How many system calls are left alone for each reason, as `3 branch beside it, 1 end of a page`; the most frequent first.
pub fn reasons(analysis: &Analysis) -> String {
    let mut counts = BTreeMap::new();
    for left in &analysis.left {
        *counts.entry(left.reason).or_insert(0) += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ")
}
