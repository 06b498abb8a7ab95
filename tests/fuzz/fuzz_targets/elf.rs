//! Arbitrary bytes as a program: `cargo +nightly fuzz run --fuzz-dir tests/fuzz elf`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../kernel/crates/loader/tests/common/invariants.rs"]
mod invariants;

fuzz_target!(|input: (u64, &[u8])| {
    let (random, bytes) = input;
    let _plan = invariants::check(bytes, random);
});
