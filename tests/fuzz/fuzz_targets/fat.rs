//! Arbitrary bytes as a disk with FAT, which is mounted, read and changed: `cargo +nightly fuzz run --fuzz-dir tests/fuzz fat`.
//!
//! `make fuzz FUZZ=fat` begins from small volumes of mkfs.fat with files.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../kernel/crates/vfs/tests/fat/damage.rs"]
mod damage;
#[path = "../../../kernel/crates/vfs/tests/support/mod.rs"]
mod support;

/// Bytes of a disk.
const LEN_MAX: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    damage::use_all(&bytes[..bytes.len().min(LEN_MAX)]);
});
