//! Robust lists: the locks that a thread holds, linked in the program's own memory, so that the kernel can tell others when
//! the thread ends without letting go of them (`Documentation/locking/robust-futex-ABI.rst` of Linux).
//!
//! The list is the program's and trusted for nothing: it may be cut, circular, or lie in memory that is not there. The walk
//! stops at the first thing that is wrong, and after [`ENTRIES_MAX`].

use core::sync::atomic::Ordering::Relaxed;

use abi::RobustListHead;
use abi::process::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use mm::user::read_user_struct;

use super::key::{Sharing, WORD_LEN};
use super::wake::{Count, wake_in};
use super::{ALL_BITS, word};
use crate::thread::Thread;

/// The most locks that are let go (Linux's `ROBUST_LIST_LIMIT`).
const ENTRIES_MAX: usize = 2048;

/// Set in a pointer to a lock with priority inheritance.
const IS_PI: u64 = 1;

/// A pointer of the list.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Link {
    address: u64,
    is_pi: bool,
}

impl Link {
    fn from_word(word: u64) -> Self {
        Self { address: word & !IS_PI, is_pi: word & IS_PI != 0 }
    }

    fn read(address: u64) -> Option<Self> {
        read_user_struct(usize::try_from(address).ok()?).ok().map(Self::from_word)
    }

    /// The address of the lock's word.
    fn word(self, offset: i64) -> Option<usize> {
        usize::try_from(self.address.wrapping_add_signed(offset)).ok()
    }
}

/// A lock could not be let go: the list is not to be believed.
struct Broken;

/// Lets go of every lock on the thread's list, and takes the list away.
pub(super) fn release_all(thread: &Thread) {
    let head = thread.futex.robust_list.swap(0, Relaxed);
    if head != 0 {
        // What is wrong with it is the program's affair.
        let _ = walk(thread, head);
    }
}

fn walk(thread: &Thread, address: usize) -> Option<()> {
    let head: RobustListHead = read_user_struct(address).ok()?;
    let offset = head.futex_offset;
    // A lock that was about to be taken or let go when the thread ended. It may be on the list as well.
    let pending = Link::from_word(head.list_op_pending);
    let mut link = Link::from_word(head.list);
    let mut left = ENTRIES_MAX;
    while link.address != address as u64 {
        // First, as the next thread may use the lock's memory for something else.
        let next = Link::read(link.address);
        if link.address != pending.address {
            owner_died(thread, link.word(offset)?, link.is_pi, false).ok()?;
        }
        link = next?;
        left -= 1;
        if left == 0 {
            break;
        }
    }
    if pending.address != 0 {
        owner_died(thread, pending.word(offset)?, pending.is_pi, true).ok()?;
    }
    Some(())
}

/// Marks a lock that the thread holds as one whose owner died, and wakes a waiter. A lock with priority inheritance has its
/// waiters woken elsewhere.
fn owner_died(thread: &Thread, address: usize, is_pi: bool, is_pending: bool) -> Result<(), Broken> {
    if !address.is_multiple_of(WORD_LEN) || mm::user::check_range(address, WORD_LEN).is_err() {
        return Err(Broken);
    }
    loop {
        let value = word::load_faulting(address).map_err(|_| Broken)?;
        let owner = value & FUTEX_TID_MASK;
        if is_pending && !is_pi && owner == 0 {
            // It may have ended between letting the lock go and waking, or between being woken and taking it: the wake that
            // is missing costs nothing if it is not.
            wake_one(thread, address);
            return Ok(());
        }
        if owner != thread.tid() {
            return Ok(());
        }
        match word::exchange(address, value, value & FUTEX_WAITERS | FUTEX_OWNER_DIED) {
            Ok(Ok(())) => {}
            Ok(Err(_)) => continue,
            Err(absent) => {
                absent.resolve().map_err(|_| Broken)?;
                continue;
            }
        }
        if !is_pi && value & FUTEX_WAITERS != 0 {
            wake_one(thread, address);
        }
        return Ok(());
    }
}

fn wake_one(thread: &Thread, address: usize) {
    // The word may be gone by now.
    let _ = wake_in(thread.process(), Sharing::Shared, address, Count::at_most(1), ALL_BITS);
}
