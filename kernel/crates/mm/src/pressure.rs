//! Shortage of memory, and who is told of it.
//!
//! 1. The machine says how short memory is whenever that changes ([`set`]). There are two levels, as abi::native has
//!    them: low, and critical. Both lie above what the kernel keeps for itself, so that there is something left for
//!    those who make room.
//! 2. Who asks for a frame at such a time wakes who gives memory back in the background ([`crate::reclaim`]); where there are
//!    listeners, he has clean pages dropped himself, and only if there are none are they told ([`check`]). All that
//!    happens at once when the level rises, and then every so often as more frames are taken: not by
//!    time, so a program that takes nothing is left in peace, and one that cannot give anything back does not turn in
//!    circles.
//! 3. Telling is a wake of [`QUEUE`]. Nothing of the program runs in who asked for the frame: it is a thread of its own
//!    that wakes, holds what locks it likes, and frees as it always does.
//!
//! Without listeners all of it is one load for a frame.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use abi::PollEvents;
use abi::native::MEMORY_CRITICAL;
use sync::WaitQueue;

use crate::reclaim;

/// Frames that are taken between one telling and the next.
const INTERVAL: u32 = 16;

static LEVEL: AtomicU32 = AtomicU32::new(0);
static WANTED_FRAMES: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU32 = AtomicU32::new(0);
static EVENTS: AtomicU64 = AtomicU64::new(0);
static LISTENERS: AtomicUsize = AtomicUsize::new(0);
/// Where listeners wait.
static QUEUE: WaitQueue = WaitQueue::new();

/// What is known of a shortage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// 0 for none, `MEMORY_LOW`, `MEMORY_CRITICAL`.
    pub level: u32,
    /// Frames that would end it.
    pub wanted_frames: u64,
    /// How often it has been told of.
    pub events: u64,
}

/// Says how short memory is; for the machine, which may hold its own lock.
pub fn set(level: u32, wanted_frames: u64) {
    WANTED_FRAMES.store(wanted_frames, Relaxed);
    if LEVEL.swap(level, Relaxed) < level {
        // The next who takes a frame tells.
        TAKEN.store(0, Relaxed);
    }
}

/// How short memory is.
#[must_use]
pub fn current() -> Shortage {
    Shortage { level: LEVEL.load(Relaxed), wanted_frames: WANTED_FRAMES.load(Relaxed), events: EVENTS.load(Relaxed) }
}

/// Whether memory is critically short and nothing that is clean and out of use can be dropped any more: no time to begin something for
/// the sake of others. Not for interrupts, nor under a spinlock.
#[must_use]
pub fn is_critical() -> bool {
    while LEVEL.load(Relaxed) >= MEMORY_CRITICAL {
        if !reclaim::unused_at_once() {
            return true;
        }
    }
    false
}

/// Somebody who wants to be told, as long as it exists.
#[derive(Debug)]
pub struct Listener(());

impl Listener {
    /// One more.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "being told is no value to have by default")]
    pub fn new() -> Self {
        LISTENERS.fetch_add(1, Relaxed);
        Self(())
    }

    /// Woken when there is something to tell.
    pub fn queue(&self) -> &'static WaitQueue {
        &QUEUE
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, Relaxed);
    }
}

/// To be called by who has taken a frame, or got none.
#[inline]
pub(crate) fn check() {
    if LEVEL.load(Relaxed) != 0 {
        relieve();
    }
}

#[cold]
fn relieve() {
    if !TAKEN.fetch_add(1, Relaxed).is_multiple_of(INTERVAL) {
        return;
    }
    reclaim::note_shortage();
    if LISTENERS.load(Relaxed) > 0 && !reclaim::unused_at_once() {
        tell();
    }
}

fn tell() {
    EVENTS.fetch_add(1, Relaxed);
    QUEUE.wake((PollEvents::READABLE | PollEvents::PRI).bits());
}

/// There is no frame at all. Tells listeners, and answers whether there are any: they may make room.
pub fn tell_of_end() -> bool {
    let has_listeners = LISTENERS.load(Relaxed) > 0;
    if has_listeners {
        LEVEL.store(MEMORY_CRITICAL, Relaxed);
        tell();
    }
    has_listeners
}

#[cfg(test)]
mod tests {
    use testkit as _;

    use super::*;

    #[test]
    fn listeners_are_told_when_it_gets_worse_and_then_now_and_then() {
        let told = || EVENTS.load(Relaxed);
        set(1, 10);
        check();
        assert_eq!(told(), 0, "nobody listens");
        let listener = Listener::new();
        set(0, 0);
        set(1, 10);
        check();
        assert_eq!((told(), current().level, current().wanted_frames), (1, 1, 10));
        (1..INTERVAL).for_each(|_| check());
        assert_eq!(told(), 1);
        check();
        assert_eq!(told(), 2);
        set(2, 20);
        check();
        assert_eq!(told(), 3);
        set(0, 0);
        check();
        assert!(told() == 3 && tell_of_end());
        drop(listener);
        assert!(!tell_of_end());
        set(0, 0);
    }
}
