//! Sequence numbers: modulo 2^32, compared by the sign of their difference (RFC 9293, section 3.4).

use super::SequenceNumber;

/// Whether `a` comes before `b`.
pub(super) const fn is_before(a: SequenceNumber, b: SequenceNumber) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// Whether `a` comes behind `b`.
pub(super) const fn is_after(a: SequenceNumber, b: SequenceNumber) -> bool {
    is_before(b, a)
}

/// The later of two.
pub(super) const fn later(a: SequenceNumber, b: SequenceNumber) -> SequenceNumber {
    if is_before(a, b) { b } else { a }
}

/// The earlier of two.
pub(super) const fn earlier(a: SequenceNumber, b: SequenceNumber) -> SequenceNumber {
    if is_before(a, b) { a } else { b }
}

/// Numbers from `from` up to `to`; none when `to` comes first.
pub(super) const fn distance(from: SequenceNumber, to: SequenceNumber) -> u32 {
    if is_before(from, to) { to.wrapping_sub(from) } else { 0 }
}

/// A length as a distance. Lengths here are of buffers, far below 2^31.
pub(super) fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_holds_across_the_wrap() {
        assert!(is_before(u32::MAX, 0) && is_after(5, u32::MAX - 5) && !is_before(7, 7));
        assert_eq!((later(u32::MAX, 3), earlier(u32::MAX, 3)), (3, u32::MAX));
        assert_eq!((distance(u32::MAX, 3), distance(3, u32::MAX)), (4, 0));
    }
}
