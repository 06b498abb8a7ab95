//! What the messages of 9P2000.L hold: numbers of their types, and the structures in replies.

use crate::NAME_LEN_MAX;
use crate::codec::Decoder;

/// The version that is spoken.
pub const VERSION: &[u8] = b"9P2000.L";
/// The tag of the first message, which is outside of the session.
pub const NO_TAG: u16 = 0xffff;
/// No fid, and no user.
pub const NONE: u32 = u32::MAX;
/// The reply to any request that fails.
pub const ERROR: u8 = 7;
/// Bytes of a `read` reply in front of the data; a reply that is an error has as many.
pub const READ_REPLY_LEN: usize = 11;
/// Bytes of a `write` request in front of the data.
pub const WRITE_REQUEST_LEN: usize = 23;

/// Types of requests. The type of a reply is one more.
pub mod kind {
    /// Figures of a file system.
    pub const STATFS: u8 = 8;
    /// Opens a fid.
    pub const OPEN: u8 = 12;
    /// Makes a file in the directory of a fid, which becomes the file's, open.
    pub const CREATE: u8 = 14;
    /// Makes a symbolic link.
    pub const SYMLINK: u8 = 16;
    /// Makes a node.
    pub const MKNOD: u8 = 18;
    /// Reads a symbolic link.
    pub const READLINK: u8 = 22;
    /// Asks for attributes.
    pub const GETATTR: u8 = 24;
    /// Sets attributes.
    pub const SETATTR: u8 = 26;
    /// Makes a fid for the value of an extended attribute, or for the list of their names.
    pub const XATTRWALK: u8 = 30;
    /// Makes a fid take the value of an extended attribute.
    pub const XATTRCREATE: u8 = 32;
    /// Reads a directory.
    pub const READDIR: u8 = 40;
    /// Brings a file to stable storage.
    pub const FSYNC: u8 = 50;
    /// Makes a hard link.
    pub const LINK: u8 = 70;
    /// Makes a directory.
    pub const MKDIR: u8 = 72;
    /// Renames.
    pub const RENAMEAT: u8 = 74;
    /// Removes a name.
    pub const UNLINKAT: u8 = 76;
    /// Begins a session.
    pub const VERSION: u8 = 100;
    /// Names the root of a tree.
    pub const ATTACH: u8 = 104;
    /// Names what is below a directory.
    pub const WALK: u8 = 110;
    /// Reads an open file.
    pub const READ: u8 = 116;
    /// Writes to an open file.
    pub const WRITE: u8 = 118;
    /// Lets a fid go.
    pub const CLUNK: u8 = 120;
}

/// The server's name for a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Qid {
    /// What it is: the bits [`Qid::DIRECTORY`] and [`Qid::SYMLINK`].
    pub kind: u8,
    /// Changes with the contents.
    pub version: u32,
    /// Different for all files of the server.
    pub path: u64,
}

impl Qid {
    /// A directory.
    pub const DIRECTORY: u8 = 0x80;
    /// A symbolic link.
    pub const SYMLINK: u8 = 0x02;

    /// Reads one.
    pub fn decode(decoder: &mut Decoder<'_>) -> Option<Self> {
        Some(Self { kind: decoder.u8()?, version: decoder.u32()?, path: decoder.u64()? })
    }
}

/// A time of a file: seconds and nanoseconds, as the server says them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Since 1970; a negative number is a large one here.
    pub seconds: u64,
    /// Below a thousand million.
    pub nanoseconds: u64,
}

impl Time {
    fn decode(decoder: &mut Decoder<'_>) -> Option<Self> {
        Some(Self { seconds: decoder.u64()?, nanoseconds: decoder.u64()? })
    }
}

/// The reply to `getattr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Which file it is.
    pub qid: Qid,
    /// File type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links.
    pub links: u64,
    /// Device number of a device node.
    pub represents: u64,
    /// Length in bytes, which is no negative number for programs.
    pub size: u64,
    /// Preferred unit of transfers.
    pub block_size: u64,
    /// Space taken, in units of 512 bytes.
    pub blocks: u64,
    /// Last read.
    pub accessed: Time,
    /// Last change of the contents.
    pub modified: Time,
    /// Last change of the attributes.
    pub changed: Time,
}

impl Attributes {
    /// All that `stat` shows (`P9_GETATTR_BASIC`).
    pub const BASIC: u64 = 0x7ff;

    /// Reads the body of the reply. `None` also for a size that no file has.
    pub fn decode(decoder: &mut Decoder<'_>) -> Option<Self> {
        let _valid = decoder.u64()?;
        Some(Self {
            qid: Qid::decode(decoder)?,
            mode: decoder.u32()?,
            uid: decoder.u32()?,
            gid: decoder.u32()?,
            links: decoder.u64()?,
            represents: decoder.u64()?,
            size: decoder.u64().filter(|size| i64::try_from(*size).is_ok())?,
            block_size: decoder.u64()?,
            blocks: decoder.u64()?,
            accessed: Time::decode(decoder)?,
            modified: Time::decode(decoder)?,
            changed: Time::decode(decoder)?,
        })
    }
}

/// The reply to `statfs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The magic number of the type.
    pub magic: u32,
    /// Bytes in a block.
    pub block_size: u32,
    /// All blocks.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks for those without privileges.
    pub blocks_available: u64,
    /// All inodes.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Identity of the file system.
    pub id: u64,
    /// The longest name.
    pub name_len_max: u32,
}

impl Statistics {
    /// Reads the body of the reply.
    pub fn decode(decoder: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            magic: decoder.u32()?,
            block_size: decoder.u32()?,
            blocks: decoder.u64()?,
            blocks_free: decoder.u64()?,
            blocks_available: decoder.u64()?,
            files: decoder.u64()?,
            files_free: decoder.u64()?,
            id: decoder.u64()?,
            name_len_max: decoder.u32()?,
        })
    }
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry<'a> {
    /// What it names.
    pub qid: Qid,
    /// Where reading goes on behind it.
    pub next: u64,
    /// The `DT_` value.
    pub kind: u8,
    /// Its name.
    pub name: &'a [u8],
}

impl<'a> DirectoryEntry<'a> {
    /// Reads one. `None` for one that is cut off, or whose name is none.
    pub fn decode(decoder: &mut Decoder<'a>) -> Option<Self> {
        let entry =
            Self { qid: Qid::decode(decoder)?, next: decoder.u64()?, kind: decoder.u8()?, name: decoder.string()? };
        let is_name = !entry.name.is_empty()
            && entry.name.len() <= NAME_LEN_MAX
            && !entry.name.iter().any(|byte| matches!(byte, 0 | b'/'));
        is_name.then_some(entry)
    }
}
