//! [`Ring`]: the last records of the kernel's log, in a fixed number of bytes.
//!
//! A record is a head of [`HEAD_LEN`] bytes and its text. Positions only grow; a byte lies at its position modulo the
//! room. A new record takes the room of the oldest ones, whose numbers are then gone. Text that is longer than
//! [`TEXT_LEN_MAX`] is cut.

use core::fmt;

/// Bytes of the ring.
pub(crate) const RING_LEN: usize = 8 << 10;
/// The longest text of a record.
pub(crate) const TEXT_LEN_MAX: usize = 976;
/// Time (8), length (2), priority (1).
const HEAD_LEN: usize = 11;

/// What is known of a record beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Counts all records since the start.
    pub(super) number: u64,
    /// When it was written, on the clock of `machine::now_ns`.
    pub(super) time_ns: u64,
    /// Facility times 8, and level.
    pub(super) priority: u8,
    /// Bytes of the text.
    pub(super) len: usize,
}

/// The records.
pub(super) struct Ring {
    bytes: [u8; RING_LEN],
    /// Where the oldest record begins, and its number.
    first: (u64, u64),
    /// Where the next record will begin, and its number.
    next: (u64, u64),
}

/// A record in the making.
struct Writer<'a> {
    ring: &'a mut Ring,
    start: u64,
    len: usize,
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes().take(TEXT_LEN_MAX - self.len) {
            let position = self.start + (HEAD_LEN + self.len) as u64;
            self.ring.make_room(position + 1);
            self.ring.put(position, byte);
            self.len += 1;
        }
        Ok(())
    }
}

impl Ring {
    /// Without a record.
    pub(super) const fn new() -> Self {
        Self { bytes: [0; RING_LEN], first: (0, 0), next: (0, 0) }
    }

    /// Adds a record.
    pub(super) fn add(&mut self, priority: u8, time_ns: u64, text: fmt::Arguments<'_>) {
        let (start, number) = self.next;
        self.make_room(start + HEAD_LEN as u64);
        let mut writer = Writer { ring: self, start, len: 0 };
        // A text that does not want to be shown is cut there.
        let _ = fmt::Write::write_fmt(&mut writer, text);
        let len = writer.len;
        let len_bytes = u16::try_from(len).unwrap_or(0).to_le_bytes();
        let head = time_ns.to_le_bytes().into_iter().chain(len_bytes).chain([priority]);
        for (position, byte) in (start..).zip(head) {
            self.put(position, byte);
        }
        self.next = (start + (HEAD_LEN + len) as u64, number + 1);
    }

    /// The numbers of the oldest record and of the next one that will come.
    pub(super) fn numbers(&self) -> (u64, u64) {
        (self.first.1, self.next.1)
    }

    /// The oldest record from `number` on, and its text in `text`, as much as fits. None: there is none yet.
    pub(super) fn get(&self, number: u64, text: &mut [u8]) -> Option<Head> {
        let (mut position, mut at) = self.first;
        while at < self.next.1 {
            let head = self.head(position, at);
            if at >= number {
                let start = position + HEAD_LEN as u64;
                for (byte, place) in text.iter_mut().zip(start..start + head.len as u64) {
                    *byte = self.byte(place);
                }
                return Some(head);
            }
            (position, at) = (position + (HEAD_LEN + head.len) as u64, at + 1);
        }
        None
    }

    fn head(&self, position: u64, number: u64) -> Head {
        let mut bytes = [0; HEAD_LEN];
        for (byte, place) in bytes.iter_mut().zip(position..) {
            *byte = self.byte(place);
        }
        let [time @ .., len_low, len_high, priority] = bytes;
        let len = usize::from(u16::from_le_bytes([len_low, len_high]));
        Head { number, time_ns: u64::from_le_bytes(time), priority, len }
    }

    /// Lets go of the oldest records, so that bytes up to `end` fit. The one in the making is never the oldest: it is
    /// far shorter than the ring.
    fn make_room(&mut self, end: u64) {
        while self.first.1 < self.next.1 && end - self.first.0 > RING_LEN as u64 {
            let (position, number) = self.first;
            self.first = (position + (HEAD_LEN + self.head(position, number).len) as u64, number + 1);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below the length of the ring")]
    fn place(position: u64) -> usize {
        (position % RING_LEN as u64) as usize
    }

    fn byte(&self, position: u64) -> u8 {
        self.bytes[Self::place(position)]
    }

    fn put(&mut self, position: u64, byte: u8) {
        self.bytes[Self::place(position)] = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_until_others_need_their_room() {
        let mut ring = Ring::new();
        let mut text = [0; TEXT_LEN_MAX];
        assert_eq!(ring.get(0, &mut text), None);
        for number in 0..5000_u64 {
            let width = usize::try_from(number % 90).expect("it is small");
            ring.add(6, number * 10, format_args!("{number:width$}"));
            let (first, next) = ring.numbers();
            assert_eq!(next, number + 1);
            for known in [first, number] {
                let head = ring.get(known, &mut text).expect("it is there");
                assert_eq!((head.number, head.time_ns, head.priority), (known, known * 10, 6));
                let shown = core::str::from_utf8(&text[..head.len]).expect("it is text");
                assert_eq!(shown.trim().parse(), Ok(known));
            }
            assert_eq!(ring.get(number + 1, &mut text), None);
        }
        // One that is gone is the oldest that is left.
        let (first, _) = ring.numbers();
        assert!(first > 4000);
        assert_eq!(ring.get(3, &mut text).map(|head| head.number), Some(first));
    }

    #[test]
    fn a_long_text_is_cut() {
        let mut ring = Ring::new();
        for _ in 0..40 {
            ring.add(3, 1, format_args!("{:2000}", 1));
        }
        let (first, next) = ring.numbers();
        assert!(next - first >= (RING_LEN / (HEAD_LEN + TEXT_LEN_MAX)) as u64);
        assert_eq!(ring.get(next - 1, &mut []).map(|head| head.len), Some(TEXT_LEN_MAX));
    }
}
