//! The hand-off of the mutex: exclusion, and nobody sleeps for ever.

use alloc::sync::Arc;

use loom::thread;

use super::{explore, explore_bounded};
use crate::mutex::Mutex;
use crate::rank;

/// Threads of which each adds 1 to a value `rounds` times.
fn contend(threads: usize, rounds: usize) {
    let mutex = Arc::new(Mutex::new(rank::PIPE, 0));
    let add = move |mutex: &Mutex<usize>| {
        for _ in 0..rounds {
            *mutex.lock() += 1;
        }
    };
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let mutex = Arc::clone(&mutex);
            thread::spawn(move || add(&mutex))
        })
        .collect();
    add(&mutex);
    for other in others {
        other.join().expect("no thread of the model panics");
    }
    assert_eq!(*mutex.lock(), threads * rounds);
}

#[test]
fn two_threads() {
    explore(|| contend(2, 1));
}

#[test]
fn two_threads_twice() {
    explore_bounded(Some(4), || contend(2, 2));
}

#[test]
fn three_threads() {
    explore_bounded(Some(3), || contend(3, 1));
}

#[test]
fn three_threads_one_of_them_twice() {
    explore_bounded(Some(2), || {
        let mutex = Arc::new(Mutex::new(rank::PIPE, 0));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let mutex = Arc::clone(&mutex);
                thread::spawn(move || *mutex.lock() += 1)
            })
            .collect();
        *mutex.lock() += 1;
        *mutex.lock() += 1;
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(*mutex.lock(), 4);
    });
}

#[test]
fn a_try_takes_a_free_lock_only() {
    explore(|| {
        let mutex = Arc::new(Mutex::new(rank::PIPE, 0));
        let other = {
            let mutex = Arc::clone(&mutex);
            thread::spawn(move || mutex.try_lock().map(|mut value| *value += 1).is_some())
        };
        *mutex.lock() += 1;
        let has_added = other.join().unwrap();
        assert_eq!(*mutex.lock(), 1 + usize::from(has_added));
    });
}

#[test]
fn a_try_among_waiters() {
    explore_bounded(Some(2), || {
        let mutex = Arc::new(Mutex::new(rank::PIPE, 0));
        let locker = {
            let mutex = Arc::clone(&mutex);
            thread::spawn(move || *mutex.lock() += 1)
        };
        let trier = {
            let mutex = Arc::clone(&mutex);
            thread::spawn(move || mutex.try_lock().map(|mut value| *value += 1).is_some())
        };
        *mutex.lock() += 1;
        locker.join().unwrap();
        let has_added = trier.join().unwrap();
        assert_eq!(*mutex.lock(), 2 + usize::from(has_added));
    });
}
