//! [`OpenFile`]: Linux's open file description, what descriptors share after `dup` and `fork`.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use abi::open::{SEEK_CUR, SEEK_SET};
use abi::{Errno, OpenFlags};
use sync::{ArcView, Mutex, Once, SpinLock, rank};

use crate::{File, FileOwner, IoResult, Progress, lease, lock};

/// Who wants to know that an open file is gone: an epoll instance, which forgets it then.
pub trait ReleaseWatcher: Send + Sync {
    /// The last reference to the open file is gone. Called without locks.
    fn open_file_released(&self);
}

/// An open file: the object, the status flags it was opened with and the position.
pub struct OpenFile {
    /// The object, with a view of what serves it.
    file: ArcView<dyn File, dyn File>,
    flags: AtomicU32,
    position: Mutex<u64>,
    /// Made when it is first needed.
    attached: Once<Box<Attached>>,
    /// Has taken a lock that goes with it.
    has_locks: AtomicBool,
    /// Stands for another open file, whose end it is not.
    is_temporary: AtomicBool,
}

/// What few open files have.
struct Attached {
    /// Who is told by signals.
    owner: Once<Arc<FileOwner>>,
    /// What `F_SET_RW_HINT` said of a file that does not keep it ([`File::write_hint`]).
    write_hint: AtomicU8,
    watchers: SpinLock<Vec<Weak<dyn ReleaseWatcher>>>,
}

impl OpenFile {
    /// The flags `open` uses up: they say what opening does, not what the open file is.
    const CREATION: OpenFlags = OpenFlags::CREAT
        .union(OpenFlags::EXCL)
        .union(OpenFlags::NOCTTY)
        .union(OpenFlags::TRUNC)
        .union(OpenFlags::CLOEXEC);

    /// An open file at position 0. Creation flags and `O_CLOEXEC` are dropped from `flags`.
    pub fn new(file: Arc<dyn File>, flags: OpenFlags) -> Arc<Self> {
        Arc::new(Self {
            file: ArcView::new(file, |file| file.server().unwrap_or(file)),
            flags: AtomicU32::new(flags.difference(Self::CREATION).bits()),
            position: Mutex::new(rank::FILE_POSITION, 0),
            attached: Once::new(),
            has_locks: AtomicBool::new(false),
            is_temporary: AtomicBool::new(false),
        })
    }

    /// The same file at the same position under other flags, for the length of one operation. What it does to the position
    /// is its own.
    pub fn with_flags(&self, flags: OpenFlags) -> Arc<Self> {
        let other = Self::new(Arc::clone(self.file()), flags);
        let position = *self.position.lock();
        *other.position.lock() = position;
        other.is_temporary.store(true, Ordering::Relaxed);
        other
    }

    /// The object.
    #[inline]
    pub fn file(&self) -> &Arc<dyn File> {
        ArcView::owner(&self.file)
    }

    /// What moves bytes and says what is ready: the object, or what serves it ([`File::server`]), with the same answers by a
    /// shorter way.
    #[inline]
    pub fn server(&self) -> &dyn File {
        &*self.file
    }

    /// Access mode and status flags, as `F_GETFL` shows them.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// Replaces the flags in `changed` by those in `value` (`F_SETFL`, `FIONBIO`).
    pub fn change_flags(&self, changed: OpenFlags, value: OpenFlags) {
        let update = |old: u32| Some((old & !changed.bits()) | (value & changed).bits());
        // The closure never declines, so there is no error to handle.
        let _ = self.flags.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }

    /// Whether it was opened for reading; `O_PATH` files are not.
    #[inline]
    pub fn is_readable(&self) -> bool {
        self.flags().may_read()
    }

    /// Whether it was opened for writing; `O_PATH` files are not.
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.flags().may_write()
    }

    /// Whether it was opened with `O_PATH` and only names a place.
    pub fn is_path_only(&self) -> bool {
        self.flags().contains(OpenFlags::PATH)
    }

    /// Whether it is in `O_NONBLOCK` mode.
    pub fn is_nonblocking(&self) -> bool {
        self.flags().contains(OpenFlags::NONBLOCK)
    }

    /// Whether every write goes to the end.
    pub fn is_append(&self) -> bool {
        self.flags().contains(OpenFlags::APPEND)
    }

    /// The position. Readers and writers that use it hold it during the transfer, as Linux does.
    pub fn position(&self) -> &Mutex<u64> {
        &self.position
    }

    /// Moves bytes at `position`, or at the own one, which is behind them then. That is not held meanwhile: for files
    /// whose bytes are made, or kept, by what may take any lock.
    pub fn transfer_at(&self, position: Option<u64>, transfer: impl FnOnce(u64) -> Result<usize, Errno>) -> IoResult {
        let at = position.unwrap_or_else(|| *self.position.lock());
        let done = transfer(at)?;
        if position.is_none() {
            *self.position.lock() = at.saturating_add(done as u64);
        }
        Ok(Progress::Done(done))
    }

    /// `lseek` of a file that has no end: `EINVAL` beyond the largest position `max`, and for what begins at an end.
    pub fn seek_up_to(&self, max: u64, offset: i64, whence: u32) -> Result<u64, Errno> {
        let mut position = self.position.lock();
        let base = match whence {
            SEEK_SET => 0,
            SEEK_CUR => *position,
            _ => return Err(Errno::EINVAL),
        };
        let target = base.checked_add_signed(offset).filter(|target| *target <= max);
        *position = target.ok_or(Errno::EINVAL)?;
        Ok(*position)
    }

    /// Who is told by signals what happens to it. Made now if nobody asked before.
    pub fn owner(&self) -> &Arc<FileOwner> {
        self.attached().owner.call_once(|| Arc::new(FileOwner::new()))
    }

    /// As [`OpenFile::owner`], if somebody asked before.
    pub fn known_owner(&self) -> Option<&Arc<FileOwner>> {
        self.attached.get()?.owner.get()
    }

    /// How long what is written will stay (`RWH_*`).
    pub fn write_hint(&self) -> u8 {
        let own = || Some(&self.attached.get()?.write_hint);
        self.file().write_hint().or_else(own).map_or(0, |hint| hint.load(Ordering::Relaxed))
    }

    /// Sets [`OpenFile::write_hint`].
    pub fn set_write_hint(&self, hint: u8) {
        self.file().write_hint().unwrap_or_else(|| &self.attached().write_hint).store(hint, Ordering::Relaxed);
    }

    fn attached(&self) -> &Attached {
        let attached = || Attached {
            owner: Once::new(),
            write_hint: AtomicU8::new(0),
            watchers: SpinLock::new(rank::FILE_TABLES, Vec::new()),
        };
        self.attached.call_once(|| Box::new(attached()))
    }

    /// Tells `watcher` when the last reference to this open file is gone.
    pub fn add_watcher(&self, watcher: Weak<dyn ReleaseWatcher>) {
        let mut bigger = Vec::new();
        loop {
            let mut watchers = self.attached().watchers.lock();
            if watchers.len() == watchers.capacity() && bigger.capacity() > watchers.len() {
                bigger.append(&mut watchers);
                core::mem::swap(&mut bigger, &mut watchers);
            }
            if watchers.len() < watchers.capacity() {
                watchers.push(watcher);
                return;
            }
            let wanted = (watchers.len() * 2).max(1);
            drop(watchers);
            bigger = Vec::with_capacity(wanted);
        }
    }

    /// Takes back [`OpenFile::add_watcher`].
    pub fn remove_watcher(&self, watcher: &Weak<dyn ReleaseWatcher>) {
        let Some(attached) = self.attached.get() else { return };
        let mut watchers = attached.watchers.lock();
        let position = watchers.iter().position(|other| Weak::ptr_eq(other, watcher));
        let removed = position.map(|position| watchers.swap_remove(position));
        drop(watchers);
        drop(removed);
    }

    /// Notes that it takes locks, which are released with it.
    pub fn note_locks(&self) {
        self.has_locks.store(true, Ordering::Relaxed);
    }
}

impl Attached {
    /// The open file is gone.
    #[cold]
    fn tell_watchers(&self) {
        let watchers = core::mem::take(&mut *self.watchers.lock());
        for watcher in watchers.iter().filter_map(Weak::upgrade) {
            watcher.open_file_released();
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if *self.is_temporary.get_mut() {
            return;
        }
        if *self.has_locks.get_mut() {
            lock::release_open(self);
            lease::release_open(self);
        }
        if let Some(owner) = self.known_owner() {
            owner.listening().end();
        }
        self.file().released(self);
        if let Some(attached) = self.attached.get() {
            attached.tell_watchers();
        }
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicUsize;

    // Defines the functions of the machine.
    use testkit as _;

    use super::*;
    use crate::eventfd::EventFd;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl ReleaseWatcher for Count {
        fn open_file_released(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn watchers_are_told_once_and_only_if_they_stay() {
        let open = OpenFile::new(EventFd::new(0, false), OpenFlags::RDWR);
        let watchers: [Arc<Count>; 5] = Default::default();
        for watcher in &watchers {
            open.add_watcher(Arc::downgrade(&(Arc::clone(watcher) as Arc<dyn ReleaseWatcher>)));
        }
        open.remove_watcher(&Arc::downgrade(&(Arc::clone(&watchers[2]) as Arc<dyn ReleaseWatcher>)));
        let other = Arc::clone(&open);
        drop(open);
        assert!(watchers.iter().all(|watcher| watcher.0.load(Ordering::Relaxed) == 0));
        drop(other);
        let told: Vec<_> = watchers.iter().map(|watcher| watcher.0.load(Ordering::Relaxed)).collect();
        assert_eq!(told, [1, 1, 0, 1, 1]);
    }
}
