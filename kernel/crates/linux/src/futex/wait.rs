//! Waiting for a word.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use abi::Errno;

use super::deadline::Deadline;
use super::key::{Key, Sharing};
use super::{Entry, QUEUES, Role, Waiter, word};
use crate::SyscallResult;
use crate::error::{Interrupted, Restart, SyscallError};
use crate::thread::Thread;

/// What a call waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub sharing: Sharing,
    pub address: usize,
    /// What the word has as long as there is reason to wait.
    pub value: u32,
    /// The wakes that count.
    pub bits: u32,
    pub deadline: Deadline,
}

/// `FUTEX_WAIT` and `FUTEX_WAIT_BITSET`: sleeps until a wake for one of these bits, if the word has this value. `EAGAIN` if it
/// has another one, `ETIMEDOUT` at the deadline. A signal makes the call begin again, to the same deadline.
#[inline]
pub(crate) fn wait(thread: &Thread, request: Request) -> SyscallResult {
    match wait_once(thread, &request)? {
        Ending::Woken => Ok(0),
        Ending::TimedOut => Err(Errno::ETIMEDOUT.into()),
        Ending::Interrupted => Err(interrupted(thread, request)),
    }
}

#[cold]
fn interrupted(thread: &Thread, request: Request) -> SyscallError {
    if request.deadline == Deadline::Never {
        return Interrupted.into();
    }
    thread.set_continuation(Box::new(move |thread: &Thread| wait(thread, request)));
    Restart::Continue.into()
}

/// As [`wait`], but if a signal comes the program decides.
#[inline]
pub(crate) fn wait_once(thread: &Thread, request: &Request) -> Result<Ending, Errno> {
    let Request { sharing, address, value, bits, deadline } = *request;
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let waiter = &thread.futex.waiter;
    let priority = priority_of(thread);
    loop {
        let key = Key::of(thread.process(), sharing, address, false)?;
        let entry = Entry { key, bits, priority, role: Role::Plain };
        match enqueue(waiter, entry, address, value)? {
            Queued::Yes => return Ok(sleep(thread, waiter, deadline)),
            // The page was absent; a shared word may belong to another object now.
            Queued::Again => {}
        }
    }
}

/// Whether a waiter is in its queue.
pub(super) enum Queued {
    /// It is.
    Yes,
    /// The word was not there and may be now.
    Again,
}

/// Puts a waiter in its queue if the word has this value, else `EAGAIN`.
#[inline(always)]
pub(super) fn enqueue(waiter: &Arc<Waiter>, entry: Entry, address: usize, value: u32) -> Result<Queued, Errno> {
    let arrival = QUEUES.arrive(&entry.key);
    match word::load(address) {
        Ok(found) if found == value => {
            arrival.enqueue(waiter, entry);
            Ok(Queued::Yes)
        }
        Ok(_) => Err(Errno::EAGAIN),
        Err(absent) => {
            drop(arrival);
            absent.resolve()?;
            Ok(Queued::Again)
        }
    }
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// By a wake, which counts.
    Woken,
    /// The time came first.
    TimedOut,
    /// A signal came first, or the thread is to end.
    Interrupted,
}

/// Sleeps until the waiter is woken, or gives up.
#[inline]
fn sleep(thread: &Thread, waiter: &Waiter, deadline: Deadline) -> Ending {
    loop {
        if waiter.is_free() {
            return Ending::Woken;
        }
        if thread.is_interrupted() {
            return give_up(waiter, Ending::Interrupted);
        }
        if deadline.park(thread) {
            return give_up(waiter, Ending::TimedOut);
        }
    }
}

#[cold]
fn give_up(waiter: &Waiter, ending: Ending) -> Ending {
    if QUEUES.cancel(waiter) { ending } else { Ending::Woken }
}

/// The priority of a real-time thread among those that wait for one word; 0 for all others.
pub(super) fn priority_of(thread: &Thread) -> u8 {
    thread.futex.priority.load(Relaxed)
}
