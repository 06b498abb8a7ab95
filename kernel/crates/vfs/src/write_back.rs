//! Writing back what is dirty after some time, and giving memory back when there is too little.
//!
//! Whoever has files on a disk registers as a [`Cached`]. The machine gives a thread ([`set_starter`]) that calls [`work`]; it is
//! only started when somebody registers. Every [`PERIOD_NS`] it writes back what was dirty the time before, so a crash loses
//! at most what was done in the last two periods and not synchronized.
//!
//! # Memory
//!
//! The rules are [`mm::reclaim`]'s. Clean pages are dropped, some at a time ([`page_cache::drop_some`]); who may wait and finds none
//! has buffers of metadata dropped, writes everything back, or waits for what others write. When memory becomes short the thread is woken to do so ahead of those
//! who will need it, so that they rarely have to, least of all those who may not wait. Where that is not enough, as a
//! program has the memory, it rests ([`REST_NS`]): or else what is written now and then would go to the disk page by page.
//!
//! Writing back needs memory itself, and has it: the few frames it cannot do without come from the kernel's reserve
//! ([`mm::Frame::allocate_reserved`]).

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use abi::Errno;
use mm::reclaim::Reclaimer;
use mm::{Effort, pressure};
use sync::{Mutex, Once, Parker, machine, rank};

#[cfg(doc)]
use crate::page_cache;
use crate::page_cache::{dirty_pages, drop_some, wait_for_written, written_pages};

/// How often it is looked for what has been dirty, and how long that must have been at least.
pub const PERIOD_NS: u64 = 5_000_000_000;
/// How long the thread leaves off making room when it has done what it could, and memory is short still.
const REST_NS: u64 = 100_000_000;
/// It writes for the sake of room only when so much of what is wanted is dirty.
const WORTH_SHARE: u64 = 4;
/// Pages that are dropped at once when memory is short.
const DROPPED_MAX: u64 = 256;

/// Something that keeps contents of a disk in memory.
pub trait Cached: Send + Sync {
    /// Writes back what was dirty when this was called before.
    fn write_back(&self) -> Result<(), Errno>;

    /// Writes everything back.
    fn write_all(&self) -> Result<(), Errno>;

    /// Drops some of what is in memory beside pages of files and on the disk as well, that was not used since the last look, or
    /// if `takes_used` all of it; whether there was any. May wait for locks.
    fn drop_some(&self, takes_used: bool) -> bool {
        let _ = takes_used;
        false
    }
}

static CACHES: Mutex<Vec<Weak<dyn Cached>>> = Mutex::new(rank::CACHES, Vec::new());
static STARTER: Once<fn()> = Once::new();
/// Where the thread sleeps.
static SLEEP: Parker = Parker::new();
/// It is not woken, as it would only rest.
static RESTS: AtomicBool = AtomicBool::new(false);
/// Held by who writes everything back because there is too much: the others wait.
static WRITERS: Mutex<()> = Mutex::new(rank::CACHE_WRITERS, ());

/// Says how the thread is started that calls [`work`].
pub fn set_starter(starter: fn()) {
    STARTER.call_once(|| starter);
    mm::reclaim::set_reclaimer(&Pages);
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

/// The work of the thread.
pub fn work() -> ! {
    let in_future = |length_ns| machine::now_ns().saturating_add(length_ns);
    let mut due_ns = in_future(PERIOD_NS);
    let mut rested_ns = None;
    loop {
        let is_woken = !SLEEP.park_until(rested_ns.map_or(due_ns, |rested_ns| due_ns.min(rested_ns)));
        let now_ns = machine::now_ns();
        rested_ns = rested_ns.filter(|rested_ns| now_ns < *rested_ns);
        if is_woken && rested_ns.is_none() && !make_room() {
            rested_ns = Some(in_future(REST_NS));
        }
        RESTS.store(rested_ns.is_some(), Relaxed);
        if now_ns >= due_ns {
            write_old();
            due_ns = in_future(PERIOD_NS);
        }
    }
}

/// Writes back what has been dirty for some time.
fn write_old() {
    for cache in caches() {
        // Each file keeps its error for who synchronizes it.
        if let Err(errno) = cache.write_back() {
            log::error!("writing back: {errno}");
        }
    }
}

/// Drops pages until memory is not short any more, or nothing is left that was not used since the last time: what is in use
/// goes when there is no memory at all, and not before. Whether memory is not short, or might be once more soon.
fn make_room() -> bool {
    let effort = Effort { may_wait: true, takes_used: false };
    let mut wanted = pressure::current().wanted_frames;
    // Once: a second look at once would find all unused.
    let mut looks_at_others = true;
    while wanted > 0 && pressure::current().level > 0 {
        let before = written_pages();
        match drop_some(wanted.min(DROPPED_MAX), effort) {
            0 if core::mem::take(&mut looks_at_others) && drop_others(false) => {}
            0 if dirty_pages() as u64 <= wanted / WORTH_SHARE || !write_what_is_dirty(before) => return false,
            dropped => wanted = wanted.saturating_sub(dropped),
        }
    }
    true
}

/// Drops what caches have beside pages of files, as [`Cached::drop_some`] does; whether there was any.
fn drop_others(takes_used: bool) -> bool {
    caches().iter().filter(|cache| cache.drop_some(takes_used)).count() > 0
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

/// Writes everything back, and waits for what others write; whether any page was written since there were `before`, which is from
/// ahead of a look for what can be dropped. What is written while one looks was not there to be dropped, and is not under way afterwards.
fn write_what_is_dirty(before: u64) -> bool {
    write_all(|| dirty_pages() > 0);
    wait_for_written(before)
}

/// Drops up to `wanted` clean pages that were not used since the last look: if all were, since the one that this takes now.
fn drop_unused(wanted: u64, may_wait: bool) -> u64 {
    let effort = Effort { may_wait, takes_used: false };
    match drop_some(wanted, effort) {
        0 => drop_some(wanted, effort),
        dropped => dropped,
    }
}

/// Drops something by `drop_any`; if there is nothing, and it may wait, writes what is dirty first.
fn drop_or_write(drop_any: impl Fn() -> bool, may_wait: bool) -> bool {
    let before = written_pages();
    drop_any() || may_wait && (drop_others(true) || write_what_is_dirty(before) && drop_any())
}

/// What gives the pages of files back.
struct Pages;

impl Reclaimer for Pages {
    fn reclaim(&self, may_wait: bool) -> bool {
        let drop_any = || {
            drop_unused(DROPPED_MAX, may_wait) > 0 || drop_some(DROPPED_MAX, Effort { may_wait, takes_used: true }) > 0
        };
        drop_or_write(drop_any, may_wait)
    }

    fn reclaim_unused(&self) -> bool {
        // One round: a second one at once would find nearly all unused.
        drop_some(DROPPED_MAX, Effort { may_wait: false, takes_used: false }) > 0
    }

    fn note_shortage(&self) {
        if !RESTS.load(Relaxed) {
            SLEEP.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;
    use crate::page_cache::tests::Written;

    #[test]
    fn what_is_written_during_a_look_is_dropped_by_the_next() {
        let written = Written::new();
        let looks = Cell::new(0);
        let drop_any = || {
            looks.set(looks.get() + 1);
            if looks.get() == 1 {
                // It was on its way when it was looked at, and is there when the look is over.
                written.write();
            }
            looks.get() == 2
        };
        assert!(drop_or_write(drop_any, true));
    }
}
