//! [`PageSet`]: some pages of an object, near each other.

/// Words of the set.
const WORDS: usize = 4;

/// Some of the [`PageSet::SPAN`] pages of an object from one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSet {
    first: u64,
    bits: [u64; WORDS],
}

impl PageSet {
    /// Pages that one set reaches.
    pub const SPAN: u64 = WORDS as u64 * u64::BITS as u64;

    /// None yet of the pages from `first` on.
    #[must_use]
    pub const fn new(first: u64) -> Self {
        Self { first, bits: [0; WORDS] }
    }

    /// The first page it reaches.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// One past the last page it reaches.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.first.saturating_add(Self::SPAN)
    }

    /// Adds a page that it reaches.
    pub fn add(&mut self, index: u64) {
        let place = self.place_of(index);
        debug_assert!(place.is_some(), "the page is out of reach");
        if let Some((word, bit)) = place
            && let Some(word) = self.bits.get_mut(word)
        {
            *word |= bit;
        }
    }

    /// Whether a page is in it.
    #[must_use]
    pub fn contains(&self, index: u64) -> bool {
        self.place_of(index).is_some_and(|(word, bit)| self.bits.get(word).is_some_and(|word| word & bit != 0))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits == [0; WORDS]
    }

    fn place_of(&self, index: u64) -> Option<(usize, u64)> {
        let offset = index.checked_sub(self.first).filter(|offset| *offset < Self::SPAN)?;
        Some((usize::try_from(offset / u64::from(u64::BITS)).ok()?, 1 << (offset % u64::from(u64::BITS))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_what_was_added() {
        let mut set = PageSet::new(1000);
        assert!(set.is_empty());
        let added = [1000, 1063, 1064, 1255];
        added.iter().for_each(|index| set.add(*index));
        for index in 900..1400 {
            assert_eq!(set.contains(index), added.contains(&index), "{index}");
        }
        assert_eq!((set.first(), set.end(), set.is_empty()), (1000, 1256, false));
        assert!(!PageSet::new(u64::MAX).contains(0));
    }
}
