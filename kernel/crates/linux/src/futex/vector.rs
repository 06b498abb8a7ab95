//! Waiting for one of many words (`futex_waitv`).

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;

use super::deadline::Deadline;
use super::key::{Key, Sharing};
use super::wait::{Queued, enqueue, priority_of};
use super::word::load_faulting;
use super::{ALL_BITS, Entry, QUEUES, Role, Waiter};
use crate::SyscallResult;
use crate::error::Interrupted;
use crate::thread::Thread;

/// One word of many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    pub sharing: Sharing,
    pub address: usize,
    /// What it has as long as there is reason to wait.
    pub value: u32,
}

/// Sleeps until a wake for one of the words, if all have their values, and answers which. If several were woken it is the last
/// of them, as on Linux. `EAGAIN` if one has another value.
pub(crate) fn wait_for_any(thread: &Thread, words: &[Watched], deadline: Deadline) -> SyscallResult {
    let waiters: Vec<Arc<Waiter>> = words.iter().map(|_| Waiter::new(Arc::clone(thread.parker()))).collect();
    loop {
        match enqueue_all(thread, words, &waiters)? {
            Entered::All => break,
            Entered::Woken(index) => return Ok(index),
            Entered::Again => {}
        }
    }
    loop {
        if waiters.iter().any(|waiter| waiter.is_free()) {
            break;
        }
        let ending = if thread.is_interrupted() {
            Err(Interrupted.into())
        } else if deadline.park(thread) {
            Err(Errno::ETIMEDOUT.into())
        } else {
            continue;
        };
        return cancel_all(&waiters).map_or(ending, Ok);
    }
    cancel_all(&waiters).ok_or(Errno::EAGAIN.into())
}

/// The waiters of a wait for words and other things. While it exists they may be in queues; dropped, they are not.
pub(crate) struct Waiting<'a> {
    thread: &'a Thread,
    /// Those of all words but the first, for which the thread has its own.
    others: Vec<Arc<Waiter>>,
    /// How many were put in queues, the first ones.
    entered: usize,
    /// Those that were woken.
    woken: Vec<usize>,
}

impl<'a> Waiting<'a> {
    /// A waiter for each of `count` words, in no queue.
    pub(crate) fn new(thread: &'a Thread, count: usize) -> Self {
        let others = (1..count).map(|_| Waiter::new(Arc::clone(thread.parker()))).collect();
        Self { thread, others, entered: 0, woken: Vec::new() }
    }

    fn waiter(&self, index: usize) -> &Arc<Waiter> {
        index.checked_sub(1).map_or(&self.thread.futex.waiter, |index| &self.others[index])
    }

    /// Waits for all words, if they have their values. False: one has not, and the thread waits for none.
    pub(crate) fn enter(&mut self, words: &[Watched]) -> Result<bool, Errno> {
        let priority = priority_of(self.thread);
        for (index, word) in words.iter().enumerate() {
            loop {
                let key = Key::of(self.thread.process(), word.sharing, word.address, false)?;
                let entry = Entry { key, bits: ALL_BITS, priority, role: Role::Plain };
                match enqueue(self.waiter(index), entry, word.address, word.value) {
                    Ok(Queued::Yes) => break,
                    // The page is there now, and others keep their places.
                    Ok(Queued::Again) => {}
                    Err(Errno::EAGAIN) => {
                        self.leave();
                        return Ok(false);
                    }
                    Err(errno) => return Err(errno),
                }
            }
            self.entered = index + 1;
        }
        Ok(true)
    }

    /// Whether one of the words was woken.
    pub(crate) fn has_woken(&self) -> bool {
        (0..self.entered).any(|index| self.waiter(index).is_free())
    }

    /// Waits for no word any more. A wake that came before is noted.
    pub(crate) fn leave(&mut self) {
        for index in 0..core::mem::take(&mut self.entered) {
            if !QUEUES.cancel(self.waiter(index)) {
                self.woken.push(index);
            }
        }
    }

    /// Whether the thread was woken for a word, once it waits no more.
    pub(crate) fn was_woken(&self, index: usize) -> bool {
        self.woken.contains(&index)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Whether a word has another value.
pub(crate) fn has_changed(word: &Watched) -> Result<bool, Errno> {
    Ok(load_faulting(word.address)? != word.value)
}

/// How far it got.
enum Entered {
    /// The thread waits for all of them.
    All,
    /// One was woken before.
    Woken(usize),
    /// A page was absent.
    Again,
}

fn enqueue_all(thread: &Thread, words: &[Watched], waiters: &[Arc<Waiter>]) -> Result<Entered, Errno> {
    let mut keys = Vec::with_capacity(words.len());
    for word in words {
        keys.push(Key::of(thread.process(), word.sharing, word.address, false)?);
    }
    let priority = priority_of(thread);
    for (index, ((word, key), waiter)) in words.iter().zip(keys).zip(waiters).enumerate() {
        let entry = Entry { key, bits: ALL_BITS, priority, role: Role::Plain };
        let queued = enqueue(waiter, entry, word.address, word.value);
        if matches!(queued, Ok(Queued::Yes)) {
            continue;
        }
        // A wake that was counted goes before whatever was wrong.
        if let Some(index) = cancel_all(&waiters[..index]) {
            return Ok(Entered::Woken(index));
        }
        return queued.map(|_| Entered::Again);
    }
    Ok(Entered::All)
}

/// Takes all waiters out of their queues, and answers the last one that was woken before.
fn cancel_all(waiters: &[Arc<Waiter>]) -> Option<usize> {
    let mut woken = None;
    for (index, waiter) in waiters.iter().enumerate() {
        if !QUEUES.cancel(waiter) {
            woken = Some(index);
        }
    }
    woken
}
