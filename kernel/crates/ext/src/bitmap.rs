//! Bitmaps of blocks and inodes: bit `n` is bit `n % 8` of byte `n / 8`, and set for what is taken.

/// Whether a bit is set; bits that are not there are.
pub(crate) fn is_set(bits: &[u8], index: u32) -> bool {
    bits.get(index as usize / 8).is_none_or(|byte| byte & 1 << (index % 8) != 0)
}

/// Sets `count` bits from `first` on.
pub(crate) fn set(bits: &mut [u8], first: u32, count: u32) {
    change(bits, first, count, |byte, mask| *byte |= mask);
}

/// Clears `count` bits from `first` on.
pub(crate) fn clear(bits: &mut [u8], first: u32, count: u32) {
    change(bits, first, count, |byte, mask| *byte &= !mask);
}

fn change(bits: &mut [u8], first: u32, count: u32, apply: impl Fn(&mut u8, u8)) {
    let end = first.saturating_add(count);
    let mut at = first;
    while at < end {
        let bit = at % 8;
        let in_byte = (8 - bit).min(end - at);
        let Some(byte) = bits.get_mut(at as usize / 8) else { return };
        apply(byte, u8::MAX >> (8 - in_byte) << bit);
        at += in_byte;
    }
}

/// Whether all of `count` bits from `first` on have this value.
pub(crate) fn is_all(bits: &[u8], first: u32, count: u32, value: bool) -> bool {
    find(bits, first, first.saturating_add(count), !value).is_none()
}

/// The first bit of this value from `first` on, below `len`.
pub(crate) fn find(bits: &[u8], first: u32, len: u32, value: bool) -> Option<u32> {
    Union { bits, more: &[] }.find(first, len, value)
}

/// Two bitmaps of the same things: a bit is set here that is set in one of them.
#[derive(Clone, Copy)]
pub(crate) struct Union<'a> {
    pub(crate) bits: &'a [u8],
    /// What is not there is clear.
    pub(crate) more: &'a [u8],
}

impl Union<'_> {
    /// The 64 bits of which the first is `64 * index`.
    fn word(&self, index: usize) -> u64 {
        word(self.bits, index, u8::MAX) | word(self.more, index, 0)
    }

    /// The first bit of this value from `first` on, below `len`.
    fn find(&self, first: u32, len: u32, value: bool) -> Option<u32> {
        let mut at = first;
        while at < len {
            let word = self.word(at as usize / 64);
            let wanted = if value { word } else { !word } >> (at % 64);
            if wanted != 0 {
                return Some(at + wanted.trailing_zeros()).filter(|found| *found < len);
            }
            at = (at / 64 + 1).saturating_mul(64);
        }
        None
    }

    /// The first run of at least `least` clear bits in `first..end`; its beginning and length.
    pub(crate) fn find_long_run(&self, first: u32, end: u32, least: u32) -> Option<(u32, u32)> {
        let mut at = first;
        while let Some(start) = self.find(at, end, false) {
            at = self.find(start, end, true).unwrap_or(end);
            if at - start >= least {
                return Some((start, at - start));
            }
        }
        None
    }

    /// Clear bits for `wanted`: those at `goal` if there are any, else the first run that is long enough, else the
    /// longest; its beginning and length.
    pub(crate) fn find_run(&self, goal: u32, len: u32, wanted: u32) -> Option<(u32, u32)> {
        let run_at = |first: u32| {
            let most = len.min(first.saturating_add(wanted));
            (first, self.find(first, most, true).unwrap_or(most) - first)
        };
        if self.find(goal, len.min(goal.saturating_add(1)), false).is_some() {
            return Some(run_at(goal));
        }
        let mut best: Option<(u32, u32)> = None;
        // Behind the goal first, then from the beginning.
        for (from, to) in [(goal.min(len), len), (0, goal.min(len))] {
            let mut at = from;
            while let Some(first) = self.find(at, to, false) {
                let run = run_at(first);
                if best.is_none_or(|best| run.1 > best.1) {
                    best = Some(run);
                }
                if run.1 >= wanted {
                    return best;
                }
                at = first + run.1;
            }
        }
        best
    }
}

/// Eight bytes of a bitmap; those that are not there are `missing`.
fn word(bits: &[u8], index: usize, missing: u8) -> u64 {
    let bytes = bits.get(index * 8..).unwrap_or_default();
    let mut word = [missing; 8];
    match bytes.first_chunk() {
        Some(whole) => word = *whole,
        None => word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from),
    }
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_and_cleared() {
        let mut bits = [0; 4];
        set(&mut bits, 3, 14);
        assert_eq!(bits, [0xf8, 0xff, 0x01, 0]);
        clear(&mut bits, 4, 6);
        assert_eq!(bits, [0x08, 0xfc, 0x01, 0]);
        assert!(is_set(&bits, 3) && !is_set(&bits, 4) && is_set(&bits, 32));
        assert_eq!(find(&bits, 4, 32, true), Some(10));
        assert_eq!(find(&bits, 17, 32, true), None);
        set(&mut bits, 30, 9);
        assert!(is_all(&bits, 30, 2, true) && is_all(&bits, 17, 13, false));
    }

    fn find_run(bits: &[u8], goal: u32, len: u32, wanted: u32) -> Option<(u32, u32)> {
        Union { bits, more: &[] }.find_run(goal, len, wanted)
    }

    #[test]
    fn two_bitmaps_are_searched_as_one() {
        let (mut bits, mut more) = ([0; 20], [0; 20]);
        set(&mut bits, 0, 70);
        set(&mut more, 70, 60);
        set(&mut bits, 140, 20);
        assert_eq!(Union { bits: &bits, more: &more }.find_run(3, 160, 20), Some((130, 10)));
        assert_eq!(Union { bits: &bits, more: &more[..9] }.find_run(3, 160, 20), Some((72, 20)));
        assert_eq!(Union { bits: &bits[..9], more: &more }.find_run(3, 160, 20), None);
        for len in 0..160 {
            for first in 0..len {
                let expected = (first..len).find(|at| !is_set(&bits, *at) && !is_set(&more, *at));
                assert_eq!(Union { bits: &bits, more: &more }.find(first, len, false), expected);
            }
        }
    }

    #[test]
    fn runs_are_found() {
        let mut bits = [0xff; 8];
        clear(&mut bits, 5, 2);
        clear(&mut bits, 20, 10);
        clear(&mut bits, 40, 4);
        assert_eq!(find_run(&bits, 6, 64, 3), Some((6, 1)));
        assert_eq!(find_run(&bits, 0, 64, 3), Some((20, 3)));
        assert_eq!(find_run(&bits, 31, 64, 3), Some((40, 3)));
        assert_eq!(find_run(&bits, 31, 64, 30), Some((20, 10)));
        assert_eq!(find_run(&bits, 50, 64, 1), Some((5, 1)));
        assert_eq!(find_run(&bits, 64, 42, 9), Some((20, 9)));
        assert_eq!(find_run(&[0xff; 8], 3, 64, 1), None);
    }
}
