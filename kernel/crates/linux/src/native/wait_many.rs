//! Waiting for descriptors, futex words and threads by one call.
//!
//! It is `poll` with more to wait for: what has happened already is found at once, else the thread is in the queues of
//! everything it named before it looks again, so nothing is missed. All queues wake the same thread, which sleeps in
//! one place.
//!
//! A word has something to tell when it has another value than the program names, or when the thread was woken for it.
//! A wake that is counted is always told of: once the thread is in the queue of a word, errors and time-outs are looked
//! at after wakes. A thread has something to tell when it touches the program's memory no more, so its stack can be
//! unmapped.

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
use zerocopy::IntoBytes;

use crate::SyscallResult;
use crate::error::Restart;
use crate::futex::{self, Waiting, Watched};
use crate::lookup::readiness;
use crate::syscall::{deadline, read_timeout, watched};
use crate::thread::Thread;
use crate::wait::{self, Source};

/// Things that need no memory of the heap as long as nothing has to be waited for.
const FEW: usize = 8;

/// Something that is waited for.
enum Subject<'a> {
    /// Nothing to find.
    Nothing,
    /// A descriptor that is not open.
    Closed,
    /// An open file, and the events that count.
    File(FdRef<'a>, PollEvents),
    /// A word, and what it has as long as there is reason to wait.
    Word(Watched),
    /// A thread of the process.
    Thread(u32),
}

/// Everything a call waits for.
struct Things<'a> {
    thread: &'a Thread,
    subjects: Vec<Subject<'a>>,
    words: Vec<Watched>,
}

/// Answers how many of `count` things at `things` have something to tell, and says there what. 0: the time is up.
pub(super) fn wait_many(thread: &Thread, things: UserPtr, count: usize, timeout: UserPtr, flags: u64) -> SyscallResult {
    if flags != 0 || count > WAIT_THINGS_MAX {
        return Err(Errno::EINVAL.into());
    }
    wait_until(thread, things, count, deadline(read_timeout(timeout)?))
}

fn wait_until(thread: &Thread, things: UserPtr, count: usize, deadline_ns: u64) -> SyscallResult {
    let (mut few, mut many) = ([WaitThing::zeroed(); FEW], Vec::new());
    let all = match few.get_mut(..count) {
        Some(few) => few,
        None => {
            many.resize(count, WaitThing::zeroed());
            &mut many[..]
        }
    };
    UserReader::new(things.address(), size_of_val(all))?.read_exact(all.as_mut_bytes())?;
    let mut ready = 0;
    for thing in &mut *all {
        thing.found = look(thread, &subject(thread, thing)?, false)?;
        ready += usize::from(thing.found != 0);
    }
    if ready == 0 && deadline_ns != 0 {
        match wait(thread, all, deadline_ns)? {
            Ok(found) => ready = found,
            Err(interrupted) => {
                let again = move |thread: &Thread| wait_until(thread, things, count, deadline_ns);
                thread.set_continuation(Box::new(again));
                return Err(interrupted.restart(Restart::Continue));
            }
        }
    }
    let first = things.address() + offset_of!(WaitThing, found);
    for (index, thing) in all.iter().enumerate() {
        write_user_struct(first + index * size_of::<WaitThing>(), &thing.found)?;
    }
    Ok(ready)
}

/// What a program names. `EINVAL` for what makes no sense.
fn subject<'a>(thread: &'a Thread, thing: &WaitThing) -> Result<Subject<'a>, Errno> {
    if thing.reserved != 0 || thing.value != 0 && thing.kind != WAIT_WORD {
        return Err(Errno::EINVAL);
    }
    Ok(match thing.kind {
        WAIT_NOTHING => Subject::Nothing,
        WAIT_DESCRIPTOR => {
            let events = PollEvents::from_bits_truncate(thing.events) | PollEvents::ERR | PollEvents::HUP;
            let fd = i32::try_from(thing.subject).map_err(|_| Errno::EBADF);
            fd.and_then(|fd| thread.fds().get(fd)).map_or(Subject::Closed, |open| Subject::File(open, events))
        }
        WAIT_WORD if thing.subject.is_multiple_of(size_of::<u32>() as u64) => {
            let word = FutexWaitv { val: thing.value, uaddr: thing.subject, flags: thing.events, _reserved: 0 };
            Subject::Word(watched(&word)?)
        }
        WAIT_THREAD if thing.events == 0 => Subject::Thread(u32::try_from(thing.subject).map_err(|_| Errno::EINVAL)?),
        _ => return Err(Errno::EINVAL),
    })
}

/// What there is to tell of a thing, 0 for nothing. `is_woken`: the thread was woken for this word.
fn look(thread: &Thread, subject: &Subject<'_>, is_woken: bool) -> Result<u32, Errno> {
    Ok(match subject {
        Subject::Nothing => 0,
        Subject::Closed => PollEvents::NVAL.bits(),
        Subject::File(open, events) => (readiness(thread, open) & *events).bits(),
        Subject::Word(word) => match futex::has_changed(word) {
            Ok(changed) => (u32::from(changed) * WAIT_FOUND_CHANGED) | (u32::from(is_woken) * WAIT_FOUND_WOKEN),
            // A wake is told of even if the word is gone since.
            Err(_) if is_woken => WAIT_FOUND_WOKEN,
            Err(errno) => return Err(errno),
        },
        Subject::Thread(tid) => u32::from(!is_member(thread, *tid)) * WAIT_FOUND_ENDED,
    })
}

/// Sleeps until things have something to tell, notes what, and answers how many; 0 when the time is up.
fn wait(
    thread: &Thread,
    things: &mut [WaitThing],
    deadline_ns: u64,
) -> Result<Result<usize, crate::Interrupted>, Errno> {
    let subjects = things.iter().map(|thing| subject(thread, thing)).collect::<Result<Vec<_>, _>>()?;
    let words = subjects.iter().filter_map(|subject| match subject {
        Subject::Word(word) => Some(*word),
        _ => None,
    });
    let all = Things { thread, words: words.collect(), subjects };
    loop {
        let mut waiting = Waiting::new(thread, all.words.len());
        let result = all.sleep(&mut waiting, deadline_ns);
        waiting.leave();
        let (mut ready, mut word, mut failure) = (0, 0, None);
        for (subject, thing) in all.subjects.iter().zip(&mut *things) {
            let is_word = matches!(subject, Subject::Word(_));
            thing.found = look(thread, subject, is_word && waiting.was_woken(word)).unwrap_or_else(|errno| {
                failure = Some(errno);
                0
            });
            word += usize::from(is_word);
            ready += usize::from(thing.found != 0);
        }
        if ready > 0 {
            return Ok(Ok(ready));
        }
        if let Some(errno) = failure {
            return Err(errno);
        }
        match result? {
            Ok(None) => return Ok(Ok(0)),
            Err(interrupted) => return Ok(Err(interrupted)),
            // What was there is gone again.
            Ok(Some(())) => {}
        }
    }
}

impl Things<'_> {
    /// Sleeps until there may be something to tell. None: the time is up.
    fn sleep(
        &self,
        waiting: &mut Waiting<'_>,
        deadline_ns: u64,
    ) -> Result<Result<Option<()>, crate::Interrupted>, Errno> {
        if !waiting.enter(&self.words)? {
            return Ok(Ok(Some(())));
        }
        let is_ready = || (waiting.has_woken() || self.is_ready_but_words()).then_some(());
        Ok(wait::until_any(self.thread, self.sources(), deadline_ns, is_ready))
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
}

/// Whether a thread has not left the process yet.
fn is_member(thread: &Thread, tid: u32) -> bool {
    thread.process().signals.lock().members.as_slice().iter().any(|member| member.tid() == tid)
}
