//! What is known of locks beyond one context: which were nested, and where that was seen first; and how often each rank was
//! waited for.
//!
//! The order of ranks is total, so an inversion shows at once, even if the two sides never meet. The pairs seen so far make
//! its report useful: they say where the code is that relies on the right order, and which locks of one rank are nested.
//! Pairs are kept in debug builds. Plain memory of the checker: loom need not see it.

use core::panic::Location;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::held::Place;
use crate::rank::{RANKS, Rank};

/// How often a lock of each rank was found taken.
static CONTENTIONS: [AtomicU64; RANKS] = [const { AtomicU64::new(0) }; RANKS];

/// Notes that a lock of `rank` was found taken.
#[cold]
pub(crate) fn note_contention(rank: Rank) {
    if let Some(count) = CONTENTIONS.get(usize::from(rank.0)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// How often locks of `rank` were found taken, since the start.
pub fn contentions(rank: Rank) -> u64 {
    CONTENTIONS.get(usize::from(rank.0)).map_or(0, |count| count.load(Ordering::Relaxed))
}

/// Calls `see` with each rank that was ever contended, and how often.
pub fn for_each_contended(mut see: impl FnMut(Rank, u64)) {
    for rank in Rank::all() {
        let count = contentions(rank);
        if count > 0 {
            see(rank, count);
        }
    }
}

/// A place that is kept in an atomic.
pub(crate) fn place(kept: &AtomicPtr<Location<'static>>) -> Option<Place> {
    // SAFETY: what is stored in these is null or made from a `&'static Location`.
    unsafe { kept.load(Ordering::Relaxed).as_ref() }
}

#[cfg(any(debug_assertions, test))]
mod pairs {
    use core::fmt;
    use core::panic::Location;
    use core::ptr;
    use core::sync::atomic::{AtomicPtr, Ordering};

    use super::place;
    use crate::held::Place;
    use crate::rank::{RANKS, Rank};

    /// Where a pair was first seen: the outer lock, and the inner one.
    struct Seen {
        outer: AtomicPtr<Location<'static>>,
        inner: AtomicPtr<Location<'static>>,
    }

    impl Seen {
        const fn never() -> Self {
            Self { outer: AtomicPtr::new(ptr::null_mut()), inner: AtomicPtr::new(ptr::null_mut()) }
        }
    }

    static SEEN: [[Seen; RANKS]; RANKS] = [const { [const { Seen::never() }; RANKS] }; RANKS];

    fn seen(outer: Rank, inner: Rank) -> Option<&'static Seen> {
        SEEN.get(usize::from(outer.0))?.get(usize::from(inner.0))
    }

    /// Notes that a lock of `inner` is taken at `inner_place` under one of `outer`.
    pub(crate) fn note(outer: Rank, outer_place: Option<Place>, inner: Rank, inner_place: Place) {
        let Some(seen) = seen(outer, inner) else { return };
        if seen.inner.load(Ordering::Relaxed).is_null() {
            let outer_place = outer_place.map_or(ptr::null(), ptr::from_ref);
            seen.outer.store(outer_place.cast_mut(), Ordering::Relaxed);
            seen.inner.store(ptr::from_ref(inner_place).cast_mut(), Ordering::Relaxed);
        }
    }

    /// Where locks of `inner` were first taken under locks of `outer`: the outer place and the inner one.
    pub fn nesting(outer: Rank, inner: Rank) -> Option<(Place, Place)> {
        let seen = seen(outer, inner)?;
        Some((place(&seen.outer)?, place(&seen.inner)?))
    }

    /// A line of a report: where the order `outer`, `inner` was first seen; nothing if it never was.
    pub(crate) fn first_seen(outer: Rank, inner: Rank) -> FirstSeen {
        FirstSeen { outer, inner }
    }

    pub(crate) struct FirstSeen {
        outer: Rank,
        inner: Rank,
    }

    impl fmt::Display for FirstSeen {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Some((outer, inner)) = nesting(self.outer, self.inner) else { return Ok(()) };
            let (outer_name, inner_name) = (self.outer.name(), self.inner.name());
            write!(formatter, "\n  the order {outer_name}, {inner_name} was first seen at {outer} and {inner}")
        }
    }
}

#[cfg(any(debug_assertions, test))]
pub use pairs::nesting;
#[cfg(any(debug_assertions, test))]
pub(crate) use pairs::{first_seen, note};
