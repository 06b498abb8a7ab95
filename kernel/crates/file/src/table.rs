//! [`FdTable`]: descriptor numbers and the open files they stand for.
//!
//! A lookup takes no lock: the open files lie in an [`ArcTable`], where it reads a slot and, if several threads use the table,
//! raises a count.
//!
//! Invariants: a number is free, reserved (taken, but `open` is still under way) or in use; `used` has a bit for each
//! number that is not free, a slot is filled only while its number is used, and no free number is below `free_hint`.
//!
//! The lock ([`rank::FILE_TABLES`]) covers changes, a few instructions each: growing allocates outside it, and what leaves the
//! table is released by the caller, after it is dropped.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::Errno;
use sync::rcu::{ArcTable, Removed, Room, TableRef};
use sync::{SpinLock, rank};

use crate::{OpenFile, lock};

/// The most descriptors a table can hold (Linux's `fs.nr_open`).
pub const DESCRIPTORS_MAX: u64 = 1 << 20;
/// Slots of a new table.
const SLOTS_INITIAL: usize = 64;
const WORD_BITS: usize = u64::BITS as usize;

/// An open file for the length of a call: none is on its way out of a table, and none is shared with a new thread, while one is
/// borrowed from it.
pub type FdRef<'a> = TableRef<'a, OpenFile>;

/// Identifies a descriptor table as the owner of POSIX record locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockOwner(pub u64);

/// A set of small numbers.
#[derive(Clone, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn contains(&self, index: usize) -> bool {
        self.0.get(index / WORD_BITS).is_some_and(|word| word & (1 << (index % WORD_BITS)) != 0)
    }

    /// Puts `index` in or out; it must be below the capacity.
    fn set(&mut self, index: usize, value: bool) {
        if let Some(word) = self.0.get_mut(index / WORD_BITS) {
            let bit = 1 << (index % WORD_BITS);
            if value { *word |= bit } else { *word &= !bit }
        }
    }

    /// The lowest number from `start` on that is not in the set; may be the capacity.
    #[inline]
    fn first_clear(&self, start: usize) -> usize {
        let first = start / WORD_BITS;
        let below = (1_u64 << (start % WORD_BITS)) - 1;
        match self.0.get(first) {
            Some(word) if word | below != u64::MAX => first * WORD_BITS + (word | below).trailing_ones() as usize,
            _ => self.first_clear_behind(first).max(start),
        }
    }

    /// The lowest number behind those of the word `first` that is not in the set; may be the capacity.
    #[cold]
    fn first_clear_behind(&self, first: usize) -> usize {
        let found = self.0.iter().enumerate().skip(first + 1).find(|(_, word)| **word != u64::MAX);
        found.map_or(self.0.len() * WORD_BITS, |(index, word)| index * WORD_BITS + word.trailing_ones() as usize)
    }
}

/// What is known of the numbers.
#[derive(Default)]
struct Numbers {
    /// How many there are: as many as the table has slots.
    capacity: usize,
    used: Bits,
    close_on_exec: Bits,
    /// No free number is below this.
    free_hint: usize,
}

impl Numbers {
    fn with_capacity(capacity: usize) -> Self {
        let words = capacity / WORD_BITS;
        Self { capacity, used: Bits(alloc::vec![0; words]), close_on_exec: Bits(alloc::vec![0; words]), free_hint: 0 }
    }

    /// Notes that a number below the capacity is taken.
    fn take(&mut self, index: usize, close_on_exec: bool) {
        self.used.set(index, true);
        self.close_on_exec.set(index, close_on_exec);
    }

    /// Notes that it is free.
    fn free(&mut self, index: usize) {
        self.used.set(index, false);
        self.close_on_exec.set(index, false);
        self.free_hint = self.free_hint.min(index);
    }

    /// Takes over what is known in `old`, which has fewer numbers.
    fn take_over(&mut self, old: &Self) {
        let copy = |new: &mut Bits, old: &Bits| {
            for (new, old) in new.0.iter_mut().zip(&old.0) {
                *new = *old;
            }
        };
        copy(&mut self.used, &old.used);
        copy(&mut self.close_on_exec, &old.close_on_exec);
        self.free_hint = old.free_hint;
    }
}

/// Memory for a table of more numbers, made before the lock is taken; holds the old memory afterwards.
struct Bigger {
    numbers: Numbers,
    slots: Option<Room<OpenFile>>,
}

impl Bigger {
    /// Room for `index` and what comes before it.
    fn for_index(index: usize) -> Self {
        let capacity = (index + 1).next_power_of_two().max(SLOTS_INITIAL);
        Self { numbers: Numbers::with_capacity(capacity), slots: Some(ArcTable::room(capacity)) }
    }
}

/// A descriptor table. Threads share it; the last that leaves it closes what is open.
pub struct FdTable {
    /// Changed under the lock. Its users are threads; references alone, such as those of `/proc`, keep nothing open.
    open: ArcTable<OpenFile>,
    numbers: SpinLock<Numbers>,
    limit: AtomicU64,
    id: u64,
    /// Has taken POSIX record locks, which closing a descriptor releases.
    has_locks: AtomicBool,
}

/// Numbers the tables, as owners of record locks.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl FdTable {
    /// An empty table that gives out numbers below `limit` (`RLIMIT_NOFILE`).
    pub fn new(limit: u64) -> Self {
        Self::with_numbers(Numbers::with_capacity(SLOTS_INITIAL), limit)
    }

    fn with_numbers(numbers: Numbers, limit: u64) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self {
            open: ArcTable::new(numbers.capacity),
            numbers: SpinLock::new(rank::FILE_TABLES, numbers),
            limit: AtomicU64::new(limit),
            id,
            has_locks: AtomicBool::new(false),
        }
    }

    /// A copy, as `fork` makes it: the same open files under the same numbers.
    pub fn duplicate_table(&self) -> Self {
        let limit = self.limit.load(Ordering::Relaxed);
        let mut capacity = SLOTS_INITIAL;
        loop {
            let mut copy = Self::with_numbers(Numbers::with_capacity(capacity), limit);
            let numbers = self.numbers.lock();
            if numbers.capacity > capacity {
                capacity = numbers.capacity;
                continue;
            }
            let new = copy.numbers.get_mut();
            for index in 0..numbers.capacity {
                if let Some(open) = self.open.get_locked(index) {
                    new.take(index, numbers.close_on_exec.contains(index));
                    let before = copy.open.set(index, Some(open));
                    debug_assert!(before.is_none(), "the copy is new");
                }
            }
            drop(numbers);
            new.free_hint = new.used.first_clear(0);
            return copy;
        }
    }

    /// This table for one more thread.
    pub fn share(self: &Arc<Self>) -> Arc<Self> {
        self.open.add_user();
        Arc::clone(self)
    }

    /// How many numbers it has room for now. None above is in use.
    pub fn capacity(&self) -> usize {
        self.open.len()
    }

    /// Whether more than one thread uses it.
    pub fn is_shared(&self) -> bool {
        !self.open.has_one_user()
    }

    /// A thread uses it no longer. The last closes everything.
    pub fn leave(&self) {
        if self.open.remove_user() {
            self.close_all();
        }
    }

    /// This table as an owner of record locks.
    pub fn lock_owner(&self) -> LockOwner {
        LockOwner(self.id)
    }

    /// Notes that it takes record locks, which go when it closes a descriptor of the file.
    pub fn note_locks(&self) {
        self.has_locks.store(true, Ordering::Relaxed);
    }

    /// Changes the limit. Numbers in use above it stay valid.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The limit, as far as the table can serve it.
    fn limit(&self) -> usize {
        usize::try_from(self.limit.load(Ordering::Relaxed).min(DESCRIPTORS_MAX)).unwrap_or(usize::MAX)
    }

    /// The open file behind `fd`, for calls that use the object: `EBADF` for `O_PATH` files too. For a thread that uses this table.
    #[inline(always)]
    pub fn get(&self, fd: i32) -> Result<FdRef<'_>, Errno> {
        let open = self.get_any(fd)?;
        if open.is_path_only() { Err(Errno::EBADF) } else { Ok(open) }
    }

    /// The open file behind `fd`, `O_PATH` files included. For a thread that uses this table.
    #[inline(always)]
    pub fn get_any(&self, fd: i32) -> Result<FdRef<'_>, Errno> {
        self.open.lend(index_of(fd)).ok_or(Errno::EBADF)
    }

    /// As [`FdTable::get_any`], to be kept. For anybody.
    pub fn get_counted(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        self.find_locked(fd, &self.numbers.lock())
    }

    /// As [`FdTable::get_counted`], with the numbers locked.
    fn find_locked(&self, fd: i32, _numbers: &Numbers) -> Result<Arc<OpenFile>, Errno> {
        self.open.get_locked(index_of(fd)).ok_or(Errno::EBADF)
    }

    /// `EBADF` unless `fd` stands for an open file, and goes on doing so while `_numbers` is locked.
    #[inline]
    fn check_open(&self, fd: i32, _numbers: &Numbers) -> Result<usize, Errno> {
        let index = index_of(fd);
        if self.open.is_filled(index) { Ok(index) } else { Err(Errno::EBADF) }
    }

    /// Uses the memory of `bigger`, if it is more than there is, and leaves the old one there.
    fn grow(&self, numbers: &mut Numbers, bigger: &mut Bigger) {
        if bigger.numbers.capacity <= numbers.capacity {
            return;
        }
        bigger.numbers.take_over(numbers);
        mem::swap(numbers, &mut bigger.numbers);
        bigger.slots = bigger.slots.take().map(|room| self.open.grow(room));
    }

    /// Takes the lowest free number from `minimum` on, for an open file that is still to come. `EMFILE` when none is left.
    pub fn reserve_from(&self, minimum: usize, close_on_exec: bool) -> Result<Reservation<'_>, Errno> {
        let limit = self.limit();
        let mut bigger = None;
        loop {
            let mut numbers = self.numbers.lock();
            if let Some(bigger) = &mut bigger {
                self.grow(&mut numbers, bigger);
            }
            let start = minimum.max(numbers.free_hint);
            let index = numbers.used.first_clear(start);
            if index >= limit {
                return Err(Errno::EMFILE);
            }
            if index < numbers.capacity {
                numbers.take(index, close_on_exec);
                if start == numbers.free_hint {
                    numbers.free_hint = index + 1;
                }
                return Ok(Reservation { table: self, index, is_filled: false });
            }
            drop(numbers);
            bigger = Some(Bigger::for_index(index));
        }
    }

    /// Takes the lowest free number.
    pub fn reserve(&self, close_on_exec: bool) -> Result<Reservation<'_>, Errno> {
        self.reserve_from(0, close_on_exec)
    }

    /// Gives `open` the lowest free number.
    pub fn install(&self, open: Arc<OpenFile>, close_on_exec: bool) -> Result<i32, Errno> {
        Ok(self.reserve(close_on_exec)?.install(open))
    }

    /// `F_DUPFD`: another number, `minimum` or above, for the file behind `fd`. `EINVAL` when `minimum` is out of range.
    pub fn duplicate(&self, fd: i32, minimum: u64, close_on_exec: bool) -> Result<i32, Errno> {
        let open = self.get_counted(fd)?;
        match usize::try_from(minimum) {
            Ok(minimum) if minimum < self.limit() => Ok(self.reserve_from(minimum, close_on_exec)?.install(open)),
            _ => Err(Errno::EINVAL),
        }
    }

    /// `dup2` and `dup3`: makes `new` stand for the file behind `old`, closing what it stood for. `old` and `new` differ.
    pub fn duplicate_to(&self, old: i32, new: i32, close_on_exec: bool) -> Result<i32, Errno> {
        let index = match usize::try_from(new) {
            Ok(index) if index < self.limit() => index,
            _ => return Err(Errno::EBADF),
        };
        let mut bigger = None;
        loop {
            let mut numbers = self.numbers.lock();
            if let Some(bigger) = &mut bigger {
                self.grow(&mut numbers, bigger);
            }
            let open = self.find_locked(old, &numbers)?;
            if index >= numbers.capacity {
                drop(numbers);
                bigger = Some(Bigger::for_index(index));
                continue;
            }
            if numbers.used.contains(index) && !self.open.is_filled(index) {
                return Err(Errno::EBUSY);
            }
            numbers.take(index, close_on_exec);
            let replaced = self.open.set(index, Some(open));
            drop(numbers);
            self.closed(replaced);
            return Ok(new);
        }
    }

    /// Tells a file that a descriptor for it is gone, and gives it back.
    fn closed(&self, removed: Option<Removed<OpenFile>>) -> Option<Arc<OpenFile>> {
        let open = removed?.into_value();
        if self.has_locks.load(Ordering::Relaxed) {
            lock::release_table(&open, self.lock_owner());
        }
        open.file().descriptor_closed(&open, self.lock_owner());
        Some(open)
    }

    /// `close`: frees the number and gives the file to the caller, whose drop may be the last.
    pub fn remove(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        let mut numbers = self.numbers.lock();
        let index = self.check_open(fd, &numbers)?;
        numbers.free(index);
        let removed = self.open.set(index, None);
        drop(numbers);
        self.closed(removed).ok_or(Errno::EBADF)
    }

    /// `close_range`: closes the open numbers in `first..=last`.
    pub fn close_range(&self, first: u32, last: u32) {
        self.close_where(first as usize, last as usize, |_, _| true);
    }

    /// `close_range` with `CLOSE_RANGE_CLOEXEC`: marks them instead.
    pub fn mark_range_close_on_exec(&self, first: u32, last: u32) {
        let mut numbers = self.numbers.lock();
        let end = (last as usize).saturating_add(1).min(numbers.capacity);
        for index in first as usize..end {
            if self.open.is_filled(index) {
                numbers.close_on_exec.set(index, true);
            }
        }
    }

    /// Closes what `execve` closes.
    pub fn close_on_exec(&self) {
        self.close_where(0, usize::MAX, |numbers, index| numbers.close_on_exec.contains(index));
    }

    /// Closes everything, as the end of a process does.
    pub fn close_all(&self) {
        self.close_where(0, usize::MAX, |_, _| true);
    }

    /// Closes the open numbers in `first..=last` that `wanted` says. One lock acquisition for each, as files may take long
    /// to let go.
    fn close_where(&self, first: usize, last: usize, wanted: impl Fn(&Numbers, usize) -> bool) {
        let mut next = first;
        loop {
            let mut numbers = self.numbers.lock();
            let end = last.saturating_add(1).min(numbers.capacity);
            let found = (next..end).find(|index| self.open.is_filled(*index) && wanted(&numbers, *index));
            let Some(index) = found else { return };
            numbers.free(index);
            let removed = self.open.set(index, None);
            drop(numbers);
            self.closed(removed);
            next = index + 1;
        }
    }

    /// Whether `fd` is closed by `execve` (`F_GETFD`).
    pub fn is_close_on_exec(&self, fd: i32) -> Result<bool, Errno> {
        let numbers = self.numbers.lock();
        let index = self.check_open(fd, &numbers)?;
        Ok(numbers.close_on_exec.contains(index))
    }

    /// Sets whether `fd` is closed by `execve` (`F_SETFD`).
    pub fn set_close_on_exec(&self, fd: i32, value: bool) -> Result<(), Errno> {
        let mut numbers = self.numbers.lock();
        let index = self.check_open(fd, &numbers)?;
        numbers.close_on_exec.set(index, value);
        Ok(())
    }

    /// The numbers in use, ascending, for `/proc/self/fd`.
    pub fn descriptors(&self) -> Vec<i32> {
        // Those that come and go meanwhile are shown or not.
        (0..self.open.len())
            .filter(|index| self.open.is_filled(*index))
            .filter_map(|index| i32::try_from(index).ok())
            .collect()
    }
}

/// The slot of a descriptor. A negative number becomes one beyond every table.
#[inline]
fn index_of(fd: i32) -> usize {
    usize::try_from(fd).unwrap_or(usize::MAX)
}

/// A descriptor number that is taken but stands for nothing yet. Dropped, it is free again.
#[must_use = "the number is freed when the reservation is dropped"]
pub struct Reservation<'a> {
    table: &'a FdTable,
    index: usize,
    is_filled: bool,
}

impl Reservation<'_> {
    /// The number.
    pub fn number(&self) -> i32 {
        i32::try_from(self.index).expect("numbers stay below DESCRIPTORS_MAX")
    }

    /// Makes the number stand for `open`.
    pub fn install(mut self, open: Arc<OpenFile>) -> i32 {
        self.is_filled = true;
        let numbers = self.table.numbers.lock();
        let before = self.table.open.set(self.index, Some(open));
        drop(numbers);
        debug_assert!(before.is_none(), "a reserved number stands for nothing");
        self.number()
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.is_filled {
            self.table.numbers.lock().free(self.index);
        }
    }
}
