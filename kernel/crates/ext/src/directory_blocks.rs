//! [`DirectoryBlocks`]: the blocks of a directory, as the code for names sees them.

use alloc::sync::Arc;

use abi::Errno;
use block::Buffer;

use crate::Change;

/// How the blocks of one directory are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryFormat {
    /// Bytes in a block.
    pub block_len: usize,
    /// The seed of the checksums of this directory's blocks ([`crate::checksum::inode_seed`]); None when they have none.
    pub checksum_seed: Option<u32>,
    /// Whether entries say what kind of file they name (`filetype`).
    pub has_file_types: bool,
    /// Whether directories may have an index (`dir_index`).
    pub may_have_index: bool,
    /// Whether an index may have three levels (`large_dir`).
    pub is_large: bool,
    /// The hash function of new indexes: 0 legacy, 1 half MD4, 2 TEA.
    pub hash_version: u8,
    /// Whether the hash functions take bytes as unsigned (`s_flags`).
    pub hash_is_unsigned: bool,
    /// The seed of the hash functions; all zero means their own.
    pub hash_seed: [u32; 4],
}

/// The blocks of a directory. Who calls holds the lock of the directory, alone for changes.
pub trait DirectoryBlocks {
    /// How they are written.
    fn format(&self) -> &DirectoryFormat;

    /// The number of the directory's inode.
    fn number(&self) -> u32;

    /// How many blocks there are.
    fn count(&self) -> u32;

    /// One block. `EUCLEAN` for a hole, and behind the end.
    fn get(&self, index: u32) -> Result<Arc<Buffer>, Errno>;

    /// Adds a block of zeroes behind the last; its number. The size of the directory grows with it.
    fn append(&self, change: &Change<'_>) -> Result<(u32, Arc<Buffer>), Errno>;

    /// Whether the directory has an index (`EXT4_INDEX_FL`).
    fn has_index(&self) -> bool;

    /// Says whether it has one.
    fn set_has_index(&self, change: &Change<'_>, has_index: bool) -> Result<(), Errno>;
}
