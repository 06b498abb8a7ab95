//! Recovery: brings what was committed before a crash to its place.
//!
//! # 1. Three passes
//!
//! From the tail that the superblock names, transactions follow each other by number. The first pass finds the end: the first block
//! that does not begin as one of the expected transaction, or a commit block whose checksum is wrong. The second collects what
//! was revoked. The third writes the contents of blocks to their places, but for those that this transaction or a later one revoked:
//! such a block was freed, and may hold the contents of a file by now.
//!
//! # 2. Where it stops
//!
//! Where Linux stops, but for a commit block of which only the first sector was written: that counts, where Linux gives up. A
//! transaction without a commit block was interrupted, which is no error. A wrong checksum is one, unless commit blocks may overtake
//! contents ([`Format::is_async`]: then the transaction was interrupted) or the commit block is older than the one before it (then
//! the block is left over from an earlier use of the place). An error does not keep the transactions before it from being
//! replayed; but the journal is not emptied then, and the file system needs to be checked.
//!
//! # 3. Again
//!
//! Nothing in the log is changed before everything replayed is stable. So recovery may be interrupted anywhere and done again.
//!
//! # 4. Bounds
//!
//! Every byte of the log is foreign. A pass visits each block of the log once at most ([`Walk::left`]), numbers of blocks are
//! checked against the volume, and at most [`REVOKED_MAX`] revoked blocks are remembered.
//!
//! Takes no lock but those of the buffers.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use block::{BlockError, Buffer, BufferCache};
use mm::Frame;

use crate::checksum::crc32_big_endian;
use crate::format::{Checksums, Format, Header, SUM_BEGIN, Tag, commit_seconds, kind, unescape};
use crate::log::{Log, Reader};
use crate::superblock::Superblock;
use crate::{JournalError, is_after};

/// The most revoked blocks that are remembered.
const REVOKED_MAX: usize = 1 << 20;
/// The most replayed blocks that wait to be written.
const REPLAYED_MAX: usize = 256;
/// Blocks read at once where most of them are needed.
const AHEAD: u32 = 64;

/// What recovery did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Transactions that were replayed.
    pub transactions: u32,
    /// Blocks that were written.
    pub blocks: u64,
    /// Blocks that were not, as they had been revoked.
    pub revoked: u64,
}

/// Where the log ends.
struct End {
    /// The number of the first transaction that is not replayed.
    sequence: u32,
    /// Whether that one is damaged, rather than interrupted.
    is_damaged: bool,
}

/// Replays a journal, if there is something to replay, and leaves it empty. When this returns everything is stable. Whoever looked at
/// buffers of this cache before looks again; whoever has copies of their contents is wrong.
pub fn replay(cache: &BufferCache, log: &Log) -> Result<Recovered, JournalError> {
    let mut superblock = read_superblock(log)?;
    if superblock.start() == 0 {
        return Ok(Recovered::default());
    }
    if cache.volume().is_read_only() {
        return Err(JournalError::Block(BlockError::ReadOnly));
    }
    let mut recovery = Recovery::new(log, &superblock);
    let end = recovery.scan()?;
    recovery.collect_revoked(end.sequence)?;
    let result = recovery.replay(cache, end.sequence);
    // What is right reaches its place even if something else was not.
    recovery.write_replayed(cache)?;
    cache.volume().flush()?;
    result?;
    if end.is_damaged {
        return Err(JournalError::BadTransaction(end.sequence));
    }
    let mut recovered = recovery.recovered;
    recovered.transactions = end.sequence.wrapping_sub(superblock.sequence());
    superblock.set_tail(end.next(), 0);
    let frame = Frame::allocate().map_err(|_| BlockError::OutOfMemory)?;
    log.write_forced(0, &frame, &superblock.encode())?;
    Ok(recovered)
}

/// Reads the superblock of a journal.
pub(crate) fn read_superblock(log: &Log) -> Result<Superblock, JournalError> {
    let block = log.read(0, 1)?;
    Superblock::parse(&block, log.blocks())
}

/// A number for the next transaction that none in the log has.
pub(crate) fn next_sequence(log: &Log, superblock: &Superblock) -> Result<u32, JournalError> {
    if superblock.start() == 0 {
        return Ok(superblock.sequence().wrapping_add(1));
    }
    Ok(Recovery::new(log, superblock).scan()?.next())
}

impl End {
    /// The next number. That of the transaction that was interrupted is not used again, as parts of it may be there.
    fn next(&self) -> u32 {
        self.sequence.wrapping_add(1)
    }
}

struct Recovery<'a> {
    log: &'a Log,
    superblock: &'a Superblock,
    format: Format,
    /// In which transaction a block was revoked last.
    revoked: BTreeMap<u64, u32>,
    /// Not written yet.
    replayed: Vec<Arc<Buffer>>,
    recovered: Recovered,
}

/// A way through the log.
struct Walk<'a> {
    reader: Reader<'a>,
    first: u32,
    end: u32,
    /// The next block.
    at: u32,
    /// How many blocks may still be visited.
    left: u32,
    /// The number of the transaction that is expected.
    sequence: u32,
}

impl<'a> Walk<'a> {
    fn new(log: &'a Log, superblock: &Superblock, ahead: u32) -> Self {
        let (first, end) = (superblock.first(), superblock.end());
        Self {
            reader: Reader::new(log, end, ahead),
            first,
            end,
            at: superblock.start(),
            left: end - first,
            sequence: superblock.sequence(),
        }
    }

    /// Goes on by one block; the place of that block. None once around.
    fn step(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        let at = self.at;
        self.at = if at + 1 >= self.end { self.first } else { at + 1 };
        Some(at)
    }

    /// The next block that is not contents, if it is one of the expected transaction.
    fn next(&mut self) -> Result<Option<(u32, Vec<u8>)>, JournalError> {
        let Some(at) = self.step() else { return Ok(None) };
        let block = self.reader.block(at)?;
        let header = Header::of(block).filter(|header| header.sequence == self.sequence);
        Ok(header.map(|header| (header.kind, block.to_vec())))
    }

    /// Passes over the contents that a descriptor describes. False if the log is not as long as that.
    fn skip(&mut self, count: usize) -> bool {
        (0..count).all(|_| self.step().is_some())
    }

    /// The next block, as contents.
    fn contents(&mut self) -> Result<&[u8], JournalError> {
        let at = self.step().ok_or(JournalError::Corrupt("a transaction is longer than the log"))?;
        Ok(self.reader.block(at)?)
    }
}

impl<'a> Recovery<'a> {
    fn new(log: &'a Log, superblock: &'a Superblock) -> Self {
        Self {
            log,
            superblock,
            format: superblock.format(),
            revoked: BTreeMap::new(),
            replayed: Vec::new(),
            recovered: Recovered::default(),
        }
    }

    /// The first pass.
    fn scan(&self) -> Result<End, JournalError> {
        let format = &self.format;
        let has_sum = format.checksums == Checksums::First;
        let mut walk = Walk::new(self.log, self.superblock, if has_sum { AHEAD } else { 1 });
        // A checksum was wrong; the commit block tells whether the block is left over from an earlier use of the place.
        let mut is_in_doubt = false;
        let mut last_seconds = 0;
        let mut sum = SUM_BEGIN;
        let mut interrupted = None;
        while let Some((kind, block)) = walk.next()? {
            match kind {
                kind::DESCRIPTOR => {
                    is_in_doubt |= !format.is_sealed(&block);
                    let count = format.tags(&block).count();
                    if has_sum && interrupted.is_none() {
                        sum = crc32_big_endian(sum, &block);
                        for _ in 0..count {
                            sum = crc32_big_endian(sum, walk.contents()?);
                        }
                    } else if !walk.skip(count) {
                        break;
                    }
                }
                kind::REVOKE => is_in_doubt |= !format.is_sealed(&block),
                kind::COMMIT => {
                    let seconds = commit_seconds(&block);
                    let is_left_over = seconds < last_seconds;
                    if is_in_doubt {
                        if is_left_over {
                            break;
                        }
                        return Err(JournalError::BadTransaction(walk.sequence));
                    }
                    if let Some(sequence) = interrupted {
                        // Another follows, so it was not interrupted.
                        return Ok(End { sequence, is_damaged: has_sum });
                    }
                    if !format.is_commit_right(&block, sum) {
                        if is_left_over {
                            break;
                        }
                        if !format.is_async {
                            return Ok(End { sequence: walk.sequence, is_damaged: true });
                        }
                        interrupted = Some(walk.sequence);
                    }
                    sum = SUM_BEGIN;
                    last_seconds = seconds;
                    walk.sequence = walk.sequence.wrapping_add(1);
                }
                _ => break,
            }
        }
        Ok(End { sequence: interrupted.unwrap_or(walk.sequence), is_damaged: false })
    }

    /// The second pass.
    fn collect_revoked(&mut self, end: u32) -> Result<(), JournalError> {
        let mut walk = Walk::new(self.log, self.superblock, 1);
        while walk.sequence != end {
            match walk.next()? {
                Some((kind::DESCRIPTOR, block)) => {
                    self.check_descriptor(&block)?;
                    if !walk.skip(self.format.tags(&block).count()) {
                        return Err(ended_early());
                    }
                }
                Some((kind::REVOKE, block)) => {
                    for number in self.format.revoked(&block)? {
                        self.note_revoked(number, walk.sequence)?;
                    }
                }
                Some((kind::COMMIT, _)) => walk.sequence = walk.sequence.wrapping_add(1),
                _ => return Err(ended_early()),
            }
        }
        Ok(())
    }

    fn check_descriptor(&self, block: &[u8]) -> Result<(), JournalError> {
        if self.format.is_sealed(block) { Ok(()) } else { Err(JournalError::BadChecksum("a descriptor")) }
    }

    fn note_revoked(&mut self, number: u64, sequence: u32) -> Result<(), JournalError> {
        if self.revoked.len() >= REVOKED_MAX && !self.revoked.contains_key(&number) {
            return Err(JournalError::Corrupt("it revokes too many blocks"));
        }
        // Transactions come in their order, so this is the last so far.
        self.revoked.insert(number, sequence);
        Ok(())
    }

    /// The third pass. Goes on behind contents that are damaged; the first error is answered.
    fn replay(&mut self, cache: &BufferCache, end: u32) -> Result<(), JournalError> {
        let mut walk = Walk::new(self.log, self.superblock, AHEAD);
        let mut result = Ok(());
        while walk.sequence != end {
            match walk.next()? {
                Some((kind::DESCRIPTOR, block)) => {
                    self.check_descriptor(&block)?;
                    for tag in self.format.tags(&block) {
                        let sequence = walk.sequence;
                        let replayed =
                            walk.contents().and_then(|contents| self.replay_block(cache, tag, sequence, contents));
                        result = result.and(replayed);
                    }
                }
                Some((kind::REVOKE, _)) => {}
                Some((kind::COMMIT, _)) => walk.sequence = walk.sequence.wrapping_add(1),
                _ => return Err(ended_early()),
            }
        }
        result
    }

    fn replay_block(
        &mut self,
        cache: &BufferCache,
        tag: Tag,
        sequence: u32,
        contents: &[u8],
    ) -> Result<(), JournalError> {
        let is_revoked = self.revoked.get(&tag.block).is_some_and(|revoked| !is_after(sequence, *revoked));
        if is_revoked {
            self.recovered.revoked += 1;
            return Ok(());
        }
        if !self.format.is_tag_right(tag, sequence, contents) {
            log::error!("journal: the checksum of block {} in transaction {sequence} is wrong", tag.block);
            return Err(JournalError::BadChecksum("contents"));
        }
        let blocks = cache.volume().len_bytes() / cache.block_len() as u64;
        if tag.block >= blocks || self.log.contains(tag.block) {
            log::error!("journal: transaction {sequence} has contents for block {}", tag.block);
            return Err(JournalError::Corrupt("contents are for a block where none can be"));
        }
        let buffer = cache.get_zeroed(tag.block);
        buffer.change(|bytes| {
            bytes.copy_from_slice(contents);
            if tag.is_escaped {
                unescape(bytes);
            }
        });
        buffer.mark_dirty();
        self.recovered.blocks += 1;
        self.replayed.push(buffer);
        if self.replayed.len() >= REPLAYED_MAX { self.write_replayed(cache) } else { Ok(()) }
    }

    fn write_replayed(&mut self, cache: &BufferCache) -> Result<(), JournalError> {
        Ok(cache.write(core::mem::take(&mut self.replayed))?)
    }
}

/// Two passes did not see the same.
fn ended_early() -> JournalError {
    JournalError::Corrupt("a transaction is gone")
}
