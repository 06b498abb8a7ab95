//! The records of a payload as they lie in memory. All are unaligned, so they can be viewed anywhere.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The sections of a payload, in the order of [`Header::sections`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Section {
    /// The start parameters.
    Config = 0,
    /// The array of [`InodeRecord`].
    Inodes,
    /// The array of [`EntryRecord`].
    Entries,
    /// The bytes of names and symbolic links.
    Names,
    /// The array of [`SiteRecord`].
    Sites,
    /// The array of [`SymbolRecord`].
    Symbols,
    /// The bytes of the kernel's symbol names.
    SymbolNames,
    /// The contents of files.
    Data,
}

/// How many sections there are.
pub const SECTION_COUNT: usize = 8;
/// The size of a [`Header`].
pub const HEADER_SIZE: usize = size_of::<Header>();

/// A range of the payload.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Extent {
    /// Where it begins.
    pub offset: U64,
    /// How many bytes it has.
    pub size: U64,
}

/// The start of a payload.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`crate::MAGIC`].
    pub magic: [u8; 16],
    /// [`crate::VERSION`].
    pub version: U32,
    /// Zero.
    pub reserved: U32,
    /// The size of the payload with all its sections.
    pub total_size: U64,
    /// One extent per [`Section`].
    pub sections: [Extent; SECTION_COUNT],
}

impl Header {
    /// Where `section` lies.
    pub fn section(&self, section: Section) -> Extent {
        self.sections.get(section as usize).copied().unwrap_or_default()
    }
}

/// A file, directory, symbolic link or special file.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct InodeRecord {
    /// File type and permissions, as in `st_mode`.
    pub mode: U32,
    /// The owner.
    pub uid: U32,
    /// The group.
    pub gid: U32,
    /// The number of hard links.
    pub links: U32,
    /// The size as in `st_size`.
    pub size: U64,
    /// The time of the last change of the contents, in nanoseconds since 1970.
    pub modified_ns: I64,
    /// The device number of a special file, as in `st_rdev`.
    pub device: U64,
    /// File: offset of the contents in the payload. Link: offset of the target in the names. Directory: first entry.
    pub data: U64,
    /// File and link: the size of it, unpacked. Directory: the number of entries.
    pub data_size: U64,
    /// The number of the file's first site.
    pub first_site: U64,
    /// How many sites the file has.
    pub site_count: U64,
    /// File: how many bytes its contents take where they are packed, see [`crate::packed`]; 0 where they lie as they are,
    /// [`ELSEWHERE`] where they are not in the payload.
    pub packed_size: U64,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EntryRecord {
    /// The inode that is meant.
    pub inode: U32,
    /// The length of the name, 1 to 255.
    pub name_size: U16,
    /// Zero.
    pub reserved: U16,
    /// Where the name begins in the names.
    pub name: U64,
}

/// An instruction that must not run as it is, or a system call that can be rewritten.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SiteRecord {
    /// Where the first byte that changes lies in the file.
    pub file_offset: U64,
    /// The number of a [`crate::SiteKind`].
    pub kind: u8,
    /// The first byte.
    pub original: u8,
    /// [`crate::Patch::length`]; this and all that follows is zero for other kinds.
    pub length: u8,
    /// [`crate::Patch::syscall_at`].
    pub syscall_at: u8,
    /// The bits [`SITE_R11_DEAD`] and [`SITE_FLAGS_DEAD`].
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// [`crate::Patch::starts`].
    pub starts: U32,
    /// [`crate::Patch::checksum`].
    pub checksum: U32,
}

/// Instead of a packed size: the file is on the disk that is the root.
pub const ELSEWHERE: u64 = u64::MAX;
/// Nothing reads r11 as the system call leaves it.
pub const SITE_R11_DEAD: u8 = 1;
/// Nothing reads the status flags as the system call leaves them.
pub const SITE_FLAGS_DEAD: u8 = 2;

/// Instead of the number of a name: what begins here has none.
pub const NAMELESS: u16 = u16::MAX;

/// A function of the kernel.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SymbolRecord {
    /// The distance from the kernel's link base.
    pub offset: U32,
    /// The number of its name in the symbol names, or [`NAMELESS`].
    pub name: U16,
}
