//! [`Queue`]: the events of one instance that nobody has read yet.
//!
//! An event that says the same as the last one is left out. When the queue is full one event more says so, and what comes then is
//! lost until there is room.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use abi::inotify::{InotifyEvent, InotifyMask};

/// The length of a header; names are filled up with zeros to a multiple of it.
const HEADER_LEN: usize = size_of::<InotifyEvent>();
/// The descriptor of an event that belongs to no watch.
const NO_WATCH: i32 = -1;

/// An event as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueuedEvent {
    pub(super) descriptor: i32,
    pub(super) mask: InotifyMask,
    pub(super) cookie: u32,
    /// Empty for an event of the watched file itself.
    pub(super) name: Box<[u8]>,
}

impl QueuedEvent {
    /// Bytes of the name as it is read: with at least one zero, if there is a name.
    pub(super) fn name_len(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(HEADER_LEN) }
    }

    /// Bytes it takes in a read.
    pub(super) fn len_bytes(&self) -> usize {
        HEADER_LEN + self.name_len()
    }

    fn says_the_same(&self, descriptor: i32, mask: InotifyMask, name: &[u8]) -> bool {
        self.descriptor == descriptor
            && self.mask == mask
            && *self.name == *name
            && !self.mask.contains(InotifyMask::IGNORED)
    }
}

/// Events in the order in which they came.
pub(super) struct Queue {
    events: VecDeque<QueuedEvent>,
    len_bytes: usize,
    /// The most events, not counting the one that says that there were more.
    events_max: usize,
    /// An event that says that others are lost is waiting.
    is_overflown: bool,
}

impl Queue {
    pub(super) fn new(events_max: usize) -> Self {
        Self { events: VecDeque::new(), len_bytes: 0, events_max, is_overflown: false }
    }

    /// Bytes of all events.
    pub(super) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Adds an event. True: there is one more to be read.
    pub(super) fn push(&mut self, descriptor: i32, mask: InotifyMask, cookie: u32, name: &[u8]) -> bool {
        if self.events.len() >= self.events_max {
            if self.is_overflown {
                return false;
            }
            self.is_overflown = true;
            self.append(QueuedEvent {
                descriptor: NO_WATCH,
                mask: InotifyMask::Q_OVERFLOW,
                cookie: 0,
                name: Box::default(),
            });
            return true;
        }
        if self.events.back().is_some_and(|last| last.says_the_same(descriptor, mask, name)) {
            return false;
        }
        self.append(QueuedEvent { descriptor, mask, cookie, name: name.into() });
        true
    }

    fn append(&mut self, event: QueuedEvent) {
        self.len_bytes += event.len_bytes();
        self.events.push_back(event);
    }

    /// The length of the next event; none when there is none.
    pub(super) fn next_len(&self) -> Option<usize> {
        self.events.front().map(QueuedEvent::len_bytes)
    }

    /// Takes the next event.
    pub(super) fn take(&mut self) -> Option<QueuedEvent> {
        let event = self.events.pop_front()?;
        self.len_bytes -= event.len_bytes();
        if event.mask.contains(InotifyMask::Q_OVERFLOW) {
            self.is_overflown = false;
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_neighbours_are_one() {
        let mut queue = Queue::new(10);
        assert!(queue.push(1, InotifyMask::MODIFY, 0, b"a"));
        assert!(!queue.push(1, InotifyMask::MODIFY, 0, b"a"));
        assert!(queue.push(1, InotifyMask::MODIFY, 0, b"b"));
        assert!(queue.push(1, InotifyMask::MODIFY, 0, b"a"));
        assert!(queue.push(2, InotifyMask::MODIFY, 0, b"a"));
        assert_eq!(queue.len_bytes(), 4 * 32);
        assert_eq!(queue.take().map(|event| event.name), Some(b"a"[..].into()));
        assert_eq!(queue.len_bytes(), 3 * 32);
    }

    #[test]
    fn a_full_queue_says_so_once() {
        let mut queue = Queue::new(2);
        for descriptor in 1..6 {
            assert_eq!(queue.push(descriptor, InotifyMask::OPEN, 0, b""), descriptor <= 3);
        }
        let taken: alloc::vec::Vec<_> =
            core::iter::from_fn(|| queue.take()).map(|event| (event.descriptor, event.mask)).collect();
        assert_eq!(taken, [(1, InotifyMask::OPEN), (2, InotifyMask::OPEN), (-1, InotifyMask::Q_OVERFLOW)]);
        assert_eq!(queue.len_bytes(), 0);
        assert!(queue.push(1, InotifyMask::OPEN, 0, b""));
    }

    #[test]
    fn names_are_filled_up() {
        for (len, expected) in [(0, 0), (1, 16), (15, 16), (16, 32), (255, 256)] {
            let name = alloc::vec![b'x'; len].into_boxed_slice();
            let event = QueuedEvent { descriptor: 1, mask: InotifyMask::OPEN, cookie: 0, name };
            assert_eq!(event.name_len(), expected);
        }
    }
}
