//! [`Journal`]: opens a journal, begins handles, and brings transactions to the disk on demand.

use alloc::sync::Arc;

use abi::Errno;
use block::{BlockError, BufferCache};
use mm::Frame;
use sync::atomic::{AtomicU32, Ordering};
use sync::{Mutex, MutexGuard, WaitQueue, machine, rank};

use crate::format::Format;
use crate::handle::Handle;
use crate::recovery::{self, read_superblock};
use crate::state::{Limits, Room, State};
use crate::superblock::Superblock;
use crate::transaction::Transaction;
use crate::{JournalError, Log, is_after};

/// How old a transaction becomes before it is committed though nobody asked, as on Linux.
const AGE_MAX_NS: u64 = 5_000_000_000;
/// The most blocks of log of one transaction, which are in memory while it runs.
const TRANSACTION_MAX: usize = 8192;
/// One transaction takes at most one part in this of the log.
const LOG_SHARE: usize = 4;
/// The share of memory for the buffers of one transaction is one part in this, and the same for those not written to their places.
const MEMORY_SHARE: usize = 16;
/// What is allowed however small memory is.
const MEMORY_MIN: usize = 256;

/// What the file system wants of the layout of its journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Checksums, of the third kind.
    pub has_checksums: bool,
    /// Numbers of blocks above 32 bits.
    pub is_64_bit: bool,
}

/// What only the thread that writes the log touches.
pub(crate) struct LogWriter {
    pub(crate) superblock: Superblock,
    /// So that the log can be written when there is no memory.
    pub(crate) frame: Frame,
}

/// The right to write the log. Whoever waits for a commit looks again when it is given back.
pub(crate) struct Turn<'a> {
    journal: &'a Journal,
    /// Some until dropped.
    writer: Option<MutexGuard<'a, LogWriter>>,
}

impl Turn<'_> {
    pub(crate) fn writer(&mut self) -> Result<&mut LogWriter, Errno> {
        self.writer.as_deref_mut().ok_or(Errno::EIO)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.writer = None;
        self.journal.done.wake_all();
    }
}

/// A journal, open for changes.
pub struct Journal {
    cache: Arc<BufferCache>,
    pub(crate) log: Log,
    pub(crate) format: Format,
    /// The first block of the log, and one past the last.
    pub(crate) first: u32,
    pub(crate) end: u32,
    limits: Limits,
    /// The error in the superblock when it was opened, 0 for none.
    errno: u32,
    log_writer: Mutex<LogWriter>,
    pub(crate) state: Mutex<State>,
    /// The number of the last transaction that is stable.
    pub(crate) stable: AtomicU32,
    /// Who waits for the running transaction to take handles again.
    pub(crate) opened: WaitQueue,
    /// Who waits for the last handle of the running transaction to end.
    pub(crate) ended: WaitQueue,
    /// Who waits for a transaction to be stable.
    pub(crate) done: WaitQueue,
}

impl Journal {
    /// Opens a journal for writing. What is in its log is dropped: [`replay`](crate::replay) comes before.
    pub fn open(cache: Arc<BufferCache>, log: Log, needs: Needs) -> Result<Self, JournalError> {
        if cache.volume().is_read_only() {
            return Err(JournalError::Block(BlockError::ReadOnly));
        }
        let mut superblock = read_superblock(&log)?;
        let next = recovery::next_sequence(&log, &superblock)?;
        let errno = superblock.errno();
        superblock.set_errno(0);
        superblock.set_tail(next, 0);
        superblock.upgrade(needs.has_checksums, needs.is_64_bit);
        let frame = Frame::allocate().map_err(|_| BlockError::OutOfMemory)?;
        log.write_forced(0, &frame, &superblock.encode())?;
        Ok(Self::empty(cache, log, LogWriter { superblock, frame }, errno, next))
    }

    fn empty(cache: Arc<BufferCache>, log: Log, writer: LogWriter, errno: u32, next: u32) -> Self {
        let (first, end) = (writer.superblock.first(), writer.superblock.end());
        let free = usize::try_from(end - first).unwrap_or(usize::MAX);
        let memory = usize::try_from(mm::frame::total()).unwrap_or(usize::MAX) / MEMORY_SHARE;
        let in_memory = memory.max(MEMORY_MIN);
        let limits = Limits {
            transaction_max: (free / LOG_SHARE).min(TRANSACTION_MAX).min(in_memory),
            unwritten_max: in_memory,
        };
        let state = State {
            running: None,
            committing: None,
            unwritten: Default::default(),
            owners: Default::default(),
            next,
            head: first,
            free,
            failure: None,
        };
        Self {
            cache,
            log,
            format: writer.superblock.format(),
            first,
            end,
            limits,
            errno,
            log_writer: Mutex::new(rank::JOURNAL_LOGS, writer),
            state: Mutex::new(rank::JOURNALS, state),
            stable: AtomicU32::new(next.wrapping_sub(1)),
            opened: WaitQueue::new(),
            ended: WaitQueue::new(),
            done: WaitQueue::new(),
        }
    }

    /// The buffers of the file system.
    pub fn cache(&self) -> &BufferCache {
        &self.cache
    }

    /// The error for which the journal had been given up before it was opened, 0 for none: the file system needs to be checked.
    pub fn errno_found(&self) -> u32 {
        self.errno
    }

    /// The most blocks that one handle may ask for.
    pub fn credits_max(&self) -> usize {
        // All of them may be changed, or revoked; the rest of the transaction is for what describes them.
        let most = self.limits.transaction_max;
        let describing = self.format.blocks_for(most, most) - most;
        most.saturating_sub(describing)
    }

    /// Begins a handle that changes or frees at most `credits` blocks. Sleeps while there is no room for it, and may write to the
    /// log meanwhile: the caller holds no lock that anybody takes in a handle, or to write data of files.
    pub fn begin(&self, credits: usize) -> Result<Handle<'_>, Errno> {
        if credits > self.credits_max() {
            return Err(Errno::ENOSPC);
        }
        loop {
            match self.try_begin(credits)? {
                Room::Begun(number) => return Ok(Handle::new(self, number, credits)),
                Room::Closing => self.wait_for_opening(),
                Room::TransactionFull | Room::LogFull => self.make_room(credits)?,
            }
        }
    }

    fn try_begin(&self, credits: usize) -> Result<Room, Errno> {
        let now_ns = machine::now_ns();
        let mut state = self.state.lock();
        match state.failure {
            Some(_) => Err(Errno::EROFS),
            None => Ok(state.begin(&self.format, self.limits, credits, now_ns)),
        }
    }

    fn wait_for_opening(&self) {
        self.opened.block_until(u32::MAX, || {
            let state = self.state.lock();
            let is_closing = state.running.as_ref().is_some_and(|running| running.is_closing);
            (!is_closing || state.failure.is_some()).then_some(())
        });
    }

    /// Does what lets a handle begin, unless another thread has done it meanwhile.
    fn make_room(&self, credits: usize) -> Result<(), Errno> {
        let mut turn = self.turn();
        let writer = turn.writer()?;
        let room = match self.try_begin(credits)? {
            Room::Begun(_) => {
                self.end(credits);
                return Ok(());
            }
            room => room,
        };
        match room {
            Room::TransactionFull => self.commit_running(writer),
            Room::LogFull => self.checkpoint(writer).map(|_| ()),
            Room::Closing | Room::Begun(_) => Ok(()),
        }
    }

    /// Waits for the right to write the log.
    fn turn(&self) -> Turn<'_> {
        Turn { journal: self, writer: Some(self.log_writer.lock()) }
    }

    /// Changes the running transaction for an open handle. `act` says whether that costs a credit; the answer is whether it did.
    pub(crate) fn act(
        &self,
        has_credit: bool,
        act: impl FnOnce(&mut Transaction, Option<&mut Transaction>) -> bool,
    ) -> Result<bool, Errno> {
        let mut state = self.state.lock();
        let State { running, committing, failure, free, .. } = &mut *state;
        // An open handle keeps its transaction running.
        let (Some(running), None) = (running, &failure) else { return Err(Errno::EROFS) };
        let costs = act(running, committing.as_mut());
        if costs && has_credit {
            running.credits -= 1;
        } else if costs && running.blocks_with(&self.format, 0) > *free {
            *failure = Some(Errno::ENOSPC);
            log::error!("journal: a change is larger than the log, and was larger than it said");
            return Err(Errno::EROFS);
        }
        Ok(costs)
    }

    /// More credits for an open handle.
    pub(crate) fn extend(&self, credits: usize) -> bool {
        let mut state = self.state.lock();
        let State { running, failure, free, .. } = &mut *state;
        let (Some(running), None) = (running, failure) else { return false };
        let blocks = running.blocks_with(&self.format, credits);
        let has_room = !running.is_closing && blocks <= self.limits.transaction_max && blocks <= *free;
        if has_room {
            running.credits += credits;
        }
        has_room
    }

    /// A handle has ended, with `credits` unused.
    pub(crate) fn end(&self, credits: usize) {
        let is_last = {
            let mut state = self.state.lock();
            let Some(running) = &mut state.running else { return };
            running.handles -= 1;
            running.credits -= credits;
            running.is_closing && running.handles == 0
        };
        if is_last {
            self.ended.wake_all();
        }
    }

    /// The transaction that a handle which begins now would belong to.
    pub fn current(&self) -> u32 {
        let state = self.state.lock();
        match &state.running {
            Some(running) if !running.is_closing => running.number,
            _ => state.next,
        }
    }

    /// Whether a transaction is stable. What it freed may be used again then.
    pub fn is_stable(&self, transaction: u32) -> bool {
        // Acquire: what the transaction let go of is seen as such.
        !is_after(transaction, self.stable.load(Ordering::Acquire))
    }

    /// Why the journal was given up, if it was.
    pub fn failure(&self) -> Option<Errno> {
        self.state.lock().failure
    }

    /// Makes a transaction stable. True if all that had been written to the volume before the call is stable as well; otherwise a flush
    /// is needed for that.
    ///
    /// Threads that ask for the same transaction share one commit: one does it, and the others wait for it.
    pub fn force(&self, transaction: u32) -> Result<bool, Errno> {
        let is_flush_ahead = {
            let state = self.state.lock();
            if !is_after(state.next, transaction) {
                return Ok(false);
            }
            let mut unstable = state.running.iter().chain(&state.committing);
            unstable.any(|other| other.number == transaction && !other.is_flushing)
        };
        loop {
            let mut turn = match self.wait_until_stable(transaction)? {
                None => return Ok(is_flush_ahead),
                Some(turn) => turn,
            };
            if !self.is_stable(transaction) {
                self.commit_running(turn.writer()?)?;
            }
        }
    }

    /// Waits until a transaction is stable, or until it is the caller's turn to see to it.
    fn wait_until_stable(&self, transaction: u32) -> Result<Option<Turn<'_>>, Errno> {
        self.done.block_until(u32::MAX, || {
            if self.is_stable(transaction) {
                return Some(Ok(None));
            }
            if self.failure().is_some() {
                return Some(Err(Errno::EIO));
            }
            let writer = self.log_writer.try_lock()?;
            Some(Ok(Some(Turn { journal: self, writer: Some(writer) })))
        })
    }

    /// The newest transaction in which something was changed.
    pub fn newest(&self) -> u32 {
        let state = self.state.lock();
        match &state.running {
            Some(running) if !running.is_empty() => running.number,
            _ => state.next_to_commit().wrapping_sub(1),
        }
    }

    /// Makes all changes stable that have ended. The answer is that of [`Journal::force`].
    pub fn force_all(&self) -> Result<bool, Errno> {
        self.force(self.newest())
    }

    /// Commits the running transaction when it is old, and empties the log when half of it is full. To be called every now and
    /// then, as by the thread that writes back.
    pub fn tick(&self) -> Result<(), Errno> {
        let now_ns = machine::now_ns();
        let (is_old, is_half_full) = {
            let state = self.state.lock();
            if state.failure.is_some() {
                return Ok(());
            }
            let is_old = state
                .running
                .as_ref()
                .is_some_and(|running| !running.is_empty() && now_ns.saturating_sub(running.started_ns) >= AGE_MAX_NS);
            (is_old, state.free < usize::try_from((self.end - self.first) / 2).unwrap_or(0))
        };
        if !is_old && !is_half_full {
            return Ok(());
        }
        let mut turn = self.turn();
        if is_old {
            self.commit_running(turn.writer()?)?;
        }
        if is_half_full {
            self.checkpoint(turn.writer()?)?;
        }
        Ok(())
    }

    /// Brings everything to its place and leaves the journal empty, for the end of a mount. No handle is open, and none begins.
    pub fn close(&self) -> Result<(), Errno> {
        let mut turn = self.turn();
        let writer = turn.writer()?;
        self.drain_log(writer)?;
        self.mark_empty(writer)
    }

    fn drain_log(&self, writer: &mut LogWriter) -> Result<(), Errno> {
        self.commit_running(writer)?;
        while self.checkpoint(writer)? {}
        Ok(())
    }

    /// Gives the journal up, as what is in the running transaction must not reach the disk. May be called with an open handle.
    #[cold]
    pub fn abort(&self, error: Errno) {
        if self.set_failure(error) {
            // Who commits does not wait for handles any more.
            let mut turn = self.turn();
            if let Ok(writer) = turn.writer() {
                self.note_failure(writer, error);
            }
        }
    }

    /// Gives the journal up after an error of the disk: no change reaches the disk any more.
    #[cold]
    pub(crate) fn fail(&self, writer: &mut LogWriter, error: Errno) -> Errno {
        if self.set_failure(error) {
            self.note_failure(writer, error);
        }
        Errno::EIO
    }

    /// True if there was no failure before.
    fn set_failure(&self, error: Errno) -> bool {
        let is_first = {
            let mut state = self.state.lock();
            let is_first = state.failure.is_none();
            state.failure.get_or_insert(error);
            is_first
        };
        self.opened.wake_all();
        self.ended.wake_all();
        self.done.wake_all();
        is_first
    }

    fn note_failure(&self, writer: &mut LogWriter, error: Errno) {
        log::error!("journal: given up after an error ({error:?}): the file system is read only from now on");
        writer.superblock.set_errno(error as u32);
        // It may well fail as well; then a check finds what there is to find.
        let _ = self.log.write_forced(0, &writer.frame, &writer.superblock.encode());
    }
}
