//! Commits: bringing the running transaction to the log.
//!
//! # 1. Order on the disk
//!
//! The blocks of the transaction in the log, in any order; a flush; then the commit block, stable when its write completes. So a
//! commit block is on the disk only with all that it commits; and with all data of files that was written before the transaction
//! was changed to show it.
//!
//! # 2. What others do meanwhile
//!
//! The transaction is closed first: it takes no more handles, and those it has end. From then on a next one runs, while this one
//! is written. A change of a buffer by the next one freezes what this one has of it, until the contents are in the log.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use abi::Errno;
use block::{BlockError, Completion, Plug};
use mm::Frame;
use sync::atomic::Ordering;
use sync::machine;

use crate::format::{Tag, escape};
use crate::journal::{Journal, LogWriter};

/// The most blocks on their way to the log at once.
const WRITTEN_MAX: usize = 256;

/// What a commit has to write.
struct Job {
    number: u32,
    /// Where in the log it begins.
    start: u32,
    /// Blocks of log that were set aside for it.
    reserved: usize,
    changed: Vec<u64>,
    revoked: Vec<u64>,
    has_freed: bool,
}

impl Journal {
    /// Commits the running transaction, if there is one.
    pub(crate) fn commit_running(&self, writer: &mut LogWriter) -> Result<(), Errno> {
        let Some(job) = self.close_running()? else { return Ok(()) };
        match self.write_transaction(writer, &job) {
            Ok((used, head)) => {
                {
                    let mut state = self.state.lock();
                    state.committed(self.cache(), job.reserved, used, head);
                }
                // Release: see `is_stable`.
                self.stable.store(job.number, Ordering::Release);
                self.done.wake_all();
                Ok(())
            }
            Err(error) => Err(self.fail(writer, error.into())),
        }
    }

    /// Closes the running transaction, waits for its handles, and lets the next one begin.
    fn close_running(&self) -> Result<Option<Job>, Errno> {
        {
            let mut state = self.state.lock();
            if state.failure.is_some() {
                return Err(Errno::EIO);
            }
            match &mut state.running {
                None => return Ok(None),
                Some(running) => running.is_closing = true,
            }
        }
        let job = self.ended.block_until(u32::MAX, || {
            let mut state = self.state.lock();
            let has_handles = state.running.as_ref().is_some_and(|running| running.handles > 0);
            if state.failure.is_some() {
                return Some(Err(Errno::EIO));
            }
            if has_handles {
                return None;
            }
            let start = state.head;
            let transaction = state.running.take()?;
            let reserved = self.format.blocks_for(transaction.changed, transaction.revoked.len());
            debug_assert!(reserved <= state.free, "a transaction runs that does not fit the log");
            state.free = state.free.saturating_sub(reserved);
            let job = Job {
                number: transaction.number,
                start,
                reserved,
                changed: transaction.changed_blocks(),
                revoked: transaction.revoked.iter().copied().collect(),
                has_freed: !transaction.revoked.is_empty(),
            };
            state.committing = Some(transaction);
            Some(Ok(job))
        });
        self.opened.wake_all();
        job.map(Some)
    }

    /// Writes a transaction to the log; how many blocks it has there, and where the next one begins.
    fn write_transaction(&self, writer: &mut LogWriter, job: &Job) -> Result<(u32, u32), BlockError> {
        if writer.superblock.start() == 0 {
            // From now on there is something to replay.
            writer.superblock.set_tail(job.number, job.start);
            self.log.write_forced(0, &writer.frame, &writer.superblock.encode())?;
        }
        let mut output = Output::new(self, job.start, writer.frame.clone());
        for part in job.revoked.chunks(self.format.revokes_max()) {
            let mut block = vec![0; self.format.block_len];
            self.format.put_revoked(&mut block, job.number, part);
            let at = output.take_place();
            output.write(at, &block)?;
        }
        for part in job.changed.chunks(self.format.tags_max()) {
            self.write_part(job.number, part, &mut output)?;
        }
        output.wait()?;
        if job.has_freed {
            // An older copy of a freed block may be on its way to its place; it must not come after the new contents.
            self.cache().write(Vec::new())?;
        }
        if let Some(committing) = &mut self.state.lock().committing {
            committing.is_flushing = true;
        }
        self.cache().volume().flush()?;
        let mut block = vec![0; self.format.block_len];
        self.format.put_commit(&mut block, job.number, machine::realtime_ns());
        let at = output.take_place();
        self.log.write_forced(at, &writer.frame, &block)?;
        Ok((output.count, output.at))
    }

    /// Writes a descriptor and what it describes.
    fn write_part(&self, number: u32, blocks: &[u64], output: &mut Output<'_>) -> Result<(), BlockError> {
        let place = output.take_place();
        let mut tags: Vec<Tag> = Vec::with_capacity(blocks.len());
        let mut contents = vec![0; self.format.block_len];
        for block in blocks {
            if let Some(committing) = &mut self.state.lock().committing {
                committing.copy_for_log(*block, &mut contents);
            }
            let is_escaped = escape(&mut contents);
            tags.push(self.format.tag_for(number, *block, &contents, is_escaped));
            let at = output.take_place();
            output.write(at, &contents)?;
        }
        contents.fill(0);
        self.format.put_descriptor(&mut contents, number, &tags);
        output.write(place, &contents)
    }
}

/// Blocks on their way to the log.
struct Output<'a> {
    journal: &'a Journal,
    /// The next place.
    at: u32,
    /// How many places were taken.
    count: u32,
    plug: Plug,
    completion: Arc<Completion>,
    under_way: usize,
    /// Used where no other is to be had.
    spare: Frame,
}

impl<'a> Output<'a> {
    fn new(journal: &'a Journal, at: u32, spare: Frame) -> Self {
        let plug = Plug::new(journal.cache().volume().disk());
        Self { journal, at, count: 0, plug, completion: Completion::new(), under_way: 0, spare }
    }

    fn take_place(&mut self) -> u32 {
        let at = self.at;
        self.at = if at + 1 >= self.journal.end { self.journal.first } else { at + 1 };
        self.count += 1;
        at
    }

    /// Begins to write a block.
    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), BlockError> {
        let frame = match Frame::allocate() {
            Ok(frame) => frame,
            Err(_) => {
                // Without memory, one at a time.
                self.wait()?;
                self.under_way = WRITTEN_MAX;
                self.spare.clone()
            }
        };
        frame.write(0, bytes);
        self.journal.log.start_write(&mut self.plug, at, frame, &self.completion)?;
        self.under_way += 1;
        if self.under_way >= WRITTEN_MAX { self.wait() } else { Ok(()) }
    }

    /// Waits until everything is written.
    fn wait(&mut self) -> Result<(), BlockError> {
        self.plug.submit();
        self.under_way = 0;
        let completion = core::mem::replace(&mut self.completion, Completion::new());
        self.journal.cache().volume().disk().wait(&completion)
    }
}
