//! The checks of `make check` that neither rustfmt nor clippy knows.
//!
//! - [`layers`]: imports point down, siblings never import each other, each external crate has its home;
//! - [`sources`]: where `unsafe` may be, how long a file may be, which words do not belong here, what crates must say;
//! - [`kernel_code`]: the built kernel uses no vector register outside of the functions that save them, and is linked as the
//!   boot code expects.
//!
//! Silent when all is well; otherwise one line a finding, with the remedy, and status 1.

#![forbid(unsafe_code)]

mod kernel_code;
mod layers;
mod rust_text;
mod sources;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// A broken rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// What breaks it: a file, a crate, a function.
    subject: String,
    /// Which rule, and what to do.
    message: String,
}

impl Finding {
    fn new(subject: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding { subject: subject.into(), message: message.into() }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            for finding in &findings {
                eprintln!("check: {}: {}", finding.subject, finding.message);
            }
            eprintln!("check: {} findings", findings.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("check: {error}");
            ExitCode::from(2)
        }
    }
}

/// `check` looks at the tree, `check --kernel FILE` at a kernel.
fn run() -> Result<Vec<Finding>, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => check_tree(&root()?),
        [flag, path] if flag == "--kernel" => {
            let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
            let allowlist = root()?.join(kernel_code::ALLOWLIST);
            let allowlist =
                std::fs::read_to_string(&allowlist).map_err(|error| format!("{}: {error}", allowlist.display()))?;
            kernel_code::check(&bytes, &allowlist)
        }
        _ => Err("usage: check [--kernel FILE]".into()),
    }
}

/// The root of the workspace.
fn root() -> Result<PathBuf, String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).map(Path::to_path_buf).ok_or_else(|| "the checker is not in its workspace".into())
}

fn check_tree(root: &Path) -> Result<Vec<Finding>, String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let metadata = serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    let mut findings = layers::check(&metadata);
    findings.extend(sources::check(root)?);
    Ok(findings)
}
