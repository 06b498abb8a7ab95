//! [`Fid`] and [`OpenFid`]: files of the server, and what is asked of them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use mm::{Frame, PAGE_SIZE};

use crate::client::{Client, Payload, REPLY_LEN};
use crate::codec::{Decoder, Encoder, HEADER_LEN};
use crate::message::{Attributes, DirectoryEntry, Qid, READ_REPLY_LEN, Statistics, Time, WRITE_REQUEST_LEN, kind};
use crate::{NAME_LEN_MAX, TARGET_LEN_MAX};

/// The most bytes of directory entries asked for at once.
const ENTRIES_LEN_MAX: usize = 28 << 10;
/// The most bytes of an extended attribute, as Linux has it.
const ATTRIBUTE_LEN_MAX: u64 = 64 << 10;

/// `Tsetattr`: which fields count.
mod valid {
    pub(super) const MODE: u32 = 0x1;
    pub(super) const UID: u32 = 0x2;
    pub(super) const GID: u32 = 0x4;
    pub(super) const SIZE: u32 = 0x8;
    pub(super) const ACCESSED: u32 = 0x10;
    pub(super) const MODIFIED: u32 = 0x20;
    pub(super) const ACCESSED_GIVEN: u32 = 0x80;
    pub(super) const MODIFIED_GIVEN: u32 = 0x100;
}

/// A time to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTime {
    /// To the server's now.
    Now,
    /// To this.
    To(Time),
}

/// Attributes to be set; those that are `None` stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length.
    pub size: Option<u64>,
    /// Last read.
    pub accessed: Option<NewTime>,
    /// Last change of the contents.
    pub modified: Option<NewTime>,
}

/// A file of the server. Dropped, it is let go.
pub struct Fid {
    client: Arc<Client>,
    number: u32,
    /// Whether the server knows it.
    is_known: bool,
}

impl Drop for Fid {
    fn drop(&mut self) {
        if self.is_known {
            self.client.clunk(self.number);
        } else {
            self.client.session().fids.give_back(self.number);
        }
    }
}

impl Fid {
    /// A number that the server does not know yet.
    pub(crate) fn new(client: &Arc<Client>) -> Result<Self, Errno> {
        let number = client.session().fids.take().ok_or(Errno::ENFILE)?;
        Ok(Self { client: client.clone(), number, is_known: false })
    }

    /// The same, when the server knows it.
    pub(crate) fn known(mut self) -> Self {
        self.is_known = true;
        self
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The session.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    fn message(&self, kind: u8) -> Encoder {
        Encoder::new(kind).u32(self.number)
    }

    /// What a name in this directory stands for.
    pub fn walk(&self, name: &[u8]) -> Result<(Self, Qid), Errno> {
        let found = Self::new(&self.client)?;
        let message = self.message(kind::WALK).u32(found.number).u16(1).string(name)?;
        let reply = self.client.call(message)?;
        // One name is walked or the reply is an error; only walks of several are answered by fewer.
        let qid = reply.decode(|decoder| if decoder.u16()? == 1 { Qid::decode(decoder) } else { None })?;
        Ok((found.known(), qid))
    }

    /// Another fid of the same file, which can be opened while this one stays as it is.
    pub fn another(&self) -> Result<Self, Errno> {
        let found = Self::new(&self.client)?;
        let message = self.message(kind::WALK).u32(found.number).u16(0);
        self.client.call(message)?.decode(|decoder| (decoder.u16()? == 0).then_some(()))?;
        Ok(found.known())
    }

    /// Opens it with these flags of `open`.
    pub fn open(self, flags: u32) -> Result<OpenFid, Errno> {
        let reply = self.client.call(self.message(kind::OPEN).u32(flags))?;
        let (_, unit) = reply.decode(|decoder| Some((Qid::decode(decoder)?, decoder.u32()?)))?;
        Ok(OpenFid::new(self, unit))
    }

    /// Makes a file in this directory, which must have a fid of its own for it: that one is the new file's.
    pub fn create(self, name: &[u8], flags: u32, mode: u32, gid: u32) -> Result<(OpenFid, Qid), Errno> {
        let message = self.message(kind::CREATE).string(name)?.u32(flags).u32(mode).u32(gid);
        let (qid, unit) = self.client.call(message)?.decode(|decoder| Some((Qid::decode(decoder)?, decoder.u32()?)))?;
        Ok((OpenFid::new(self, unit), qid))
    }

    /// Makes a directory in this one.
    pub fn mkdir(&self, name: &[u8], mode: u32, gid: u32) -> Result<Qid, Errno> {
        let message = self.message(kind::MKDIR).string(name)?.u32(mode).u32(gid);
        self.client.call(message)?.decode(Qid::decode)
    }

    /// Makes a symbolic link in this directory.
    pub fn symlink(&self, name: &[u8], target: &[u8], gid: u32) -> Result<Qid, Errno> {
        let message = self.message(kind::SYMLINK).string(name)?.string(target)?.u32(gid);
        self.client.call(message)?.decode(Qid::decode)
    }

    /// Makes a node in this directory, whose type is in the mode.
    pub fn mknod(&self, name: &[u8], mode: u32, (major, minor): (u32, u32), gid: u32) -> Result<Qid, Errno> {
        let message = self.message(kind::MKNOD).string(name)?.u32(mode).u32(major).u32(minor).u32(gid);
        self.client.call(message)?.decode(Qid::decode)
    }

    /// Adds a name in this directory for a file.
    pub fn link(&self, file: &Self, name: &[u8]) -> Result<(), Errno> {
        let message = self.message(kind::LINK).u32(file.number).string(name)?;
        self.client.call(message).map(drop)
    }

    /// Removes a name in this directory, of a directory or of something else.
    pub fn unlink(&self, name: &[u8], is_directory: bool) -> Result<(), Errno> {
        const REMOVES_DIRECTORY: u32 = 0x200;
        let flags = if is_directory { REMOVES_DIRECTORY } else { 0 };
        self.client.call(self.message(kind::UNLINKAT).string(name)?.u32(flags)).map(drop)
    }

    /// Gives what a name here stands for a name in another directory, in the place of whatever has that.
    pub fn rename(&self, name: &[u8], directory: &Self, new_name: &[u8]) -> Result<(), Errno> {
        let message = self.message(kind::RENAMEAT).string(name)?.u32(directory.number).string(new_name)?;
        self.client.call(message).map(drop)
    }

    /// Where this symbolic link leads.
    pub fn readlink(&self) -> Result<Vec<u8>, Errno> {
        let reply_len = HEADER_LEN + 2 + TARGET_LEN_MAX;
        let reply = self.client.exchange(self.message(kind::READLINK), Payload::Nothing, reply_len, None)?;
        reply.decode(|decoder| decoder.string().filter(|target| !target.contains(&0)).map(<[u8]>::to_vec))
    }

    /// Its attributes.
    pub fn attributes(&self) -> Result<Attributes, Errno> {
        self.client.call(self.message(kind::GETATTR).u64(Attributes::BASIC))?.decode(Attributes::decode)
    }

    /// Sets attributes.
    pub fn set_attributes(&self, set: &SetAttributes) -> Result<(), Errno> {
        let bit = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
        let time = |time: Option<NewTime>, set: u32, given: u32| match time {
            None => (0, Time::default()),
            Some(NewTime::Now) => (set, Time::default()),
            Some(NewTime::To(time)) => (set | given, time),
        };
        let (accessed_bits, accessed) = time(set.accessed, valid::ACCESSED, valid::ACCESSED_GIVEN);
        let (modified_bits, modified) = time(set.modified, valid::MODIFIED, valid::MODIFIED_GIVEN);
        let bits = bit(set.mode.is_some(), valid::MODE)
            | bit(set.uid.is_some(), valid::UID)
            | bit(set.gid.is_some(), valid::GID)
            | bit(set.size.is_some(), valid::SIZE)
            | accessed_bits
            | modified_bits;
        let message = self
            .message(kind::SETATTR)
            .u32(bits)
            .u32(set.mode.unwrap_or(0))
            .u32(set.uid.unwrap_or(0))
            .u32(set.gid.unwrap_or(0))
            .u64(set.size.unwrap_or(0))
            .u64(accessed.seconds)
            .u64(accessed.nanoseconds)
            .u64(modified.seconds)
            .u64(modified.nanoseconds);
        self.client.call(message).map(drop)
    }

    /// Figures of the file system it is in.
    pub fn statistics(&self) -> Result<Statistics, Errno> {
        self.client.call(self.message(kind::STATFS))?.decode(Statistics::decode)
    }

    /// The value of an extended attribute, or with an empty name the names of all, each with a closing zero.
    pub fn attribute(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let value = Self::new(&self.client)?;
        let message = self.message(kind::XATTRWALK).u32(value.number).string(name)?;
        let len = self.client.call(message)?.decode(|decoder| decoder.u64())?;
        let value = OpenFid::new(value.known(), 0);
        if len > ATTRIBUTE_LEN_MAX {
            return Err(Errno::E2BIG);
        }
        let len = usize::try_from(len).map_err(|_| Errno::E2BIG)?;
        let frames: Vec<Frame> = (0..len.div_ceil(PAGE_SIZE)).map(|_| Frame::allocate()).collect::<Result<_, _>>()?;
        let read = value.read(0, &frames, len)?;
        let mut bytes = alloc::vec![0; read];
        for (chunk, frame) in bytes.chunks_mut(PAGE_SIZE).zip(&frames) {
            frame.read(0, chunk);
        }
        Ok(bytes)
    }

    /// Sets an extended attribute, or with an empty value and [`Fid::REMOVES_ATTRIBUTE`] takes it away. `flags` are those of `setxattr`.
    pub fn set_attribute(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        let target = self.another()?;
        let message = target.message(kind::XATTRCREATE).string(name)?.u64(value.len() as u64).u32(flags);
        self.client.call(message)?;
        let target = OpenFid::new(target, 0);
        for (number, chunk) in value.chunks(PAGE_SIZE).enumerate() {
            let frame = Frame::allocate()?;
            frame.write(0, chunk);
            if target.write((number * PAGE_SIZE) as u64, &[frame], chunk.len())? != chunk.len() {
                return Err(Errno::EIO);
            }
        }
        target.close()
    }

    /// The flag of [`Fid::set_attribute`] that takes an attribute away: it must be there, and becomes empty (`XATTR_REPLACE`).
    pub const REMOVES_ATTRIBUTE: u32 = 2;
}

/// A file of the server that is open.
pub struct OpenFid {
    fid: Fid,
    /// The most bytes that one message moves.
    unit: usize,
}

impl OpenFid {
    fn new(fid: Fid, unit: u32) -> Self {
        let payload_max = fid.client.payload_max();
        // 0 means that the server has no wish. Whole pages, so that no frame is filled by two replies.
        let wish = usize::try_from(unit).unwrap_or(0) / PAGE_SIZE * PAGE_SIZE;
        let unit = if wish == 0 { payload_max } else { wish.min(payload_max) };
        Self { fid, unit }
    }

    /// The most bytes that one message moves: whole pages.
    #[must_use]
    pub fn unit(&self) -> usize {
        self.unit
    }

    /// It as a fid: a server may know an open file without its name.
    #[must_use]
    pub fn fid(&self) -> &Fid {
        &self.fid
    }

    /// Reads into the first `len` bytes of the frames, at most [`OpenFid::unit`]; how many there were, fewer at the end of the file.
    pub fn read(&self, offset: u64, frames: &[Frame], len: usize) -> Result<usize, Errno> {
        let len = len.min(self.unit).min(frames.len() * PAGE_SIZE);
        if len == 0 {
            return Ok(0);
        }
        let count = u32::try_from(len).map_err(|_| Errno::EINVAL)?;
        let message = self.fid.message(kind::READ).u64(offset).u32(count);
        let reply = self.fid.client.exchange(message, Payload::In(frames, len), READ_REPLY_LEN, None)?;
        // No more than there was room for, and no more than was sent.
        let len = len.min(reply.len_behind(READ_REPLY_LEN));
        reply.decode(|decoder| usize::try_from(decoder.u32()?).ok().filter(|count| *count <= len))
    }

    /// Writes the first `len` bytes of the frames, at most [`OpenFid::unit`]; how many were taken.
    pub fn write(&self, offset: u64, frames: &[Frame], len: usize) -> Result<usize, Errno> {
        let len = len.min(self.unit).min(frames.len() * PAGE_SIZE);
        let count = u32::try_from(len).map_err(|_| Errno::EINVAL)?;
        let message = self.fid.message(kind::WRITE).u64(offset).u32(count);
        debug_assert_eq!(message.len(), WRITE_REQUEST_LEN);
        let reply = self.fid.client.exchange(message, Payload::Out(frames, len), REPLY_LEN, None)?;
        reply.decode(|decoder| usize::try_from(decoder.u32()?).ok().filter(|count| *count <= len))
    }

    /// Gives the entries of a directory from `offset` on, 0 being the start, to `each`, which answers whether it wants more. False: there
    /// are no more. No entry is longer than what one reply holds.
    pub fn read_directory(
        &self,
        offset: u64,
        mut each: impl FnMut(&DirectoryEntry<'_>) -> bool,
    ) -> Result<Listed, Errno> {
        let len = ENTRIES_LEN_MAX.min(self.unit);
        let count = u32::try_from(len).map_err(|_| Errno::EINVAL)?;
        let message = self.fid.message(kind::READDIR).u64(offset).u32(count);
        let reply = self.fid.client.exchange(message, Payload::Nothing, READ_REPLY_LEN + len, None)?;
        let mut decoder = reply.decoder();
        let entries = decoder.u32().and_then(|count| decoder.bytes(usize::try_from(count).ok()?));
        let mut decoder = Decoder::new(entries.ok_or_else(|| reply.malformed())?);
        if decoder.rest().is_empty() {
            return Ok(Listed::End);
        }
        let mut last = offset;
        while !decoder.rest().is_empty() {
            let entry = DirectoryEntry::decode(&mut decoder).ok_or_else(|| reply.malformed())?;
            if !each(&entry) {
                return Ok(Listed::Enough);
            }
            last = entry.next;
        }
        Ok(Listed::More(last))
    }

    /// Brings it to stable storage.
    pub fn sync(&self, data_only: bool) -> Result<(), Errno> {
        self.fid.client.call(self.fid.message(kind::FSYNC).u32(u32::from(data_only))).map(drop)
    }

    /// Lets it go, and waits for what the server says of that.
    fn close(self) -> Result<(), Errno> {
        let mut fid = self.fid;
        let result = fid.client.call(fid.message(kind::CLUNK));
        // The number is free, whatever was said.
        fid.is_known = false;
        result.map(drop)
    }
}

/// How far a directory was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// The caller has enough.
    Enough,
    /// There may be more, from here on.
    More(u64),
    /// That was all.
    End,
}

const _: () = assert!(NAME_LEN_MAX + 24 < ENTRIES_LEN_MAX);
