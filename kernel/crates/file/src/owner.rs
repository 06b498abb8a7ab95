//! [`FileOwner`]: who is told by a signal what happens to an open file (`F_SETOWN`, `F_SETSIG`, `O_ASYNC`).
//!
//! Few files have one, and it is made when it is first asked for. It outlives the open file where a signal is on its
//! way. What listens to the file is kept here as well, with what it listens for, and ends with the open file.
//!
//! Lock: [`rank::FD_TABLE`] around the listener, held while what it listens for changes.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};

use sync::{Mutex, MutexGuard, rank};

/// Who listens to a file for its owner.
pub trait OwnerListener: Send + Sync {
    /// The owner is to be told of these things from now on, as bits that the listener knows; 0 for nothing.
    fn listen_for(&self, wanted: u32);
}

/// What the number of an owner means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerKind {
    /// A thread (`F_OWNER_TID`).
    Thread,
    /// A process (`F_OWNER_PID`).
    Process,
    /// All processes of a group (`F_OWNER_PGRP`).
    Group,
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// What the number means.
    pub kind: OwnerKind,
    /// The number, positive.
    pub id: u32,
}

/// The users for whom an owner was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerUsers {
    /// The real one.
    pub real: u32,
    /// The effective one.
    pub effective: u32,
}

/// Who is told, and by which signal.
pub struct FileOwner {
    /// Kind in the upper half, number in the lower; the number 0 for nobody.
    owner: AtomicU64,
    /// The real user in the upper half, the effective one in the lower.
    users: AtomicU64,
    signal: AtomicU32,
    wanted: AtomicU32,
    descriptor: AtomicI32,
    listener: Mutex<Option<Arc<dyn OwnerListener>>>,
}

impl FileOwner {
    /// Nobody.
    pub(crate) fn new() -> Self {
        Self {
            owner: AtomicU64::new(0),
            users: AtomicU64::new(0),
            signal: AtomicU32::new(0),
            wanted: AtomicU32::new(0),
            descriptor: AtomicI32::new(-1),
            listener: Mutex::new(rank::FD_TABLE, None),
        }
    }

    /// Who is told.
    pub fn get(&self) -> Option<Owner> {
        let (kind, id) = unpack(self.owner.load(Relaxed));
        (id != 0).then(|| Owner { kind: OwnerKind::unpack(kind), id })
    }

    /// The kind of who is told, or as which nobody was set.
    pub fn kind(&self) -> OwnerKind {
        OwnerKind::unpack(unpack(self.owner.load(Relaxed)).0)
    }

    /// Sets who is told.
    pub fn set(&self, owner: Owner, users: OwnerUsers) {
        self.owner.store(owner.pack(), Relaxed);
        self.users.store(users.pack(), Relaxed);
    }

    /// Sets who is told, unless somebody is.
    pub fn set_if_none(&self, owner: Owner, users: OwnerUsers) {
        // Somebody else's owner is as good.
        let set = |old: u64| (unpack(old).1 == 0).then(|| owner.pack());
        if self.owner.fetch_update(Relaxed, Relaxed, set).is_ok() {
            self.users.store(users.pack(), Relaxed);
        }
    }

    /// Nobody is told any more. For whom the last owner was set stays known.
    pub fn clear(&self, kind: OwnerKind) {
        self.owner.store(Owner { kind, id: 0 }.pack(), Relaxed);
    }

    /// For whom the owner was set, or the last one.
    pub fn users(&self) -> OwnerUsers {
        OwnerUsers::unpack(self.users.load(Relaxed))
    }

    /// The signal instead of `SIGIO`, with information; 0 for `SIGIO` without.
    pub fn signal(&self) -> u32 {
        self.signal.load(Relaxed)
    }

    /// Sets [`FileOwner::signal`].
    pub fn set_signal(&self, signal: u32) {
        self.signal.store(signal, Relaxed);
    }

    /// What the owner is told of, as bits that the listener knows.
    pub fn wanted(&self) -> u32 {
        self.wanted.load(Relaxed)
    }

    /// The descriptor that the information of signals names.
    pub fn descriptor(&self) -> i32 {
        self.descriptor.load(Relaxed)
    }

    /// Sets [`FileOwner::descriptor`].
    pub fn set_descriptor(&self, fd: i32) {
        self.descriptor.store(fd, Relaxed);
    }

    /// The right to change what the owner is told of, which one at a time has.
    pub fn listening(&self) -> Listening<'_> {
        Listening { owner: self, listener: self.listener.lock() }
    }
}

/// See [`FileOwner::listening`].
pub struct Listening<'a> {
    owner: &'a FileOwner,
    listener: MutexGuard<'a, Option<Arc<dyn OwnerListener>>>,
}

impl Listening<'_> {
    /// Has the owner told of `bits` among those of `mask`. `make` makes who listens, if nobody does yet.
    pub fn want<E>(
        &mut self,
        mask: u32,
        bits: u32,
        make: impl FnOnce() -> Result<Arc<dyn OwnerListener>, E>,
    ) -> Result<(), E> {
        let wanted = self.owner.wanted() & !mask | bits & mask;
        if wanted != 0 && self.listener.is_none() {
            *self.listener = Some(make()?);
        }
        self.owner.wanted.store(wanted, Relaxed);
        if let Some(listener) = &*self.listener {
            listener.listen_for(wanted);
        }
        if wanted == 0 {
            *self.listener = None;
        }
        Ok(())
    }

    /// The open file is gone.
    pub(crate) fn end(mut self) {
        if let Some(listener) = self.listener.take() {
            listener.listen_for(0);
        }
    }
}

/// Two halves of a word.
fn pack(upper: u32, lower: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}

/// The halves of a word.
fn unpack(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

impl OwnerKind {
    /// [`OwnerKind::Thread`] for 0, which is what an owner has that was never set.
    fn unpack(kind: u32) -> Self {
        [Self::Thread, Self::Process, Self::Group].into_iter().find(|each| *each as u32 == kind).unwrap_or(Self::Thread)
    }
}

impl Owner {
    fn pack(self) -> u64 {
        pack(self.kind as u32, self.id)
    }
}

impl OwnerUsers {
    fn pack(self) -> u64 {
        pack(self.real, self.effective)
    }

    fn unpack(word: u64) -> Self {
        let (real, effective) = unpack(word);
        Self { real, effective }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use std::sync::Mutex;

    use abi::{Errno, OpenFlags};
    // Defines the functions of the machine.
    use testkit as _;

    use super::*;
    use crate::OpenFile;
    use crate::eventfd::EventFd;

    #[derive(Default)]
    struct Heard(Mutex<Vec<u32>>);

    impl OwnerListener for Heard {
        fn listen_for(&self, wanted: u32) {
            self.0.lock().unwrap().push(wanted);
        }
    }

    #[test]
    fn whoever_listens_hears_what_for_and_ends_with_the_file() {
        let open = OpenFile::new(EventFd::new(0, false), OpenFlags::empty());
        let heard = Arc::new(Heard::default());
        let want = |mask, bits| {
            open.owner().listening().want(mask, bits, || Ok::<_, Errno>(Arc::clone(&heard) as Arc<dyn OwnerListener>))
        };
        let wants_none = || open.owner().listening().want(7, 1, || Err(Errno::EAGAIN));
        assert_eq!(wants_none(), Err(Errno::EAGAIN));
        assert_eq!(open.owner().wanted(), 0);
        want(3, 1).unwrap();
        want(4, 4).unwrap();
        // Nobody need be made any more.
        wants_none().unwrap();
        want(7, 0).unwrap();
        assert_eq!(wants_none(), Err(Errno::EAGAIN));
        want(3, 2).unwrap();
        drop(open);
        assert_eq!(*heard.0.lock().unwrap(), [1, 5, 1, 0, 2, 0]);
        assert_eq!(Arc::strong_count(&heard), 1);
    }

    #[test]
    fn nobody_has_a_kind() {
        let owner = FileOwner::new();
        assert_eq!((owner.get(), owner.kind()), (None, OwnerKind::Thread));
        let [first, second] = [3, 4].map(|id| Owner { kind: OwnerKind::Process, id });
        let [some, others] = [5, 6].map(|user| OwnerUsers { real: user, effective: user + 10 });
        owner.clear(OwnerKind::Group);
        assert_eq!((owner.get(), owner.kind()), (None, OwnerKind::Group));
        owner.set_if_none(first, some);
        owner.set_if_none(second, others);
        assert_eq!((owner.get(), owner.users()), (Some(first), some));
        owner.set(second, others);
        owner.clear(OwnerKind::Process);
        assert_eq!((owner.get(), owner.users()), (None, others));
    }
}
