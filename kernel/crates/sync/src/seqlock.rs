//! [`SeqLock`]: small `Copy` data that is read far more often than written.
//!
//! A writer makes the sequence odd, stores, and makes it even; a reader takes a copy and retries when the sequence was
//! odd or has changed. Writers exclude each other by the spin of the odd sequence. The data is kept as words of relaxed
//! atomics, so a torn read is a value, never undefined behaviour. (H.-J. Boehm, Can seqlocks get along with programming
//! language memory models?, 2012.)

use core::marker::PhantomData;

use crate::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use crate::machine;

/// A value of `N` words behind a sequence counter.
pub struct SeqLock<const N: usize> {
    sequence: AtomicUsize,
    words: [AtomicU64; N],
    not_auto: PhantomData<()>,
}

impl<const N: usize> SeqLock<N> {
    /// A lock around `words`.
    pub fn new(words: [u64; N]) -> Self {
        Self { sequence: AtomicUsize::new(0), words: words.map(AtomicU64::new), not_auto: PhantomData }
    }

    /// A consistent copy.
    pub fn read(&self) -> [u64; N] {
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            if before % 2 == 0 {
                let copy = core::array::from_fn(|index| self.words[index].load(Ordering::Relaxed));
                fence(Ordering::Acquire);
                if self.sequence.load(Ordering::Relaxed) == before {
                    return copy;
                }
            }
            machine::spin_hint();
        }
    }

    /// Replaces the value.
    pub fn write(&self, words: [u64; N]) {
        let mut sequence = self.sequence.load(Ordering::Relaxed);
        loop {
            if sequence % 2 == 0 {
                match self.sequence.compare_exchange(sequence, sequence + 1, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => break,
                    Err(seen) => sequence = seen,
                }
            } else {
                machine::spin_hint();
                sequence = self.sequence.load(Ordering::Relaxed);
            }
        }
        fence(Ordering::Release);
        for (slot, word) in self.words.iter().zip(words) {
            slot.store(word, Ordering::Relaxed);
        }
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }
}
