//! Random operations against a model, cut off by a loss of power after each step of the disk: what is there afterwards is the state
//! at the end of some transaction, and not of an older one than was forced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use block::SECTOR_LEN;
use journal::{Journal, Needs, crc32c, replay};
use testkit::Random;
use testkit::disk::{FakeDisk, Image, crashed};

use crate::support::{
    BLOCK, BLOCKS, FREE, blank, block_of, differences, disk, e2fsck, journal_blocks, log, make, open_small, write_data,
};

/// Blocks that the operations are about.
const USED: u64 = 24;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Metadata, all of this number.
    Metadata(u32),
    /// Of no interest: freed.
    Free,
    /// Data of a file, which was stable when the disk had done so many steps.
    Data { number: u32, stable: usize },
}

type Model = BTreeMap<u64, Content>;

/// The bytes of a block with a number; every third looks like a block of the journal.
fn bytes_of(number: u32) -> Vec<u8> {
    let mut bytes: Vec<u8> = number.to_be_bytes().repeat(BLOCK / 4);
    if number.is_multiple_of(3) {
        bytes[..4].copy_from_slice(&0xc03b_3998_u32.to_be_bytes());
    }
    bytes
}

/// A journal under random operations.
struct Run {
    fake: FakeDisk,
    journal: Arc<Journal>,
    random: Random,
    first: u64,
    model: Model,
    /// The state at the end of each transaction.
    states: BTreeMap<u32, Model>,
    /// After so many steps of the disk, this transaction had been forced.
    forced: Vec<(usize, u32)>,
    /// The transaction in which a block was freed.
    freed: BTreeMap<u64, u32>,
    last: u32,
}

impl Run {
    fn new(fake: FakeDisk, journal: Arc<Journal>, first: u64, seed: u64) -> Self {
        let model: Model = (first..first + USED).map(|block| (block, Content::Free)).collect();
        let states = BTreeMap::from([(journal.current() - 1, model.clone())]);
        let random = Random::new(seed);
        Self { fake, journal, random, first, model, states, forced: Vec::new(), freed: BTreeMap::new(), last: 0 }
    }

    fn next_number(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// Changes and frees a few blocks.
    fn change(&mut self) {
        let journal = self.journal.clone();
        let count = 1 + self.random.below(5);
        let handle = journal.begin(count).unwrap();
        for _ in 0..count {
            let block = self.first + self.random.below(usize::try_from(USED).unwrap()) as u64;
            let number = self.next_number();
            let is_new = self.freed.get(&block).is_none_or(|freed| journal.is_stable(*freed));
            match self.model[&block] {
                Content::Metadata(_) if self.random.one_in(4) => {
                    handle.free(block).unwrap();
                    self.freed.insert(block, handle.transaction());
                    self.model.insert(block, Content::Free);
                }
                Content::Metadata(_) => {
                    let buffer = journal.cache().get(block).unwrap();
                    handle.change(&buffer, |bytes| bytes.copy_from_slice(&bytes_of(number))).unwrap();
                    self.model.insert(block, Content::Metadata(number));
                }
                // What was freed is used again when that is stable.
                Content::Free | Content::Data { .. } if is_new => {
                    let buffer = journal.cache().get_zeroed(block);
                    handle.change(&buffer, |bytes| bytes.copy_from_slice(&bytes_of(number))).unwrap();
                    self.model.insert(block, Content::Metadata(number));
                }
                Content::Free | Content::Data { .. } => {}
            }
        }
        self.states.insert(handle.transaction(), self.model.clone());
    }

    /// Writes data to a block that is free and may be used again.
    fn write_data(&mut self) {
        let mut free = self.model.iter().filter(|(_, content)| **content == Content::Free).map(|(block, _)| *block);
        let Some(block) = free.find(|block| self.freed.get(block).is_none_or(|freed| self.journal.is_stable(*freed)))
        else {
            return;
        };
        drop(free);
        let number = self.next_number();
        write_data(self.journal.cache(), block, &bytes_of(number));
        self.journal.cache().volume().flush().unwrap();
        let data = Content::Data { number, stable: self.fake.steps() };
        self.model.insert(block, data);
        // No transaction knows of it: it is in all states from the one in which the block was freed on.
        let since = self.freed.get(&block).copied().unwrap_or(0);
        for (_, state) in self.states.range_mut(since..) {
            state.insert(block, data);
        }
    }

    fn force(&mut self) {
        let newest = *self.states.keys().next_back().unwrap();
        self.journal.force(newest).unwrap();
        self.forced.push((self.fake.steps(), newest));
    }

    fn step(&mut self) {
        match self.random.below(12) {
            0 => self.force(),
            1 => self.write_data(),
            // Whoever writes back does so at any time.
            2 => self.journal.cache().write_back().unwrap(),
            3 => self.journal.tick().unwrap(),
            _ => self.change(),
        }
    }

    /// Whether an image, after recovery, is one of the states there may be when the power went after so many steps.
    fn check(&self, image: &Image, steps: usize) -> Result<(), String> {
        let forced = self.forced.iter().filter(|(at, _)| *at <= steps).map(|(_, transaction)| *transaction).max();
        let mut wrong = BTreeSet::new();
        for (transaction, state) in self.states.range(forced.unwrap_or(0)..) {
            let differing = state.iter().find(|(block, content)| !content.fits(&block_of(image, **block), steps));
            match differing {
                None => return Ok(()),
                Some((block, content)) => wrong.insert((*transaction, *block, format!("{content:?}"))),
            };
        }
        Err(format!("after {steps} steps, {forced:?} forced: {wrong:?}"))
    }
}

impl Content {
    fn fits(self, bytes: &[u8], steps: usize) -> bool {
        match self {
            Self::Metadata(number) => bytes == bytes_of(number),
            Self::Free => true,
            Self::Data { number, stable } => steps < stable || bytes == bytes_of(number),
        }
    }
}

#[test]
fn a_cut_at_any_step_leaves_the_end_of_a_transaction() {
    for seed in 0..8 {
        let before = blank();
        let (fake, journal) = open_small(before.clone());
        let mut run = Run::new(fake, journal, 1000, seed);
        for _ in 0..160 {
            run.step();
        }
        let log = run.fake.log();
        let mut random = Random::new(seed);
        for steps in (0..=log.len()).rev() {
            let (again, _) = open_small(crashed(&before, &log, steps, &mut random));
            if let Err(text) = run.check(&again.image(), steps) {
                panic!("seed {seed}: {text}");
            }
        }
        assert!(run.states.len() > 10, "too few transactions");
    }
}

/// Has the file system say that its journal has something to replay.
fn mark_unclean(image: &mut Image) {
    let mut superblock = block_of(image, 1);
    superblock[0x60] |= 4;
    let sum = crc32c(!0, &superblock[..0x3fc]);
    superblock[0x3fc..].copy_from_slice(&sum.to_le_bytes());
    for (sector, part) in (2..).zip(superblock.chunks(SECTOR_LEN)) {
        image.set(sector, part.try_into().unwrap());
    }
}

#[test]
fn e2fsck_replays_our_journals_as_we_do() {
    for seed in 0..3 {
        let mut random = Random::new(seed);
        let image = make();
        let before = Image::from_bytes(&image);
        let blocks = journal_blocks(&image);
        let open = |image: Image| {
            let (fake, cache) = disk(image);
            let log = log(&cache, &blocks);
            let needs = Needs { has_checksums: seed != 1, is_64_bit: seed != 2 };
            replay(&cache, &log).unwrap();
            (fake, Arc::new(Journal::open(cache, log, needs).unwrap()))
        };
        let (fake, journal) = open(before.clone());
        let mut run = Run::new(fake, journal, FREE, seed);
        // Long enough to go around the log.
        for _ in 0..1500 {
            run.step();
        }
        let log = run.fake.log();
        for _ in 0..3 {
            let steps = random.below(log.len() + 1);
            let mut cut = crashed(&before, &log, steps, &mut random);
            mark_unclean(&mut cut);
            let (ours, _) = open(cut.clone());
            if let Err(text) = run.check(&ours.image(), steps) {
                panic!("seed {seed}: {text}");
            }
            let (theirs, status, text) = e2fsck(&cut.to_bytes(BLOCKS * 2));
            let found = differences(&ours.image().to_bytes(BLOCKS * 2), &theirs, &blocks);
            assert_eq!(found, [0; 0], "seed {seed}, {steps} steps: {text}");
            assert!(status <= 1 && text.contains("recovering journal"), "seed {seed}, {steps} steps: {status} {text}");
        }
    }
}
