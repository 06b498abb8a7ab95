//! [`Seals`]: what can no longer be done to a file in memory (`F_ADD_SEALS`).
//!
//! Seals are only ever added, under the inode's lock, which writers and changes of size hold as well. A seal against writing is refused
//! as long as a mapping may store in the file: mappings are counted, and begin under the same lock.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::Errno;
use bitflags::bitflags;

bitflags! {
    /// `F_SEAL_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SealFlags: u32 {
        /// No more seals.
        const SEAL = 0x1;
        /// It gets no shorter.
        const SHRINK = 0x2;
        /// It gets no longer.
        const GROW = 0x4;
        /// Its contents do not change.
        const WRITE = 0x8;
        /// Its contents change by mappings there are, and by nothing else.
        const FUTURE_WRITE = 0x10;
        /// Its execute bits do not change.
        const EXEC = 0x20;
    }
}

/// The seals of a file.
pub struct Seals {
    flags: AtomicU32,
    /// Shared mappings that store, or may be made to.
    writable_mappings: AtomicU32,
}

impl Seals {
    /// These seals, and no mappings.
    pub(crate) const fn new(flags: SealFlags) -> Self {
        Self { flags: AtomicU32::new(flags.bits()), writable_mappings: AtomicU32::new(0) }
    }

    /// The seals there are.
    #[inline]
    pub fn get(&self) -> SealFlags {
        SealFlags::from_bits_truncate(self.flags.load(Relaxed))
    }

    /// Replaces the seals of a new file.
    pub(crate) fn set(&self, flags: SealFlags) {
        self.flags.store(flags.bits(), Relaxed);
    }

    /// Adds seals, under the inode's lock, to a file of this mode. `EPERM` when there are to be no more, `EBUSY` while mappings store.
    pub(crate) fn add(&self, new: SealFlags, mode: u32) -> Result<(), Errno> {
        let old = self.get();
        if old.contains(SealFlags::SEAL) {
            return Err(Errno::EPERM);
        }
        let mut new = new;
        if new.contains(SealFlags::EXEC) && mode & 0o111 != 0 {
            // What can be executed and stays so cannot be written either.
            new |= SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::FUTURE_WRITE;
        }
        let denies_writing = new.contains(SealFlags::WRITE) && !old.contains(SealFlags::WRITE);
        if denies_writing && self.writable_mappings.load(Relaxed) > 0 {
            return Err(Errno::EBUSY);
        }
        self.set(old | new);
        Ok(())
    }

    /// Whether the contents may be changed, up to a new end of the file.
    #[inline]
    pub(crate) fn check_write(&self, size: u64, end: u64) -> Result<(), Errno> {
        let seals = self.get();
        if seals.difference(SealFlags::SEAL | SealFlags::EXEC).is_empty() {
            return Ok(());
        }
        let is_denied = seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE)
            || seals.contains(SealFlags::GROW) && end > size;
        if is_denied { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Whether the length may change so.
    pub(crate) fn check_len(&self, size: u64, new: u64) -> Result<(), Errno> {
        let seals = self.get();
        let is_denied =
            seals.contains(SealFlags::SHRINK) && new < size || seals.contains(SealFlags::GROW) && new > size;
        if is_denied { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Whether the permission bits may change so.
    pub(crate) fn check_mode(&self, old: u32, new: u32) -> Result<(), Errno> {
        let is_denied = self.get().contains(SealFlags::EXEC) && (old ^ new) & 0o111 != 0;
        if is_denied { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Whether a shared mapping may store.
    pub(crate) fn deny_stores(&self) -> bool {
        self.get().intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE)
    }

    /// Counts a shared mapping that may store.
    pub(crate) fn begin_mapping(&self) {
        self.writable_mappings.fetch_add(1, Relaxed);
    }

    /// Ends what [`Seals::begin_mapping`] began.
    pub(crate) fn end_mapping(&self) {
        self.writable_mappings.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seals_only_grow() {
        let seals = Seals::new(SealFlags::empty());
        seals.add(SealFlags::GROW, 0o666).unwrap();
        assert_eq!(seals.check_len(10, 11), Err(Errno::EPERM));
        assert_eq!(seals.check_len(10, 9), Ok(()));
        assert_eq!(seals.check_write(10, 10), Ok(()));
        assert_eq!(seals.check_write(10, 11), Err(Errno::EPERM));
        seals.begin_mapping();
        assert_eq!(seals.add(SealFlags::WRITE, 0o666), Err(Errno::EBUSY));
        seals.add(SealFlags::FUTURE_WRITE, 0o666).unwrap();
        seals.end_mapping();
        seals.add(SealFlags::WRITE | SealFlags::SEAL, 0o666).unwrap();
        assert_eq!(seals.add(SealFlags::empty(), 0o666), Err(Errno::EPERM));
        assert_eq!(seals.check_write(10, 5), Err(Errno::EPERM));
    }

    #[test]
    fn what_can_be_executed_is_sealed_whole() {
        let seals = Seals::new(SealFlags::empty());
        seals.add(SealFlags::EXEC, 0o777).unwrap();
        assert!(seals.get().contains(SealFlags::WRITE | SealFlags::SHRINK));
        assert_eq!(seals.check_mode(0o777, 0o666), Err(Errno::EPERM));
        assert_eq!(seals.check_mode(0o777, 0o711), Ok(()));
    }
}
