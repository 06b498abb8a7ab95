//! Rewritten programs behave as the original ones: random functions full of system calls run on the host as they are and
//! rewritten, with everything destroyed that was found dead.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its input has failed")]

#[path = "rewriting/generator.rs"]
mod generator;
#[path = "rewriting/host_patch.rs"]
mod host_patch;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use generator::Random;
use host_patch::Garbage;
use image_builder::analysis::analyse;

/// NACRE_SEED and NACRE_ROUNDS say otherwise.
const SEED: u64 = 0x6e61_6372_6535;
const ROUNDS: u64 = 60;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nacre-rewriting-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn run(&self, program: &[u8]) -> Output {
        let path = self.0.join("program");
        fs::write(&path, program).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        run(&path)
    }
}

fn run(path: &Path) -> Output {
    Command::new(path).stdin(Stdio::null()).output().unwrap()
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn random_functions_behave_as_before() {
    let seed = setting("NACRE_SEED", SEED);
    println!("seed {seed}");
    let scratch = Scratch::new("random");
    let (mut rewritten, mut left) = (0, 0);
    for round in 0..setting("NACRE_ROUNDS", ROUNDS) {
        let program = generator::program(&mut Random(seed.wrapping_add(round)));
        let analysis = analyse(&program);
        rewritten += analysis.rewritten_count();
        left += analysis.left.len();
        let expected = scratch.run(&program);
        assert!(expected.status.success(), "round {round}: the program itself ends with {}", expected.status);
        for garbage in [Garbage::Equal, Garbage::Below] {
            let output = scratch.run(&host_patch::rewrite(&program, &analysis.sites, garbage));
            assert_eq!(output.status, expected.status, "round {round}, {garbage:?}");
            let difference = output.stdout.iter().zip(&expected.stdout).position(|(left, right)| left != right);
            assert_eq!(difference, None, "round {round}, {garbage:?}: where the output differs");
            assert_eq!(output.stdout.len(), expected.stdout.len());
        }
    }
    println!("{rewritten} rewritten, {left} left");
    assert!(rewritten > 20 * left / 100, "hardly anything was rewritten");
}
