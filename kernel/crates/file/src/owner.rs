//! [`FileOwner`]: who is told by a signal what happens to an open file (`F_SETOWN`, `F_SETSIG`, `O_ASYNC`).
//!
//! Few files have one, and it is made when it is first asked for. It outlives the open file where a signal is on its
//! way. What listens to the file is kept here as well, with what it listens for, and ends with the open file.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use sync::{SpinLock, rank};

use crate::ReleaseWatcher;

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

/// Who is told, and by which signal.
pub struct FileOwner {
    /// Kind in the upper half, number in the lower; 0 for nobody.
    owner: AtomicU64,
    signal: AtomicU32,
    wanted: AtomicU32,
    descriptor: AtomicI32,
    /// What `F_SET_RW_HINT` says of a file that has no inode to keep it.
    pub write_hint: AtomicU8,
    listener: SpinLock<Option<Arc<dyn ReleaseWatcher>>>,
}

impl FileOwner {
    /// Nobody.
    pub(crate) fn new() -> Self {
        Self {
            owner: AtomicU64::new(0),
            signal: AtomicU32::new(0),
            wanted: AtomicU32::new(0),
            descriptor: AtomicI32::new(-1),
            write_hint: AtomicU8::new(0),
            listener: SpinLock::new(rank::FILE_TABLES, None),
        }
    }

    /// Who is told.
    pub fn get(&self) -> Option<Owner> {
        let packed = self.owner.load(Relaxed);
        let kind = match packed >> 32 {
            1 => OwnerKind::Thread,
            2 => OwnerKind::Process,
            3 => OwnerKind::Group,
            _ => return None,
        };
        Some(Owner { kind, id: u32::try_from(packed & u64::from(u32::MAX)).unwrap_or(0) })
    }

    /// Sets who is told.
    pub fn set(&self, owner: Option<Owner>) {
        self.owner.store(owner.map_or(0, pack), Relaxed);
    }

    /// Sets who is told, unless somebody is.
    pub fn set_if_none(&self, owner: Owner) {
        // Somebody else's owner is as good.
        let _ = self.owner.compare_exchange(0, pack(owner), Relaxed, Relaxed);
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

    /// Changes [`FileOwner::wanted`]: `bits` in the places of `mask`. Answers what it was and what it is.
    pub fn want(&self, mask: u32, bits: u32) -> (u32, u32) {
        let change = |old: u32| old & !mask | bits & mask;
        let before = self.wanted.fetch_update(Relaxed, Relaxed, |old| Some(change(old))).unwrap_or_else(|old| old);
        (before, change(before))
    }

    /// The descriptor that the information of signals names.
    pub fn descriptor(&self) -> i32 {
        self.descriptor.load(Relaxed)
    }

    /// Sets [`FileOwner::descriptor`].
    pub fn set_descriptor(&self, fd: i32) {
        self.descriptor.store(fd, Relaxed);
    }

    /// Takes another listener, or none; the old one is told that its file is gone.
    pub fn replace_listener(&self, listener: Option<Arc<dyn ReleaseWatcher>>) {
        let old = core::mem::replace(&mut *self.listener.lock(), listener);
        if let Some(old) = old {
            old.open_file_released();
        }
    }
}

fn pack(owner: Owner) -> u64 {
    let kind = match owner.kind {
        OwnerKind::Thread => 1,
        OwnerKind::Process => 2,
        OwnerKind::Group => 3,
    };
    kind << 32 | u64::from(owner.id)
}
