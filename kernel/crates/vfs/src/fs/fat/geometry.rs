//! [`Geometry`]: where on a volume things are, from its boot sector.
//!
//! Every number of the boot sector is checked before it is used: [`Geometry::parse`] refuses what does not fit together or into the
//! volume, so that everything computed later from a valid cluster number lies inside.
//!
//! Source: Microsoft, "FAT: General Overview of On-Disk Format", version 1.03, pages 9 to 22.

use abi::Errno;
use block::SECTOR_LEN;

/// Where the state of the volume is: bit 0 says that it is in use, or was not unmounted.
const STATE_OFFSET_16: usize = 0x25;
const STATE_OFFSET_32: usize = 0x41;
/// Volumes with fewer clusters have FATs with 12 bits.
const CLUSTERS_12_END: u64 = 4085;
/// Volumes with fewer clusters have FATs with 16 bits.
const CLUSTERS_16_END: u64 = 65_525;
/// The most clusters there can be: 28 bits, without the numbers that mean something else.
const CLUSTERS_MAX: u64 = 0x0fff_fff5;
/// Bytes of an entry in a directory.
pub(super) const ENTRY_LEN: usize = 32;

/// How many bits an entry of the FAT has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Bits12,
    Bits16,
    Bits32,
}

impl Width {
    /// The smallest number that means the end of a chain.
    pub(super) fn end_mark(self) -> u32 {
        match self {
            Self::Bits12 => 0xff8,
            Self::Bits16 => 0xfff8,
            Self::Bits32 => 0x0fff_fff8,
        }
    }
}

/// Where the root directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// In blocks of its own.
    Fixed { first_block: u64, blocks: u64 },
    /// In a chain of clusters.
    Cluster(u32),
}

/// Where on a volume things are. A block is what the boot sector calls a sector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) width: Width,
    pub(super) block_len: usize,
    pub(super) cluster_blocks: u64,
    pub(super) first_fat_block: u64,
    pub(super) fat_blocks: u64,
    pub(super) fats: u64,
    /// The FAT that counts, when the others are not kept the same.
    pub(super) only_fat: Option<u64>,
    pub(super) root: Root,
    pub(super) first_data_block: u64,
    /// Cluster numbers are below this, and from 2 on.
    pub(super) cluster_end: u32,
    /// The block with the count of free clusters.
    pub(super) info_block: Option<u64>,
    pub(super) serial: u32,
}

/// Fields of the boot sector.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn byte(&self, at: usize) -> u64 {
        u64::from(self.0.get(at).copied().unwrap_or(0))
    }

    fn word(&self, at: usize) -> u64 {
        self.byte(at) | self.byte(at + 1) << 8
    }

    fn long(&self, at: usize) -> u64 {
        self.word(at) | self.word(at + 2) << 16
    }
}

impl Geometry {
    /// Reads the boot sector of a volume of so many bytes. `EINVAL` when it is none of FAT, as Linux has it.
    pub(super) fn parse(boot: &[u8], volume_len: u64) -> Result<Self, Errno> {
        Self::parse_fields(&Fields(boot), volume_len).ok_or(Errno::EINVAL)
    }

    fn parse_fields(boot: &Fields<'_>, volume_len: u64) -> Option<Self> {
        let block_len = boot.word(11);
        let cluster_blocks = boot.byte(13);
        let is_sane = matches!(block_len, 512 | 1024 | 2048 | 4096) && cluster_blocks.is_power_of_two();
        let media = boot.byte(21);
        if !is_sane || !(media == 0xf0 || media >= 0xf8) {
            return None;
        }
        let reserved = boot.word(14);
        let fats = boot.byte(16);
        let is_32 = boot.word(22) == 0;
        let fat_blocks = if is_32 { boot.long(36) } else { boot.word(22) };
        let root_bytes = boot.word(17) * ENTRY_LEN as u64;
        let blocks = if boot.word(19) != 0 { boot.word(19) } else { boot.long(32) };
        if reserved == 0 || fats == 0 || fat_blocks == 0 || !root_bytes.is_multiple_of(block_len) {
            return None;
        }
        let first_root_block = reserved + fats * fat_blocks;
        let root_blocks = root_bytes / block_len;
        let first_data_block = first_root_block + root_blocks;
        let clusters = blocks.checked_sub(first_data_block)? / cluster_blocks;
        if blocks > volume_len / block_len || clusters == 0 || clusters > CLUSTERS_MAX {
            return None;
        }
        let width = match clusters {
            _ if is_32 => Width::Bits32,
            ..CLUSTERS_12_END => Width::Bits12,
            _ => Width::Bits16,
        };
        if width == Width::Bits16 && clusters >= CLUSTERS_16_END {
            return None;
        }
        let entries = match width {
            Width::Bits12 => fat_blocks * block_len * 2 / 3,
            Width::Bits16 => fat_blocks * block_len / 2,
            Width::Bits32 => fat_blocks * block_len / 4,
        };
        // Clusters that the FAT has no entries for cannot be used.
        let cluster_end = u32::try_from((clusters + 2).min(entries)).ok()?;
        if cluster_end <= 2 {
            return None;
        }
        let root = if is_32 {
            let cluster = u32::try_from(boot.long(44)).ok()?;
            if !(2..cluster_end).contains(&cluster) || root_blocks != 0 {
                return None;
            }
            Root::Cluster(cluster)
        } else if root_blocks == 0 {
            return None;
        } else {
            Root::Fixed { first_block: first_root_block, blocks: root_blocks }
        };
        let flags = boot.word(40);
        let only_fat = (is_32 && flags & 0x80 != 0).then_some(flags & 0xf);
        let info_block = Some(boot.word(48)).filter(|block| is_32 && (1..reserved).contains(block));
        if only_fat.is_some_and(|number| number >= fats) {
            return None;
        }
        Some(Self {
            width,
            block_len: usize::try_from(block_len).ok()?,
            cluster_blocks,
            first_fat_block: reserved,
            fat_blocks,
            fats,
            only_fat,
            root,
            first_data_block,
            cluster_end,
            info_block,
            serial: u32::try_from(boot.long(if is_32 { 67 } else { 39 })).ok()?,
        })
    }

    /// Bytes of a cluster.
    pub(super) fn cluster_len(&self) -> u64 {
        self.cluster_blocks * self.block_len as u64
    }

    /// How many clusters there are.
    pub(super) fn clusters(&self) -> u32 {
        self.cluster_end - 2
    }

    /// Whether a number is one of a cluster.
    pub(super) fn is_cluster(&self, number: u32) -> bool {
        (2..self.cluster_end).contains(&number)
    }

    /// The first block of a cluster.
    pub(super) fn block_of(&self, cluster: u32) -> u64 {
        debug_assert!(self.is_cluster(cluster), "cluster {cluster}");
        self.first_data_block + u64::from(cluster.saturating_sub(2)) * self.cluster_blocks
    }

    /// The volume's sectors, of 512 bytes, in a block.
    pub(super) fn block_sectors(&self) -> u64 {
        (self.block_len / SECTOR_LEN) as u64
    }

    /// Where in the boot sector the state of the volume is.
    pub(super) fn state_offset(&self) -> usize {
        if self.width == Width::Bits32 { STATE_OFFSET_32 } else { STATE_OFFSET_16 }
    }

    /// The most bytes that one name in the FAT of a chain can cover.
    pub(super) fn clusters_for(&self, len: u64) -> u64 {
        len.div_ceil(self.cluster_len())
    }
}

/// Whether the beginning of a volume looks like one of FAT, for who has to guess.
pub(super) fn is_fat(boot: &[u8], volume_len: u64) -> bool {
    boot.get(510..512) == Some(&[0x55, 0xaa]) && Geometry::parse(boot, volume_len).is_ok()
}
