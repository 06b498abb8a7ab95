//! [`FileTime`]: a time of a file in one word, so that it is read and set without a lock.
//!
//! The seconds since 1970 stand above the nanoseconds, so times compare as numbers, and `stat` takes them apart without a
//! division. 34 bits of seconds reach from 1697 to 2242; times beyond are clamped, as Linux does at the limits of a file system.

use core::sync::atomic::{AtomicI64, Ordering::Relaxed};

use abi::Timespec;

/// Bits of the nanoseconds.
const NANOSECOND_BITS: u32 = 30;
const NANOSECOND_MASK: i64 = (1 << NANOSECOND_BITS) - 1;
/// One past the last second that fits; the first is minus this.
const SECONDS_END: i64 = 1 << (i64::BITS - 1 - NANOSECOND_BITS);
const SECOND_NS: u64 = 1_000_000_000;

/// A time of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileTime(i64);

impl FileTime {
    /// The wall clock.
    #[inline]
    pub fn now() -> Self {
        let now_ns = sync::machine::realtime_ns();
        // Both are less than 2^63: the quotient by its divisor, the remainder by its size.
        Self::new((now_ns / SECOND_NS).cast_signed(), (now_ns % SECOND_NS).cast_signed())
    }

    #[inline]
    fn new(seconds: i64, nanoseconds: i64) -> Self {
        Self(seconds.clamp(-SECONDS_END, SECONDS_END - 1) << NANOSECOND_BITS | nanoseconds & NANOSECOND_MASK)
    }

    /// A time in nanoseconds since 1970.
    pub fn from_nanoseconds(time_ns: i64) -> Self {
        Timespec::from_nanoseconds(time_ns).into()
    }

    /// The nanoseconds beyond the seconds.
    #[inline]
    pub fn nanoseconds(self) -> i64 {
        self.0 & NANOSECOND_MASK
    }

    /// The seconds, rounded down.
    #[inline]
    pub fn seconds(self) -> i64 {
        self.0 >> NANOSECOND_BITS
    }
}

impl From<Timespec> for FileTime {
    fn from(time: Timespec) -> Self {
        Self::new(time.tv_sec, time.tv_nsec)
    }
}

impl From<FileTime> for Timespec {
    #[inline]
    fn from(time: FileTime) -> Self {
        Self { tv_sec: time.seconds(), tv_nsec: time.0 & NANOSECOND_MASK }
    }
}

/// A time that changes.
pub(crate) struct AtomicFileTime(AtomicI64);

impl AtomicFileTime {
    pub(crate) fn new(time: FileTime) -> Self {
        Self(AtomicI64::new(time.0))
    }

    #[inline]
    pub(crate) fn get(&self) -> FileTime {
        FileTime(self.0.load(Relaxed))
    }

    #[inline]
    pub(crate) fn set(&self, time: FileTime) {
        self.0.store(time.0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_packing_and_order() {
        let times = [(-8_000_000_000, 5), (-1, 999_999_999), (0, 0), (0, 1), (1, 0), (5_000_000_000, 999_999_999)];
        let packed = times.map(|(tv_sec, tv_nsec)| FileTime::from(Timespec { tv_sec, tv_nsec }));
        assert!(packed.is_sorted());
        for ((seconds, nanoseconds), time) in times.into_iter().zip(packed) {
            let back = Timespec::from(time);
            assert_eq!((back.tv_sec, back.tv_nsec), (seconds, nanoseconds));
        }
        assert_eq!(FileTime::from_nanoseconds(-1), packed[1]);
        let clamp = |tv_sec| FileTime::from(Timespec { tv_sec, tv_nsec: 0 }).seconds();
        assert_eq!([clamp(i64::MAX), clamp(i64::MIN)], [(1 << 33) - 1, -(1 << 33)]);
    }
}
