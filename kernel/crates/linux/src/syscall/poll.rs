//! Waiting for several descriptors: `poll`, `select` and their relatives.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;
use core::mem::offset_of;

use abi::resource::RLIMIT_NOFILE;
use abi::{Errno, PollEvents, Pollfd, Sigset, SigsetArgument, Timespec, Timeval, UserPtr};
use file::{DESCRIPTORS_MAX, FdRef, FdTable};
use mm::user::{UserReader, UserWriter, read_user_struct, write_user_struct};
use sync::machine::{self, NEVER};

use crate::error::{Interrupted, Restart, SyscallError};
use crate::lookup::readiness;
use crate::signal::{restore_mask_unless, set_temporary_mask};
use crate::thread::Thread;
use crate::{SyscallResult, wait};

const NANOSECONDS_PER_MILLISECOND: u64 = 1_000_000;

/// Descriptors that need no memory of the heap.
const FEW: usize = 4;

/// Something that is waited for.
#[derive(Default)]
struct Watched<'a> {
    /// None where there is nothing to watch, only an answer to give.
    open: Option<FdRef<'a>>,
    fd: i32,
    /// What is found when the descriptor is closed in the meantime.
    when_closed: PollEvents,
    events: PollEvents,
    /// What was found.
    found: Cell<PollEvents>,
}

impl Watched<'_> {
    /// Looks; true if there is something to report.
    fn look(&self, thread: &Thread) -> bool {
        if let Some(open) = &self.open {
            self.found.set(readiness(thread, open) & (self.events | PollEvents::ERR | PollEvents::HUP));
        }
        !self.found.get().is_empty()
    }

    /// Looks at what the descriptor stands for now, as Linux does after a sleep.
    fn look_again(&self, fds: &FdTable) -> bool {
        if self.open.is_some() {
            self.found.set(match fds.get(self.fd) {
                Ok(open) => open.file().readiness() & (self.events | PollEvents::ERR | PollEvents::HUP),
                Err(_) => self.when_closed,
            });
        }
        !self.found.get().is_empty()
    }

    /// Where it is told that there is something to report.
    fn source(&self) -> Option<wait::Source<'_>> {
        // The open file outlives the wait, and its queue with it.
        let queue = self.open.as_ref()?.file().wait_queue()?;
        Some(wait::Source { queue, events: self.events })
    }
}

/// Things that are waited for; a few need no memory.
enum WatchList<'a> {
    Few([Watched<'a>; FEW], usize),
    Many(Vec<Watched<'a>>),
}

impl<'a> WatchList<'a> {
    fn with_room_for(count: usize) -> Self {
        if count <= FEW { Self::Few(Default::default(), 0) } else { Self::Many(Vec::with_capacity(count)) }
    }

    /// Appends one, for which there is room.
    fn push(&mut self, watched: Watched<'a>) {
        match self {
            Self::Few(few, count) => {
                if let Some(free) = few.get_mut(*count) {
                    (*free, *count) = (watched, *count + 1);
                }
            }
            Self::Many(many) => many.push(watched),
        }
    }

    fn all(&mut self) -> &mut [Watched<'a>] {
        match self {
            Self::Few(few, count) => few.get_mut(..*count).unwrap_or_default(),
            Self::Many(many) => many,
        }
    }
}

/// Waits until something is found or the time is up; answers how many have found something.
fn wait_for_any(thread: &Thread, all: &[Watched<'_>], deadline_ns: u64) -> Result<usize, Interrupted> {
    let look = || all.iter().filter(|one| one.look(thread)).count();
    let ready = look();
    if ready > 0 || deadline_ns == 0 {
        note_idleness(thread, ready);
        return Ok(ready);
    }
    let sources = all.iter().filter_map(Watched::source);
    let fds = thread.fds();
    let look = || all.iter().filter(|one| one.look_again(fds)).count();
    let found = wait::until_any(thread, sources, deadline_ns, || Some(look()).filter(|ready| *ready > 0))?;
    Ok(found.unwrap_or(0))
}

/// A look that did not wait has found so many.
fn note_idleness(thread: &Thread, ready: usize) {
    if ready == 0 {
        wait::send_held(thread);
    }
}

/// The time on the clock of [`machine::now_ns`] at which a wait ends: 0 for at once, [`NEVER`] for no limit.
pub(crate) fn deadline(timeout_ns: Option<u64>) -> u64 {
    match timeout_ns {
        None => NEVER,
        Some(0) => 0,
        Some(timeout_ns) => machine::now_ns().saturating_add(timeout_ns),
    }
}

/// What is left until a deadline.
fn remaining_ns(deadline_ns: u64) -> i64 {
    i64::try_from(deadline_ns.saturating_sub(machine::now_ns())).unwrap_or(i64::MAX)
}

/// A time-out in a `struct timespec`, if there is one.
pub(crate) fn read_timeout(timeout: UserPtr) -> Result<Option<u64>, Errno> {
    let Some(timeout) = timeout.non_null() else { return Ok(None) };
    let timeout: Timespec = read_user_struct(timeout.address())?;
    timeout.to_nanoseconds().map(Some).ok_or(Errno::EINVAL)
}

/// Runs `wait` under the signal mask that the program passed, if it passed one.
pub(super) fn with_mask<R>(
    thread: &Thread,
    mask: UserPtr,
    set_size: usize,
    wait: impl FnOnce() -> Result<R, Interrupted>,
) -> Result<Result<R, Interrupted>, Errno> {
    let Some(mask) = mask.non_null() else { return Ok(wait()) };
    if set_size != size_of::<Sigset>() {
        return Err(Errno::EINVAL);
    }
    set_temporary_mask(thread, read_user_struct(mask.address())?);
    let result = wait();
    restore_mask_unless(thread, result.is_err());
    Ok(result)
}

/// Writes what is left of a time-out back, as Linux does. A program that keeps it in read-only memory does not get to know,
/// and its call cannot be restarted.
fn finish(result: Result<usize, Interrupted>, write_back: impl FnOnce() -> Result<(), Errno>) -> SyscallResult {
    let is_written = write_back().is_ok();
    match result {
        Ok(count) => Ok(count),
        Err(interrupted) if is_written => Err(interrupted.restart(Restart::IfNoHandler)),
        Err(_) => Err(Errno::EINTR.into()),
    }
}

/// Writes the rest of a `struct timespec` time-out back.
fn write_rest(timeout: UserPtr, deadline_ns: u64) -> Result<(), Errno> {
    match timeout.non_null() {
        Some(timeout) if deadline_ns != NEVER => {
            write_user_struct(timeout.address(), &Timespec::from_nanoseconds(remaining_ns(deadline_ns)))
        }
        _ => Ok(()),
    }
}

// ---- poll -----------------------------------------------------------------------------------------------------------

/// Looks descriptors up, to wait for them.
fn watch_all(
    thread: &Thread,
    count: usize,
    descriptors: impl IntoIterator<Item = Result<Pollfd, Errno>>,
) -> Result<WatchList<'_>, Errno> {
    let fds = thread.fds();
    let mut watched = WatchList::with_room_for(count);
    for descriptor in descriptors {
        let Pollfd { fd, events, .. } = descriptor?;
        let open = fds.get(fd).ok();
        let found = if open.is_none() && fd >= 0 { PollEvents::NVAL } else { PollEvents::empty() };
        let events = PollEvents::from_bits_truncate(u32::from(events));
        watched.push(Watched { open, fd, when_closed: PollEvents::NVAL, events, found: Cell::new(found) });
    }
    Ok(watched)
}

/// The whole of a poll but for the time-out. Errors of the program come first, then how the wait ended.
fn poll_until(
    thread: &Thread,
    descriptors: UserPtr,
    count: u32,
    deadline_ns: u64,
) -> Result<Result<usize, Interrupted>, Errno> {
    if u64::from(count) > thread.process().soft_limit(RLIMIT_NOFILE) {
        return Err(Errno::EINVAL);
    }
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    let mut reader = UserReader::new(descriptors.address(), count * size_of::<Pollfd>())?;
    if count > FEW {
        let descriptors_read = core::iter::repeat_with(|| reader.read_struct()).take(count);
        let mut watched = watch_all(thread, count, descriptors_read)?;
        return poll_watched(thread, watched.all(), descriptors, deadline_ns);
    }
    let mut few = [Pollfd { fd: 0, events: 0, revents: 0 }; FEW];
    let few = few.get_mut(..count).unwrap_or_default();
    for descriptor in &mut *few {
        *descriptor = reader.read_struct()?;
    }
    let ready = look_at_all(thread, few);
    if ready > 0 || deadline_ns == 0 {
        note_idleness(thread, ready);
        let found = few.iter().map(|descriptor| descriptor.revents);
        return write_found(descriptors, found).map(|()| Ok(ready));
    }
    let mut watched = watch_all(thread, count, few.iter().map(|descriptor| Ok(*descriptor)))?;
    poll_watched(thread, watched.all(), descriptors, deadline_ns)
}

/// Looks at descriptors, without any preparation for waiting; most polls of a few find something. Answers how many did.
#[inline]
fn look_at_all(thread: &Thread, descriptors: &mut [Pollfd]) -> usize {
    let fds = thread.fds();
    let mut ready = 0;
    for descriptor in descriptors {
        let found = match fds.get(descriptor.fd) {
            Ok(open) => {
                let wanted = PollEvents::from_bits_truncate(u32::from(descriptor.events));
                readiness(thread, &open) & (wanted | PollEvents::ERR | PollEvents::HUP)
            }
            Err(_) if descriptor.fd >= 0 => PollEvents::NVAL,
            Err(_) => PollEvents::empty(),
        };
        descriptor.revents = u16::try_from(found.bits()).unwrap_or_default();
        ready += usize::from(!found.is_empty());
    }
    ready
}

/// Waits for descriptors and tells the program what was found.
fn poll_watched(
    thread: &Thread,
    watched: &[Watched<'_>],
    descriptors: UserPtr,
    deadline_ns: u64,
) -> Result<Result<usize, Interrupted>, Errno> {
    let result = wait_for_any(thread, watched, deadline_ns);
    let found = watched.iter().map(|one| u16::try_from(one.found.get().bits()).unwrap_or_default());
    write_found(descriptors, found).map(|()| result)
}

/// Stores what was found in the array of a poll.
#[inline]
fn write_found(descriptors: UserPtr, found: impl IntoIterator<Item = u16>) -> Result<(), Errno> {
    let mut at = descriptors.address() + offset_of!(Pollfd, revents);
    for found in found {
        write_user_struct(at, &found)?;
        at += size_of::<Pollfd>();
    }
    Ok(())
}

fn poll_restartable(thread: &Thread, descriptors: UserPtr, count: u32, deadline_ns: u64) -> SyscallResult {
    match poll_until(thread, descriptors, count, deadline_ns)? {
        Ok(ready) => Ok(ready),
        Err(interrupted) => {
            let again = move |thread: &Thread| poll_restartable(thread, descriptors, count, deadline_ns);
            thread.set_continuation(Box::new(again));
            Err(interrupted.restart(Restart::Continue))
        }
    }
}

pub(crate) fn poll(thread: &Thread, descriptors: UserPtr, count: u32, timeout_ms: i32) -> SyscallResult {
    let timeout_ns = u64::try_from(timeout_ms).ok().map(|timeout_ms| timeout_ms * NANOSECONDS_PER_MILLISECOND);
    poll_restartable(thread, descriptors, count, deadline(timeout_ns))
}

pub(crate) fn ppoll(
    thread: &Thread,
    descriptors: UserPtr,
    count: u32,
    timeout: UserPtr,
    mask: UserPtr,
    set_size: usize,
) -> SyscallResult {
    let deadline_ns = deadline(read_timeout(timeout)?);
    let mut failure = None;
    let result = with_mask(thread, mask, set_size, || match poll_until(thread, descriptors, count, deadline_ns) {
        Ok(result) => result,
        Err(errno) => {
            failure = Some(errno);
            Ok(0)
        }
    })?;
    if let Some(errno) = failure {
        return Err(errno.into());
    }
    finish(result, || write_rest(timeout, deadline_ns))
}

// ---- select ---------------------------------------------------------------------------------------------------------

/// What each of the three sets of `select` stands for.
const SELECT_READ: PollEvents =
    PollEvents::READABLE.union(PollEvents::RDBAND).union(PollEvents::HUP).union(PollEvents::ERR);
const SELECT_WRITE: PollEvents = PollEvents::WRITABLE.union(PollEvents::WRBAND).union(PollEvents::ERR);
const SELECT_EXCEPT: PollEvents = PollEvents::PRI;
const WORD_BITS: usize = 64;

/// One of the sets of `select`.
struct FdSet {
    address: UserPtr,
    words: Vec<u64>,
    meaning: PollEvents,
}

impl FdSet {
    fn read(address: UserPtr, count: usize, meaning: PollEvents) -> Result<Self, Errno> {
        let mut words = alloc::vec![0; count.div_ceil(WORD_BITS)];
        if !address.is_null() {
            let mut reader = UserReader::new(address.address(), words.len() * size_of::<u64>())?;
            for word in &mut words {
                *word = reader.read_struct()?;
            }
        }
        Ok(Self { address, words, meaning })
    }

    fn contains(&self, number: usize) -> bool {
        self.words.get(number / WORD_BITS).is_some_and(|word| word & (1 << (number % WORD_BITS)) != 0)
    }

    fn insert(&mut self, number: usize) {
        if let Some(word) = self.words.get_mut(number / WORD_BITS) {
            *word |= 1 << (number % WORD_BITS);
        }
    }

    fn write(&self) -> Result<(), Errno> {
        if self.address.is_null() {
            return Ok(());
        }
        let mut writer = UserWriter::new(self.address.address(), self.words.len() * size_of::<u64>())?;
        self.words.iter().try_for_each(|word| writer.write_struct(word))
    }
}

/// The whole of a select but for the time-out.
fn select_until(
    thread: &Thread,
    count: i32,
    sets: [UserPtr; 3],
    deadline_ns: u64,
) -> Result<Result<usize, Interrupted>, Errno> {
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    let count = count.min(usize::try_from(DESCRIPTORS_MAX).unwrap_or(usize::MAX));
    let [read, write, except] = sets;
    let mut sets = [
        FdSet::read(read, count, SELECT_READ)?,
        FdSet::read(write, count, SELECT_WRITE)?,
        FdSet::read(except, count, SELECT_EXCEPT)?,
    ];
    let fds = thread.fds();
    let mut numbers = Vec::new();
    let mut watched = Vec::new();
    for number in 0..count {
        let meanings = sets.iter().filter(|set| set.contains(number)).map(|set| set.meaning);
        let events = meanings.fold(PollEvents::empty(), PollEvents::union);
        if !events.is_empty() {
            let fd = i32::try_from(number).map_err(|_| Errno::EBADF)?;
            numbers.push(number);
            watched.push(match fds.get(fd) {
                Ok(open) => Watched { open: Some(open), fd, events, ..Watched::default() },
                // What only names a place cannot be asked: it counts as ready for all.
                Err(_) => {
                    drop(fds.get_any(fd)?);
                    Watched { fd, events, found: Cell::new(events), ..Watched::default() }
                }
            });
        }
    }
    let mut total = 0;
    let result = wait_for_selected(thread, &mut watched, deadline_ns);
    if result.is_ok() {
        for set in &mut sets {
            let wanted: Vec<bool> = numbers.iter().map(|number| set.contains(*number)).collect();
            set.words.fill(0);
            for ((number, one), is_wanted) in numbers.iter().zip(&watched).zip(wanted) {
                if is_wanted && one.found.get().intersects(set.meaning) {
                    set.insert(*number);
                    total += 1;
                }
            }
        }
        sets.iter().try_for_each(FdSet::write)?;
    }
    Ok(result.map(|_| total))
}

/// As [`wait_for_any`], but errors and hang-ups count only for the sets that include them.
fn wait_for_selected(thread: &Thread, watched: &mut [Watched<'_>], deadline_ns: u64) -> Result<usize, Interrupted> {
    let is_found = |watched: &[Watched<'_>]| watched.iter().any(|one| one.found.get().intersects(one.events));
    loop {
        let ready = wait_for_any(thread, watched, deadline_ns)?;
        // A hang-up nobody selected for would end every wait at once; it is left out of the next.
        if ready == 0 || is_found(watched) {
            return Ok(ready);
        }
        for one in watched.iter_mut().filter(|one| !one.found.get().is_empty()) {
            *one = Watched::default();
        }
    }
}

pub(crate) fn select(
    thread: &Thread,
    count: i32,
    read: UserPtr,
    write: UserPtr,
    except: UserPtr,
    timeout: UserPtr,
) -> SyscallResult {
    let timeout_ns = match timeout.non_null() {
        None => None,
        Some(timeout) => {
            let Timeval { tv_sec, tv_usec } = read_user_struct(timeout.address())?;
            // More than a second of microseconds is taken as what it is.
            let seconds = tv_sec.checked_add(tv_usec.div_euclid(1_000_000)).ok_or(Errno::EINVAL)?;
            let time = Timespec { tv_sec: seconds, tv_nsec: tv_usec.rem_euclid(1_000_000) * 1000 };
            if tv_sec < 0 || tv_usec < 0 {
                return Err(Errno::EINVAL.into());
            }
            Some(time.to_nanoseconds().ok_or(Errno::EINVAL)?)
        }
    };
    let deadline_ns = deadline(timeout_ns);
    let result = select_until(thread, count, [read, write, except], deadline_ns)?;
    finish(result, || match timeout.non_null() {
        Some(timeout) if deadline_ns != NEVER => {
            write_user_struct(timeout.address(), &Timeval::from_nanoseconds(remaining_ns(deadline_ns)))
        }
        _ => Ok(()),
    })
}

pub(crate) fn pselect6(
    thread: &Thread,
    count: i32,
    read: UserPtr,
    write: UserPtr,
    except: UserPtr,
    timeout: UserPtr,
    mask: UserPtr,
) -> SyscallResult {
    let mask: SigsetArgument = match mask.non_null() {
        Some(mask) => read_user_struct(mask.address())?,
        None => SigsetArgument::zeroed(),
    };
    let address = UserPtr(usize::try_from(mask.address).map_err(|_| Errno::EFAULT)?);
    let set_size = usize::try_from(mask.size).map_err(|_| Errno::EINVAL)?;
    let deadline_ns = deadline(read_timeout(timeout)?);
    let mut failure = None;
    let result = with_mask(thread, address, set_size, || {
        select_until(thread, count, [read, write, except], deadline_ns).unwrap_or_else(|errno| {
            failure = Some(errno);
            Ok(0)
        })
    })?;
    if let Some(errno) = failure {
        return Err(SyscallError::Errno(errno));
    }
    finish(result, || write_rest(timeout, deadline_ns))
}
