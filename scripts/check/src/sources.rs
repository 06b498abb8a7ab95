//! Rules about the files of the tree: `unsafe`, length, words, and what every crate says at its top.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Finding, rust_text};

/// Lines a source file may have.
const LINES_MAX: usize = 700;

/// Endings of the files that this holds for.
const SOURCES: &[&str] = &[".rs", ".s", ".c", ".sh", ".py", ".ld"];

/// Longer files, and why each is still one concept.
const LONG_FILES: &[(&str, &str)] = &[("tests/qemu/hostile.c", "one program, a mode for each kind of harm")];

/// What must not be in any file, and what to do instead.
const FORBIDDEN: &[(&str, &str)] = &[("/home/", MACHINE_PATH), ("/Users/", MACHINE_PATH), ("/root/.", MACHINE_PATH)];

const MACHINE_PATH: &str = "a path of one machine: find it at run time, or make it relative";

/// Files that may name what is forbidden: this one.
const FORBIDDEN_EXEMPT: &[&str] = &["scripts/check/src/sources.rs"];

/// Crates of the kernel that may hold unsafe code; every other one forbids it.
const UNSAFE_CRATES: &[&str] = &["kernel/crates/sync"];

const ALLOWLIST: &str = "scripts/check/unsafe-allowlist.txt";

/// A text file of the tree.
struct SourceFile {
    /// Its path from the root, with slashes.
    name: String,
    text: String,
}

/// Checks the tree at `root`.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>, String> {
    let files = read_files(root)?;
    let allowlist = fs::read_to_string(root.join(ALLOWLIST)).map_err(|error| format!("{ALLOWLIST}: {error}"))?;
    let mut findings = check_unsafe(&files, &allowlist);
    findings.extend(files.iter().filter_map(check_length));
    findings.extend(check_long_files(&files));
    findings.extend(files.iter().flat_map(check_words));
    findings.extend(check_crates(&files));
    Ok(findings)
}

/// The text files under version control, or about to be.
fn read_files(root: &Path) -> Result<Vec<SourceFile>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git ls-files: {error}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let files = names.split('\0').filter(|name| !name.is_empty()).filter_map(|name| {
        // Deleted files are still listed; those that are not text hold no words.
        let text = fs::read_to_string(root.join(PathBuf::from(name))).ok()?;
        Some(SourceFile { name: name.to_string(), text })
    });
    Ok(files.collect())
}

/// `unsafe` stands in the files of the list, and the list has no others. A line that ends in a slash is a directory.
fn check_unsafe(files: &[SourceFile], allowlist: &str) -> Vec<Finding> {
    let allowed: Vec<&str> =
        allowlist.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let is_unsafe = |file: &&SourceFile| {
        file.name.ends_with(".rs") && rust_text::has_word(&rust_text::code_of(&file.text), "unsafe")
    };
    let with_unsafe: Vec<&str> = files.iter().filter(is_unsafe).map(|file| file.name.as_str()).collect();
    let unlisted = with_unsafe.iter().filter(|name| !allowed.iter().any(|line| covers(line, name))).map(|name| {
        let remedy = format!("do without, or move it to the machine layer, or add the file to {ALLOWLIST}");
        Finding::new(*name, format!("has unsafe code: {remedy}"))
    });
    let stale = allowed
        .iter()
        .filter(|line| !with_unsafe.iter().any(|name| covers(line, name)))
        .map(|line| Finding::new(*line, format!("is in {ALLOWLIST} and has no unsafe code: remove the line")));
    let mut findings: Vec<Finding> = unlisted.chain(stale).collect();
    for (index, line) in allowed.iter().enumerate() {
        if allowed.iter().enumerate().any(|(other, wider)| other != index && covers(wider, line)) {
            findings.push(Finding::new(*line, format!("is covered by another line of {ALLOWLIST}: remove this one")));
        }
    }
    findings
}

fn covers(line: &str, name: &str) -> bool {
    line == name || (line.ends_with('/') && name.starts_with(line))
}

fn is_source(name: &str) -> bool {
    SOURCES.iter().any(|ending| name.ends_with(ending))
}

fn check_length(file: &SourceFile) -> Option<Finding> {
    let lines = file.text.lines().count();
    let is_excused = LONG_FILES.iter().any(|(name, _)| *name == file.name);
    (is_source(&file.name) && lines > LINES_MAX && !is_excused).then(|| {
        let remedy = "split it by concept, or give a reason in LONG_FILES in scripts/check/src/sources.rs";
        Finding::new(&file.name, format!("has {lines} lines, {LINES_MAX} are allowed: {remedy}"))
    })
}

/// An excuse is for a file that is long.
fn check_long_files(files: &[SourceFile]) -> Vec<Finding> {
    let is_long = |name: &str| files.iter().any(|file| file.name == name && file.text.lines().count() > LINES_MAX);
    let stale = LONG_FILES.iter().filter(|(name, reason)| !is_long(name) || reason.is_empty());
    stale
        .map(|(name, _)| Finding::new(*name, "is in LONG_FILES and is not long, or without a reason: remove it there"))
        .collect()
}

fn check_words(file: &SourceFile) -> Vec<Finding> {
    if FORBIDDEN_EXEMPT.contains(&file.name.as_str()) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for (word, why) in FORBIDDEN.iter().filter(|(word, _)| line.contains(word)) {
            findings.push(Finding::new(format!("{}:{}", file.name, index + 1), format!("has {word}, {why}")));
        }
    }
    findings
}

/// Every crate takes the workspace's lints, and pure crates of the kernel forbid unsafe code.
fn check_crates(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let manifests = files.iter().filter(|file| file.name.ends_with("/Cargo.toml") && file.text.contains("[package]"));
    for manifest in manifests {
        let directory = manifest.name.trim_end_matches("/Cargo.toml");
        if !is_in_workspace(&manifest.text) {
            continue;
        }
        if !takes_workspace_lints(&manifest.text) {
            let message = "does not take the workspace's lints: add `[lints]` with `workspace = true`";
            findings.push(Finding::new(&manifest.name, message));
        }
        let is_pure = (directory.starts_with("kernel/crates/") || directory.starts_with("abi/"))
            && !UNSAFE_CRATES.contains(&directory);
        let library = format!("{directory}/src/lib.rs");
        let forbids = |file: &SourceFile| rust_text::code_of(&file.text).contains("#![forbid(unsafe_code)]");
        if is_pure && !files.iter().any(|file| file.name == library && forbids(file)) {
            findings.push(Finding::new(library, "does not forbid unsafe code: add `#![forbid(unsafe_code)]`"));
        }
    }
    findings
}

/// A manifest with a `[workspace]` of its own stands apart (the fuzz targets, which need another compiler).
fn is_in_workspace(manifest: &str) -> bool {
    !manifest.lines().any(|line| line.trim() == "[workspace]")
}

fn takes_workspace_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    lines.by_ref().take_while(|line| !line.starts_with('[')).any(|line| line == "workspace = true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> SourceFile {
        SourceFile { name: name.to_string(), text: text.to_string() }
    }

    fn subjects(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.subject.as_str()).collect()
    }

    #[test]
    fn unsafe_code_needs_a_line_in_the_list() {
        let files = [file("a.rs", "unsafe { f() }"), file("b.rs", "unsafe { f() }"), file("c.c", "unsafe")];
        let findings = check_unsafe(&files, "# Files\n\na.rs\n");
        assert_eq!(subjects(&findings), ["b.rs"]);
        assert!(findings[0].message.contains("has unsafe code"));
    }

    #[test]
    fn a_line_of_the_list_needs_unsafe_code() {
        let files = [file("a.rs", "fn f() {}"), file("b.rs", "unsafe { f() }")];
        assert_eq!(subjects(&check_unsafe(&files, "a.rs\nb.rs\ngone.rs")), ["a.rs", "gone.rs"]);
        assert_eq!(subjects(&check_unsafe(&files, "b.rs\nb.rs")), ["b.rs", "b.rs"]);
    }

    #[test]
    fn a_line_may_be_a_directory() {
        let files = [file("d/a.rs", "unsafe { f() }"), file("dd/b.rs", "unsafe { f() }")];
        assert_eq!(subjects(&check_unsafe(&files, "d/")), ["dd/b.rs"]);
        assert_eq!(subjects(&check_unsafe(&files, "d/\ndd/\nd/a.rs")), ["d/a.rs"]);
    }

    #[test]
    fn long_files_are_told() {
        let long = "x\n".repeat(LINES_MAX + 1);
        assert!(check_length(&file("kernel/src/main.rs", &long)).is_some());
        assert!(check_length(&file("kernel/src/entry.s", &long)).is_some());
        assert!(check_length(&file("Cargo.lock", &long)).is_none());
        assert!(check_length(&file("kernel/src/main.rs", &"x\n".repeat(LINES_MAX))).is_none());
    }

    #[test]
    fn forbidden_words_are_told_with_their_line() {
        let findings = check_words(&file("README.md", "fine\nsee /home/somebody/file\n"));
        assert_eq!(subjects(&findings), ["README.md:2"]);
        assert!(findings[0].message.contains("find it at run time"));
    }

    fn manifest(directory: &str, lints: &str) -> SourceFile {
        file(&format!("{directory}/Cargo.toml"), &format!("[package]\nname = \"x\"\n\n{lints}\n[dependencies]\n"))
    }

    #[test]
    fn crates_take_the_lints_of_the_workspace() {
        let good = manifest("scripts/x", "[lints]\nworkspace = true\n");
        let bad = manifest("scripts/y", "[lints]\n\n[features]\nworkspace = true\n");
        let apart = manifest("tests/fuzz", "[workspace]\n");
        assert_eq!(subjects(&check_crates(&[good, bad, apart])), ["scripts/y/Cargo.toml"]);
    }

    #[test]
    fn pure_crates_forbid_unsafe_code() {
        const LINTS: &str = "[lints]\nworkspace = true\n";
        let files = [
            manifest("kernel/crates/good", LINTS),
            file("kernel/crates/good/src/lib.rs", "//! Good.\n#![forbid(unsafe_code)]\n"),
            manifest("kernel/crates/bad", LINTS),
            file("kernel/crates/bad/src/lib.rs", "// #![forbid(unsafe_code)]\n"),
            manifest("kernel/crates/sync", LINTS),
            file("kernel/crates/sync/src/lib.rs", "unsafe impl Sync for X {}"),
        ];
        assert_eq!(subjects(&check_crates(&files)), ["kernel/crates/bad/src/lib.rs"]);
    }
}
