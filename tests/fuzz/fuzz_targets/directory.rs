//! Arbitrary bytes as the blocks of a directory of ext4: `cargo +nightly fuzz run --fuzz-dir tests/fuzz directory`.
//!
//! The first byte says whether the directory has an index, and whether blocks have checksums; the second number chooses what is done.
#![no_main]

use libfuzzer_sys::fuzz_target;
use testkit::Random;

#[path = "../../../kernel/crates/ext/tests/common/directory.rs"]
mod common;

use common::{BLOCK_LEN, MemoryDirectory, SPARE, exercise, format};

/// Blocks that are looked at.
const BLOCKS_MAX: usize = 64;
const INDEX: u8 = 1;
const CHECKSUMS: u8 = 2;

fuzz_target!(|input: (u8, u64, &[u8])| {
    let (kind, seed, bytes) = input;
    testkit::frames::install();
    let bytes = &bytes[..bytes.len().min(BLOCKS_MAX * BLOCK_LEN)];
    let format = format((kind & CHECKSUMS != 0).then_some(7), true);
    let directory = MemoryDirectory::new(format, bytes, kind & INDEX != 0, SPARE);
    let names = [&b"name"[..], b"other", b"a longer name than these"].map(<[u8]>::to_vec);
    exercise(&directory, &names, &mut Random::new(seed));
});
