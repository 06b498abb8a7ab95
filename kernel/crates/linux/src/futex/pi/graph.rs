//! [`Graph`]: who holds which lock and who waits for it, and what priority that lends to the holders.
//!
//! # 1. What is in it
//!
//! A *task* is a thread that has taken part once; it stays until the thread ends. A *lock* is there as long as somebody waits
//! for it: the program alone knows of all others. A task waits for one lock at most, and owns any number.
//!
//! # 2. Inheritance
//!
//! A task counts by the greater of two priorities: its own, and that of the most urgent of those who wait for its locks. The
//! waiters of a lock are ordered by that, and by arrival among equals. When a waiter comes or goes, the owner's loan is
//! computed again; if that changes where the owner itself stands as a waiter, so is that of the next owner, and so on along
//! the chain ([`Graph::block`]; L. Sha, R. Rajkumar, J. Lehoczky, "Priority inheritance protocols", 1990).
//!
//! # 3. Deadlock
//!
//! A task that would wait for itself through a chain of owners is refused, and so is one whose chain is longer than
//! [`CHAIN_MAX`]. As nobody else is ever let in, the graph has no cycle, and the walks end.
//!
//! # 4. Memory
//!
//! Slots are allocated by [`Graph::grow`], without the lock of the graph. There are as many for locks as for tasks, and that
//! suffices: each lock has a waiter, who waits for no other, or is being made or passed on by a task that does not wait.
//!
//! Pure: knows no words, no queues and no threads.

use alloc::vec::Vec;

/// The longest chain of owners (Linux's default `kernel.max_lock_depth`).
const CHAIN_MAX: usize = 1024;

/// How many slots there are at first.
const SLOTS_MIN: usize = 16;

/// A thread, as the graph sees it.
pub(super) trait Member {
    /// The priority it has by itself.
    fn own_priority(&self) -> u8;
    /// It counts by this priority as well from now on, in place of what it was lent before; 0: nothing.
    fn lend(&self, priority: u8);
}

/// Names a task that is in the graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct TaskId(u32);

impl TaskId {
    /// As a word, which is never 0.
    pub(super) fn to_word(self) -> u32 {
        self.0 + 1
    }

    pub(super) fn from_word(word: u32) -> Option<Self> {
        word.checked_sub(1).map(Self)
    }
}

/// Names a lock that is in the graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LockId(u32);

/// There is no slot: [`Graph::grow`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoRoom;

/// Waiting would never end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Deadlock;

struct Task<M, K> {
    member: M,
    /// What it was lent.
    lent: u8,
    /// The priority by which it is ordered among the waiters.
    rank: u8,
    waits_for: Option<LockId>,
    /// Its neighbours among the waiters.
    before: Option<TaskId>,
    behind: Option<TaskId>,
    /// The first of the locks it owns.
    owned: Option<LockId>,
    /// The lock it was given by the death of an owner and has not marked as its own yet.
    inherited: Option<LockId>,
    /// The lock it is to be made to wait for.
    target: Option<K>,
}

struct Lock<K> {
    key: K,
    owner: TaskId,
    /// The next of the locks of that owner.
    next_owned: Option<LockId>,
    /// The most urgent waiter, and the least.
    top: Option<TaskId>,
    last: Option<TaskId>,
    /// The owner inherited it, and the program's word does not say so yet.
    is_pending: bool,
}

/// See the module documentation. `M` are the threads, `K` what the owner of the graph finds locks by.
pub(super) struct Graph<M, K> {
    tasks: Slots<Task<M, K>>,
    locks: Slots<Lock<K>>,
}

impl<M: Member, K: Copy + PartialEq> Graph<M, K> {
    pub(super) const fn new() -> Self {
        Self { tasks: Slots::new(), locks: Slots::new() }
    }

    /// Enters a task. The member comes back with the error.
    pub(super) fn enter(&mut self, member: M) -> Result<TaskId, (NoRoom, M)> {
        if self.tasks.is_full() {
            return Err((NoRoom, member));
        }
        let task = Task {
            member,
            lent: 0,
            rank: 0,
            waits_for: None,
            before: None,
            behind: None,
            owned: None,
            inherited: None,
            target: None,
        };
        Ok(TaskId(self.tasks.insert(task)))
    }

    /// Takes a task out that neither waits nor owns, and gives its member back.
    pub(super) fn leave(&mut self, task: TaskId) -> M {
        let task = self.tasks.remove(task.0);
        debug_assert!(task.waits_for.is_none() && task.owned.is_none(), "a task that leaves is by itself");
        task.member
    }

    /// The number of slots for tasks.
    pub(super) fn room(&self) -> usize {
        self.tasks.capacity()
    }

    /// Whether another task needs more room.
    pub(super) fn is_full(&self) -> bool {
        self.tasks.is_full()
    }

    /// Moves to larger slots, which were made without the lock of the graph, and gives the old ones back to be freed without
    /// it. Smaller ones are given back unused.
    pub(super) fn grow(&mut self, room: Room<M, K>) -> Room<M, K> {
        if room.tasks.capacity() <= self.tasks.capacity() {
            return room;
        }
        Room { tasks: self.tasks.move_to(room.tasks), locks: self.locks.move_to(room.locks) }
    }

    pub(super) fn member(&self, task: TaskId) -> &M {
        &self.tasks.get(task.0).member
    }

    /// What a task is to be made to wait for.
    pub(super) fn target(&self, task: TaskId) -> Option<K> {
        self.tasks.get(task.0).target
    }

    pub(super) fn set_target(&mut self, task: TaskId, key: Option<K>) {
        self.tasks.get_mut(task.0).target = key;
    }

    /// Makes a lock that the task owns. It has no waiter yet.
    pub(super) fn make_lock(&mut self, key: K, owner: TaskId) -> LockId {
        let next_owned = self.tasks.get(owner.0).owned;
        let lock = Lock { key, owner, next_owned, top: None, last: None, is_pending: false };
        let lock = LockId(self.locks.insert(lock));
        self.tasks.get_mut(owner.0).owned = Some(lock);
        lock
    }

    pub(super) fn owner(&self, lock: LockId) -> TaskId {
        self.locks.get(lock.0).owner
    }

    pub(super) fn is_pending(&self, lock: LockId) -> bool {
        self.locks.get(lock.0).is_pending
    }

    /// The most urgent of those who wait for the lock.
    pub(super) fn top(&self, lock: LockId) -> Option<TaskId> {
        self.locks.get(lock.0).top
    }

    /// The lock a task waits for.
    pub(super) fn awaited(&self, task: TaskId) -> Option<LockId> {
        self.tasks.get(task.0).waits_for
    }

    /// The lock a task has inherited.
    pub(super) fn inherited(&self, task: TaskId) -> Option<LockId> {
        self.tasks.get(task.0).inherited
    }

    /// One of the locks that a task owns, with its key.
    pub(super) fn owned(&self, task: TaskId) -> Option<(LockId, K)> {
        self.tasks.get(task.0).owned.map(|lock| (lock, self.locks.get(lock.0).key))
    }

    /// Makes a task wait for a lock, and lends its priority to all it waits for by that.
    pub(super) fn block(&mut self, task: TaskId, lock: LockId) -> Result<(), Deadlock> {
        debug_assert!(self.tasks.get(task.0).waits_for.is_none(), "a task waits for one lock");
        let mut owner = self.owner(lock);
        for _ in 0..CHAIN_MAX {
            if owner == task {
                return Err(Deadlock);
            }
            let Some(next) = self.awaited(owner) else {
                self.tasks.get_mut(task.0).waits_for = Some(lock);
                self.insert_waiter(task, lock);
                self.propagate(lock);
                return Ok(());
            };
            owner = self.owner(next);
        }
        Err(Deadlock)
    }

    /// A task that waits gives up. The lock it waited for may be [unused](Self::drop_unused) now.
    pub(super) fn unblock(&mut self, task: TaskId) -> Option<LockId> {
        let lock = self.tasks.get_mut(task.0).waits_for.take()?;
        self.remove_waiter(task, lock);
        self.propagate(lock);
        Some(lock)
    }

    /// Gives the lock to its most urgent waiter, if there is one. `is_pending`: by inheritance, to be
    /// [settled](Self::settle).
    pub(super) fn hand_over(&mut self, lock: LockId, is_pending: bool) -> Option<TaskId> {
        let next = self.top(lock)?;
        self.remove_waiter(next, lock);
        self.disown(lock);
        let heir = self.tasks.get_mut(next.0);
        heir.waits_for = None;
        heir.inherited = is_pending.then_some(lock);
        let next_owned = heir.owned.replace(lock);
        let entry = self.locks.get_mut(lock.0);
        entry.owner = next;
        entry.next_owned = next_owned;
        entry.is_pending = is_pending;
        self.propagate(lock);
        Some(next)
    }

    /// The heir has marked the lock as its own. The lock may be [unused](Self::drop_unused) now.
    pub(super) fn settle(&mut self, heir: TaskId) -> Option<LockId> {
        let lock = self.tasks.get_mut(heir.0).inherited.take()?;
        self.locks.get_mut(lock.0).is_pending = false;
        Some(lock)
    }

    /// Forgets a lock that nobody waits for, unless an heir has not come for it yet.
    pub(super) fn drop_unused(&mut self, lock: LockId) {
        let entry = self.locks.get(lock.0);
        if entry.top.is_none() && !entry.is_pending {
            self.disown(lock);
            self.locks.remove(lock.0);
        }
    }

    /// Looks at the priority of a task again, which has changed.
    pub(super) fn own_priority_changed(&mut self, task: TaskId) {
        if let Some(lock) = self.awaited(task)
            && self.requeue(task, lock)
        {
            self.propagate(lock);
        }
    }

    /// The priority by which a task counts.
    fn effective(&self, task: TaskId) -> u8 {
        let task = self.tasks.get(task.0);
        task.member.own_priority().max(task.lent)
    }

    /// What those lend to a task who wait for its locks.
    fn loan(&self, task: TaskId) -> u8 {
        let mut loan = 0;
        let mut owned = self.tasks.get(task.0).owned;
        while let Some(lock) = owned {
            let entry = self.locks.get(lock.0);
            loan = loan.max(entry.top.map_or(0, |top| self.tasks.get(top.0).rank));
            owned = entry.next_owned;
        }
        loan
    }

    /// The waiters of a lock have changed: so may what its owner is lent, and what that changes further on.
    fn propagate(&mut self, lock: LockId) {
        let mut lock = lock;
        loop {
            let owner = self.owner(lock);
            if !self.update_loan(owner) {
                return;
            }
            match self.awaited(owner) {
                Some(next) if self.requeue(owner, next) => lock = next,
                _ => return,
            }
        }
    }

    /// True: it has changed.
    fn update_loan(&mut self, task: TaskId) -> bool {
        let loan = self.loan(task);
        let entry = self.tasks.get_mut(task.0);
        let is_changed = entry.lent != loan;
        if is_changed {
            entry.lent = loan;
            entry.member.lend(loan);
        }
        is_changed
    }

    /// Puts a waiter where it belongs by its priority. True: that has changed.
    fn requeue(&mut self, task: TaskId, lock: LockId) -> bool {
        if self.effective(task) == self.tasks.get(task.0).rank {
            return false;
        }
        self.remove_waiter(task, lock);
        self.insert_waiter(task, lock);
        true
    }

    fn insert_waiter(&mut self, task: TaskId, lock: LockId) {
        let rank = self.effective(task);
        let mut before = self.locks.get(lock.0).last;
        while let Some(other) = before
            && self.tasks.get(other.0).rank < rank
        {
            before = self.tasks.get(other.0).before;
        }
        let behind = match before {
            Some(other) => self.tasks.get_mut(other.0).behind.replace(task),
            None => self.locks.get_mut(lock.0).top.replace(task),
        };
        match behind {
            Some(other) => self.tasks.get_mut(other.0).before = Some(task),
            None => self.locks.get_mut(lock.0).last = Some(task),
        }
        let entry = self.tasks.get_mut(task.0);
        entry.rank = rank;
        entry.before = before;
        entry.behind = behind;
    }

    fn remove_waiter(&mut self, task: TaskId, lock: LockId) {
        let entry = self.tasks.get_mut(task.0);
        let (before, behind) = (entry.before.take(), entry.behind.take());
        match before {
            Some(other) => self.tasks.get_mut(other.0).behind = behind,
            None => self.locks.get_mut(lock.0).top = behind,
        }
        match behind {
            Some(other) => self.tasks.get_mut(other.0).before = before,
            None => self.locks.get_mut(lock.0).last = before,
        }
    }

    /// Takes a lock from among those its owner has, who may have been lent something for it.
    fn disown(&mut self, lock: LockId) {
        let Lock { owner, next_owned, .. } = *self.locks.get(lock.0);
        let mut at = self.tasks.get(owner.0).owned;
        if at == Some(lock) {
            self.tasks.get_mut(owner.0).owned = next_owned;
        } else {
            while let Some(other) = at {
                let entry = self.locks.get_mut(other.0);
                if entry.next_owned == Some(lock) {
                    entry.next_owned = next_owned;
                    break;
                }
                at = entry.next_owned;
            }
        }
        self.locks.get_mut(lock.0).next_owned = None;
        // An owner that lets go does not wait, so it ends here; one that waits gave up nothing.
        if self.update_loan(owner)
            && let Some(next) = self.awaited(owner)
            && self.requeue(owner, next)
        {
            self.propagate(next);
        }
    }
}

/// Slots for a graph to grow into.
pub(super) struct Room<M, K> {
    tasks: Slots<Task<M, K>>,
    locks: Slots<Lock<K>>,
}

impl<M, K> Room<M, K> {
    /// Twice as many slots as there are.
    pub(super) fn beyond(slots: usize) -> Self {
        let slots = slots.saturating_mul(2).max(SLOTS_MIN);
        Self { tasks: Slots::with_capacity(slots), locks: Slots::with_capacity(slots) }
    }
}

/// Things with numbers. Never allocates but when it is made.
struct Slots<T> {
    entries: Vec<Slot<T>>,
    /// The first free slot before the end.
    free: Option<u32>,
}

enum Slot<T> {
    Used(T),
    Free(Option<u32>),
}

impl<T> Slots<T> {
    const fn new() -> Self {
        Self { entries: Vec::new(), free: None }
    }

    fn with_capacity(capacity: usize) -> Self {
        Self { entries: Vec::with_capacity(capacity), free: None }
    }

    fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    fn is_full(&self) -> bool {
        self.free.is_none() && self.entries.len() == self.entries.capacity()
    }

    fn insert(&mut self, value: T) -> u32 {
        match self.free {
            Some(number) => {
                let slot = core::mem::replace(&mut self.entries[number as usize], Slot::Used(value));
                if let Slot::Free(next) = slot {
                    self.free = next;
                }
                number
            }
            None => {
                debug_assert!(self.entries.len() < self.entries.capacity(), "the caller has seen to it");
                self.entries.push(Slot::Used(value));
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            }
        }
    }

    fn remove(&mut self, number: u32) -> T {
        let slot = core::mem::replace(&mut self.entries[number as usize], Slot::Free(self.free));
        self.free = Some(number);
        match slot {
            Slot::Used(value) => value,
            Slot::Free(_) => unreachable!("ids are of what is there"),
        }
    }

    fn get(&self, number: u32) -> &T {
        match &self.entries[number as usize] {
            Slot::Used(value) => value,
            Slot::Free(_) => unreachable!("ids are of what is there"),
        }
    }

    fn get_mut(&mut self, number: u32) -> &mut T {
        match &mut self.entries[number as usize] {
            Slot::Used(value) => value,
            Slot::Free(_) => unreachable!("ids are of what is there"),
        }
    }

    /// Moves everything to `larger`, whose numbers stay the same, and answers what is left.
    fn move_to(&mut self, mut larger: Self) -> Self {
        larger.entries.append(&mut self.entries);
        larger.free = self.free.take();
        core::mem::replace(self, larger)
    }
}

#[cfg(test)]
mod tests;
