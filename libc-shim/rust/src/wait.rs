//! Waiting for descriptors, futex words and threads at once.
//!
//! On Linux, words alone without a limit are `futex_waitv`'s, and descriptors alone `poll`'s. Everything else is looked
//! at every millisecond there, and a wake that does not change its word goes unnoticed.
//!
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use std::time::Duration;
//!
//! use nacre::wait::{POLLIN, Thing, wait_many, wake};
//!
//! let (mut reader, writer) = std::io::pipe()?;
//! let word = AtomicU32::new(0);
//! std::thread::scope(|scope| {
//!     scope.spawn(|| {
//!         word.store(1, Ordering::SeqCst);
//!         wake(&word);
//!     });
//!     let mut things = [Thing::descriptor(&reader, POLLIN), Thing::word(&word, 0)];
//!     let ready = wait_many(&mut things, None)?;
//!     assert_eq!((ready, things[0].is_found(), things[1].is_found()), (1, false, true));
//!     // Nothing new in time.
//!     things[1] = Thing::word(&word, 1);
//!     assert_eq!(wait_many(&mut things, Some(Duration::from_millis(1)))?, 0);
//!     std::io::Result::Ok(())
//! })?;
//! drop(writer);
//! // The other end is closed, which always counts.
//! let mut things = [Thing::descriptor(&reader, POLLIN)];
//! assert_eq!(wait_many(&mut things, None)?, 1);
//! # std::io::Read::read(&mut reader, &mut [0])?;
//! # std::io::Result::Ok(())
//! ```

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::{checked, number, system_call};

/// There is something to read.
pub const POLLIN: u32 = 1;
/// There is urgent data, or a shortage of [`crate::memory::Events`].
pub const POLLPRI: u32 = 2;
/// There is room to write.
pub const POLLOUT: u32 = 4;

const NOTHING: u32 = 0;
const DESCRIPTOR: u32 = 1;
const WORD: u32 = 2;
const THREAD: u32 = 3;
const CHANGED: u32 = 1;
const WOKEN: u32 = 2;
/// `FUTEX2_SIZE_U32` and `FUTEX_PRIVATE_FLAG`.
const PRIVATE_WORD: u32 = 2 | 128;
/// As the kernel has it.
const THINGS_MAX: usize = 1024;
/// Between two looks at a mixture on Linux.
const SLICE: Duration = Duration::from_millis(1);

/// Something to wait for.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Thing<'a> {
    kind: u32,
    events: u32,
    subject: u64,
    value: u64,
    found: u32,
    reserved: u32,
    lives: PhantomData<&'a ()>,
}

impl<'a> Thing<'a> {
    const fn new(kind: u32, events: u32, subject: u64, value: u64) -> Self {
        Self { kind, events, subject, value, found: 0, reserved: 0, lives: PhantomData }
    }

    /// Nothing; never found.
    #[must_use]
    pub const fn nothing() -> Self {
        Self::new(NOTHING, 0, 0, 0)
    }

    /// A descriptor, and the events of `poll` that count; errors and hang-ups always do.
    pub fn descriptor(fd: &'a impl AsFd, events: u32) -> Self {
        Self::new(DESCRIPTOR, events, u64::try_from(fd.as_fd().as_raw_fd()).unwrap_or(u64::MAX), 0)
    }

    /// A word that is private to the process, and what it has as long as there is reason to wait.
    #[must_use]
    pub fn word(word: &'a AtomicU32, value: u32) -> Self {
        Self::new(WORD, PRIVATE_WORD, word.as_ptr().expose_provenance() as u64, value.into())
    }

    /// A thread of the process, by the number that `gettid` answers in it, until it has ended.
    #[must_use]
    pub const fn thread(number: u32) -> Self {
        Self::new(THREAD, 0, number as u64, 0)
    }

    /// Whether there was something to tell when [`wait_many`] returned.
    #[must_use]
    pub const fn is_found(&self) -> bool {
        self.found != 0
    }

    /// What was found of a descriptor: events of `poll`.
    #[must_use]
    pub const fn found(&self) -> u32 {
        self.found
    }
}

/// Wakes one thread that waits for the word.
pub fn wake(word: &AtomicU32) {
    const SYS_FUTEX: usize = 202;
    const FUTEX_WAKE_PRIVATE: usize = 129;
    // SAFETY: the call does not touch the word.
    unsafe { system_call(SYS_FUTEX, [word.as_ptr().addr(), FUTEX_WAKE_PRIVATE, 1, 0, 0, 0]) };
}

/// Waits until at least one thing has something to tell, and answers how many have: 0 when the time is up. At most
/// 1,024 things.
pub fn wait_many(things: &mut [Thing<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let time = timeout.map(time_of);
    let time_address = time.as_ref().map_or(0, |time| std::ptr::from_ref(time).addr());
    let arguments = [things.as_mut_ptr().expose_provenance(), things.len(), time_address, 0, 0, 0];
    // SAFETY: the things and what they name outlive the call.
    match checked(unsafe { system_call(number::WAIT_MANY, arguments) }) {
        Err(error) if crate::is_absent(&error) => wait_here(things, timeout),
        result => result,
    }
}

/// A `struct timespec`.
fn time_of(duration: Duration) -> [i64; 2] {
    [i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), duration.subsec_nanos().into()]
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Pollfd {
    fd: i32,
    events: u16,
    found: u16,
}

/// The same by the calls of Linux.
fn wait_here(things: &mut [Thing<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    if things.len() > THINGS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    things.iter_mut().for_each(|thing| thing.found = 0);
    let is_mixed = things.iter().any(|thing| matches!(thing.kind, WORD | THREAD));
    let has_words_alone = things.iter().all(|thing| matches!(thing.kind, WORD | NOTHING));
    let mut wait = Duration::ZERO;
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let ready = poll(things, wait, left.is_none() && !is_mixed)? + look(things);
        if ready > 0 || left.is_some_and(|left| left.is_zero()) {
            return Ok(ready);
        }
        wait = left.unwrap_or(Duration::MAX);
        if has_words_alone && is_mixed {
            wait_for_words(things, left)?;
            wait = Duration::ZERO;
        } else if is_mixed {
            wait = wait.min(SLICE);
        }
    }
}

/// Looks at descriptors, for as long as `wait`.
fn poll(things: &mut [Thing<'_>], wait: Duration, is_endless: bool) -> io::Result<usize> {
    const SYS_PPOLL: usize = 271;
    let of = |thing: &Thing<'_>| Pollfd {
        fd: if thing.kind == DESCRIPTOR { i32::try_from(thing.subject).unwrap_or(i32::MAX) } else { -1 },
        events: u16::try_from(thing.events & 0xffff).unwrap_or(0),
        found: 0,
    };
    let mut polled: Vec<_> = things.iter().map(of).collect();
    let time = time_of(wait);
    let time_address = if is_endless { 0 } else { std::ptr::from_ref(&time).addr() };
    let arguments = [polled.as_mut_ptr().expose_provenance(), polled.len(), time_address, 0, 8, 0];
    // SAFETY: the array and the time outlive the call.
    let ready = checked(unsafe { system_call(SYS_PPOLL, arguments) })?;
    let descriptors = things.iter_mut().zip(&polled).filter(|(thing, _)| thing.kind == DESCRIPTOR);
    descriptors.for_each(|(thing, polled)| thing.found = polled.found.into());
    Ok(ready)
}

/// Looks at words and threads.
fn look(things: &mut [Thing<'_>]) -> usize {
    const SYS_TGKILL: usize = 234;
    const ESRCH: isize = 3;
    let mut ready = 0;
    for thing in things {
        let found = match thing.kind {
            WORD => {
                let address = std::ptr::with_exposed_provenance_mut(usize::try_from(thing.subject).unwrap_or(0));
                // SAFETY: the thing was made of a word that outlives it.
                let value = unsafe { AtomicU32::from_ptr(address) }.load(Ordering::SeqCst);
                u32::from(u64::from(value) != thing.value) * CHANGED
            }
            THREAD => {
                let process = usize::try_from(std::process::id()).unwrap_or(0);
                let thread = usize::try_from(thing.subject).unwrap_or(0);
                // SAFETY: no signal is sent.
                let answer = unsafe { system_call(SYS_TGKILL, [process, thread, 0, 0, 0, 0]) };
                u32::from(answer == -ESRCH)
            }
            _ => continue,
        };
        thing.found |= found;
        ready += usize::from(thing.found != 0);
    }
    ready
}

#[repr(C)]
struct Waitv {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

/// Sleeps until a word was woken, which is noted, or perhaps for nothing.
fn wait_for_words(things: &mut [Thing<'_>], left: Option<Duration>) -> io::Result<()> {
    const SYS_FUTEX_WAITV: usize = 449;
    const WORDS_MAX: usize = 128;
    const CLOCK_MONOTONIC: usize = 1;
    let mut words: Vec<&mut Thing<'_>> = things.iter_mut().filter(|thing| thing.kind == WORD).collect();
    if left.is_some() || words.len() > WORDS_MAX {
        // As with a mixture.
        std::thread::sleep(left.unwrap_or(SLICE).min(SLICE));
        return Ok(());
    }
    let of =
        |thing: &&mut Thing<'_>| Waitv { value: thing.value, address: thing.subject, flags: thing.events, reserved: 0 };
    let vector: Vec<_> = words.iter().map(of).collect();
    let arguments = [vector.as_ptr().addr(), vector.len(), 0, 0, CLOCK_MONOTONIC, 0];
    // SAFETY: the array outlives the call, and so do the words.
    match checked(unsafe { system_call(SYS_FUTEX_WAITV, arguments) }) {
        Ok(index) => {
            if let Some(word) = words.get_mut(index) {
                word.found = WOKEN;
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) if crate::is_absent(&error) => {
            std::thread::sleep(SLICE);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_more_words_than_a_call_takes_ends_the_wait() {
        let words: Vec<AtomicU32> = std::iter::repeat_with(|| AtomicU32::new(0)).take(200).collect();
        let mut things: Vec<Thing<'_>> = words.iter().map(|word| Thing::word(word, 0)).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(10 * SLICE);
                words[150].store(1, Ordering::SeqCst);
                wake(&words[150]);
            });
            assert_eq!(wait_many(&mut things, None).unwrap(), 1);
        });
        assert!(things[150].is_found());
    }
}
