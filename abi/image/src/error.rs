//! Why a payload was refused.

use core::fmt;

/// What is wrong with a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// The bytes end before the payload does.
    Truncated,
    /// The kernel has no payload: the image builder has not run.
    Empty,
    /// The bytes are no payload.
    BadMagic,
    /// The payload was made for another kernel.
    BadVersion,
    /// The payload's size is not a multiple of the page size.
    BadSize,
    /// A section lies outside the payload.
    SectionOutOfBounds,
    /// The start parameters are malformed.
    BadConfig,
    /// A table's size is not a multiple of its record size, or the table is too large.
    BadTable,
    /// There is no root directory.
    NoRoot,
    /// An inode's kind, data or sites are malformed.
    BadInode,
    /// A directory entry is malformed or out of order.
    BadEntry,
    /// The packed contents of a file are malformed.
    BadContents,
    /// A site is malformed or out of order.
    BadSite,
    /// A kernel symbol is malformed or out of order.
    BadSymbol,
}

impl fmt::Display for ImageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Truncated => "the payload is truncated",
            Self::Empty => "the kernel has no payload",
            Self::BadMagic => "the payload has a wrong magic number",
            Self::BadVersion => "the payload was made for another kernel",
            Self::BadSize => "the payload's size is not a multiple of the page size",
            Self::SectionOutOfBounds => "a section lies outside the payload",
            Self::BadConfig => "the start parameters are malformed",
            Self::BadTable => "a table has an impossible size",
            Self::NoRoot => "the archive has no root directory",
            Self::BadInode => "an inode is malformed",
            Self::BadEntry => "a directory entry is malformed",
            Self::BadContents => "the packed contents of a file are malformed",
            Self::BadSite => "an instruction site is malformed",
            Self::BadSymbol => "a kernel symbol is malformed",
        })
    }
}

impl core::error::Error for ImageError {}
