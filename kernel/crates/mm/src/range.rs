//! Page-aligned address ranges.

use crate::PAGE_SIZE;

/// A half-open range of page-aligned addresses, `start <= end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageRange {
    start: usize,
    end: usize,
}

impl PageRange {
    /// The range `start..end`. Both ends must be page aligned and in order.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end, "range ends before it starts");
        debug_assert!(start.is_multiple_of(PAGE_SIZE) && end.is_multiple_of(PAGE_SIZE), "range is not page aligned");
        Self { start, end }
    }

    /// `len` bytes from `start`, or None when that overflows.
    #[must_use]
    pub fn from_length(start: usize, len: usize) -> Option<Self> {
        Some(Self::new(start, start.checked_add(len)?))
    }

    /// The first address.
    #[must_use]
    pub const fn start(self) -> usize {
        self.start
    }

    /// One past the last address.
    #[must_use]
    pub const fn end(self) -> usize {
        self.end
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        self.end - self.start
    }

    /// Length in pages.
    #[must_use]
    pub const fn pages(self) -> usize {
        self.len() / PAGE_SIZE
    }

    /// True when nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// True when `address` lies in the range.
    #[must_use]
    pub const fn contains(self, address: usize) -> bool {
        self.start <= address && address < self.end
    }

    /// True when all of `other` lies in the range.
    #[must_use]
    pub const fn contains_range(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// True when the two have an address in common.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// What the two have in common (empty, somewhere, when nothing).
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        let start = self.start.max(other.start);
        Self { start, end: self.end.min(other.end).max(start) }
    }

    /// The addresses of the pages.
    pub fn page_addresses(self) -> impl Iterator<Item = usize> {
        (self.start..self.end).step_by(PAGE_SIZE)
    }
}

/// `address` rounded down to its page.
#[must_use]
pub const fn page_down(address: usize) -> usize {
    address & !(PAGE_SIZE - 1)
}

/// `address` rounded up to a page, or None on overflow.
#[must_use]
pub const fn page_up(address: usize) -> Option<usize> {
    match address.checked_add(PAGE_SIZE - 1) {
        Some(sum) => Some(page_down(sum)),
        None => None,
    }
}

/// True when `address` begins a page.
#[must_use]
pub const fn is_page_aligned(address: usize) -> bool {
    address.is_multiple_of(PAGE_SIZE)
}
