//! [`WakeCounter`]: a waiter that only counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use sync::{WaitNode, WaitQueue, Wake};

/// Counts the wakes of the nodes that point to it.
#[derive(Debug, Default)]
pub struct WakeCounter {
    count: AtomicUsize,
    events: AtomicU32,
}

impl WakeCounter {
    /// A counter that listens to `events` of a queue, and the node to remove it with.
    #[must_use]
    pub fn listen(queue: &WaitQueue, events: u32) -> (Arc<Self>, Arc<WaitNode>) {
        let counter = Arc::new(Self::default());
        let node = WaitNode::with_events(counter.clone(), events, false);
        queue.add(&node);
        (counter, node)
    }

    /// Wakes since the last call.
    pub fn take(&self) -> usize {
        self.count.swap(0, Ordering::Relaxed)
    }

    /// All events of the wakes since the last call.
    pub fn take_events(&self) -> u32 {
        self.events.swap(0, Ordering::Relaxed)
    }
}

impl Wake for WakeCounter {
    fn wake(&self, events: u32) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.events.fetch_or(events, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_are_counted() {
        let queue = WaitQueue::new();
        let (counter, node) = WakeCounter::listen(&queue, 3);
        queue.wake(1);
        queue.wake(2);
        queue.wake(4);
        assert_eq!((counter.take(), counter.take_events()), (2, 3));
        queue.remove(&node);
        queue.wake(1);
        assert_eq!(counter.take(), 0);
    }
}
