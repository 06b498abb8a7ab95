//! [`Membership`]: which threads take part in priority inheritance, and how they leave.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed, Ordering::SeqCst, fence};

use abi::Errno;
use sync::{Mutex, MutexGuard, rank};

use super::OWNERS;
use super::graph::{NoRoom, Room, TaskId};
use crate::thread::Thread;

/// It lives.
const ALIVE: u8 = 0;
/// It is letting go of its locks.
const LEAVING: u8 = 1;
/// It has let go, and takes no more.
const GONE: u8 = 2;

/// What a thread has of locks with priority inheritance.
///
/// A thread that ends and never took part takes no lock of everybody. It stores its state and then looks at its number; who
/// enters it stores the number and then looks at its state, and takes it out again if the thread is not alive.
pub(in super::super) struct Membership {
    /// One more than its number in the graph; 0 before it has one. Changed under the lock of the graph.
    task: AtomicU32,
    /// [`ALIVE`], [`LEAVING`] or [`GONE`]. Changed by the thread itself.
    state: AtomicU8,
    /// Held while it is leaving.
    leaving: Mutex<()>,
}

impl Membership {
    pub(in super::super) const fn new() -> Self {
        Self { task: AtomicU32::new(0), state: AtomicU8::new(ALIVE), leaving: Mutex::new(rank::FUTEX_EXIT, ()) }
    }

    pub(super) fn task(&self) -> Option<TaskId> {
        TaskId::from_word(self.task.load(Relaxed))
    }

    fn set_task(&self, task: Option<TaskId>) {
        self.task.store(task.map_or(0, TaskId::to_word), Relaxed);
        fence(SeqCst);
    }

    fn set_state(&self, state: u8) {
        self.state.store(state, Relaxed);
        fence(SeqCst);
    }

    /// Whether the thread may own locks.
    pub(super) fn check(&self) -> Result<(), Absence> {
        match self.state.load(Relaxed) {
            ALIVE => Ok(()),
            LEAVING => Err(Absence::Leaving),
            _ => Err(Absence::Gone),
        }
    }
}

impl Membership {
    /// Waits until the thread has let go, if it is about to.
    pub(super) fn wait_until_left(&self) {
        drop(self.leaving.lock());
    }
}

/// Why a thread cannot take part.
pub(super) enum Absence {
    /// It is about to let go of what it has.
    Leaving,
    /// It is gone.
    Gone,
}

/// The number of a thread in the graph, which it is entered in.
pub(super) fn enter(thread: &Arc<Thread>) -> Result<TaskId, Absence> {
    let membership = &thread.futex.membership;
    let mut member = Arc::clone(thread);
    loop {
        let mut owners = OWNERS.lock();
        membership.check()?;
        if let Some(task) = membership.task() {
            return Ok(task);
        }
        match owners.enter(member) {
            Ok(task) => {
                membership.set_task(Some(task));
                let Err(absence) = membership.check() else { return Ok(task) };
                membership.set_task(None);
                let member = owners.leave(task);
                drop(owners);
                drop(member);
                return Err(absence);
            }
            Err((NoRoom, back)) => member = back,
        }
        let slots = owners.room();
        drop(owners);
        let room = Room::beyond(slots);
        let mut owners = OWNERS.lock();
        let old = if owners.is_full() { owners.grow(room) } else { room };
        drop(owners);
        drop(old);
    }
}

/// The number of the calling thread in the graph.
pub(super) fn enter_self(thread: &Thread) -> Result<TaskId, Errno> {
    if let Some(task) = thread.futex.membership.task() {
        return Ok(task);
    }
    let own = thread.process().system().thread(thread.tid()).ok_or(Errno::ESRCH)?;
    enter(&own).map_err(|_| Errno::ESRCH)
}

/// Ends a thread that has nothing to let go of. False: it has.
pub(in super::super) fn end_without_locks(thread: &Thread) -> bool {
    let membership = &thread.futex.membership;
    membership.set_state(GONE);
    membership.task().is_none()
}

/// Begins to let go of everything; the guard is kept until that is done.
pub(in super::super) fn begin_leaving(thread: &Thread) -> MutexGuard<'_, ()> {
    let membership = &thread.futex.membership;
    let guard = membership.leaving.lock();
    if membership.check().is_ok() {
        membership.set_state(LEAVING);
    }
    guard
}

/// Has let go. `is_end`: the thread ends.
pub(in super::super) fn end_leaving(thread: &Thread, guard: MutexGuard<'_, ()>, is_end: bool) {
    let membership = &thread.futex.membership;
    if is_end {
        membership.set_state(GONE);
        let mut owners = OWNERS.lock();
        let member = membership.task().map(|task| owners.leave(task));
        membership.set_task(None);
        drop(owners);
        drop(member);
    } else if membership.state.load(Relaxed) == LEAVING {
        membership.set_state(ALIVE);
    }
    drop(guard);
}
