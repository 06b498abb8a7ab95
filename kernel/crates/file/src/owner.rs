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
    /// Kind in the upper half, number in the lower; 0 for nobody.
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
        Owner::unpack(self.owner.load(Relaxed))
    }

    /// Sets who is told.
    pub fn set(&self, owner: Owner, users: OwnerUsers) {
        self.owner.store(owner.pack(), Relaxed);
        self.users.store(users.pack(), Relaxed);
    }

    /// Sets who is told, unless somebody is.
    pub fn set_if_none(&self, owner: Owner, users: OwnerUsers) {
        // Somebody else's owner is as good.
        if self.owner.compare_exchange(0, owner.pack(), Relaxed, Relaxed).is_ok() {
            self.users.store(users.pack(), Relaxed);
        }
    }

    /// Nobody is told any more. For whom the last owner was set stays known.
    pub fn clear(&self) {
        self.owner.store(0, Relaxed);
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

impl Owner {
    fn pack(self) -> u64 {
        let kind = match self.kind {
            OwnerKind::Thread => 1,
            OwnerKind::Process => 2,
            OwnerKind::Group => 3,
        };
        pack(kind, self.id)
    }

    fn unpack(word: u64) -> Option<Self> {
        let (kind, id) = unpack(word);
        let kind = match kind {
            1 => OwnerKind::Thread,
            2 => OwnerKind::Process,
            3 => OwnerKind::Group,
            _ => return None,
        };
        Some(Self { kind, id })
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
