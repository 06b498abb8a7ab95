//! Waiting for a condition and getting the lock with it: `FUTEX_WAIT_REQUEUE_PI` and `FUTEX_CMP_REQUEUE_PI`.
//!
//! The waiter says beforehand to which lock it will be moved, so that the one who moves it can take the lock for it, or make
//! it wait for the lock, in its absence. A waiter is woken only as the owner of the lock.

use abi::Errno;
use abi::process::FUTEX_TID_MASK;
use sync::keyed::Step;

use super::super::wait::{Queued, enqueue};
use super::super::wake::Both;
use super::{
    ALL_BITS, Candidate, Deadline, Ending, Entry, Found, Key, LockId, OWNERS, Obstacle, Owners, QUEUES, Role, Sharing,
    Stage, Taker, TaskId, Woken, enter_self, grant, priority_of, sleep, take_or_find,
};
use crate::SyscallResult;
use crate::error::Restart;
use crate::futex::word;
use crate::thread::Thread;

/// `FUTEX_WAIT_REQUEUE_PI`: waits for the first word, if it has this value, until [`requeue`] moves the thread to the lock at the
/// second word, and then until the lock is its own.
pub(crate) fn wait_for_requeue(
    thread: &Thread,
    sharing: Sharing,
    address: usize,
    value: u32,
    deadline: Deadline,
    lock: usize,
) -> SyscallResult {
    if address == lock {
        return Err(Errno::EINVAL.into());
    }
    let me = enter_self(thread)?;
    loop {
        let target = Key::of(thread.process(), sharing, lock, true)?;
        let key = Key::of(thread.process(), sharing, address, false)?;
        if key == target {
            // The same word by two ways. A wrong value is told first.
            return Err(if word::load_faulting(address)? == value { Errno::EINVAL } else { Errno::EAGAIN }.into());
        }
        OWNERS.lock().set_target(me, Some(target));
        let entry = Entry { key, bits: ALL_BITS, priority: priority_of(thread), role: Role::ToBeMoved(me) };
        match enqueue(&thread.futex.waiter, entry, address, value)? {
            Queued::Yes => break,
            Queued::Again => {}
        }
    }
    match sleep(thread, me, lock, deadline)? {
        (Ending::Woken, _) => Ok(0),
        (Ending::TimedOut, _) => Err(Errno::ETIMEDOUT.into()),
        (Ending::Interrupted, Stage::BeforeLock) => Err(Restart::Always.into()),
        // Begun again it would find that the word has changed; so it says that at once.
        (Ending::Interrupted, Stage::AtLock) => Err(Errno::EAGAIN.into()),
    }
}

/// `FUTEX_CMP_REQUEUE_PI`: if the first word has the value `expected`, takes the lock at the second word for the first waiter and
/// wakes it, or makes it wait for the lock, and moves `limit` more. Answers how many.
pub(crate) fn requeue(thread: &Thread, both: Both, wake: i32, limit: i32, expected: u32) -> SyscallResult {
    // One at most gets the lock, and no other can be woken.
    if wake < 0 || limit < 0 || both.first == both.second || wake != 1 {
        return Err(Errno::EINVAL.into());
    }
    enter_self(thread)?;
    let mut candidate = Candidate::Unknown;
    loop {
        let first = Key::of(thread.process(), both.sharing, both.first, false)?;
        let second = Key::of(thread.process(), both.sharing, both.second, true)?;
        if first == second {
            return Err(Errno::EINVAL.into());
        }
        let mut woken = Woken::new();
        let mut queues = QUEUES.lock_two(&first, &second);
        let mut owners = OWNERS.lock();
        let keys = Keys { first, second };
        let outcome = transfer(&mut queues, &mut owners, keys, both, limit, expected, &candidate, &mut woken);
        drop(owners);
        drop(queues);
        drop(woken);
        match outcome {
            Ok(count) => return Ok(usize::try_from(count).unwrap_or(0)),
            Err(obstacle) => obstacle.remove(thread, &mut candidate)?,
        }
    }
}

#[derive(Clone, Copy)]
struct Keys {
    first: Key,
    second: Key,
}

#[expect(clippy::too_many_arguments, reason = "everything that is locked, and the arguments of the call")]
fn transfer(
    queues: &mut sync::keyed::TwoQueues<'_, Key, Role>,
    owners: &mut Owners,
    keys: Keys,
    both: Both,
    limit: i32,
    expected: u32,
    candidate: &Candidate,
    woken: &mut Woken,
) -> Result<i32, Obstacle> {
    if word::load(both.first)? != expected {
        return Err(Errno::EAGAIN.into());
    }
    let Some(top) = queues.first().first(&keys.first) else {
        // The word of the lock is looked at all the same.
        word::load(both.second)?;
        return Ok(0);
    };
    let task = movable(owners, top.role, &keys.second)?;
    let taker = Taker { tid: owners.member(task).tid() & FUTEX_TID_MASK, task };
    let place = (&keys.second, both.second);
    let (lock, taken) = match take_or_find(queues.second(), owners, place, taker, candidate, limit > 0)? {
        Found::Taken(lock) => {
            grant(queues.first(), &keys.first, task, woken);
            (lock, 1)
        }
        Found::Held(lock) => (Some(lock), 0),
    };
    let Some(lock) = lock else { return Ok(taken) };
    let moved = move_waiters(queues, owners, keys, lock, (taken, limit), woken);
    owners.drop_unused(lock);
    moved.map_err(Obstacle::from)
}

/// The task of a waiter that may be moved to the lock with this key.
fn movable(owners: &Owners, role: Role, lock: &Key) -> Result<TaskId, Errno> {
    match role {
        Role::ToBeMoved(task) if owners.target(task).as_ref() == Some(lock) => Ok(task),
        _ => Err(Errno::EINVAL),
    }
}

/// Makes waiters wait for the lock, until one and `limit` more have been reached. Answers how many have.
fn move_waiters(
    queues: &mut sync::keyed::TwoQueues<'_, Key, Role>,
    owners: &mut Owners,
    keys: Keys,
    lock: LockId,
    (taken, limit): (i32, i32),
    woken: &mut Woken,
) -> Result<i32, Errno> {
    let mut reached = taken;
    let mut outcome = Ok(());
    queues.walk_first(&keys.first, woken, |entry| {
        if reached > limit {
            return Step::Stop;
        }
        let moved = movable(owners, entry.role, &keys.second)
            .and_then(|task| owners.block(task, lock).map(|()| task).map_err(|_| Errno::EDEADLK));
        match moved {
            Ok(task) => {
                reached += 1;
                entry.role = Role::Blocked(task);
                Step::Move(keys.second)
            }
            Err(errno) => {
                outcome = Err(errno);
                Step::Stop
            }
        }
    });
    outcome.map(|()| reached)
}
