//! [`FdTable`]: descriptor numbers and the open files they stand for.
//!
//! Invariants: a slot is free, reserved (its number is taken, `open` is still under way) or in use; `used` has a bit for each
//! slot that is not free, and no free slot is below `free_hint`. Lookup is an index under a spinlock and one reference count.
//!
//! The lock ([`rank::FILE_TABLES`]) covers a few instructions: growing allocates outside it, and files that leave the table are
//! released by the caller, after it is dropped.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use abi::Errno;
use sync::{SpinLock, rank};

use crate::{OpenFile, lock};

/// The most descriptors a table can hold (Linux's `fs.nr_open`).
pub const DESCRIPTORS_MAX: u64 = 1 << 20;
/// Slots of a new table.
const SLOTS_INITIAL: usize = 64;
const WORD_BITS: usize = u64::BITS as usize;

/// Identifies a descriptor table as the owner of POSIX record locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockOwner(pub u64);

/// What a descriptor number stands for.
#[derive(Default)]
enum Slot {
    #[default]
    Free,
    /// Taken by an `open` that is under way.
    Reserved,
    Open(Arc<OpenFile>),
}

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
    fn first_clear(&self, start: usize) -> usize {
        let first_word = start / WORD_BITS;
        for (offset, word) in self.0.iter().skip(first_word).enumerate() {
            let below = if offset == 0 { (1_u64 << (start % WORD_BITS)) - 1 } else { 0 };
            let clear = !(word | below);
            if clear != 0 {
                return (first_word + offset) * WORD_BITS + clear.trailing_zeros() as usize;
            }
        }
        (self.0.len() * WORD_BITS).max(start)
    }
}

/// The slots and what is known of them.
#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    used: Bits,
    close_on_exec: Bits,
    /// No free slot is below this.
    free_hint: usize,
}

impl Slots {
    fn with_capacity(capacity: usize) -> Self {
        let mut slots = Vec::new();
        slots.resize_with(capacity, Slot::default);
        let words = capacity / WORD_BITS;
        Self { slots, used: Bits(alloc::vec![0; words]), close_on_exec: Bits(alloc::vec![0; words]), free_hint: 0 }
    }

    fn open_at(&self, fd: i32) -> Result<&Arc<OpenFile>, Errno> {
        // A negative number becomes one beyond every table.
        match self.slots.get(usize::try_from(fd).unwrap_or(usize::MAX)) {
            Some(Slot::Open(open)) => Ok(open),
            _ => Err(Errno::EBADF),
        }
    }

    /// Fills a slot below the capacity and gives back what was there.
    fn put(&mut self, index: usize, slot: Slot, close_on_exec: bool) -> Slot {
        let is_free = matches!(slot, Slot::Free);
        self.used.set(index, !is_free);
        self.close_on_exec.set(index, close_on_exec && !is_free);
        if is_free {
            self.free_hint = self.free_hint.min(index);
        }
        match self.slots.get_mut(index) {
            Some(place) => mem::replace(place, slot),
            None => Slot::Free,
        }
    }

    /// Moves everything to a bigger set of slots, and leaves the old memory in `bigger` for the caller to free.
    fn grow_into(&mut self, bigger: &mut Self) {
        if bigger.slots.len() <= self.slots.len() {
            return;
        }
        for (new, old) in bigger.slots.iter_mut().zip(self.slots.iter_mut()) {
            *new = mem::take(old);
        }
        let copy = |new: &mut Bits, old: &Bits| {
            for (new, old) in new.0.iter_mut().zip(&old.0) {
                *new = *old;
            }
        };
        copy(&mut bigger.used, &self.used);
        copy(&mut bigger.close_on_exec, &self.close_on_exec);
        bigger.free_hint = self.free_hint;
        mem::swap(self, bigger);
    }
}

/// A descriptor table. Threads share it; the last that leaves it closes what is open.
pub struct FdTable {
    slots: SpinLock<Slots>,
    limit: AtomicU64,
    id: u64,
    /// The threads that use it. References alone, such as those of `/proc`, keep nothing open.
    users: AtomicUsize,
    /// Has taken POSIX record locks, which closing a descriptor releases.
    has_locks: AtomicBool,
}

/// Numbers the tables, as owners of record locks.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl FdTable {
    /// An empty table that gives out numbers below `limit` (`RLIMIT_NOFILE`).
    pub fn new(limit: u64) -> Self {
        Self::with_slots(Slots::with_capacity(SLOTS_INITIAL), limit)
    }

    fn with_slots(slots: Slots, limit: u64) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self {
            slots: SpinLock::new(rank::FILE_TABLES, slots),
            limit: AtomicU64::new(limit),
            id,
            users: AtomicUsize::new(1),
            has_locks: AtomicBool::new(false),
        }
    }

    /// A copy, as `fork` makes it: the same open files under the same numbers.
    pub fn duplicate_table(&self) -> Self {
        let mut capacity = SLOTS_INITIAL;
        loop {
            let mut copy = Slots::with_capacity(capacity);
            let slots = self.slots.lock();
            if slots.slots.len() > copy.slots.len() {
                capacity = slots.slots.len();
                continue;
            }
            for (index, slot) in slots.slots.iter().enumerate() {
                if let Slot::Open(open) = slot {
                    copy.put(index, Slot::Open(Arc::clone(open)), slots.close_on_exec.contains(index));
                }
            }
            drop(slots);
            copy.free_hint = copy.used.first_clear(0);
            return Self::with_slots(copy, self.limit.load(Ordering::Relaxed));
        }
    }

    /// This table for one more thread.
    pub fn share(self: &Arc<Self>) -> Arc<Self> {
        self.users.fetch_add(1, Ordering::Relaxed);
        Arc::clone(self)
    }

    /// Whether more than one thread uses it.
    pub fn is_shared(&self) -> bool {
        // Acquire: what others did with the table before they left is seen by the one that finds itself alone.
        self.users.load(Ordering::Acquire) > 1
    }

    /// A thread uses it no longer. The last closes everything.
    pub fn leave(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
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

    /// The open file behind `fd`, for calls that use the object: `EBADF` for `O_PATH` files too.
    pub fn get(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        let open = self.get_any(fd)?;
        if open.is_path_only() { Err(Errno::EBADF) } else { Ok(open) }
    }

    /// The open file behind `fd`, `O_PATH` files included.
    pub fn get_any(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        self.slots.lock().open_at(fd).cloned()
    }

    /// Takes the lowest free number from `minimum` on, for an open file that is still to come. `EMFILE` when none is left.
    pub fn reserve_from(&self, minimum: usize, close_on_exec: bool) -> Result<Reservation<'_>, Errno> {
        let limit = self.limit();
        let mut bigger = None;
        loop {
            let mut slots = self.slots.lock();
            if let Some(bigger) = &mut bigger {
                slots.grow_into(bigger);
            }
            let start = minimum.max(slots.free_hint);
            let index = slots.used.first_clear(start);
            if index >= limit {
                return Err(Errno::EMFILE);
            }
            let capacity = slots.slots.len();
            if index < capacity {
                slots.put(index, Slot::Reserved, close_on_exec);
                if start == slots.free_hint {
                    slots.free_hint = index + 1;
                }
                return Ok(Reservation { table: self, index, close_on_exec, is_filled: false });
            }
            drop(slots);
            bigger = Some(Slots::with_capacity(Self::capacity_for(index)));
        }
    }

    /// Takes the lowest free number.
    pub fn reserve(&self, close_on_exec: bool) -> Result<Reservation<'_>, Errno> {
        self.reserve_from(0, close_on_exec)
    }

    /// Slots to have so that `index` is one of them.
    fn capacity_for(index: usize) -> usize {
        (index + 1).next_power_of_two().max(SLOTS_INITIAL)
    }

    /// Gives `open` the lowest free number.
    pub fn install(&self, open: Arc<OpenFile>, close_on_exec: bool) -> Result<i32, Errno> {
        Ok(self.reserve(close_on_exec)?.install(open))
    }

    /// `F_DUPFD`: another number, `minimum` or above, for the file behind `fd`. `EINVAL` when `minimum` is out of range.
    pub fn duplicate(&self, fd: i32, minimum: u64, close_on_exec: bool) -> Result<i32, Errno> {
        let open = self.get_any(fd)?;
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
            let mut slots = self.slots.lock();
            if let Some(bigger) = &mut bigger {
                slots.grow_into(bigger);
            }
            let open = slots.open_at(old)?.clone();
            match slots.slots.get(index) {
                Some(Slot::Reserved) => return Err(Errno::EBUSY),
                Some(_) => {
                    let replaced = slots.put(index, Slot::Open(open), close_on_exec);
                    drop(slots);
                    self.closed(replaced);
                    return Ok(new);
                }
                None => {
                    drop(slots);
                    bigger = Some(Slots::with_capacity(Self::capacity_for(index)));
                }
            }
        }
    }

    /// Tells a file that a descriptor for it is gone, and gives it back.
    fn closed(&self, slot: Slot) -> Option<Arc<OpenFile>> {
        let Slot::Open(open) = slot else { return None };
        if self.has_locks.load(Ordering::Relaxed) {
            lock::release_table(&open, self.lock_owner());
        }
        open.file().descriptor_closed(&open, self.lock_owner());
        Some(open)
    }

    /// `close`: frees the number and gives the file to the caller, whose drop may be the last.
    pub fn remove(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        let mut slots = self.slots.lock();
        slots.open_at(fd)?;
        // A number that is open is not negative.
        let slot = slots.put(usize::try_from(fd).unwrap_or(usize::MAX), Slot::Free, false);
        drop(slots);
        self.closed(slot).ok_or(Errno::EBADF)
    }

    /// `close_range`: closes the open numbers in `first..=last`.
    pub fn close_range(&self, first: u32, last: u32) {
        self.close_where(first as usize, last as usize, |_, _| true);
    }

    /// `close_range` with `CLOSE_RANGE_CLOEXEC`: marks them instead.
    pub fn mark_range_close_on_exec(&self, first: u32, last: u32) {
        let mut slots = self.slots.lock();
        let end = (last as usize).saturating_add(1).min(slots.slots.len());
        for index in first as usize..end {
            if matches!(slots.slots.get(index), Some(Slot::Open(_))) {
                slots.close_on_exec.set(index, true);
            }
        }
    }

    /// Closes what `execve` closes.
    pub fn close_on_exec(&self) {
        self.close_where(0, usize::MAX, |slots, index| slots.close_on_exec.contains(index));
    }

    /// Closes everything, as the end of a process does.
    pub fn close_all(&self) {
        self.close_where(0, usize::MAX, |_, _| true);
    }

    /// Closes the open numbers in `first..=last` that `wanted` says. One lock acquisition for each, as files may take long
    /// to let go.
    fn close_where(&self, first: usize, last: usize, wanted: impl Fn(&Slots, usize) -> bool) {
        let mut next = first;
        loop {
            let mut slots = self.slots.lock();
            let end = last.saturating_add(1).min(slots.slots.len());
            let found = (next..end)
                .find(|index| matches!(slots.slots.get(*index), Some(Slot::Open(_))) && wanted(&slots, *index));
            let Some(index) = found else { return };
            let slot = slots.put(index, Slot::Free, false);
            drop(slots);
            self.closed(slot);
            next = index + 1;
        }
    }

    /// Whether `fd` is closed by `execve` (`F_GETFD`).
    pub fn is_close_on_exec(&self, fd: i32) -> Result<bool, Errno> {
        let slots = self.slots.lock();
        slots.open_at(fd)?;
        Ok(usize::try_from(fd).is_ok_and(|index| slots.close_on_exec.contains(index)))
    }

    /// Sets whether `fd` is closed by `execve` (`F_SETFD`).
    pub fn set_close_on_exec(&self, fd: i32, value: bool) -> Result<(), Errno> {
        let mut slots = self.slots.lock();
        slots.open_at(fd)?;
        if let Ok(index) = usize::try_from(fd) {
            slots.close_on_exec.set(index, value);
        }
        Ok(())
    }

    /// The numbers in use, ascending, for `/proc/self/fd`.
    pub fn descriptors(&self) -> Vec<i32> {
        let mut numbers = Vec::new();
        loop {
            let slots = self.slots.lock();
            let capacity = slots.slots.len();
            if numbers.capacity() < capacity {
                drop(slots);
                numbers.reserve_exact(capacity);
                continue;
            }
            let is_open = |(index, slot): (usize, &Slot)| match slot {
                Slot::Open(_) => i32::try_from(index).ok(),
                _ => None,
            };
            // Within the capacity, so nothing is allocated under the lock.
            numbers.extend(slots.slots.iter().enumerate().filter_map(is_open));
            return numbers;
        }
    }
}

/// A descriptor number that is taken but stands for nothing yet. Dropped, it is free again.
#[must_use = "the number is freed when the reservation is dropped"]
pub struct Reservation<'a> {
    table: &'a FdTable,
    index: usize,
    close_on_exec: bool,
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
        self.table.slots.lock().put(self.index, Slot::Open(open), self.close_on_exec);
        self.number()
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.is_filled {
            self.table.slots.lock().put(self.index, Slot::Free, false);
        }
    }
}
