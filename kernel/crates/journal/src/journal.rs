//! [`Journal`].

use alloc::sync::Arc;

use block::BufferCache;

use crate::recovery::recover;
use crate::superblock::Superblock;
use crate::{JournalError, Log, Recovered};

/// What the file system wants of the layout of its journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Checksums, of the third kind.
    pub has_checksums: bool,
    /// Numbers of blocks above 32 bits.
    pub is_64_bit: bool,
}

/// The journal.
pub struct Journal {
    cache: Arc<BufferCache>,
    log: Log,
    superblock: Superblock,
}

impl Journal {
    /// Opens a journal and replays it, if it has something to replay. Whoever looked at buffers before looks again. When this
    /// returns the journal is empty, and the file system may say so in its own superblock.
    pub fn open(cache: Arc<BufferCache>, log: Log, needs: Needs) -> Result<(Self, Recovered), JournalError> {
        let block = log.read(0, 1)?;
        let mut superblock = Superblock::parse(&block, log.blocks())?;
        let mut recovered = Recovered::default();
        let mut next = superblock.sequence().wrapping_add(1);
        if superblock.start() != 0 {
            (recovered, next) = recover(&log, &superblock, &cache)?;
        }
        superblock.set_tail(next, 0);
        superblock.upgrade(needs.has_checksums, needs.is_64_bit);
        log.write_forced(0, &superblock.encode())?;
        Ok((Self { cache, log, superblock }, recovered))
    }
}
