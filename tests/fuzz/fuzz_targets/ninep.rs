//! Arbitrary bytes as the script of a server of 9P, whose directory is mounted and used:
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz ninep`.
//!
//! The number in front chooses what is done. `testkit::liar` says how a script is read; one of zeros is a server
//! without faults.
#![no_main]

use libfuzzer_sys::fuzz_target;
use support::Random;

#[path = "../../../kernel/crates/vfs/tests/ninep/hostile.rs"]
mod hostile;
#[path = "../../../kernel/crates/vfs/tests/support/mod.rs"]
mod support;

fuzz_target!(|input: (u64, &[u8])| {
    let (seed, script) = input;
    hostile::use_all(script, &mut Random::new(seed));
});
