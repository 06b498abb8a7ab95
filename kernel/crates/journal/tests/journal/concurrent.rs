//! Threads: what is changed while it is committed, commits that are shared, and money that is moved about.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use testkit::disk::{FakeDisk, crashed};
use testkit::{Random, threads};

use crate::running::{commits, fill, recovered};
use crate::support::{BLOCK, blank, block_of, open_small};

/// Lets a disk do what it holds back until `is_done`.
fn release_until(fake: &FakeDisk, mut is_done: impl FnMut() -> bool) {
    while !is_done() {
        if fake.held().is_empty() {
            thread::yield_now();
        } else {
            fake.release(0);
        }
    }
}

fn wait_until(mut is_true: impl FnMut() -> bool) {
    while !is_true() {
        thread::yield_now();
    }
}

#[test]
fn a_buffer_that_changes_while_it_is_committed_is_frozen() {
    let (fake, journal) = open_small(blank());
    let first = fill(&journal, 1000, 1);
    fake.hold(usize::MAX);
    let committer = {
        let journal = journal.clone();
        threads::spawn(move || journal.force(first))
    };
    wait_until(|| !fake.held().is_empty());
    let second = fill(&journal, 1000, 2);
    assert_eq!(second, first + 1);
    assert!(!journal.is_stable(first));
    release_until(&fake, || committer.is_finished());
    assert_eq!(committer.join().unwrap(), Ok(true));
    assert_eq!(recovered(&fake.image(), 1000), 1);
    let committer = threads::spawn({
        let journal = journal.clone();
        move || journal.force(second)
    });
    release_until(&fake, || committer.is_finished());
    assert_eq!(recovered(&fake.image(), 1000), 2);
}

#[test]
fn threads_that_force_together_share_a_commit() {
    const THREADS: usize = 6;
    let (fake, journal) = open_small(blank());
    let first = fill(&journal, 1000, 1);
    // In memory, for nobody to wait for the disk but who commits.
    let _buffers: Vec<_> = (0..THREADS).map(|number| journal.cache().get(1001 + number as u64).unwrap()).collect();
    fake.hold(usize::MAX);
    let committer = threads::spawn({
        let journal = journal.clone();
        move || journal.force(first)
    });
    wait_until(|| !fake.held().is_empty());
    let changed = Arc::new(Barrier::new(THREADS + 1));
    let forced = Arc::new(AtomicUsize::new(0));
    let others: Vec<_> = (0..THREADS)
        .map(|number| {
            let (journal, changed, forced) = (journal.clone(), changed.clone(), forced.clone());
            threads::spawn(move || {
                let transaction = fill(&journal, 1001 + number as u64, 1);
                changed.wait();
                let result = journal.force(transaction);
                forced.fetch_add(1, Ordering::Relaxed);
                (transaction, result)
            })
        })
        .collect();
    changed.wait();
    assert_eq!(forced.load(Ordering::Relaxed), 0);
    release_until(&fake, || forced.load(Ordering::Relaxed) == THREADS && committer.is_finished());
    for other in others {
        let (transaction, result) = other.join().unwrap();
        assert_eq!(transaction, first + 1);
        assert!(result.is_ok());
        assert!(journal.is_stable(transaction));
    }
    assert_eq!(commits(&fake), 2);
}

#[test]
fn a_commit_waits_for_open_handles() {
    let (_, journal) = open_small(blank());
    let handle = journal.begin(1).unwrap();
    let transaction = handle.transaction();
    let committer = threads::spawn({
        let journal = journal.clone();
        move || journal.force(transaction)
    });
    // Once the transaction is closed, the next handle is for another.
    wait_until(|| journal.current() != transaction);
    let begun = Arc::new(AtomicBool::new(false));
    let other = threads::spawn({
        let (journal, begun) = (journal.clone(), begun.clone());
        move || {
            let transaction = fill(&journal, 1001, 2);
            begun.store(true, Ordering::Relaxed);
            transaction
        }
    });
    let buffer = journal.cache().get(1000).unwrap();
    handle.change(&buffer, |bytes| bytes.fill(1)).unwrap();
    assert!(!handle.extend(1), "a transaction that is closed grows no more");
    assert!(!journal.is_stable(transaction) && !begun.load(Ordering::Relaxed));
    drop(handle);
    assert_eq!(committer.join().unwrap(), Ok(true));
    assert_eq!(other.join().unwrap(), transaction + 1);
}

const ACCOUNTS: u64 = 12;
const FIRST: u64 = 1000;

fn number(bytes: &[u8]) -> i64 {
    i64::from_le_bytes(bytes[BLOCK - 8..].try_into().unwrap())
}

fn add(bytes: &mut [u8], amount: i64) {
    let sum = number(bytes) + amount;
    bytes[BLOCK - 8..].copy_from_slice(&sum.to_le_bytes());
}

/// Each handle moves something from one block to another, and counts itself in a block of its thread. Whenever the power goes, nothing
/// is lost of what was moved, and no counter is behind what was forced.
#[test]
fn nothing_is_lost_between_threads() {
    const THREADS: u64 = 4;
    const ROUNDS: i64 = 150;
    for seed in 0..2 {
        let before = blank();
        let (fake, journal) = open_small(before.clone());
        let forced = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (0..THREADS)
            .map(|own| {
                let (fake, journal, forced) = (fake.clone(), journal.clone(), forced.clone());
                threads::spawn(move || {
                    let mut random = Random::new(seed * 100 + own);
                    for round in 1..=ROUNDS {
                        let mut pick = || journal.cache().get(FIRST + random.next_u64() % ACCOUNTS).unwrap();
                        let (from, to) = (pick(), pick());
                        let handle = journal.begin(3).unwrap();
                        handle.change(&from, |bytes| add(bytes, -round)).unwrap();
                        thread::yield_now();
                        handle.change(&to, |bytes| add(bytes, round)).unwrap();
                        let counter = journal.cache().get(FIRST + ACCOUNTS + own).unwrap();
                        handle.change(&counter, |bytes| add(bytes, 1)).unwrap();
                        let transaction = handle.transaction();
                        drop(handle);
                        if random.one_in(8) {
                            journal.force(transaction).unwrap();
                            forced.lock().unwrap().push((fake.steps(), own, round));
                        } else if random.one_in(20) {
                            journal.cache().write_back().unwrap();
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let (log, forced) = (fake.log(), forced.lock().unwrap());
        let mut random = Random::new(seed);
        for steps in (0..=log.len()).step_by(4) {
            let (again, _) = open_small(crashed(&before, &log, steps, &mut random));
            let image = again.image();
            let value = |block: u64| number(&block_of(&image, FIRST + block));
            assert_eq!((0..ACCOUNTS).map(value).sum::<i64>(), 0, "seed {seed}, {steps} steps");
            for (_, own, round) in forced.iter().filter(|(at, ..)| *at <= steps) {
                assert!(value(ACCOUNTS + own) >= *round, "seed {seed}, {steps} steps: thread {own} lost {round}");
            }
        }
        journal.close().unwrap();
        let image = fake.image();
        let counted: i64 = (0..THREADS).map(|own| number(&block_of(&image, FIRST + ACCOUNTS + own))).sum();
        assert_eq!(counted, i64::try_from(THREADS).unwrap() * ROUNDS);
    }
}
