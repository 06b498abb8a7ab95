//! The journal of a file system: where it lies, replaying it, and opening it for changes.
//!
//! # 1. When it is replayed
//!
//! When the superblock says so. That is said on the disk, in place, before the second transaction is committed, and taken back when all but
//! the last have left the journal; both changes go through the journal, too. So a journal that is not empty though the superblock says
//! nothing holds only those, and is dropped, as by Linux.
//!
//! The superblock's checksum stands in another sector than the rest. One that is torn between them was being written when the power
//! went, from the journal, which has it whole: it is taken as one that asks for a replay, and must be right afterwards.
//!
//! # 2. What is read before
//!
//! The groups and the journal's inode, whose places no transaction changes. What else was read by then is read again.

use alloc::sync::Arc;

use abi::Errno;
use journal::{Journal, JournalError, Log, Needs};

use crate::bytes::{get_u16, get_u32, put_u16, put_u32};
use crate::file_system::{INCOMPATIBLE_OFFSET, STATE_DAMAGED, STATE_OFFSET};
use crate::inode::Inode;
use crate::map::Place;
use crate::superblock::Incompatible;
use crate::{FileSystem, corrupt};

impl FileSystem {
    /// Replays the journal. What was read from the volume before is read again.
    pub(crate) fn replay(self: &Arc<Self>) -> Result<(), Errno> {
        let recovered = journal::replay(&self.cache, &self.find_log()?).map_err(refused)?;
        if recovered.transactions > 0 {
            let journal::Recovered { transactions, blocks, revoked } = recovered;
            log::info!("ext: replayed {transactions} transactions: {blocks} blocks, {revoked} revoked");
        }
        Ok(())
    }

    /// Makes all later changes go through the journal.
    pub(crate) fn open_journal(self: &Arc<Self>) -> Result<(), Errno> {
        let needs = Needs {
            has_checksums: self.superblock.has_checksums(),
            is_64_bit: self.superblock.incompatible.contains(Incompatible::WIDE),
        };
        let journal = Journal::open(self.cache.clone(), self.find_log()?, needs).map_err(refused)?;
        self.journal.call_once(|| journal);
        Ok(())
    }

    /// Says in the superblock that the journal is in use, and what it says itself.
    pub(crate) fn note_journal(&self, journal: &Journal, bytes: &mut [u8]) {
        let incompatible = get_u32(bytes, INCOMPATIBLE_OFFSET) | Incompatible::NEEDS_RECOVERY.bits();
        put_u32(bytes, INCOMPATIBLE_OFFSET, incompatible);
        if journal.errno_found() != 0 {
            log::warn!("ext: the journal had been given up after an error: a check is recommended");
            put_u16(bytes, STATE_OFFSET, get_u16(bytes, STATE_OFFSET) | STATE_DAMAGED);
        }
    }

    /// Where the journal lies.
    fn find_log(self: &Arc<Self>) -> Result<Log, Errno> {
        let number = self.superblock.journal_inode;
        if number == 0 {
            log::error!("ext: journals on other volumes are not supported");
            return Err(Errno::EINVAL);
        }
        let (inode, record) = Inode::read(self, number)?;
        let wrong = || corrupt(format_args!("inode {number} is no journal"));
        if record.links == 0 || inode.has_metadata() {
            return Err(wrong());
        }
        let blocks = u32::try_from(record.size / inode.block_len() as u64).map_err(|_| wrong())?;
        let place = |at| {
            let run = inode.find_run(at)?;
            match run.place {
                Place::Data(block) => Ok((block, run.count)),
                Place::Hole | Place::Unwritten(_) => Err(wrong()),
            }
        };
        Log::new(self.cache.volume().clone(), inode.block_len(), blocks, place).map_err(refused)
    }
}

fn refused(error: JournalError) -> Errno {
    log::error!("ext: the journal: {error}");
    error.into()
}
