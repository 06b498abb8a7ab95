//! Rules about the text of the tree: `unsafe`, length, words.
//!
//! The source is not parsed: comments and string literals are blanked first, which is enough for single words.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Finding;

/// Lines a source file may have.
const LINES_MAX: usize = 700;

/// Longer files, and why each is still one concept.
const LONG_FILES: &[(&str, &str)] = &[("abi/syscalls/src/table.rs", "one table, a row for each system call")];

/// Beginnings of paths that belong to one machine.
const MACHINE_PATHS: &[&str] = &["/home/", "/work/main", "/root/.", "/Users/"];

/// Crates that hold all of the unsafe code; every other one forbids it.
const UNSAFE_CRATES: &[&str] = &["kernel/crates/sync"];

/// Checks the tree at `root`.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>, String> {
    let allowlist = allowlist(root)?;
    let mut findings = Vec::new();
    let mut used = vec![false; allowlist.len()];
    for path in files(root)? {
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if !name.starts_with("scripts/check/") {
            findings.extend(check_words(&name, &text));
        }
        if !name.ends_with(".rs") {
            continue;
        }
        findings.extend(check_length(&name, &text));
        if name.starts_with("kernel/") || name.starts_with("abi/") {
            let is_test = name.contains("/tests/");
            let entry = allowlist.iter().position(|allowed| is_covered(allowed, &name));
            let has_unsafe = contains_unsafe(&text);
            match entry {
                Some(index) => used[index] |= has_unsafe,
                None if has_unsafe && !is_test => findings.push(Finding::new(
                    &name,
                    "has unsafe code: move it to the machine layer, or add the file to scripts/check/unsafe-allowlist.txt",
                )),
                None => {}
            }
        }
    }
    for (allowed, used) in allowlist.iter().zip(used) {
        if !used {
            findings.push(Finding::new(allowed, "is in unsafe-allowlist.txt without unsafe code: remove the line"));
        }
    }
    findings.extend(check_crates(root)?);
    Ok(findings)
}

fn allowlist(root: &Path) -> Result<Vec<String>, String> {
    let path = root.join("scripts/check/unsafe-allowlist.txt");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines = text.lines().map(str::trim);
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(String::from).collect())
}

/// An entry is a file, or a directory when it ends in a slash.
fn is_covered(entry: &str, name: &str) -> bool {
    entry == name || (entry.ends_with('/') && name.starts_with(entry))
}

/// Files under version control, or about to be.
fn files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let output = std::process::Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git ls-files: {error}"))?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(|name| root.join(name)).collect())
}

fn check_words(name: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(path) = MACHINE_PATHS.iter().find(|path| line.contains(**path)) {
            findings
                .push(Finding::new(format!("{name}:{}", number + 1), format!("names a path of one machine: {path}")));
        }
    }
    findings
}

fn check_length(name: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let is_excused = LONG_FILES.iter().any(|(file, _)| *file == name);
    (lines > LINES_MAX && !is_excused).then(|| {
        Finding::new(
            name,
            format!("has {lines} lines: split it by concept, or give a reason in scripts/check/src/sources.rs"),
        )
    })
}

/// Whether code, not comments or strings, has the word `unsafe`.
fn contains_unsafe(text: &str) -> bool {
    let code = blank_comments_and_strings(text);
    code.split(|character: char| !(character.is_alphanumeric() || character == '_')).any(|word| word == "unsafe")
}

/// The text with comments and the contents of string literals removed.
fn blank_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if character == '"' {
            string_len(rest)
        } else {
            code.push(character);
            rest = &rest[character.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

/// Bytes of the string literal at the start of `text`.
fn string_len(text: &str) -> usize {
    let mut is_escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// Every crate takes the workspace's lints, and pure crates forbid unsafe code.
fn check_crates(root: &Path) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for path in files(root)?.into_iter().filter(|path| path.ends_with("Cargo.toml")) {
        let Some(directory) = path.parent() else { continue };
        let name = directory.strip_prefix(root).unwrap_or(directory).to_string_lossy().into_owned();
        let Ok(manifest) = fs::read_to_string(&path) else { continue };
        if !manifest.contains("[package]") || name == "tests/fuzz" {
            continue;
        }
        if !manifest.contains("[lints]\nworkspace = true") {
            findings.push(Finding::new(format!("{name}/Cargo.toml"), "does not take the workspace's lints"));
        }
        let is_pure = name.starts_with("kernel/crates/") || name.starts_with("abi/");
        if is_pure && !UNSAFE_CRATES.contains(&name.as_str()) {
            let library = fs::read_to_string(directory.join("src/lib.rs")).unwrap_or_default();
            if !library.contains("#![forbid(unsafe_code)]") {
                findings.push(Finding::new(format!("{name}/src/lib.rs"), "does not forbid unsafe code"));
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_in_code_is_seen() {
        assert!(contains_unsafe("fn f() { unsafe { g() } }"));
        assert!(contains_unsafe("/* no */ unsafe impl Sync for X {}"));
    }

    #[test]
    fn unsafe_in_comments_strings_and_names_is_not() {
        assert!(!contains_unsafe("// unsafe\n#![forbid(unsafe_code)]\nlet s = \"unsafe \\\" unsafe\"; /* unsafe */"));
    }

    #[test]
    fn long_files_are_told_unless_excused() {
        let text = "x\n".repeat(LINES_MAX + 1);
        assert!(check_length("kernel/src/main.rs", &text).is_some());
        assert!(check_length("abi/syscalls/src/table.rs", &text).is_none());
        assert!(check_length("kernel/src/main.rs", &"x\n".repeat(LINES_MAX)).is_none());
    }

    #[test]
    fn paths_of_a_machine_are_told_with_their_line() {
        let found = check_words("README.md", "fine\nsee /home/somebody/file\n");
        assert_eq!(found[0].subject, "README.md:2");
    }
}
