//! Helpers of the loader's tests: programs compiled on this host, and a random number generator.
#![allow(dead_code, unreachable_pub, clippy::cast_possible_truncation, reason = "each test binary uses a part")]

pub mod invariants;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// How a test program is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linking {
    Static,
    StaticPie,
    Dynamic,
}

/// A folder that is removed when the test ends.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("loader-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a scratch folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Compiles a C program with musl; answers the executable's path.
pub fn compile(scratch: &Scratch, source: &str, linking: Linking, flags: &[&str]) -> PathBuf {
    let source_path = scratch.path().join("program.c");
    std::fs::write(&source_path, source).expect("the source is written");
    let program = scratch.path().join(format!("program-{linking:?}"));
    let mut command = Command::new("musl-gcc");
    command.arg("-O1").arg("-o").arg(&program);
    match linking {
        Linking::Static => {
            command.arg("-static").arg(&source_path);
        }
        Linking::Dynamic => {
            command.arg(&source_path);
        }
        Linking::StaticPie => {
            let folder = Path::new("/usr/lib/x86_64-linux-musl");
            command.args(["-static", "-fPIE", "-nostartfiles", "-Wl,-pie,--no-dynamic-linker,-z,text"]);
            command.arg(folder.join("rcrt1.o")).arg(folder.join("crti.o"));
            command.arg(&source_path).arg(folder.join("crtn.o"));
        }
    }
    let status = command.args(flags).status().expect("musl-gcc is installed (Debian: musl-tools)");
    assert!(status.success(), "{command:?}");
    program
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
