//! Locks with priority inheritance: `FUTEX_LOCK_PI` and its family.
//!
//! # 1. The word
//!
//! It is 0, or the number of the thread that holds the lock, with two bits beside it: FUTEX_WAITERS makes the holder let go by
//! a call, and FUTEX_OWNER_DIED tells that a holder ended. Programs take and leave a lock by themselves as long as nobody
//! waits. What is done here is always done under the lock of the word's bucket and by a compare-and-exchange.
//!
//! # 2. Two places
//!
//! A waiter is in the queue of its word, like all others, so that other calls find it and refuse to mix. Who waits for whom is
//! in the [graph](graph::Graph) of owners. Both change under the lock of the bucket; the graph's own lock, one for all, comes
//! inside of it. It is taken for locks that somebody waits for, and by nobody else.
//!
//! # 3. Handing over
//!
//! Who lets go gives the lock to the most urgent waiter in one step: word, graph and queue. The waiter is woken as the
//! owner, so nobody can get in between, and if its time ran out at the same moment it has the lock nevertheless.
//!
//! # 4. Owners that end
//!
//! The thread that ends cannot write the word, which may not be mapped where it is. It makes the most urgent waiter the
//! *heir*: owner in the graph, but still in the queue, so that others who come see that the lock is not free. The heir writes
//! the word and leaves the queue; if it cannot, it passes the lock on.
//!
//! # 5. Whose number it is
//!
//! The number in the word is looked up without locks, and compared again under them ([`Candidate`]). A thread that is
//! ending is waited for: afterwards the word says that its owner died, or its number leads nowhere (`ESRCH`).

mod graph;
mod membership;
mod requeue;

use alloc::sync::Arc;

use abi::Errno;
use abi::process::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use mm::user::read_user_struct;
use sched::Policy;
use sync::keyed::Step;
use sync::{Parker, SpinLock, machine, rank};

use super::deadline::Deadline;
use super::key::{Key, Sharing};
use super::wait::{Ending, priority_of};
use super::word::{self, Absent};
use super::{ALL_BITS, Entry, QUEUES, Role, Woken};
use crate::SyscallResult;
use crate::error::Restart;
use crate::scheduling;
use crate::thread::Thread;
use graph::{Graph, LockId, Member};
use membership::{Absence, enter, enter_self};

pub(super) use graph::TaskId;
pub(super) use membership::{Membership, begin_leaving, end_leaving, end_without_locks};
pub(crate) use requeue::{requeue, wait_for_requeue};

type Owners = Graph<Arc<Thread>, Key>;
type Queue<'a> = sync::keyed::Queue<'a, Key, Role>;

/// Who waits for whom.
static OWNERS: SpinLock<Owners> = SpinLock::new(rank::FUTEX_OWNERS, Graph::new());

impl Member for Arc<Thread> {
    fn own_priority(&self) -> u8 {
        priority_of(self)
    }

    fn lend(&self, priority: u8) {
        match priority {
            0 => scheduling::unboost(self),
            priority => scheduling::boost(self, Policy::Fifo { priority }),
        }
    }
}

/// Gives every lock that the thread owns, and somebody waits for, to an heir.
pub(super) fn bequeath_all(thread: &Thread) {
    let membership = &thread.futex.membership;
    let first_owned = |owners: &Owners| membership.task().and_then(|me| owners.owned(me));
    loop {
        let Some((_, key)) = first_owned(&OWNERS.lock()) else { return };
        let mut queue = QUEUES.lock(&key);
        let mut owners = OWNERS.lock();
        // It may have changed; whatever the thread owns now will do, if it is here.
        let heir = match first_owned(&owners) {
            Some((lock, found)) if found == key => bequeath(&mut queue, &mut owners, lock, &key),
            _ => None,
        };
        drop(owners);
        drop(queue);
        if let Some(heir) = heir {
            heir.unpark();
        }
    }
}

/// Makes the most urgent waiter of a lock its heir, who is to be unparked after the locks. Without one, forgets the lock.
fn bequeath(queue: &mut Queue<'_>, owners: &mut Owners, lock: LockId, key: &Key) -> Option<Arc<Parker>> {
    let Some(heir) = owners.hand_over(lock, true) else {
        owners.drop_unused(lock);
        return None;
    };
    queue.walk(key, &mut Woken::new(), |entry| match entry.role {
        Role::Blocked(task) if task == heir => {
            entry.role = Role::Heir(task);
            Step::Stop
        }
        _ => Step::Stay,
    });
    Some(Arc::clone(owners.member(heir).parker()))
}

/// The thread that a word may name, looked up before the locks.
enum Candidate {
    /// Nothing was looked up yet.
    Unknown,
    /// A thread.
    Known { tid: u32, thread: Arc<Thread> },
    /// There is no thread of this number.
    Missing { tid: u32 },
}

impl Candidate {
    fn look_up(thread: &Thread, tid: u32) -> Self {
        let Some(found) = thread.process().system().thread(tid) else { return Self::Missing { tid } };
        match enter(&found) {
            Ok(_) => Self::Known { tid, thread: found },
            Err(Absence::Leaving) => {
                // Not for long, and then there is another word, or no such thread.
                found.futex.membership.wait_until_left();
                Self::Unknown
            }
            Err(Absence::Gone) => Self::Missing { tid },
        }
    }

    /// The owner of a lock whose word has this number. Under the lock of the graph.
    fn owner(&self, wanted: u32) -> Result<TaskId, Obstacle> {
        match self {
            Self::Known { tid, thread } if *tid == wanted => {
                let membership = &thread.futex.membership;
                membership.task().filter(|_| membership.check().is_ok()).ok_or(Obstacle::Owner(wanted))
            }
            Self::Missing { tid } if *tid == wanted => Err(Errno::ESRCH.into()),
            _ => Err(Obstacle::Owner(wanted)),
        }
    }
}

/// What keeps a call from going on under the locks.
enum Obstacle {
    /// It fails.
    Fatal(Errno),
    /// The word is not present.
    Absent(Absent),
    /// The word has changed.
    Changed,
    /// The thread of this number must be looked up.
    Owner(u32),
}

impl From<Errno> for Obstacle {
    fn from(errno: Errno) -> Self {
        Self::Fatal(errno)
    }
}

impl From<Absent> for Obstacle {
    fn from(absent: Absent) -> Self {
        Self::Absent(absent)
    }
}

impl Obstacle {
    /// Does what must be done without the locks, so that the call can start over.
    fn remove(self, thread: &Thread, candidate: &mut Candidate) -> Result<(), Errno> {
        match self {
            Self::Fatal(errno) => return Err(errno),
            Self::Absent(absent) => absent.resolve()?,
            Self::Changed => {}
            Self::Owner(tid) => *candidate = Candidate::look_up(thread, tid),
        }
        Ok(())
    }
}

/// A lock as a call found it.
enum Found {
    /// It was free, and the taker has it now. With a lock of the graph if that was asked for.
    Taken(Option<LockId>),
    /// It is held.
    Held(LockId),
}

/// Whom a lock is taken for.
#[derive(Clone, Copy)]
struct Taker {
    tid: u32,
    task: TaskId,
}

/// Takes a lock that is free, or finds out who holds it and makes the holder let go by a call. With `forces_waiters`, a lock that
/// is taken is to have waiters at once.
fn take_or_find(
    queue: &mut Queue<'_>,
    owners: &mut Owners,
    (key, address): (&Key, usize),
    taker: Taker,
    candidate: &Candidate,
    forces_waiters: bool,
) -> Result<Found, Obstacle> {
    let value = word::load(address)?;
    let tid = value & FUTEX_TID_MASK;
    if tid == taker.tid {
        return Err(Errno::EDEADLK.into());
    }
    if let Some(first) = queue.first(key) {
        return Ok(Found::Held(known_lock(owners, first.role, value)?));
    }
    if tid == 0 {
        let waiters = if forces_waiters { FUTEX_WAITERS } else { 0 };
        replace(address, value, value & FUTEX_OWNER_DIED | taker.tid | waiters)?;
        return Ok(Found::Taken(forces_waiters.then(|| owners.make_lock(*key, taker.task))));
    }
    // From now on the holder needs a call to let go, and that waits for the bucket.
    replace(address, value, value | FUTEX_WAITERS)?;
    let owner = candidate.owner(tid)?;
    Ok(Found::Held(owners.make_lock(*key, owner)))
}

fn replace(address: usize, old: u32, new: u32) -> Result<(), Obstacle> {
    word::exchange(address, old, new)?.map_err(|_| Obstacle::Changed)
}

/// The lock that a waiter waits for, if the word agrees with it. `EINVAL` if the program has changed one behind the other's back.
fn known_lock(owners: &Owners, role: Role, value: u32) -> Result<LockId, Errno> {
    let lock = lock_of(owners, role).ok_or(Errno::EINVAL)?;
    let tid = value & FUTEX_TID_MASK;
    let is_owners = tid == owners.member(owners.owner(lock)).tid();
    let is_consistent = match (value & FUTEX_OWNER_DIED != 0, owners.is_pending(lock)) {
        // The heir has not marked it yet.
        (true, true) => tid == 0,
        (true, false) => tid == 0 || is_owners,
        (false, true) => false,
        (false, false) => is_owners,
    };
    if is_consistent { Ok(lock) } else { Err(Errno::EINVAL) }
}

/// The lock behind a waiter.
fn lock_of(owners: &Owners, role: Role) -> Option<LockId> {
    match role {
        Role::Blocked(task) => owners.awaited(task),
        Role::Heir(task) => owners.inherited(task),
        Role::Plain | Role::ToBeMoved(_) | Role::Granted => None,
    }
}

/// `FUTEX_LOCK_PI`, and with `tries` `FUTEX_TRYLOCK_PI`: takes a lock, or waits for it. `EDEADLK` when that would never end,
/// `ESRCH` when its holder does not exist, `EINVAL` when word and waiters contradict each other.
pub(crate) fn lock(
    thread: &Thread,
    sharing: Sharing,
    address: usize,
    deadline: Deadline,
    tries: bool,
) -> SyscallResult {
    let me = enter_self(thread)?;
    let taker = Taker { tid: thread.tid(), task: me };
    let mut candidate = Candidate::Unknown;
    loop {
        let key = Key::of(thread.process(), sharing, address, true)?;
        let mut arrival = QUEUES.arrive(&key);
        let mut owners = OWNERS.lock();
        match take_or_find(arrival.queue(), &mut owners, (&key, address), taker, &candidate, false) {
            Ok(Found::Taken(_)) => return Ok(0),
            Ok(Found::Held(lock)) => {
                let is_blocked = !tries && owners.block(me, lock).is_ok();
                if !is_blocked {
                    owners.drop_unused(lock);
                    return Err(if tries { Errno::EAGAIN } else { Errno::EDEADLK }.into());
                }
                drop(owners);
                let role = Role::Blocked(me);
                arrival
                    .enqueue(&thread.futex.waiter, Entry { key, bits: ALL_BITS, priority: priority_of(thread), role });
                break;
            }
            Err(obstacle) => {
                drop(owners);
                drop(arrival);
                obstacle.remove(thread, &mut candidate)?;
            }
        }
    }
    match sleep(thread, me, address, deadline)?.0 {
        Ending::Woken => Ok(0),
        Ending::TimedOut => Err(Errno::ETIMEDOUT.into()),
        Ending::Interrupted => Err(Restart::Always.into()),
    }
}

/// Where a waiter was when it gave up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It had not been moved to its lock yet.
    BeforeLock,
    /// It waited for the lock.
    AtLock,
}

/// Sleeps until the lock at `address` is the thread's own.
fn sleep(thread: &Thread, me: TaskId, address: usize, deadline: Deadline) -> Result<(Ending, Stage), Errno> {
    let waiter = &thread.futex.waiter;
    loop {
        if waiter.is_free() {
            return Ok((Ending::Woken, Stage::AtLock));
        }
        if matches!(QUEUES.with_entry(waiter, |entry| entry.role), Some(Role::Heir(_))) {
            return claim(thread, me, address).map(|()| (Ending::Woken, Stage::AtLock));
        }
        let ending = if thread.is_interrupted() {
            Ending::Interrupted
        } else if deadline.park(thread) {
            Ending::TimedOut
        } else {
            continue;
        };
        if let Some(stage) = give_up(thread, me) {
            return Ok((ending, stage));
        }
        // It became the owner, or the heir, at the last moment. A thread that is to end must not sleep here again.
        waiter_settles(thread);
    }
}

/// Waits for the waker of a waiter that was taken, for a moment; one that is an heir is not taken.
fn waiter_settles(thread: &Thread) {
    if QUEUES.with_entry(&thread.futex.waiter, |_| ()).is_none() {
        QUEUES.cancel(&thread.futex.waiter);
    }
}

/// Leaves queue and graph. None: the lock is the thread's, or is about to be.
fn give_up(thread: &Thread, me: TaskId) -> Option<Stage> {
    let waiter = &thread.futex.waiter;
    loop {
        let key = QUEUES.with_entry(waiter, |entry| entry.key)?;
        let mut queue = QUEUES.lock(&key);
        let Some(role) = queue.entry_of(waiter).map(|entry| entry.role) else { continue };
        let mut owners = OWNERS.lock();
        let stage = match role {
            Role::Blocked(_) => {
                if let Some(lock) = owners.unblock(me) {
                    owners.drop_unused(lock);
                }
                Stage::AtLock
            }
            Role::ToBeMoved(_) => Stage::BeforeLock,
            Role::Plain | Role::Heir(_) | Role::Granted => return None,
        };
        drop(owners);
        queue.remove(waiter);
        return Some(stage);
    }
}

/// The heir of a lock marks it as its own. `EFAULT` if it cannot: then the next in line gets it.
fn claim(thread: &Thread, me: TaskId, address: usize) -> Result<(), Errno> {
    let waiter = &thread.futex.waiter;
    let mut is_reachable = true;
    loop {
        let Some(key) = QUEUES.with_entry(waiter, |entry| entry.key) else { return Ok(()) };
        let mut queue = QUEUES.lock(&key);
        let mut owners = OWNERS.lock();
        if !is_reachable {
            let heir = owners.settle(me).and_then(|lock| bequeath(&mut queue, &mut owners, lock, &key));
            drop(owners);
            queue.remove(waiter);
            drop(queue);
            if let Some(heir) = heir {
                heir.unpark();
            }
            return Err(Errno::EFAULT);
        }
        match word::update(address, |_| FUTEX_OWNER_DIED | FUTEX_WAITERS | thread.tid()) {
            Ok(_) => {
                if let Some(lock) = owners.settle(me) {
                    owners.drop_unused(lock);
                }
                drop(owners);
                queue.remove(waiter);
                return Ok(());
            }
            Err(absent) => {
                drop(owners);
                drop(queue);
                is_reachable = absent.resolve().is_ok();
            }
        }
    }
}

/// `FUTEX_UNLOCK_PI`: gives the lock to the most urgent waiter, or frees it. `EPERM` for who does not hold it.
pub(crate) fn unlock(thread: &Thread, sharing: Sharing, address: usize) -> SyscallResult {
    loop {
        let value: u32 = read_user_struct(address)?;
        if value & FUTEX_TID_MASK != thread.tid() {
            return Err(Errno::EPERM.into());
        }
        let key = Key::of(thread.process(), sharing, address, true)?;
        let mut woken = Woken::new();
        // The loan ends before the heir is awake: whoever is in between in urgency must not come first.
        machine::preemption_disable();
        let mut queue = QUEUES.lock(&key);
        let mut owners = OWNERS.lock();
        let outcome = release(thread, &mut queue, &mut owners, (&key, address), value, &mut woken);
        drop(owners);
        drop(queue);
        drop(woken);
        machine::preemption_enable();
        match outcome {
            Ok(()) => return Ok(0),
            Err(obstacle) => obstacle.remove(thread, &mut Candidate::Unknown)?,
        }
    }
}

/// Frees a lock whose word has this value, or hands it over.
fn release(
    thread: &Thread,
    queue: &mut Queue<'_>,
    owners: &mut Owners,
    (key, address): (&Key, usize),
    value: u32,
    woken: &mut Woken,
) -> Result<(), Obstacle> {
    let Some(first) = queue.first(key) else {
        // Neither bit matters any more. Who comes later is at the bucket's lock.
        return match word::exchange(address, value, 0)? {
            Ok(()) => Ok(()),
            Err(_) => Err(Errno::EAGAIN.into()),
        };
    };
    let lock = lock_of(owners, first.role).ok_or(Errno::EINVAL)?;
    let me = thread.futex.membership.task();
    let heir = owners.top(lock).ok_or(Errno::EINVAL)?;
    if me != Some(owners.owner(lock)) {
        return Err(Errno::EINVAL.into());
    }
    // The bit of a dead owner goes: this one lives.
    match word::exchange(address, value, FUTEX_WAITERS | owners.member(heir).tid())? {
        Ok(()) => {}
        // Someone came to wait.
        Err(found) if found & FUTEX_TID_MASK == value => return Err(Obstacle::Changed),
        Err(_) => return Err(Errno::EINVAL.into()),
    }
    owners.hand_over(lock, false);
    owners.drop_unused(lock);
    grant(queue, key, heir, woken);
    Ok(())
}

/// Wakes a waiter that has its lock.
fn grant(queue: &mut Queue<'_>, key: &Key, owner: TaskId, woken: &mut Woken) {
    queue.walk(key, woken, |entry| match entry.role {
        Role::Blocked(task) | Role::ToBeMoved(task) if task == owner => {
            entry.role = Role::Granted;
            Step::WakeAndStop
        }
        _ => Step::Stay,
    });
}

/// To be called when the priority of a thread was changed: as a waiter it may stand elsewhere now, and lend another one.
pub(crate) fn priority_changed(thread: &Thread) {
    // A thread that waits got its number before; one that does not needs nothing.
    if thread.futex.membership.task().is_some() {
        let mut owners = OWNERS.lock();
        if let Some(task) = thread.futex.membership.task() {
            owners.own_priority_changed(task);
        }
    }
}
