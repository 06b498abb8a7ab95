//! [`SeqLock`]: small plain data, read without writing to memory and seldom changed (clock parameters, statistics).
//!
//! The value is kept as machine words in atomics, so a read that overlaps a write is no data race, only a reason to read
//! again (H.-J. Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012). The sequence is
//! odd while a write is in progress.
//!
//! Writers exclude each other and disable interrupts, so that a handler on the same CPU can read. No lock rank: nothing is
//! called while writing. Do not use it for data that changes all the time: readers would starve.

use core::marker::PhantomData;

use crate::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use crate::machine;

/// A value of `WORDS` machine words that converts from and to them.
pub struct SeqLock<T, const WORDS: usize> {
    sequence: AtomicUsize,
    words: [AtomicU64; WORDS],
    value: PhantomData<fn() -> T>,
}

impl<const WORDS: usize> SeqLock<[u64; WORDS], WORDS> {
    /// All words zero, in a static.
    #[cfg(not(loom))]
    pub const fn zeroed() -> Self {
        Self { sequence: AtomicUsize::new(0), words: [const { AtomicU64::new(0) }; WORDS], value: PhantomData }
    }
}

impl<T, const WORDS: usize> SeqLock<T, WORDS>
where
    T: From<[u64; WORDS]> + Into<[u64; WORDS]>,
{
    /// A lock that holds `value`.
    pub fn new(value: T) -> Self {
        Self { sequence: AtomicUsize::new(0), words: value.into().map(AtomicU64::new), value: PhantomData }
    }

    /// A consistent copy of the value. Spins while a writer is active.
    #[inline]
    pub fn read(&self) -> T {
        loop {
            if let Some(value) = self.try_read() {
                return value;
            }
            machine::spin_hint();
        }
    }

    /// A consistent copy of the value, unless a writer is in the way.
    #[inline]
    pub fn try_read(&self) -> Option<T> {
        let before = self.sequence.load(Ordering::Acquire);
        if !before.is_multiple_of(2) {
            return None;
        }
        let words = core::array::from_fn(|index| self.words[index].load(Ordering::Relaxed));
        // A word of a later write makes this fence synchronise with the fence of that write, and its odd sequence shows.
        fence(Ordering::Acquire);
        (self.sequence.load(Ordering::Relaxed) == before).then(|| T::from(words))
    }

    /// Replaces the value.
    pub fn write(&self, value: T) {
        let words = value.into();
        self.write_words(|_| words);
    }

    /// Replaces the value by a function of it. No other write comes in between; `change` must be short.
    pub fn update(&self, change: impl FnOnce(T) -> T) {
        self.write_words(|words| {
            let current = core::array::from_fn(|index| words[index].load(Ordering::Relaxed));
            change(T::from(current)).into()
        });
    }

    fn write_words(&self, make: impl FnOnce(&[AtomicU64; WORDS]) -> [u64; WORDS]) {
        let were_enabled = machine::interrupts_disable_save();
        let sequence = self.begin_write();
        // The fence keeps the stores behind the odd sequence.
        fence(Ordering::Release);
        let words = make(&self.words);
        for (word, new) in self.words.iter().zip(words) {
            word.store(new, Ordering::Relaxed);
        }
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
        machine::interrupts_restore(were_enabled);
    }

    /// Makes the sequence odd; returns the even number it was.
    fn begin_write(&self) -> usize {
        loop {
            let sequence = self.sequence.load(Ordering::Relaxed);
            let is_claimed = sequence.is_multiple_of(2)
                && self
                    .sequence
                    .compare_exchange(sequence, sequence.wrapping_add(1), Ordering::Acquire, Ordering::Relaxed)
                    .is_ok();
            if is_claimed {
                return sequence;
            }
            machine::spin_hint();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Pair {
        low: u64,
        high: u64,
    }

    impl From<[u64; 2]> for Pair {
        fn from([low, high]: [u64; 2]) -> Self {
            Self { low, high }
        }
    }

    impl From<Pair> for [u64; 2] {
        fn from(pair: Pair) -> Self {
            [pair.low, pair.high]
        }
    }

    #[test]
    fn the_last_write_is_read() {
        let lock = SeqLock::new(Pair { low: 1, high: 2 });
        assert_eq!(lock.read(), Pair { low: 1, high: 2 });
        lock.write(Pair { low: 3, high: 4 });
        lock.update(|pair| Pair { low: pair.low + 1, high: pair.high });
        assert_eq!(lock.try_read(), Some(Pair { low: 4, high: 4 }));
        static ZEROED: SeqLock<[u64; 3], 3> = SeqLock::zeroed();
        assert_eq!(ZEROED.read(), [0; 3]);
    }

    #[test]
    fn readers_see_whole_values_while_two_write() {
        const ROUNDS: u64 = 20_000;
        let lock = Arc::new(SeqLock::new([0, 0]));
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let lock = Arc::clone(&lock);
                thread::spawn(move || (0..ROUNDS).for_each(|_| lock.update(|[a, b]| [a + 1, b + 1])))
            })
            .collect();
        let mut last = 0;
        while last < 2 * ROUNDS {
            let [first, second] = lock.read();
            assert_eq!(first, second);
            assert!(first >= last);
            last = first;
        }
        for writer in writers {
            writer.join().unwrap();
        }
    }
}
