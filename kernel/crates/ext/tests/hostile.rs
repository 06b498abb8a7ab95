//! Damaged directories: whatever is in their blocks, calls answer, and nothing panics or goes on for ever.
#![expect(clippy::cast_possible_truncation, reason = "a test may panic")]

#[path = "common/directory.rs"]
mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{BLOCK_LEN, MemoryDirectory, SPARE, exercise, format};
use ext::directory::{self, Target};
use ext::{DirectoryBlocks, DirectoryFormat};
use testkit::Random;

/// Values at which something changes.
const EDGES: [u32; 14] = [0, 1, 2, 3, 4, 8, 11, 12, 60, 63, 500, 512, 0xffff, u32::MAX];

struct Original {
    format: DirectoryFormat,
    bytes: Vec<u8>,
    has_index: bool,
    names: Vec<Vec<u8>>,
}

/// A sane directory with so many names.
fn original(format: DirectoryFormat, count: usize) -> Original {
    let directory = MemoryDirectory::new(format, &[], false, 1000);
    let mut random = Random::new(count as u64);
    directory::create(&directory, &directory.change(), 2).expect("there is room");
    let mut names = Vec::new();
    for number in 0..count {
        let mut name = format!("{number}").into_bytes();
        name.resize(name.len() + random.below(60), b'x');
        let target = Target { inode: 13, kind: 8 };
        directory::insert(&directory, &directory.change(), &name, target).expect("there is room");
        names.push(name);
    }
    // Some free space.
    for name in names.iter().step_by(7) {
        directory::remove(&directory, &directory.change(), name).expect("it is there");
    }
    let has_index = directory.has_index();
    assert_eq!(has_index, format.may_have_index && directory.count() > 1);
    let block = |index| directory.get(index).expect("it is there").read_sealed(<[u8]>::to_vec);
    Original { format, bytes: (0..directory.count()).flat_map(block).collect(), has_index, names }
}

fn originals() -> Vec<Original> {
    let mut originals = Vec::new();
    for (may_have_index, count) in [(false, 4), (false, 40), (true, 4), (true, 20), (true, 60), (true, 400)] {
        for seed in [None, None, None, Some(7)] {
            originals.push(original(format(seed, may_have_index), count));
        }
    }
    originals
}

/// A number at one of the places where records and entries have theirs.
fn put(bytes: &mut [u8], at: usize, len: usize, value: u32) {
    let end = (at + len).min(bytes.len());
    bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        // The root of an index is where most is to be broken.
        let block = if random.one_in(3) { 0 } else { random.below(bytes.len() / BLOCK_LEN) * BLOCK_LEN };
        let at = block + random.below(BLOCK_LEN / 4) * 4;
        let value = if random.one_in(3) { random.next_u64() as u32 >> random.below(32) } else { *random.pick(&EDGES) };
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => put(bytes, at + random.below(2) * 2, 2, value),
            2 => put(bytes, at, 4, value),
            3 => {
                // A field gets the value of another.
                let other = random.below(bytes.len() / 4) * 4;
                let word = [bytes[other], bytes[other + 1], bytes[other + 2], bytes[other + 3]];
                put(bytes, at, 4, u32::from_le_bytes(word));
            }
            4 => {
                // A block takes the place of another.
                let other = random.below(bytes.len() / BLOCK_LEN) * BLOCK_LEN;
                bytes.copy_within(other..other + BLOCK_LEN, block);
            }
            _ => put(bytes, block + 24 + random.below(8), 1, value),
        }
    }
    if random.one_in(20) {
        bytes.truncate(random.below(bytes.len() / BLOCK_LEN) * BLOCK_LEN);
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn damaged_directories_are_told_and_nothing_else() {
    testkit::frames::install();
    let (seed, mutations) = (setting("EXT_SEED", 1), setting("EXT_MUTATIONS", 1500));
    println!("EXT_SEED={seed} EXT_MUTATIONS={mutations}");
    let originals = originals();
    let mut listed = 0;
    for number in 0..mutations {
        let mut random = Random::new(seed.wrapping_mul(0x1_0000_0001).wrapping_add(number));
        let original = random.pick(&originals);
        let mut bytes = original.bytes.clone();
        mutate(&mut bytes, &mut random);
        let has_index = if random.one_in(10) { !original.has_index } else { original.has_index };
        let directory = MemoryDirectory::new(original.format, &bytes, has_index, SPARE);
        let run = || exercise(&directory, &original.names, &mut random);
        let is_whole = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| panic!("mutation {number}"));
        listed += u64::from(is_whole);
    }
    println!("{listed} of {mutations} could be listed");
    assert!(listed > mutations / 50, "mutations are too harsh to test anything behind the first checks");
    assert!(listed < mutations * 9 / 10, "mutations are too mild");
}

#[test]
fn sane_directories_are_whole() {
    testkit::frames::install();
    for original in originals() {
        let mut random = Random::new(1);
        let directory = MemoryDirectory::new(original.format, &original.bytes, original.has_index, SPARE);
        assert!(exercise(&directory, &original.names, &mut random));
    }
}
