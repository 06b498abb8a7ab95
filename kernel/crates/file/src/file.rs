//! [`File`]: what every open object can be asked, with the answers Linux gives when it does not apply.

use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::AtomicU8;

use abi::{Errno, OpenFlags, PollEvents};
use mm::object::MappedObject;
use mm::user::{UserReader, UserWriter};
use sync::WaitQueue;

use crate::{Attributes, LockOwner, OpenFile};

/// How far an operation came without blocking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes were moved; fewer than asked is a partial transfer, 0 at a read is end of file.
    Done(usize),
    /// Nothing can be done now; the file's wait queue is woken when that changes.
    WouldBlock,
}

/// The answer of an operation that moves bytes.
pub type IoResult = Result<Progress, Errno>;

/// Receives directory entries from [`File::read_directory`].
pub trait DirectorySink {
    /// Takes one entry. `kind` is a `DT_` value, `next` the position at which reading continues behind this entry.
    /// `false` means that the sink is full and did not take it.
    fn entry(&mut self, name: &[u8], inode: u64, kind: u8, next: u64) -> bool;
}

/// Which flags a single read or write may come with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFlags {
    /// Every one.
    All,
    /// Not the one that says that the call must not wait.
    Waiting,
    /// None that changes what the call does.
    None,
}

impl CallFlags {
    /// Those of a file with contents on a disk. A write has to find room for what it writes; only one that goes there at
    /// once may be asked for without waiting, in vain.
    pub fn of_contents(open: &OpenFile, writes: bool) -> Self {
        if writes && !open.flags().contains(OpenFlags::DIRECT) { Self::Waiting } else { Self::All }
    }
}

/// An open object behind a descriptor.
///
/// Checks that need only the open file's flags (was it opened for reading?) are done by the caller. `position` is `None` for
/// calls that use and move the open file's own position, and `Some` for the `p` family; a stream answers `ESPIPE` to that.
pub trait File: Any + Send + Sync {
    /// The file that serves reads, writes and questions of readiness in the place of this one, as long as this one lives: it passes
    /// them on unchanged, and who asks often may ask there.
    fn server(&self) -> Option<&dyn File> {
        None
    }

    /// Reads into `to`.
    fn read(&self, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        let _ = (open, to, position);
        Err(Errno::EINVAL)
    }

    /// Writes from `from`. `EPIPE` makes the caller raise `SIGPIPE`.
    fn write(&self, open: &OpenFile, from: &mut UserReader<'_>, position: Option<u64>) -> IoResult {
        let _ = (open, from, position);
        Err(Errno::EINVAL)
    }

    /// Moves the position. `whence` is a `SEEK_` value.
    fn seek(&self, open: &OpenFile, offset: i64, whence: u32) -> Result<u64, Errno> {
        let _ = (open, offset, whence);
        Err(Errno::ESPIPE)
    }

    /// Whether `pread` and `pwrite` apply. Streams say no and get `ESPIPE`, before the buffer is looked at.
    fn has_positions(&self) -> bool {
        false
    }

    /// Whether a blocking write continues after a partial transfer until everything is written (pipes, terminals, sockets).
    fn is_stream(&self) -> bool {
        false
    }

    /// Which `RWF_*` flags go with reading it, or writing.
    fn call_flags(&self, open: &OpenFile, writes: bool) -> CallFlags {
        let _ = (open, writes);
        CallFlags::All
    }

    /// As [`File::read`], of what is in memory (`RWF_NOWAIT`): a file with contents elsewhere would have to wait for the rest.
    fn read_at_hand(&self, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        self.read(open, to, position)
    }

    /// What would not block now. The default is what Linux says of files that cannot be polled.
    fn readiness(&self) -> PollEvents {
        PollEvents::READABLE | PollEvents::WRITABLE
    }

    /// As [`File::readiness`] for who wants these events: what is harder to find out about others may be left out.
    fn readiness_of(&self, wanted: PollEvents) -> PollEvents {
        let _ = wanted;
        self.readiness()
    }

    /// The queue woken when [`File::readiness`] may have grown; `None` for files that never block.
    fn wait_queue(&self) -> Option<&WaitQueue> {
        None
    }

    /// Whether those who wait for `events` to read or write take turns: one of them is woken by an event, and wakes the next if
    /// [`File::readiness`] still shows these events when it is done. False: all are woken.
    fn wakes_one(&self, events: PollEvents) -> bool {
        let _ = events;
        false
    }

    /// Whether `epoll` takes the file (`EPERM` otherwise).
    fn is_pollable(&self) -> bool {
        self.wait_queue().is_some()
    }

    /// Where the file keeps how long what is written will stay (`F_SET_RW_HINT`); `None`: each open file for itself.
    fn write_hint(&self) -> Option<&AtomicU8> {
        None
    }

    /// The queue woken when the owner is to be told by a signal (`O_ASYNC`); `None` for files that send none.
    fn signal_queue(&self) -> Option<&WaitQueue> {
        None
    }

    /// Called until it is done before `open` returns, unless opened with `O_NONBLOCK`: a FIFO waits for its other end.
    fn opening(&self, open: &OpenFile) -> IoResult {
        let _ = open;
        Ok(Progress::Done(0))
    }

    /// Whether a read that waits depends on more than this trait says: on who reads, on time limits of a socket, or on
    /// [`File::read_timeout_ns`].
    fn waits_its_own_way(&self) -> bool {
        false
    }

    /// Set when a read that would block answers in time whatever is there (a terminal's `VTIME`): how long it may wait for
    /// the next wake before [`File::read_after_timeout`] is to answer, or `u64::MAX` while the time is not running yet.
    fn read_timeout_ns(&self) -> Option<u64> {
        None
    }

    /// The read's answer when [`File::read_timeout_ns`] has passed with nothing new.
    fn read_after_timeout(&self, open: &OpenFile, to: &mut UserWriter<'_>) -> IoResult {
        self.read(open, to, None)
    }

    /// What `fstat` shows.
    fn attributes(&self) -> Result<Attributes, Errno>;

    /// Takes over mode and owner after they were changed, for a file that was not found by name. Called with `None` first, to
    /// ask whether it can.
    fn set_ownership(&self, attributes: Option<&Attributes>) -> Result<(), Errno> {
        let _ = attributes;
        Err(Errno::EOPNOTSUPP)
    }

    /// `ioctl` commands of this kind of file; `FIONBIO`, `FIOCLEX` and the like are the caller's.
    fn ioctl(&self, open: &OpenFile, command: u32, argument: usize) -> Result<usize, Errno> {
        let _ = (open, command, argument);
        Err(Errno::ENOTTY)
    }

    /// The object behind `mmap`. Where what is open lasts as long as its mappings, the object keeps it.
    fn mapping(&self, open: &Arc<OpenFile>) -> Result<Arc<dyn MappedObject>, Errno> {
        let _ = open;
        Err(Errno::ENODEV)
    }

    /// `ftruncate`.
    fn truncate(&self, open: &OpenFile, length: u64) -> Result<(), Errno> {
        let _ = (open, length);
        Err(Errno::EINVAL)
    }

    /// `fallocate`; the caller has checked `mode`, offset and length for sense.
    fn allocate(&self, open: &OpenFile, mode: u32, offset: u64, length: u64) -> Result<(), Errno> {
        let _ = (open, mode, offset, length);
        Err(Errno::ENODEV)
    }

    /// `fsync`, or `fdatasync` with `data_only`.
    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        let _ = data_only;
        Err(Errno::EINVAL)
    }

    /// Gives directory entries from the open file's position on, and moves it.
    fn read_directory(&self, open: &OpenFile, sink: &mut dyn DirectorySink) -> Result<(), Errno> {
        let _ = (open, sink);
        Err(Errno::ENOTDIR)
    }

    /// Told before `fcntl(F_SETFL)` changes the status flags to `flags`; may refuse.
    fn set_flags(&self, open: &OpenFile, flags: u32) -> Result<(), Errno> {
        let _ = (open, flags);
        Ok(())
    }

    /// Pipe capacity for `F_GETPIPE_SZ`.
    fn pipe_capacity(&self) -> Result<usize, Errno> {
        Err(Errno::EBADF)
    }

    /// `F_SETPIPE_SZ`; answers the capacity in force.
    fn set_pipe_capacity(&self, capacity: usize) -> Result<usize, Errno> {
        let _ = capacity;
        Err(Errno::EBADF)
    }

    /// A descriptor of the table `owner` that referred to this file was closed.
    fn descriptor_closed(&self, open: &OpenFile, owner: LockOwner) {
        let _ = (open, owner);
    }

    /// The last reference to the open file is gone.
    fn released(&self, open: &OpenFile) {
        let _ = open;
    }

    /// What `/proc/self/fd/N` shows for a file that no path leads to, such as `pipe:[123]`.
    fn anonymous_name(&self) -> Option<alloc::vec::Vec<u8>> {
        None
    }

    /// The lines `/proc/self/fdinfo/N` has below `ino:`.
    fn describe(&self, out: &mut alloc::vec::Vec<u8>) {
        let _ = out;
    }
}
