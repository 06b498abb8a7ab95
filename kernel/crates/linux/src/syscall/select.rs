//! Waiting for descriptors in sets of bits: `select` and `pselect6`.
//!
//! As in `poll`, a look without any preparation for waiting comes first. Sets end where the table of descriptors does: bits
//! behind it are neither looked at nor changed, as on Linux.

use alloc::vec::Vec;
use core::cell::Cell;

use abi::{Errno, PollEvents, SigsetArgument, Timespec, Timeval, UserPtr};
use mm::user::{UserReader, UserWriter, read_user_struct, write_user_struct};
use sync::machine::NEVER;

use super::poll::{deadline, finish, read_timeout, remaining_ns, with_mask, write_rest};
use crate::SyscallResult;
use crate::error::{Interrupted, SyscallError};
use crate::lookup::readiness;
use crate::thread::Thread;
use crate::watch::{WatchList, Watched, note_idleness};

/// What each of the three sets stands for. What cannot be asked, as it was closed or only names a place, counts for all.
const MEANINGS: [PollEvents; 3] = [
    PollEvents::READABLE
        .union(PollEvents::RDBAND)
        .union(PollEvents::HUP)
        .union(PollEvents::ERR)
        .union(PollEvents::NVAL),
    PollEvents::WRITABLE.union(PollEvents::WRBAND).union(PollEvents::ERR).union(PollEvents::NVAL),
    PollEvents::PRI.union(PollEvents::NVAL),
];
const WORD_BITS: usize = u64::BITS as usize;
/// The words of a set that need no memory of the heap.
const FEW_WORDS: usize = 4;

/// The same word of each set.
type Words = [u64; 3];

/// Where a number is in the sets.
#[derive(Clone, Copy)]
struct Place {
    word: usize,
    bit: u32,
}

impl Place {
    fn number(self) -> Result<i32, Errno> {
        i32::try_from(self.word * WORD_BITS + self.bit as usize).map_err(|_| Errno::EBADF)
    }
}

/// Three sets.
struct Sets {
    words: usize,
    few: [Words; FEW_WORDS],
    many: Vec<Words>,
}

impl Sets {
    fn empty(words: usize) -> Self {
        let many = if words > FEW_WORDS { alloc::vec![[0; 3]; words] } else { Vec::new() };
        Self { words, few: [[0; 3]; FEW_WORDS], many }
    }

    fn all(&self) -> &[Words] {
        if self.words > FEW_WORDS { &self.many } else { self.few.get(..self.words).unwrap_or_default() }
    }

    fn all_mut(&mut self) -> &mut [Words] {
        if self.words > FEW_WORDS { &mut self.many } else { self.few.get_mut(..self.words).unwrap_or_default() }
    }

    /// The first `count` bits of each set that there is.
    fn read(addresses: [UserPtr; 3], count: usize) -> Result<Self, Errno> {
        let mut sets = Self::empty(count.div_ceil(WORD_BITS));
        let len = sets.words * size_of::<u64>();
        for (set, address) in addresses.into_iter().enumerate().filter(|(_, address)| !address.is_null()) {
            let mut reader = UserReader::new(address.address(), len)?;
            for words in sets.all_mut() {
                words[set] = reader.read_struct()?;
            }
        }
        if let (Some(last), rest @ 1..) = (sets.all_mut().last_mut(), count % WORD_BITS) {
            last.iter_mut().for_each(|word| *word &= (1 << rest) - 1);
        }
        Ok(sets)
    }

    fn write(&self, addresses: [UserPtr; 3]) -> Result<(), Errno> {
        let len = self.words * size_of::<u64>();
        for (set, address) in addresses.into_iter().enumerate().filter(|(_, address)| !address.is_null()) {
            let mut writer = UserWriter::new(address.address(), len)?;
            self.all().iter().try_for_each(|words| writer.write_struct(&words[set]))?;
        }
        Ok(())
    }

    /// The numbers that are in one of the sets, in order.
    fn numbers(&self) -> impl Iterator<Item = Place> {
        self.all().iter().enumerate().flat_map(|(word, words)| {
            let mut left = words[0] | words[1] | words[2];
            core::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.checked_sub(1)?;
                Some(Place { word, bit })
            })
        })
    }

    /// What each set says of a number, and what it stands for.
    fn at(&self, place: Place) -> impl Iterator<Item = (bool, PollEvents)> {
        let words = self.all().get(place.word).copied().unwrap_or_default();
        words.into_iter().map(move |word| word >> place.bit & 1 != 0).zip(MEANINGS)
    }

    /// Notes what was found of a number that `wanted` has. Answers in how many sets it is.
    fn note(&mut self, wanted: &Self, place: Place, found: PollEvents) -> usize {
        let Some(words) = self.all_mut().get_mut(place.word) else { return 0 };
        let mut count = 0;
        for (word, (is_wanted, meaning)) in words.iter_mut().zip(wanted.at(place)) {
            if is_wanted && found.intersects(meaning) {
                *word |= 1 << place.bit;
                count += 1;
            }
        }
        count
    }
}

/// What a descriptor has for a select. `EBADF` when there is none.
fn look(thread: &Thread, fd: i32) -> Result<PollEvents, Errno> {
    let fds = thread.fds();
    match fds.get(fd) {
        Ok(open) => Ok(readiness(thread, &open)),
        Err(_) => fds.get_any(fd).map(|_place| PollEvents::NVAL),
    }
}

/// The whole of a select but for the time-out. Errors of the program come first, then how the wait ended.
fn select_until(
    thread: &Thread,
    count: i32,
    addresses: [UserPtr; 3],
    deadline_ns: u64,
) -> Result<Result<usize, Interrupted>, Errno> {
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?.min(thread.fds().capacity());
    let wanted = Sets::read(addresses, count)?;
    let mut found = Sets::empty(wanted.words);
    let (mut total, mut numbers) = (0, 0);
    for place in wanted.numbers() {
        numbers += 1;
        total += found.note(&wanted, place, look(thread, place.number()?)?);
    }
    if total > 0 || deadline_ns == 0 {
        note_idleness(thread, total);
    } else if let Err(interrupted) = wait_for_all(thread, &wanted, numbers, deadline_ns, |place, events| {
        total += found.note(&wanted, place, events);
    })? {
        return Ok(Err(interrupted));
    }
    found.write(addresses).map(|()| Ok(total))
}

/// Waits until one of so many `wanted` numbers has found something, or the time is up, and calls `tell` with what each has.
#[inline(never)]
fn wait_for_all(
    thread: &Thread,
    wanted: &Sets,
    numbers: usize,
    deadline_ns: u64,
    mut tell: impl FnMut(Place, PollEvents),
) -> Result<Result<(), Interrupted>, Errno> {
    let fds = thread.fds();
    let mut watched = WatchList::with_room_for(numbers);
    for place in wanted.numbers() {
        let asked = wanted.at(place).filter(|(is_wanted, _)| *is_wanted);
        let events = asked.fold(PollEvents::empty(), |all, (_, meaning)| all | meaning);
        let fd = place.number()?;
        let open = fds.get(fd).ok();
        let found = Cell::new(if open.is_none() { events } else { PollEvents::empty() });
        watched.push(Watched { open, fd, when_closed: events, events, found });
    }
    let result = watched.wait(thread, deadline_ns);
    if result.is_ok() {
        wanted.numbers().zip(watched.all()).for_each(|(place, one)| tell(place, one.found.get()));
    }
    Ok(result)
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
