//! [`Numbers`]: free numbers, for tags and fids. Giving one back never allocates: it happens in interrupts.

use alloc::vec::Vec;

use sync::{IrqSpinLock, rank};

/// Room for so many at first.
const CAPACITY_FIRST: usize = 64;

/// A set of numbers from 0 on.
pub(crate) struct Numbers {
    state: IrqSpinLock<State>,
    count_max: u32,
}

struct State {
    /// Given back. It has room for every number that was ever given out.
    free: Vec<u32>,
    /// So many were given out at least once.
    issued: u32,
}

impl Numbers {
    /// The numbers below `count_max`.
    pub(crate) fn new(count_max: u32) -> Self {
        let state = State { free: Vec::new(), issued: 0 };
        Self { state: IrqSpinLock::new(rank::DRIVER, state), count_max }
    }

    /// Takes one; `None` when all are taken.
    pub(crate) fn take(&self) -> Option<u32> {
        let mut room = Vec::new();
        loop {
            let wanted = {
                let mut state = self.state.lock();
                if let Some(number) = state.free.pop() {
                    return Some(number);
                }
                let issued = state.issued;
                if issued >= self.count_max {
                    return None;
                }
                let count = usize::try_from(issued).unwrap_or(usize::MAX);
                if room.capacity() > count && state.free.capacity() <= count {
                    // Empty, as nothing could be taken from it.
                    core::mem::swap(&mut state.free, &mut room);
                }
                if state.free.capacity() > count {
                    state.issued += 1;
                    return Some(issued);
                }
                count.saturating_mul(2).max(CAPACITY_FIRST)
            };
            room = Vec::with_capacity(wanted);
        }
    }

    /// Gives one back that was taken.
    pub(crate) fn give_back(&self, number: u32) {
        let mut state = self.state.lock();
        debug_assert!(state.free.len() < state.free.capacity(), "a number is given back twice");
        state.free.push(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_out_once() {
        let numbers = Numbers::new(200);
        let mut taken: Vec<u32> = (0..200).map(|_| numbers.take().unwrap()).collect();
        assert_eq!(numbers.take(), None);
        taken.sort_unstable();
        assert!(taken.iter().copied().eq(0..200));
        taken.drain(50..150).for_each(|number| numbers.give_back(number));
        let mut again: Vec<u32> = core::iter::from_fn(|| numbers.take()).collect();
        again.sort_unstable();
        assert!(again.into_iter().eq(50..150));
    }
}
