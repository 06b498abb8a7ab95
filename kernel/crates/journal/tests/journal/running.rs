//! What single transactions do: order on the disk, failure, limits.

use std::sync::Arc;

use abi::Errno;
use block::BufferCache;
use journal::{Journal, JournalError, Needs};
use testkit::disk::{FakeDisk, Image, Step};
use testkit::{clock, frames, threads};

use crate::support::{BLOCK, SMALL, blank, block_of, disk, log, open_small};

/// Fills a block in a handle of its own; the number of its transaction.
pub(crate) fn fill(journal: &Journal, block: u64, byte: u8) -> u32 {
    let handle = journal.begin(1).unwrap();
    let buffer = journal.cache().get(block).unwrap();
    handle.change(&buffer, |bytes| bytes.fill(byte)).unwrap();
    handle.transaction()
}

/// What a block holds after recovery.
pub(crate) fn recovered(image: &Image, block: u64) -> u8 {
    let (fake, _) = open_small(image.clone());
    block_of(&fake.image(), block)[0]
}

/// The commit blocks that a disk was given.
pub(crate) fn commits(fake: &FakeDisk) -> usize {
    let is_commit = |step: &Step| match step {
        Step::Write { data, .. } => data[0][..8] == [0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 2],
        Step::Flush => false,
    };
    fake.log().iter().filter(|step| is_commit(step)).count()
}

#[test]
fn a_change_is_in_place_only_when_it_is_in_the_log() {
    let (fake, journal) = open_small(blank());
    let transaction = fill(&journal, 1000, 7);
    journal.cache().write_back().unwrap();
    assert_eq!(block_of(&fake.image(), 1000)[0], 0);
    assert!(!journal.is_stable(transaction));
    assert_eq!(recovered(&fake.image(), 1000), 0);
    assert_eq!(journal.force(transaction), Ok(true));
    assert!(journal.is_stable(transaction));
    assert_eq!(block_of(&fake.image(), 1000)[0], 0, "it is only in the log");
    assert_eq!(recovered(&fake.image(), 1000), 7);
    journal.cache().write_back().unwrap();
    assert_eq!(block_of(&fake.image(), 1000)[0], 7);
    assert_eq!(journal.force(transaction), Ok(false), "nothing is to do, so nothing was flushed");
    assert_eq!(journal.force(transaction + 100), Ok(false), "there is no such transaction");
}

#[test]
fn a_closed_journal_is_empty() {
    let (fake, journal) = open_small(blank());
    fill(&journal, 1000, 7);
    journal.close().unwrap();
    let image = fake.image();
    assert_eq!(block_of(&image, 1000)[0], 7);
    let (fake, again) = open_small(image);
    assert_eq!(block_of(&fake.image(), 1000)[0], 7);
    assert!(again.current() > journal.current() - 1, "numbers go on");
}

#[test]
fn handles_are_limited() {
    let (_, journal) = open_small(blank());
    let most = journal.credits_max();
    assert_eq!(journal.begin(most + 1).err(), Some(Errno::ENOSPC));
    let handle = journal.begin(most - 1).unwrap();
    assert!(!handle.extend(usize::try_from(SMALL).unwrap()));
    assert!(handle.extend(1));
    let transaction = handle.transaction();
    // It does less than it said, so another fits.
    drop(handle);
    assert_eq!(journal.begin(most).unwrap().transaction(), transaction);
}

#[test]
fn a_handle_may_do_more_than_it_said_while_there_is_room() {
    let (_, journal) = open_small(blank());
    let handle = journal.begin(1).unwrap();
    let change = |block: u64| {
        let buffer = journal.cache().get_zeroed(block);
        handle.change(&buffer, |bytes| bytes.fill(1))
    };
    assert!((1000..1040).all(|block| change(block).is_ok()));
    let too_many = (1040..1040 + u64::from(SMALL)).find_map(|block| change(block).err());
    assert_eq!(too_many, Some(Errno::EROFS));
    let transaction = handle.transaction();
    drop(handle);
    assert_eq!(journal.force(transaction), Err(Errno::EIO));
}

#[test]
fn an_error_of_the_disk_ends_all_changes() {
    let (fake, journal) = open_small(blank());
    let first = fill(&journal, 1000, 1);
    journal.force(first).unwrap();
    let second = fill(&journal, 1001, 2);
    // A block of the log, but not its superblock.
    (220..260).for_each(|sector| fake.spoil(sector));
    let third = (0..40).find_map(|byte| {
        let transaction = fill(&journal, 1002, byte);
        journal.force(transaction).err()
    });
    assert_eq!(third, Some(Errno::EIO));
    assert_eq!(journal.failure(), Some(Errno::EIO));
    assert_eq!(journal.begin(1).err(), Some(Errno::EROFS));
    assert_eq!(journal.close(), Err(Errno::EIO));
    assert_eq!(journal.force(first), Ok(false));
    let _ = second;
    let last = block_of(&fake.image(), 1002)[0];
    journal.cache().write_back().unwrap();
    let cut = fake.image();
    assert!(block_of(&cut, 1002)[0] <= last.max(39), "what was not committed is not written");
    // The superblock tells whoever opens it next.
    let blocks: Vec<u64> = (100..100 + u64::from(SMALL)).collect();
    let (_, cache) = disk(cut.clone());
    let again = Journal::open(cache.clone(), log(&cache, &blocks), Needs::default()).unwrap();
    assert_eq!(again.errno_found(), (Errno::EIO as u32).wrapping_neg());
    assert_eq!(recovered(&cut, 1000), 1);
}

#[test]
fn a_journal_is_given_up_in_the_middle_of_a_handle() {
    let (fake, journal) = open_small(blank());
    let first = fill(&journal, 1000, 1);
    journal.force(first).unwrap();
    let handle = journal.begin(1).unwrap();
    let buffer = journal.cache().get(1000).unwrap();
    handle.change(&buffer, |bytes| bytes.fill(2)).unwrap();
    let transaction = handle.transaction();
    let waiting = threads::spawn({
        let journal = journal.clone();
        move || journal.force(transaction)
    });
    while journal.current() == transaction {
        std::thread::yield_now();
    }
    journal.abort(Errno::EUCLEAN);
    assert_eq!(waiting.join().unwrap(), Err(Errno::EIO));
    assert_eq!(handle.change(&buffer, |_| ()), Err(Errno::EROFS));
    drop(handle);
    assert_eq!(journal.begin(1).err(), Some(Errno::EROFS));
    journal.cache().write_back().unwrap();
    assert_eq!(recovered(&fake.image(), 1000), 1, "what was not committed is not written");
}

#[test]
fn an_old_transaction_is_committed() {
    clock::stop_at(1_000_000_000);
    let (fake, journal) = open_small(blank());
    let transaction = fill(&journal, 1000, 7);
    clock::advance(4_900_000_000);
    journal.tick().unwrap();
    assert!(!journal.is_stable(transaction));
    clock::advance(200_000_000);
    journal.tick().unwrap();
    assert!(journal.is_stable(transaction));
    clock::advance(10_000_000_000);
    journal.tick().unwrap();
    assert_eq!(commits(&fake), 1, "there is nothing to commit");
}

#[test]
fn the_log_is_written_without_memory() {
    let (fake, journal) = open_small(blank());
    let transactions: Vec<u32> = (0..6).map(|byte| fill(&journal, 1000 + u64::from(byte), byte + 1)).collect();
    frames::set_budget(Some(frames::used()));
    assert_eq!(journal.force(*transactions.last().unwrap()), Ok(true));
    frames::set_budget(None);
    for byte in 0..6 {
        assert_eq!(recovered(&fake.image(), 1000 + u64::from(byte)), byte + 1);
    }
}

#[test]
fn a_journal_that_cannot_be_written_is_not_opened() {
    let (_, cache) = disk(blank());
    let volume = cache.volume().clone().read_only();
    let cache = Arc::new(BufferCache::new(volume, BLOCK).unwrap());
    let blocks: Vec<u64> = (100..100 + u64::from(SMALL)).collect();
    let opened = Journal::open(cache.clone(), log(&cache, &blocks), Needs::default());
    assert_eq!(opened.err(), Some(JournalError::Block(block::BlockError::ReadOnly)));
}
