//! [`Held`]: what a thread shares with others until it takes a copy of its own.
//!
//! Looking is two loads and no lock, because nothing is ever replaced: a thread's own copy is hung behind what it had before,
//! and the old one stays where it is, unused, until the thread is gone. Taking copies is rare (`unshare`), and only pays
//! when something is shared again in between, so their number has a limit nobody reaches.

use alloc::boxed::Box;
use alloc::sync::Arc;

use abi::Errno;
use sync::Once;

/// The most copies a thread can take in its life.
const COPIES_MAX: usize = 256;

/// A reference its thread can replace.
pub(crate) struct Held<T> {
    first: Arc<T>,
    later: Once<Box<Held<T>>>,
}

impl<T> Held<T> {
    pub(crate) fn new(first: Arc<T>) -> Self {
        Self { first, later: Once::new() }
    }

    /// What it refers to now.
    #[inline]
    pub(crate) fn get(&self) -> &Arc<T> {
        match self.later.get() {
            None => &self.first,
            Some(later) => later.last(),
        }
    }

    #[cold]
    fn last(&self) -> &Arc<T> {
        let mut held = self;
        while let Some(later) = held.later.get() {
            held = later;
        }
        &held.first
    }

    /// Refers to something else from now on. For the thread itself alone; `ENOMEM` when it has done so too often.
    pub(crate) fn replace(&self, new: Arc<T>) -> Result<(), Errno> {
        let mut held = self;
        let mut copies = 0;
        while let Some(later) = held.later.get() {
            held = later;
            copies += 1;
        }
        if copies >= COPIES_MAX {
            return Err(Errno::ENOMEM);
        }
        held.later.call_once(|| Box::new(Self::new(new)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_counts() {
        let held = Held::new(Arc::new(0));
        assert_eq!(**held.get(), 0);
        for copy in 1..=COPIES_MAX {
            held.replace(Arc::new(copy)).unwrap();
            assert_eq!(**held.get(), copy);
        }
        assert_eq!(held.replace(Arc::new(0)), Err(Errno::ENOMEM));
        assert_eq!(**held.get(), COPIES_MAX);
    }
}
