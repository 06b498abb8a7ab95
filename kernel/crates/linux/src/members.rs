//! [`Members`]: the threads of a process that have not ended, as its signals find them.
//!
//! Each thread knows its place in the list, so that it leaves without a search: the last one takes its place. The first
//! thread keeps the first place until it leaves. Places are read and written under the lock of the list, the process's
//! signals.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::Errno;
use sync::machine::NEVER;

use crate::process::Process;
use crate::thread::{Attention, Thread};
use crate::wait;

/// The fewest places a list has room for.
const ROOM_MIN: usize = 4;

/// Where a thread stands in the list of its process.
#[derive(Debug)]
pub(crate) struct Place(AtomicU32);

/// The place of a thread that is in no list.
const NOWHERE: u32 = u32::MAX;

impl Place {
    pub(crate) const fn nowhere() -> Self {
        Self(AtomicU32::new(NOWHERE))
    }
}

/// The threads of a process.
#[derive(Default)]
pub(crate) struct Members {
    threads: Vec<Arc<Thread>>,
    /// The first thread has ended before others, and keeps its number until they have ended too.
    has_ended_leader: bool,
    /// One of them is to remain alone, to become another program.
    is_closed: bool,
}

impl Members {
    pub(crate) fn as_slice(&self) -> &[Arc<Thread>] {
        &self.threads
    }

    /// How many there are for Linux, which counts an ended first thread.
    pub(crate) fn count(&self) -> usize {
        self.threads.len() + usize::from(self.has_ended_leader)
    }

    /// Notes that the first thread has ended, and others go on.
    pub(crate) fn note_ended_leader(&mut self) {
        self.has_ended_leader = true;
    }

    /// Whether the first thread has ended before others.
    pub(crate) fn has_ended_leader(&self) -> bool {
        self.has_ended_leader
    }

    /// The only one there is, when it waits for just that.
    fn sole(&self) -> Option<&Arc<Thread>> {
        match &*self.threads {
            [sole] if self.is_closed => Some(sole),
            _ => None,
        }
    }

    /// Whether nobody can join.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether one more can be added without allocating, given `spare` room made outside the lock.
    fn has_room(&self, spare: &Vec<Arc<Thread>>) -> bool {
        self.threads.len() < self.threads.capacity().max(spare.capacity())
    }

    /// Adds a thread; what remains in `spare` is for the caller to free.
    fn add(&mut self, thread: &Arc<Thread>, spare: &mut Vec<Arc<Thread>>) {
        debug_assert!(self.has_room(spare), "the caller has made room");
        if self.threads.len() == self.threads.capacity() {
            spare.append(&mut self.threads);
            mem::swap(spare, &mut self.threads);
        }
        let place = u32::try_from(self.threads.len()).unwrap_or(NOWHERE);
        debug_assert!(place != NOWHERE, "there are fewer threads than numbers");
        thread.place.0.store(place, Relaxed);
        self.threads.push(Arc::clone(thread));
    }

    /// Takes a thread out; none when it is not there.
    fn remove(&mut self, thread: &Thread) -> Option<Arc<Thread>> {
        let place = usize::try_from(thread.place.0.swap(NOWHERE, Relaxed)).ok()?;
        let is_here = self.threads.get(place).is_some_and(|member| core::ptr::eq(&raw const **member, thread));
        if !is_here {
            return None;
        }
        let removed = self.threads.swap_remove(place);
        if let (Some(moved), Ok(place)) = (self.threads.get(place), u32::try_from(place)) {
            moved.place.0.store(place, Relaxed);
        }
        Some(removed)
    }
}

/// Why a thread cannot join its process: the process ends, or becomes another program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ending;

/// Enters a thread among those of its process.
pub(crate) fn join(process: &Process, thread: &Arc<Thread>) -> Result<(), Ending> {
    let mut spare = Vec::new();
    loop {
        let mut signals = process.signals.lock();
        if signals.is_ending() {
            return Err(Ending);
        }
        if signals.members.has_room(&spare) {
            signals.members.add(thread, &mut spare);
            process.staying.fetch_add(1, Relaxed);
            signals.welcome(thread);
            return Ok(());
        }
        let room = (signals.members.as_slice().len() * 2).max(ROOM_MIN);
        drop(signals);
        spare = Vec::with_capacity(room);
    }
}

/// What is left of a process when one of its threads has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Remaining(pub usize);

/// Takes a thread out of its process. `decide` is called under the lock with the number of those that remain.
pub(crate) fn leave(
    process: &Process,
    thread: &Thread,
    decide: impl FnOnce(&mut crate::signal::ProcessSignals, Remaining),
) -> Remaining {
    let mut signals = process.signals.lock();
    let removed = signals.members.remove(thread);
    debug_assert!(removed.is_some(), "a thread leaves once");
    let remaining = Remaining(signals.members.as_slice().len());
    decide(&mut signals, remaining);
    if let Some(sole) = signals.members.sole() {
        sole.parker().unpark();
    }
    drop(signals);
    // The last reference may be this one; it must not go under the lock.
    drop(removed);
    remaining
}

/// Makes all other threads end and waits until they have left. `EAGAIN` when the process is ending, or another thread does
/// the same. Nobody can join until [`reopen`].
pub(crate) fn remain_alone(process: &Process, thread: &Thread) -> Result<(), Errno> {
    let mut signals = process.signals.lock();
    if signals.is_ending() {
        return Err(Errno::EAGAIN);
    }
    signals.members.is_closed = true;
    for other in signals.threads() {
        if !core::ptr::eq(&raw const **other, thread) {
            other.call_attention(Attention::EXIT);
        }
    }
    while signals.members.as_slice().len() > 1 {
        if signals.outcome.is_some() {
            // The thread is to end as well.
            return Err(Errno::EAGAIN);
        }
        drop(signals);
        wait::park(thread, NEVER);
        signals = process.signals.lock();
    }
    Ok(())
}

/// Lets threads join again. The one that remained is the first now.
pub(crate) fn reopen(process: &Process) {
    let mut signals = process.signals.lock();
    signals.members.is_closed = false;
    signals.members.has_ended_leader = false;
}
