//! Waiting for descriptors, futex words and threads by one call.
//!
//! It is `poll` with more to wait for: what has happened already is found at once, else the thread is in the queues of everything it
//! named before it looks again, so nothing is missed. All queues wake the same thread, which sleeps in one place.
//!
//! A word has something to tell when it has another value than the program names, or when the thread was woken for it. A wake that is counted
//! is always told of: once the thread is in the queue of a word, errors and time-outs are looked at after wakes. A thread has something to tell
//! when it touches the program's memory no more, so its stack can be unmapped.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::offset_of;

use abi::native::{
    WAIT_DESCRIPTOR, WAIT_FOUND_CHANGED, WAIT_FOUND_ENDED, WAIT_FOUND_WOKEN, WAIT_NOTHING, WAIT_THINGS_MAX,
    WAIT_THREAD, WAIT_WORD, WaitThing,
};
use abi::{Errno, FutexWaitv, PollEvents, UserPtr};
use file::FdRef;
use mm::user::{UserReader, write_user_struct};

use crate::SyscallResult;
use crate::error::Restart;
use crate::futex::{self, Waiting, Watched};
use crate::lookup::readiness;
use crate::syscall::{deadline, read_timeout, watched};
use crate::thread::Thread;
use crate::wait::{self, Source};

/// Something that is waited for.
enum Subject<'a> {
    /// Nothing to find.
    Nothing,
    /// A descriptor that is not open.
    Closed,
    /// An open file, and the events that count.
    File(FdRef<'a>, PollEvents),
    /// A word: its place among the words.
    Word(usize),
    /// A thread of the process.
    Thread(u32),
}

/// Everything a call waits for.
struct Things<'a> {
    thread: &'a Thread,
    subjects: Vec<Subject<'a>>,
    words: Vec<Watched>,
    found: Vec<u32>,
}

/// Answers how many of `count` things at `things` have something to tell, and says there what. 0: the time is up.
pub(super) fn wait_many(thread: &Thread, things: UserPtr, count: usize, timeout: UserPtr, flags: u64) -> SyscallResult {
    if flags != 0 || count > WAIT_THINGS_MAX {
        return Err(Errno::EINVAL.into());
    }
    wait_until(thread, things, count, deadline(read_timeout(timeout)?))
}

fn wait_until(thread: &Thread, things: UserPtr, count: usize, deadline_ns: u64) -> SyscallResult {
    let mut all = Things::read(thread, things, count)?;
    let mut ready = all.look(None)?;
    if ready == 0 && deadline_ns != 0 {
        match all.wait(deadline_ns)? {
            Ok(found) => ready = found,
            Err(interrupted) => {
                let again = move |thread: &Thread| wait_until(thread, things, count, deadline_ns);
                thread.set_continuation(Box::new(again));
                return Err(interrupted.restart(Restart::Continue));
            }
        }
    }
    all.tell(things)?;
    Ok(ready)
}

impl<'a> Things<'a> {
    fn read(thread: &'a Thread, things: UserPtr, count: usize) -> Result<Self, Errno> {
        let mut reader = UserReader::new(things.address(), count * size_of::<WaitThing>())?;
        let mut all =
            Self { thread, subjects: Vec::with_capacity(count), words: Vec::new(), found: alloc::vec![0; count] };
        for _ in 0..count {
            let thing: WaitThing = reader.read_struct()?;
            let subject = all.subject(&thing)?;
            all.subjects.push(subject);
        }
        Ok(all)
    }

    fn subject(&mut self, thing: &WaitThing) -> Result<Subject<'a>, Errno> {
        if thing.reserved != 0 || thing.value != 0 && thing.kind != WAIT_WORD {
            return Err(Errno::EINVAL);
        }
        Ok(match thing.kind {
            WAIT_NOTHING => Subject::Nothing,
            WAIT_DESCRIPTOR => {
                let events = PollEvents::from_bits_truncate(thing.events) | PollEvents::ERR | PollEvents::HUP;
                let fd = i32::try_from(thing.subject).map_err(|_| Errno::EBADF);
                match fd.and_then(|fd| self.thread.fds().get(fd)) {
                    Ok(open) => Subject::File(open, events),
                    Err(_) => Subject::Closed,
                }
            }
            WAIT_WORD => {
                if thing.subject % size_of::<u32>() as u64 != 0 {
                    return Err(Errno::EINVAL);
                }
                let word = FutexWaitv { val: thing.value, uaddr: thing.subject, flags: thing.events, _reserved: 0 };
                self.words.push(watched(&word)?);
                Subject::Word(self.words.len() - 1)
            }
            WAIT_THREAD if thing.events == 0 => {
                Subject::Thread(u32::try_from(thing.subject).map_err(|_| Errno::EINVAL)?)
            }
            _ => return Err(Errno::EINVAL),
        })
    }

    /// Looks at everything; answers how many have something to tell. `waiting`: the wait that is over.
    fn look(&mut self, waiting: Option<&Waiting>) -> Result<usize, Errno> {
        let mut ready = 0;
        for (subject, found) in self.subjects.iter().zip(&mut self.found) {
            *found = match subject {
                Subject::Nothing => 0,
                Subject::Closed => PollEvents::NVAL.bits(),
                Subject::File(open, events) => (readiness(self.thread, open) & *events).bits(),
                Subject::Word(index) => look_at_word(&self.words[*index], *index, waiting)?,
                Subject::Thread(tid) => u32::from(!is_member(self.thread, *tid)) * WAIT_FOUND_ENDED,
            };
            ready += usize::from(*found != 0);
        }
        Ok(ready)
    }

    /// Sleeps until there is something to tell.
    fn wait(&mut self, deadline_ns: u64) -> Result<Result<usize, crate::Interrupted>, Errno> {
        let thread = self.thread;
        loop {
            let mut waiting = Waiting::new(thread, self.words.len());
            let result = if waiting.enter(thread, &self.words)? {
                let is_ready = || (waiting.has_woken() || self.is_ready_but_words()).then_some(());
                wait::until_any(thread, self.sources(), deadline_ns, is_ready)
            } else {
                Ok(Some(()))
            };
            waiting.leave();
            let ready = self.look(Some(&waiting))?;
            match result {
                _ if ready > 0 => return Ok(Ok(ready)),
                Ok(None) => return Ok(Ok(0)),
                Err(interrupted) => return Ok(Err(interrupted)),
                // What was there is gone again.
                Ok(Some(())) => {}
            }
        }
    }

    fn is_ready_but_words(&self) -> bool {
        self.subjects.iter().any(|subject| match subject {
            Subject::File(open, events) => readiness(self.thread, open).intersects(*events),
            Subject::Thread(tid) => !is_member(self.thread, *tid),
            Subject::Nothing | Subject::Closed | Subject::Word(_) => false,
        })
    }

    /// The queues that wake the thread, other than those of words.
    fn sources(&self) -> impl Iterator<Item = Source<'_>> {
        let has_threads = self.subjects.iter().any(|subject| matches!(subject, Subject::Thread(_)));
        let ends = Source { queue: &self.thread.process().thread_ends, events: PollEvents::all() };
        let files = self.subjects.iter().filter_map(|subject| match subject {
            Subject::File(open, events) => open.file().wait_queue().map(|queue| Source { queue, events: *events }),
            _ => None,
        });
        files.chain(has_threads.then_some(ends))
    }

    /// Says at each thing what was found.
    fn tell(&self, things: UserPtr) -> Result<(), Errno> {
        let first = things.address() + offset_of!(WaitThing, found);
        for (index, found) in self.found.iter().enumerate() {
            write_user_struct(first + index * size_of::<WaitThing>(), found)?;
        }
        Ok(())
    }
}

fn look_at_word(word: &Watched, index: usize, waiting: Option<&Waiting>) -> Result<u32, Errno> {
    let is_woken = waiting.is_some_and(|waiting| waiting.was_woken(index));
    let changed = match futex::has_changed(word) {
        Ok(changed) => changed,
        // A wake is told of even if the word is gone since.
        Err(_) if is_woken => false,
        Err(errno) => return Err(errno),
    };
    Ok(u32::from(changed) * WAIT_FOUND_CHANGED | u32::from(is_woken) * WAIT_FOUND_WOKEN)
}

/// Whether a thread has not left the process yet.
fn is_member(thread: &Thread, tid: u32) -> bool {
    thread.process().signals.lock().members.as_slice().iter().any(|member| member.tid() == tid)
}
