//! [`FileOwner`]: who is told by a signal what happens to an open file (`F_SETOWN`, `F_SETSIG`, `O_ASYNC`).
//!
//! Few files have one, and it is made when it is first asked for. It outlives the open file where a signal is on its
//! way. What listens to the file is kept here as well, with what it listens for, and ends with the open file.
//!
//! Lock: [`rank::FD_TABLE`] around the listener, held while what it listens for changes.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

use sync::{Mutex, MutexGuard, SeqLock, rank};

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
    /// Of the owner, the kind in the upper half and the number in the lower; the number 0 for nobody. Of the users, the real one in
    /// the upper half and the effective one in the lower. Who set the one has set the other.
    owner_and_users: SeqLock<[u64; 2], 2>,
    signal: AtomicU32,
    wanted: AtomicU32,
    descriptor: AtomicI32,
    listener: Mutex<Option<Arc<dyn OwnerListener>>>,
}

impl FileOwner {
    /// Nobody.
    pub(crate) fn new() -> Self {
        Self {
            owner_and_users: SeqLock::zeroed(),
            signal: AtomicU32::new(0),
            wanted: AtomicU32::new(0),
            descriptor: AtomicI32::new(-1),
            listener: Mutex::new(rank::FD_TABLE, None),
        }
    }

    /// Who is told.
    pub fn get(&self) -> Option<Owner> {
        let (kind, id) = self.kind_and_number();
        (id != 0).then_some(Owner { kind, id })
    }

    /// The kind of who is told, or as which nobody was set.
    pub fn kind(&self) -> OwnerKind {
        self.kind_and_number().0
    }

    fn kind_and_number(&self) -> (OwnerKind, u32) {
        let [owner, _] = self.owner_and_users.read();
        let (kind, id) = unpack(owner);
        (OwnerKind::unpack(kind), id)
    }

    /// Sets who is told.
    pub fn set(&self, owner: Owner, users: OwnerUsers) {
        self.owner_and_users.write([owner.pack(), users.pack()]);
    }

    /// Sets who is told, unless somebody is.
    pub fn set_if_none(&self, owner: Owner, users: OwnerUsers) {
        self.owner_and_users.update(|old| match unpack(old[0]) {
            (_, 0) => [owner.pack(), users.pack()],
            // Somebody else's owner is as good.
            _ => old,
        });
    }

    /// Nobody is told any more. For whom the last owner was set stays known.
    pub fn clear(&self, kind: OwnerKind) {
        self.owner_and_users.update(|[_, users]| [Owner { kind, id: 0 }.pack(), users]);
    }

    /// For whom the owner was set, or the last one.
    pub fn users(&self) -> OwnerUsers {
        let [_, users] = self.owner_and_users.read();
        OwnerUsers::unpack(users)
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
    fn an_owner_is_never_seen_with_the_users_of_another() {
        const ROUNDS: u32 = 2_000;
        let owner = Arc::new(FileOwner::new());
        let setters: Vec<_> = (1..=3)
            .map(|id| {
                let owner = Arc::clone(&owner);
                std::thread::spawn(move || {
                    for _ in 0..ROUNDS {
                        owner.set(Owner { kind: OwnerKind::Process, id }, OwnerUsers { real: id, effective: id });
                        owner.clear(OwnerKind::Process);
                        owner
                            .set_if_none(Owner { kind: OwnerKind::Thread, id }, OwnerUsers { real: id, effective: id });
                    }
                })
            })
            .collect();
        while setters.iter().any(|setter| !setter.is_finished()) {
            let [word, users] = owner.owner_and_users.read();
            let (id, user) = (unpack(word).1, OwnerUsers::unpack(users).real);
            assert!(id == 0 || id == user, "owner {id} with the users of {user}");
        }
        setters.into_iter().for_each(|setter| setter.join().unwrap());
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
