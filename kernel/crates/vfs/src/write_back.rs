//! Writing back what is dirty after some time, and giving memory back when there is too little.
//!
//! Whoever has files on a disk registers as a [`Cached`]. The machine gives a thread ([`set_starter`]) that calls [`run`] every
//! [`PERIOD_NS`]; it is only started when somebody registers. What was dirty at one run is written by the next, so a crash loses
//! at most what was done in the last two periods and not synchronized.
//!
//! # Memory
//!
//! [`reclaim`] is what `mm` calls when there is no frame left, from anywhere that may sleep, under any locks. So it waits for no lock:
//! what cannot be had at once is left out. It drops clean pages that nobody uses, a file at a time.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::Errno;
use sync::{Mutex, Once, rank};

/// How often it is looked for what has been dirty.
pub const PERIOD_NS: u64 = 5_000_000_000;
/// Pages that are dropped at once when memory is short.
const DROPPED_MAX: u64 = 256;

/// Something that keeps contents of a disk in memory.
pub trait Cached: Send + Sync {
    /// Writes back what was dirty when this was called before.
    fn write_back(&self) -> Result<(), Errno>;

    /// Writes everything back.
    fn write_all(&self) -> Result<(), Errno>;

    /// Drops up to about `wanted` pages that are clean and that nobody uses; how many. Waits for no lock.
    fn shrink(&self, wanted: u64) -> u64;
}

static CACHES: Mutex<Vec<Weak<dyn Cached>>> = Mutex::new(rank::CACHES, Vec::new());
static STARTER: Once<fn()> = Once::new();
/// Held by who writes everything back because there is too much: the others wait.
static WRITERS: Mutex<()> = Mutex::new(rank::CACHE_WRITERS, ());

/// Says how the thread is started that calls [`run`].
pub fn set_starter(starter: fn()) {
    STARTER.call_once(|| starter);
    mm::frame::set_reclaimer(reclaim);
}

/// Registers a cache; the first starts the thread.
pub(crate) fn register(cache: Weak<dyn Cached>) {
    static STARTED: Once<()> = Once::new();
    {
        let mut caches = CACHES.lock();
        caches.retain(|cache| cache.strong_count() > 0);
        caches.push(cache);
    }
    if let Some(starter) = STARTER.get() {
        STARTED.call_once(starter);
    }
}

fn caches() -> Vec<Arc<dyn Cached>> {
    CACHES.lock().iter().filter_map(Weak::upgrade).collect()
}

/// Writes back what has been dirty for some time. Called every [`PERIOD_NS`].
pub fn run() {
    for cache in caches() {
        // Each file keeps its error for who synchronizes it.
        if let Err(errno) = cache.write_back() {
            log::error!("writing back: {errno}");
        }
    }
}

/// Writes everything back, if `is_too_much` still says so when it is this thread's turn.
pub(crate) fn write_all(is_too_much: impl Fn() -> bool) {
    let _writers = WRITERS.lock();
    if is_too_much() {
        for cache in caches() {
            // As above.
            let _ = cache.write_all();
        }
    }
}

/// Drops some clean pages; whether there were any.
fn reclaim() -> bool {
    let Some(caches) = CACHES.try_lock() else { return false };
    let mut dropped = 0;
    for cache in caches.iter().filter_map(Weak::upgrade) {
        if dropped < DROPPED_MAX {
            dropped += cache.shrink(DROPPED_MAX - dropped);
        }
    }
    dropped > 0
}
