//! [`Recording`]: what a machine did to its disk, as the emulator recorded it.
//!
//! The emulator's driver `blklogwrites` writes the format of Linux's device mapper target `log-writes`
//! (Documentation/admin-guide/device-mapper/log-writes.rst; `struct log_write_super` and `log_write_entry` of
//! drivers/md/dm-log-writes.c): a superblock in the first sector, then entries, each a sector of its own and the data behind it: as many sectors as the entry names,
//! none of a discard. All numbers are little-endian. A write is recorded when it begins, a flush when it ends.

use testkit::disk::{Sector, Step};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// What a recording begins with.
const MAGIC: u64 = 0x006a_7366_7773_6872;
/// The only version there is.
const VERSION: u64 = 1;
/// Bytes of a sector, of the disk and of the recording.
const SECTOR_LEN: usize = 512;
/// All written before is stable now.
const FLUSH: u64 = 1;
/// This write is stable when it ends.
const FORCED: u64 = 2;
/// The contents may be anything now.
const DISCARD: u64 = 4;
/// Not something done to the disk.
const MARK: u64 = 8;
/// More sectors at once no disk of these tests has.
const SECTORS_MAX: usize = 1 << 22;
/// What a disk in these tests may give back for what was discarded.
const DISCARDED: u8 = 0xdd;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Superblock {
    magic: U64,
    version: U64,
    entries: U64,
    sector_len: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    sector: U64,
    sectors: U64,
    flags: U64,
    mark_len: U64,
}

/// Everything that was done to a disk, in order.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The steps.
    pub(crate) steps: Vec<Step>,
}

impl Recording {
    /// Reads what the emulator wrote. What stands behind the superblock's last count was never confirmed by it and is left out.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (superblock, _) = Superblock::read_from_prefix(bytes).map_err(|_| "the recording is empty")?;
        if superblock.magic.get() != MAGIC || superblock.version.get() != VERSION {
            return Err("this is no recording of a disk".to_owned());
        }
        if superblock.sector_len.get() as usize != SECTOR_LEN {
            return Err(format!("sectors of {} bytes; they should have {SECTOR_LEN}", superblock.sector_len));
        }
        let mut rest = bytes.get(SECTOR_LEN..).unwrap_or_default();
        let mut steps = Vec::new();
        for number in 0..superblock.entries.get() {
            let (entry, _) = Entry::read_from_prefix(rest).map_err(|_| format!("entry {number} is cut off"))?;
            let data_len = entry.data_len().ok_or_else(|| format!("entry {number} is too long"))?;
            let data = rest.get(SECTOR_LEN..).and_then(|data| data.get(..data_len));
            let data = data.ok_or_else(|| format!("entry {number} is cut off"))?;
            entry.add_steps(data, &mut steps);
            rest = rest.get(SECTOR_LEN + data_len..).unwrap_or_default();
        }
        Ok(Self { steps })
    }
}

impl Entry {
    /// Bytes of the data behind the entry.
    fn data_len(&self) -> Option<usize> {
        let flags = self.flags.get();
        if flags & MARK != 0 {
            return usize::try_from(self.mark_len.get()).ok()?.checked_next_multiple_of(SECTOR_LEN);
        }
        let sectors = usize::try_from(self.sectors.get()).ok().filter(|sectors| *sectors <= SECTORS_MAX)?;
        Some(if flags & DISCARD != 0 { 0 } else { sectors * SECTOR_LEN })
    }

    fn add_steps(&self, data: &[u8], steps: &mut Vec<Step>) {
        let flags = self.flags.get();
        if flags & MARK != 0 {
            return;
        }
        if flags & FLUSH != 0 {
            steps.push(Step::Flush);
        }
        let mut contents: Vec<Sector> = data.as_chunks().0.to_vec();
        if flags & DISCARD != 0 {
            contents.resize(usize::try_from(self.sectors.get()).unwrap_or(0), [DISCARDED; SECTOR_LEN]);
        }
        if !contents.is_empty() {
            steps.push(Step::Write { sector: self.sector.get(), data: contents, is_forced: flags & FORCED != 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(entries: &[([u64; 4], &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC.to_le_bytes());
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((entries.len() as u64).to_le_bytes());
        bytes.extend(512_u32.to_le_bytes());
        bytes.resize(SECTOR_LEN, 0);
        for (words, data) in entries {
            let end = bytes.len() + SECTOR_LEN;
            words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
            bytes.resize(end, 0);
            bytes.extend(*data);
        }
        bytes
    }

    #[test]
    fn steps_are_read() {
        let bytes = recording(&[
            ([7, 1, 0, 0], &[1; 512]),
            ([0, 0, FLUSH, 0], &[]),
            ([8, 2, FORCED, 0], &[2; 1024]),
            ([9, 1, DISCARD, 0], &[]),
            ([0, 0, MARK, 5], &[3; 512]),
            ([10, 1, 0, 0], &[4; 512]),
        ]);
        let steps = Recording::parse(&bytes).unwrap().steps;
        assert_eq!(steps.len(), 5);
        assert!(matches!(&steps[0], Step::Write { sector: 7, data, is_forced: false } if data == &[[1; 512]]));
        assert!(matches!(steps[1], Step::Flush));
        assert!(matches!(&steps[2], Step::Write { sector: 8, data, is_forced: true } if data.len() == 2));
        assert!(matches!(&steps[3], Step::Write { sector: 9, data, .. } if data == &[[DISCARDED; 512]]));
        assert!(matches!(&steps[4], Step::Write { sector: 10, data, .. } if data == &[[4; 512]]));
    }

    #[test]
    fn a_recording_that_is_cut_off_is_refused() {
        let bytes = recording(&[([7, 1, 0, 0], &[1; 512])]);
        for len in 0..bytes.len() {
            assert!(Recording::parse(&bytes[..len]).is_err(), "{len}");
        }
        assert!(Recording::parse(&[0; 512]).is_err());
    }
}
