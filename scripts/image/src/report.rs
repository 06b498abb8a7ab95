//! What the analysis found, for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use image_format::SiteKind;

use crate::analysis::Analysis;
use crate::build::megabytes;

/// One line about all files of an image.
pub fn in_short(analyses: &[(String, Analysis)]) -> String {
    let sum = |count: fn(&Analysis) -> usize| analyses.iter().map(|(_, analysis)| count(analysis)).sum::<usize>();
    let bytes = |count: fn(&Analysis) -> u64| megabytes(analyses.iter().map(|(_, analysis)| count(analysis)).sum());
    let rewritten = sum(Analysis::rewritten_count);
    format!(
        "{} privileged instructions in {} of code, {} unproven; {rewritten} of {} system calls rewritten",
        sum(Analysis::privileged_count),
        bytes(|analysis| analysis.proven_bytes),
        bytes(|analysis| analysis.unproven_bytes),
        rewritten + sum(|analysis| analysis.left.len()),
    )
}

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

/// The head of a table of programs.
pub const TABLE_HEAD: &str =
    "| program | code | system calls | rewritten | | left, and why |\n|---|--:|--:|--:|--:|---|\n";

/// The row of a program in it, under the last part of its name.
pub fn as_row(name: &str, analysis: &Analysis) -> String {
    let name = name.rsplit('/').next().unwrap_or(name);
    let (rewritten, left) = (analysis.rewritten_count(), analysis.left.len());
    let share = (rewritten * 100).checked_div(rewritten + left).map_or(String::new(), |percent| format!("{percent}%"));
    let code = megabytes(analysis.proven_bytes + analysis.unproven_bytes);
    format!("| {name} | {code} | {} | {rewritten} | {share} | {} |\n", rewritten + left, reasons(analysis))
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
