//! [`Targets`]: whom an interrupt is for, by its vector.

use alloc::boxed::Box;

use sync::Once;

/// There are so many vectors.
const TARGETS_MAX: usize = 256;

/// What a driver remembers of each vector that it has. A place is filled once and for ever, so interrupts look without
/// a lock.
pub(in crate::drivers) struct Targets<T>(Once<Box<[Once<T>]>>);

impl<T> Targets<T> {
    /// None yet; memory is taken with the first.
    pub(in crate::drivers) const fn new() -> Self {
        Self(Once::new())
    }

    /// Says whom a vector is for, which nobody has said before.
    pub(in crate::drivers) fn add(&self, vector: u8, target: T) {
        let targets = self.0.call_once(|| core::iter::repeat_with(Once::new).take(TARGETS_MAX).collect());
        if let Some(place) = targets.get(usize::from(vector)) {
            place.call_once(|| target);
        }
    }

    /// Whom it is for.
    pub(in crate::drivers) fn get(&self, vector: u8) -> Option<&T> {
        self.0.get()?.get(usize::from(vector))?.get()
    }
}
