//! Recovery of journals that `debugfs` makes, whole and damaged, with `e2fsck` as the second opinion.

use journal::{JournalError, Recovered, replay};
use testkit::Random;
use testkit::disk::{FakeDisk, Image, crashed};

use crate::support::{BLOCK, BLOCKS, FREE, debugfs, differences, disk, e2fsck, journal_blocks, log, make};

const SECTORS: u64 = BLOCKS * 2;

/// The ways to open a journal in `debugfs`.
const LAYOUTS: [&str; 3] = ["jo", "jo -c -v 2", "jo -c -v 3"];

/// Contents for `count` blocks, some of which begin with the magic number of journals.
fn contents(random: &mut Random, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count * BLOCK];
    random.fill(&mut bytes);
    for block in bytes.chunks_mut(BLOCK) {
        if random.one_in(4) {
            block[..4].copy_from_slice(&0xc03b_3998_u32.to_be_bytes());
        }
    }
    bytes
}

fn list(random: &mut Random, count: usize) -> String {
    let mut blocks: Vec<u64> = (0..count).map(|_| FREE + random.below(60) as u64).collect();
    blocks.sort_unstable();
    blocks.dedup();
    blocks.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// An image with a journal of random transactions, the last of which may be without a commit block.
fn image_with_journal(random: &mut Random, layout: &str, transactions: usize) -> Vec<u8> {
    let mut commands = format!("{layout}\n");
    let mut files = Vec::new();
    for number in 0..transactions {
        let count = 1 + random.below(20);
        let blocks = list(random, count);
        let is_committed = number + 1 < transactions || random.one_in(2);
        let flags = if is_committed { "" } else { "-c" };
        if random.one_in(3) {
            commands += &format!("jw -r {blocks}\n");
        } else {
            files.push(contents(random, blocks.split(',').count()));
            commands += &format!("jw {flags} -b {blocks} {{{}}}\n", files.len() - 1);
        }
    }
    debugfs(&make(), &(commands + "jc\n"), &files)
}

fn open(image: Image, blocks: &[u64]) -> (FakeDisk, Result<Recovered, JournalError>) {
    let (fake, cache) = disk(image);
    let log = log(&cache, blocks);
    let result = replay(&cache, &log);
    (fake, result)
}

#[test]
fn real_journals_are_replayed_as_by_e2fsck() {
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let (layout, transactions) = (random.pick(&LAYOUTS).to_owned(), 1 + random.below(8));
        let image = image_with_journal(&mut random, layout, transactions);
        let blocks = journal_blocks(&image);
        let (fake, recovered) = open(Image::from_bytes(&image), &blocks);
        let ours = fake.image().to_bytes(SECTORS);
        let (theirs, _, text) = e2fsck(&image);
        assert_eq!(differences(&ours, &theirs, &blocks), [0; 0], "seed {seed}: {recovered:?} {text}");
        assert!(recovered.is_ok(), "seed {seed}");
        // What is left has nothing to replay, by all accounts.
        let (_, status, text) = e2fsck(&ours);
        assert!(status <= 1, "seed {seed}: {text}");
        let (_, again) = open(fake.image(), &blocks);
        assert_eq!(again, Ok(Recovered::default()));
    }
}

#[test]
fn recovery_may_lose_its_power() {
    let mut random = Random::new(7);
    let image = image_with_journal(&mut random, "jo -c -v 3", 12);
    let blocks = journal_blocks(&image);
    let before = Image::from_bytes(&image);
    let (fake, recovered) = open(before.clone(), &blocks);
    recovered.unwrap();
    let (log, after) = (fake.log(), fake.image().to_bytes(SECTORS));
    for steps in 0..=log.len() {
        for _ in 0..4 {
            let (fake, recovered) = open(crashed(&before, &log, steps, &mut random), &blocks);
            assert!(recovered.is_ok(), "after {steps} steps: {recovered:?}");
            assert_eq!(differences(&fake.image().to_bytes(SECTORS), &after, &blocks), [0; 0], "after {steps} steps");
        }
    }
}

/// Damages one block of the journal in every way that matters; neither we nor what we leave may be worse than with `e2fsck`.
#[test]
fn damaged_journals_are_replayed_as_far_as_by_e2fsck() {
    for (seed, layout) in (100..).zip(LAYOUTS) {
        let mut random = Random::new(seed);
        let image = image_with_journal(&mut random, layout, 5);
        let blocks = journal_blocks(&image);
        // The log is at the beginning of the journal; its first block is the superblock.
        for damaged in 1..22 {
            let mut bad = image.clone();
            let place = usize::try_from(blocks[damaged]).unwrap() * BLOCK;
            match random.below(3) {
                0 => bad[place..place + BLOCK].fill(0),
                1 => random.fill(&mut bad[place + 12..place + BLOCK]),
                _ => bad[place + random.below(60)] ^= 1 << random.below(8),
            }
            let (fake, recovered) = open(Image::from_bytes(&bad), &blocks);
            let ours = fake.image().to_bytes(SECTORS);
            let (theirs, status, text) = e2fsck(&bad);
            let found = differences(&ours, &theirs, &blocks);
            assert_eq!(found, [0; 0], "seed {seed}, block {damaged}: {recovered:?}; {status} {text}");
        }
    }
}

#[test]
fn noise_is_no_journal() {
    let image = image_with_journal(&mut Random::new(1), "jo", 3);
    let blocks = journal_blocks(&image);
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut bad = image.clone();
        // Any bytes of the log, and of the superblock where they are fields.
        for _ in 0..1 + random.below(20) {
            let number = random.below(24);
            let offset = random.below(if number == 0 { 0x54 } else { BLOCK });
            bad[usize::try_from(blocks[number]).unwrap() * BLOCK + offset] = random.next_u64().to_le_bytes()[0];
        }
        // It ends, and nothing outside of the disk is touched: the fake would panic.
        let _ = open(Image::from_bytes(&bad), &blocks);
    }
}
