//! Damaged files: whatever the bytes are, the loader answers, and never asks for more than the file and the address
//! space hold. Seeded: `LOADER_SEED` and `LOADER_MUTATIONS` in the environment choose another run.
#![allow(clippy::cast_possible_truncation, reason = "truncation is how mutations are made")]

mod common;

use common::invariants::check;
use common::{Linking, Random, Scratch, compile};
use loader::LoadPlan;

const EHDR: usize = 64;
const PHDR: usize = 56;

/// Values at the edges of what fields mean.
const EDGES: &[u64] = &[
    0,
    1,
    2,
    55,
    56,
    64,
    73,
    74,
    4095,
    4096,
    4097,
    0xffff,
    0x1_0000,
    0x40_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_e000,
    0x7fff_ffff_efff,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    0xffff_8000_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_f000,
    u64::MAX,
];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect(name))
}

fn originals() -> Vec<Vec<u8>> {
    let scratch = Scratch::new();
    let source = "#include <stdio.h>\n static __thread int t = 1; static char bss[9000];\n\
                  int main(void) { bss[1] = t; return printf(\"hi\\n\") - 3; }";
    [Linking::Static, Linking::StaticPie, Linking::Dynamic]
        .map(|linking| std::fs::read(compile(&scratch, source, linking, &[])).expect("the program is there"))
        .to_vec()
}

/// Damages the headers (mostly), the interpreter's path or the length.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let count = usize::from(u16::from_le_bytes([bytes[56], bytes[57]])).min(20);
    for _ in 0..=random.below(4) {
        if bytes.len() < EHDR + count * PHDR {
            return;
        }
        match random.below(8) {
            0 => bytes.truncate(random.below(bytes.len() + 1)),
            1 => {
                let at = random.below(EHDR + count * PHDR);
                bytes[at] ^= 1 << random.below(8);
            }
            2 => {
                // A field of the file header.
                let (at, len) = [(4, 1), (5, 1), (16, 2), (18, 2), (24, 8), (32, 8), (54, 2), (56, 2)][random.below(8)];
                put(bytes, at, len, pick(random));
            }
            3 => {
                // One program header becomes a copy of another.
                let (from, to) = (random.below(count.max(1)), random.below(count.max(1)));
                let copy = bytes[EHDR + from * PHDR..][..PHDR].to_vec();
                bytes[EHDR + to * PHDR..][..PHDR].copy_from_slice(&copy);
            }
            4 => {
                let at = EHDR + random.below(count.max(1)) * PHDR;
                put(bytes, at, 4, [0, 1, 2, 3, 4, 6, 7, 0x6474_e551, 0x6474_e552][random.below(9)]);
            }
            _ => {
                // A field of a program header: replaced, or moved a little.
                let (at, len) = [(4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 8), (48, 8)][random.below(7)];
                let at = EHDR + random.below(count.max(1)) * PHDR + at;
                let value = if random.below(2) == 0 {
                    pick(random)
                } else {
                    let mut word = [0; 8];
                    word[..len].copy_from_slice(&bytes[at..at + len]);
                    u64::from_le_bytes(word).wrapping_add(pick(random)).wrapping_sub(pick(random))
                };
                put(bytes, at, len, value);
            }
        }
    }
}

fn pick(random: &mut Random) -> u64 {
    match random.below(5) {
        0 => random.next() >> random.below(64),
        _ => EDGES[random.below(EDGES.len())],
    }
}

fn put(bytes: &mut [u8], at: usize, len: usize, value: u64) {
    bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
}

#[test]
fn damaged_programs_never_panic_or_over_map() {
    let (seed, mutations) = (setting("LOADER_SEED", 1), setting("LOADER_MUTATIONS", 60_000));
    println!("LOADER_SEED={seed} LOADER_MUTATIONS={mutations}");
    let originals = originals();
    let mut accepted = 0;
    for number in 0..mutations {
        let mut random = Random(seed.wrapping_mul(0x1_0000_0001).wrapping_add(number));
        let original = &originals[random.below(originals.len())];
        let mut bytes = original[..original.len().min(32 << 10)].to_vec();
        // Most runs keep the length, so that segments stay inside the file.
        bytes.resize(original.len(), 0);
        mutate(&mut bytes, &mut random);
        let seed = random.next();
        let plan = std::panic::catch_unwind(|| check(&bytes, seed)).unwrap_or_else(|_| panic!("mutation {number}"));
        if let Some(plan) = plan {
            accepted += 1;
            agrees_with_second_opinion(&bytes, &plan);
        }
    }
    println!("{accepted} of {mutations} were still programs");
    assert!(accepted > mutations / 50, "mutations are too harsh to test anything behind the first checks");
    assert!(accepted < mutations * 9 / 10, "mutations are too mild");
}

/// xmas-elf sees the same segments in every file that is accepted.
fn agrees_with_second_opinion(bytes: &[u8], plan: &LoadPlan) {
    use xmas_elf::program::Type;
    let Ok(elf) = xmas_elf::ElfFile::new(bytes) else { return };
    // It neither reads a misaligned table nor takes one at the start of the file; Linux does both.
    let table = elf.header.pt2.ph_offset();
    if table == 0 || table % 8 != 0 {
        return;
    }
    let mut seen: Vec<_> = elf
        .program_iter()
        .filter(|header| header.get_type() == Ok(Type::Load) && header.mem_size() > 0)
        .map(|header| (header.virtual_addr(), header.offset(), header.file_size(), header.mem_size()))
        .collect();
    seen.sort_by_key(|segment| segment.0);
    let ours: Vec<_> = plan
        .segments
        .iter()
        .map(|segment| (segment.vaddr, segment.offset, segment.file_size, segment.mem_size))
        .collect();
    assert_eq!(ours, seen);
    assert_eq!(plan.entry, elf.header.pt2.entry_point());
}

#[test]
fn every_truncation_is_refused_or_sound() {
    for original in originals() {
        let plan = check(&original, 7).expect("a compiled program is accepted");
        // Only the section headers and what they describe may be missing.
        let needed = plan.segments.iter().map(|segment| segment.offset + segment.file_size).max().unwrap_or(0) as usize;
        for len in (0..needed.min(8192)).chain((8192..needed).step_by(509)).chain([needed - 1]) {
            assert_eq!(check(&original[..len], 7), None, "a program cut to {len} bytes");
        }
        assert_eq!(check(&original[..needed], 7), Some(plan));
    }
}

#[test]
fn arbitrary_bytes_are_refused() {
    let mut random = Random(setting("LOADER_SEED", 1));
    for _ in 0..2000 {
        let mut bytes: Vec<u8> = (0..random.below(400)).map(|_| random.next() as u8).collect();
        assert_eq!(check(&bytes, 0), None);
        if bytes.len() >= 20 {
            bytes[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0");
            check(&bytes, 0);
        }
    }
}
