//! Which receive buffers hold bytes that nobody has read yet.
//!
//! A driver has a fixed set of buffers. Those that the device has filled stand here in their order, the first one perhaps
//! half read; a buffer that is read to its end goes back to the device.

/// Buffers that can be queued.
pub const BUFFERS_MAX: usize = 32;

#[derive(Clone, Copy)]
struct Filled {
    buffer: u16,
    offset: usize,
    end: usize,
}

/// The filled buffers; the bytes are elsewhere.
pub struct ReceiveRing {
    filled: [Filled; BUFFERS_MAX],
    first: usize,
    count: usize,
}

/// A part of a buffer to be read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which buffer.
    pub buffer: u16,
    /// Offset of its first unread byte.
    pub offset: usize,
    /// Unread bytes.
    pub len_bytes: usize,
}

impl Default for ReceiveRing {
    fn default() -> Self {
        Self::new()
    }
}

impl ReceiveRing {
    /// No buffer is filled.
    pub const fn new() -> Self {
        Self { filled: [Filled { buffer: 0, offset: 0, end: 0 }; BUFFERS_MAX], first: 0, count: 0 }
    }

    /// The device has put `len_bytes` into `buffer`. False (and nothing happens) if there are none, or too many buffers.
    pub fn push(&mut self, buffer: u16, len_bytes: usize) -> bool {
        if len_bytes == 0 || self.count == BUFFERS_MAX {
            return false;
        }
        if let Some(slot) = self.filled.get_mut((self.first + self.count) % BUFFERS_MAX) {
            *slot = Filled { buffer, offset: 0, end: len_bytes };
        }
        self.count += 1;
        true
    }

    /// What is to be read next.
    pub fn front(&self) -> Option<Part> {
        let filled = self.filled.get(self.first).filter(|_| self.count > 0)?;
        Some(Part { buffer: filled.buffer, offset: filled.offset, len_bytes: filled.end - filled.offset })
    }

    /// `len_bytes` of the front were read. The buffer, if that was all of it.
    pub fn consume(&mut self, len_bytes: usize) -> Option<u16> {
        let filled = self.filled.get_mut(self.first).filter(|_| self.count > 0)?;
        filled.offset = filled.end.min(filled.offset.saturating_add(len_bytes));
        if filled.offset < filled.end {
            return None;
        }
        let buffer = filled.buffer;
        self.first = (self.first + 1) % BUFFERS_MAX;
        self.count -= 1;
        Some(buffer)
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_order() {
        let mut ring = ReceiveRing::new();
        assert!(ring.is_empty() && ring.front().is_none() && ring.consume(5).is_none());
        assert!(!ring.push(0, 0));
        assert!(ring.push(4, 10) && ring.push(2, 1));
        assert_eq!(ring.consume(3), None);
        assert_eq!(ring.front(), Some(Part { buffer: 4, offset: 3, len_bytes: 7 }));
        assert_eq!(ring.consume(7), Some(4));
        assert_eq!(ring.front(), Some(Part { buffer: 2, offset: 0, len_bytes: 1 }));
        assert_eq!(ring.consume(100), Some(2));
        assert!(ring.is_empty());
    }

    #[test]
    fn is_bounded() {
        let mut ring = ReceiveRing::new();
        assert!((0..32).all(|buffer| ring.push(buffer, 1)));
        assert!(!ring.push(99, 1));
    }
}
