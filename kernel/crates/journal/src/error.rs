//! [`JournalError`]: why a journal cannot be used.

use core::fmt;

use abi::Errno;
use block::BlockError;

/// Why a journal cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalError {
    /// There is no superblock of a journal where one should be.
    NotAJournal,
    /// The superblock says what cannot be.
    BadSuperblock(&'static str),
    /// A checksum is wrong.
    BadChecksum(&'static str),
    /// It has features that are not understood: the words of those that are incompatible, and of those that forbid writing.
    UnknownFeatures(u32, u32),
    /// It has fast commits, which are not understood.
    FastCommit,
    /// What the log says contradicts itself.
    Corrupt(&'static str),
    /// This transaction is damaged. Those before it have been replayed.
    BadTransaction(u32),
    /// The file system's answer to where the log is was an error.
    Place(Errno),
    /// Something could not be read or written.
    Block(BlockError),
}

impl From<BlockError> for JournalError {
    fn from(error: BlockError) -> Self {
        Self::Block(error)
    }
}

impl From<JournalError> for Errno {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::UnknownFeatures(..) | JournalError::FastCommit => Errno::EINVAL,
            JournalError::NotAJournal
            | JournalError::BadSuperblock(_)
            | JournalError::BadChecksum(_)
            | JournalError::Corrupt(_)
            | JournalError::BadTransaction(_) => Errno::EUCLEAN,
            JournalError::Place(errno) => errno,
            JournalError::Block(error) => error.into(),
        }
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAJournal => formatter.write_str("there is no journal"),
            Self::BadSuperblock(what) => write!(formatter, "the superblock is bad: {what}"),
            Self::BadChecksum(what) => write!(formatter, "the checksum of {what} is wrong"),
            Self::UnknownFeatures(incompatible, read_only) => {
                write!(formatter, "it has unknown features (incompatible {incompatible:#x}, read only {read_only:#x})")
            }
            Self::FastCommit => formatter.write_str("it has fast commits, which are not known here"),
            Self::Corrupt(what) => write!(formatter, "it is corrupt: {what}"),
            Self::BadTransaction(number) => write!(formatter, "transaction {number} is damaged"),
            Self::Place(errno) => write!(formatter, "its place cannot be found: {errno:?}"),
            Self::Block(error) => write!(formatter, "{error}"),
        }
    }
}
