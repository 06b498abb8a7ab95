//! The payload of an image: everything the kernel finds behind itself in memory when it boots.
//!
//! The image builder appends the payload to the kernel's ELF file and patches the last `PT_LOAD` header, so the boot
//! loader places it in memory, page aligned. It holds the program's start parameters ([`Config`]), the read-only root
//! file system ([`Archive`]), the places in its files that the kernel changes when it maps them ([`Sites`]), and the
//! names of the kernel's own functions ([`Symbols`]).
//!
//! # Layout
//!
//! All integers are little-endian. Offsets count from the start of the payload.
//!
//! 1. A [`layout::Header`]: magic, version, total size, and one [`layout::Extent`] for each of the sections below.
//! 2. Config: counted byte strings, see [`config`].
//! 3. Inodes: an array of [`layout::InodeRecord`]; number 0 is the root directory.
//! 4. Entries: an array of [`layout::EntryRecord`]. A directory owns a run of them, sorted by name.
//! 5. Names: the bytes of entry names and symbolic links.
//! 6. Sites: an array of [`layout::SiteRecord`]. A file owns a run of them, sorted by offset.
//! 7. Symbols: an array of [`layout::SymbolRecord`], sorted by offset, closed by a nameless one.
//! 8. Symbol names: 128 pairs of bytes, and names in order: how many bytes of the one before are its first, how many codes follow, and these.
//! 9. Data: the contents of files. A file of at least [`ALIGNED_SIZE_MIN`] bytes begins on a page boundary and its last
//!    page is filled with zeros, so that its pages can be mapped where they lie; a smaller one lies in one page, so that it can be
//!    sent from there. Where the root is on a disk, the archive has the files with sites alone, and their contents are elsewhere. If
//!    the builder was asked for it, such files are packed instead ([`packed`]).
//!
//! # What is checked when
//!
//! [`Image::parse`] looks at the header, the start parameters and the kernel's symbols, and at the root directory alone of the archive: how long
//! it takes does not depend on how many files there are. A record of the archive is checked whenever it is used, in constant time (the names on
//! the way of a bisection only as far as they are compared), and one that is malformed is an error then. Nothing panics, whatever the bytes.
//!
//! With the feature `write` the crate also holds the writer, which needs `std`.
#![cfg_attr(not(any(test, feature = "write")), no_std)]
#![forbid(unsafe_code)]

pub mod archive;
pub mod config;
mod error;
pub mod layout;
pub mod packed;
mod sites;
mod symbols;
#[cfg(feature = "write")]
pub mod write;

pub use archive::{Archive, Entries, Entry, Inode, InodeIndex, Kind};
pub use config::{Config, Strings};
pub use error::ImageError;
pub use packed::Packed;
pub use sites::{Patch, Site, SiteKind, Sites};
pub use symbols::{SYMBOL_NAME_LEN_MAX, SymbolName, Symbols};

use layout::{Extent, Header, Section};
use zerocopy::FromBytes;

/// The size of a page, the unit of alignment.
pub const PAGE_SIZE: u64 = 4096;
/// Files at least this large begin on a page boundary of the payload.
pub const ALIGNED_SIZE_MIN: u64 = 2048;
/// What stands at the start of the payload segment of a kernel that has no payload yet.
pub const PLACEHOLDER: [u8; 16] = *b"NACRE-PAYLOAD\0\0\0";
/// What stands at the start of a payload.
pub const MAGIC: [u8; 16] = *b"NACRE-IMAGE\0\0\0\0\0";
/// The version of the layout; kernel and builder always come from one source tree, so there is no compatibility.
pub const VERSION: u32 = 6;

/// A checked payload.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    config: Config<'a>,
    archive: Archive<'a>,
    symbols: Symbols<'a>,
    total_size: u64,
}

impl<'a> Image<'a> {
    /// Reads the size of the whole payload from its first bytes, of which at least [`layout::HEADER_SIZE`] are needed.
    ///
    /// # Errors
    /// When the bytes are no header of this version.
    pub fn total_size_of(start: &[u8]) -> Result<u64, ImageError> {
        Ok(Header::read(start)?.total_size.get())
    }

    /// Reads [`Self::required_memory`] from the payload's first page.
    ///
    /// # Errors
    /// When the bytes are no header of this version, or too few.
    pub fn required_memory_of(start: &[u8]) -> Result<u64, ImageError> {
        let config = Header::read(start)?.section(Section::Config);
        let field = range(start, config.offset.get(), 8).ok_or(ImageError::Truncated)?;
        u64::read_from_bytes(field).map(u64::from_le).map_err(|_| ImageError::Truncated)
    }

    /// Reads [`Config::root_kind`] from the payload's first page.
    ///
    /// # Errors
    /// When the bytes are no header of this version, or too few.
    pub fn root_kind_of(start: &[u8]) -> Result<&str, ImageError> {
        let config = Header::read(start)?.section(Section::Config);
        let offset = config.offset.get().checked_add(8).ok_or(ImageError::Truncated)?;
        let field = range(start, offset, 8).and_then(|field| field.first_chunk()).ok_or(ImageError::Truncated)?;
        config::read_root_kind(field).ok_or(ImageError::BadConfig)
    }

    /// Checks the payload and makes it accessible. `bytes` may be longer than the payload.
    ///
    /// # Errors
    /// Says which part is malformed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let header = Header::read(bytes)?;
        let total_size = header.total_size.get();
        let payload =
            usize::try_from(total_size).ok().and_then(|size| bytes.get(..size)).ok_or(ImageError::Truncated)?;
        let section = |section: Section| slice(payload, header.section(section));
        let config = Config::parse(section(Section::Config)?)?;
        let archive = Archive::parse(&archive::Parts {
            payload,
            inodes: section(Section::Inodes)?,
            entries: section(Section::Entries)?,
            names: section(Section::Names)?,
            sites: section(Section::Sites)?,
        })?;
        let symbols = Symbols::parse(section(Section::Symbols)?, section(Section::SymbolNames)?)?;
        Ok(Self { config, archive, symbols, total_size })
    }

    /// The start parameters of the program.
    pub fn config(&self) -> Config<'a> {
        self.config
    }

    /// The read-only root file system.
    pub fn archive(&self) -> Archive<'a> {
        self.archive
    }

    /// The places of an archive file that are changed when it is mapped as code; `None` when there are none.
    ///
    /// # Errors
    /// As [`Archive::sites`].
    pub fn sites(&self, inode: InodeIndex) -> Result<Option<Sites<'a>>, ImageError> {
        self.archive.sites(inode)
    }

    /// The functions of the kernel, by their distance from its link base.
    pub fn kernel_symbols(&self) -> Symbols<'a> {
        self.symbols
    }

    /// The memory in bytes that the program needs at least, as far as the builder could tell; 0 when it could not.
    pub fn required_memory(&self) -> u64 {
        self.config.required_memory()
    }

    /// The size of the payload in bytes, a multiple of the page size.
    pub fn total_size(&self) -> u64 {
        self.total_size
    }
}

impl Header {
    fn read(bytes: &[u8]) -> Result<&Self, ImageError> {
        let (header, _) = Self::ref_from_prefix(bytes).map_err(|_| ImageError::Truncated)?;
        if header.magic != MAGIC {
            return Err(if header.magic == PLACEHOLDER { ImageError::Empty } else { ImageError::BadMagic });
        }
        if header.version.get() != VERSION {
            return Err(ImageError::BadVersion);
        }
        if !header.total_size.get().is_multiple_of(PAGE_SIZE) {
            return Err(ImageError::BadSize);
        }
        Ok(header)
    }
}

/// The bytes of `extent` in `payload`.
fn slice(payload: &[u8], extent: Extent) -> Result<&[u8], ImageError> {
    range(payload, extent.offset.get(), extent.size.get()).ok_or(ImageError::SectionOutOfBounds)
}

/// `size` bytes of `bytes` from `offset`, if they are there.
fn range(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    bytes.get(start..end)
}

/// `count` records of `records` from number `first`, if they are there.
fn run<T>(records: &[T], first: u64, count: u64) -> Option<&[T]> {
    let start = usize::try_from(first).ok()?;
    let end = start.checked_add(usize::try_from(count).ok()?)?;
    records.get(start..end)
}
