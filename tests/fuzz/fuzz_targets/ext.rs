//! Arbitrary bytes as a disk with ext2, ext3 or ext4, which is mounted, read and changed: `cargo +nightly fuzz run --fuzz-dir tests/fuzz ext`.
//!
//! `make fuzz FUZZ=ext` begins from small file systems of mke2fs without checksums, as nothing gets behind those by chance.
#![no_main]

use libfuzzer_sys::fuzz_target;
use support::Random;

#[path = "../../../kernel/crates/vfs/tests/ext/damage.rs"]
mod damage;
#[path = "../../../kernel/crates/vfs/tests/support/mod.rs"]
mod support;

/// Bytes of a disk.
const LEN_MAX: usize = 1 << 20;

fuzz_target!(|input: (u64, &[u8])| {
    let (seed, bytes) = input;
    damage::use_all(&bytes[..bytes.len().min(LEN_MAX)], &mut Random::new(seed));
});
