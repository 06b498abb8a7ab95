//! Results of the analysis, kept by the hash of the file: most files of an image are those of the last one.
//!
//! A result is a text file of lines: the proven and the unproven bytes, then one line for each site and for each system
//! call that is left alone. A file that cannot be
//! read or makes no sense is as good as none.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use image_format::{Patch, Site, SiteKind};
use sha2::{Digest, Sha256};

use super::rewrite::{Left, Reason};
use super::{Analysis, VERSION, analyse};

/// Analyses a file, or takes the result of the last time.
pub fn analyse_cached(bytes: &[u8], directory: Option<&Path>) -> Analysis {
    let Some(path) = directory.map(|directory| file_name(directory, bytes)) else { return analyse(bytes) };
    if let Some(analysis) = fs::read_to_string(&path).ok().and_then(|text| decode(&text)) {
        return analysis;
    }
    let analysis = analyse(bytes);
    if let Some(directory) = path.parent() {
        // Not being able to keep the result costs time, nothing else.
        let staging = path.with_extension(format!("new-{}", std::process::id()));
        let _ = fs::create_dir_all(directory)
            .and_then(|()| fs::write(&staging, encode(&analysis)))
            .and_then(|()| fs::rename(&staging, &path));
    }
    analysis
}

fn file_name(directory: &Path, bytes: &[u8]) -> PathBuf {
    let mut name = format!("v{VERSION}-");
    for byte in Sha256::digest(bytes) {
        name.push_str(&format!("{byte:02x}"));
    }
    directory.join(name)
}

fn encode(analysis: &Analysis) -> String {
    let mut text = format!("{} {}\n", analysis.proven_bytes, analysis.unproven_bytes);
    for site in &analysis.sites {
        text.push_str(&format!("{} {}", site.file_offset, site.original));
        if let SiteKind::Syscall(patch) = &site.kind {
            let (r11, flags) = (u8::from(patch.is_r11_dead), u8::from(patch.are_flags_dead));
            let (length, syscall_at) = (patch.length, patch.syscall_at);
            text.push_str(&format!(" {length} {syscall_at} {} {r11} {flags} {}", patch.starts, patch.checksum));
        }
        text.push('\n');
    }
    for left in &analysis.left {
        text.push_str(&format!("left {} {}\n", left.file_offset, left.reason as usize));
    }
    text.push_str("end\n");
    text
}

fn decode(text: &str) -> Option<Analysis> {
    let mut lines = text.strip_suffix("end\n")?.lines();
    let (proven, unproven) = lines.next()?.split_once(' ')?;
    let (proven_bytes, unproven_bytes) = (proven.parse().ok()?, unproven.parse().ok()?);
    let mut analysis = Analysis { proven_bytes, unproven_bytes, ..Analysis::default() };
    for line in lines {
        match line.strip_prefix("left ") {
            Some(left) => analysis.left.push(decode_left(left)?),
            None => analysis.sites.push(decode_site(line)?),
        }
    }
    Some(analysis)
}

fn decode_left(fields: &str) -> Option<Left> {
    let (file_offset, reason) = fields.split_once(' ')?;
    let reason = *Reason::ALL.get(reason.parse::<usize>().ok()?)?;
    Some(Left { file_offset: file_offset.parse().ok()?, reason })
}

fn decode_site(line: &str) -> Option<Site> {
    fn next<T: FromStr>(fields: &mut std::str::Split<'_, char>) -> Option<T> {
        fields.next()?.parse().ok()
    }
    let mut fields = line.split(' ');
    let (file_offset, original) = (next(&mut fields)?, next(&mut fields)?);
    let kind = match next(&mut fields) {
        None => SiteKind::Privileged,
        Some(length) => SiteKind::Syscall(Patch {
            length,
            syscall_at: next(&mut fields)?,
            starts: next(&mut fields)?,
            is_r11_dead: next::<u8>(&mut fields)? != 0,
            are_flags_dead: next::<u8>(&mut fields)? != 0,
            checksum: next(&mut fields)?,
        }),
    };
    Some(Site { file_offset, kind, original })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn system_call() -> Site {
        let patch =
            Patch { length: 5, syscall_at: 5, starts: 1, is_r11_dead: true, are_flags_dead: false, checksum: 77 };
        Site { file_offset: 99, kind: SiteKind::Syscall(patch), original: 0x31 }
    }

    #[test]
    fn results_are_kept_and_damage_is_noticed() {
        let analysis = Analysis {
            sites: vec![Site { file_offset: 77, kind: SiteKind::Privileged, original: 0xf4 }, system_call()],
            left: vec![Left { file_offset: 11, reason: Reason::PageEnd }],
            proven_bytes: 1234,
            unproven_bytes: 5,
        };
        let text = encode(&analysis);
        assert_eq!(decode(&text), Some(analysis));
        for size in 0..text.len() {
            assert_eq!(decode(&text[..size]), None);
        }
        let scratch = Scratch::new("analysis-cache");
        let directory = scratch.path("cache");
        let fresh = analyse_cached(b"no ELF file", Some(&directory));
        assert_eq!(fresh, Analysis::default());
        let path = file_name(&directory, b"no ELF file");
        fs::write(&path, "7 8\nend\n").unwrap();
        assert_eq!(analyse_cached(b"no ELF file", Some(&directory)).proven_bytes, 7);
        fs::write(&path, "7 8\n").unwrap();
        assert_eq!(analyse_cached(b"no ELF file", Some(&directory)), Analysis::default());
    }
}
