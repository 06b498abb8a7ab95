//! A read of a sequence lock never mixes two writes.

use alloc::sync::Arc;

use loom::thread;

use super::{explore, explore_bounded};
use crate::seqlock::SeqLock;

#[test]
fn a_read_is_of_one_write() {
    explore(|| {
        let lock = Arc::new(SeqLock::new([0, 0]));
        let reader = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || lock.try_read())
        };
        lock.write([1, 1]);
        if let Some([first, second]) = reader.join().unwrap() {
            assert_eq!(first, second);
        }
        assert_eq!(lock.read(), [1, 1]);
    });
}

#[test]
fn updates_are_not_lost() {
    explore_bounded(Some(3), || {
        let lock = Arc::new(SeqLock::new([0, 0]));
        let writer = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || lock.update(|[first, second]| [first + 1, second + 1]))
        };
        lock.update(|[first, second]| [first + 1, second + 1]);
        writer.join().unwrap();
        assert_eq!(lock.read(), [2, 2]);
    });
}

#[test]
fn a_reader_spins_through_a_write() {
    explore_bounded(Some(3), || {
        let lock = Arc::new(SeqLock::new([0, 0]));
        let reader = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || lock.read())
        };
        lock.write([1, 1]);
        let [first, second] = reader.join().unwrap();
        assert_eq!(first, second);
    });
}
