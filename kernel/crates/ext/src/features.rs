//! The features of a file system: [`Compatible`], [`Incompatible`] and [`ReadOnlyCompatible`], which of them are known,
//! and what `mke2fs` calls those that are not ([`Names`]).

use core::fmt;

use bitflags::bitflags;

bitflags! {
    /// Features that need not be known.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Compatible: u32 {
        /// There is a journal.
        const HAS_JOURNAL = 0x4;
        /// Inodes may have extended attributes.
        const ATTRIBUTES = 0x8;
        /// Blocks are kept for descriptors of a larger file system.
        const RESIZE_INODE = 0x10;
        /// Directories may have an index.
        const DIRECTORY_INDEX = 0x20;
        /// Two backups of the superblock only.
        const SPARSE_SUPER2 = 0x200;
        /// There is a file for orphans.
        const ORPHAN_FILE = 0x1000;
        const _ = !0;
    }

    /// Features that must be known to read.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Incompatible: u32 {
        /// Directory entries say the type of the file.
        const FILE_TYPE = 0x2;
        /// The journal must be replayed.
        const NEEDS_RECOVERY = 0x4;
        /// Descriptors stand in the groups they describe.
        const META_GROUPS = 0x10;
        /// Files may have extents.
        const EXTENTS = 0x40;
        /// Block numbers have 64 bits.
        const WIDE = 0x80;
        /// Several hosts, each of which must say that it is there.
        const MULTIPLE_MOUNT = 0x100;
        /// Bitmaps and inode tables need not be in their groups.
        const FLEXIBLE_GROUPS = 0x200;
        /// Values of extended attributes may be in inodes of their own.
        const ATTRIBUTE_INODES = 0x400;
        /// The seed of checksums is in the superblock.
        const CHECKSUM_SEED = 0x2000;
        /// Directories may be larger than 2 GiB.
        const LARGE_DIRECTORIES = 0x4000;
        /// Files may be encrypted.
        const ENCRYPTED = 0x1_0000;
        /// Directories may ignore case.
        const CASE_FOLDED = 0x2_0000;
        const _ = !0;
    }

    /// Features that must be known to write.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ReadOnlyCompatible: u32 {
        /// Backups of the superblock are in few groups.
        const SPARSE_SUPER = 0x1;
        /// Files may be larger than 2 GiB.
        const LARGE_FILES = 0x2;
        /// Space taken may count in blocks of the file system.
        const HUGE_FILES = 0x8;
        /// Group descriptors have checksums of 16 bits.
        const DESCRIPTOR_CHECKSUMS = 0x10;
        /// Directories may have any number of subdirectories.
        const MANY_SUBDIRECTORIES = 0x20;
        /// Inode records say how much of what is behind their first 128 bytes is used.
        const EXTRA_LEN = 0x40;
        /// Space is allocated in clusters.
        const CLUSTERS = 0x200;
        /// All metadata has checksums.
        const METADATA_CHECKSUMS = 0x400;
        /// The file system is only to be read.
        const READ_ONLY = 0x1000;
        /// There may be orphans in their file.
        const ORPHANS_PRESENT = 0x1_0000;
        const _ = !0;
    }
}

impl Incompatible {
    /// What can be read.
    pub(crate) const READABLE: Self = Self::FILE_TYPE
        .union(Self::NEEDS_RECOVERY)
        .union(Self::META_GROUPS)
        .union(Self::EXTENTS)
        .union(Self::WIDE)
        .union(Self::MULTIPLE_MOUNT)
        .union(Self::FLEXIBLE_GROUPS)
        .union(Self::ATTRIBUTE_INODES)
        .union(Self::CHECKSUM_SEED)
        .union(Self::LARGE_DIRECTORIES)
        .union(Self::ENCRYPTED)
        .union(Self::CASE_FOLDED);

    /// What can be read and must not be written.
    pub(crate) const NOT_WRITABLE: Self =
        Self::MULTIPLE_MOUNT.union(Self::ATTRIBUTE_INODES).union(Self::ENCRYPTED).union(Self::CASE_FOLDED);
}

impl ReadOnlyCompatible {
    /// What can be written.
    pub(crate) const WRITABLE: Self = Self::SPARSE_SUPER
        .union(Self::LARGE_FILES)
        .union(Self::HUGE_FILES)
        .union(Self::DESCRIPTOR_CHECKSUMS)
        .union(Self::MANY_SUBDIRECTORIES)
        .union(Self::EXTRA_LEN)
        .union(Self::METADATA_CHECKSUMS)
        .union(Self::ORPHANS_PRESENT);
}

/// Names of the features that are in the way, with their bits.
const INCOMPATIBLE_NAMES: &[(u32, &str)] = &[
    (0x1, "compression"),
    (0x8, "journal_dev"),
    (0x100, "mmp"),
    (0x400, "ea_inode"),
    (0x1000, "dirdata"),
    (0x8000, "inline_data"),
    (0x1_0000, "encrypt"),
    (0x2_0000, "casefold"),
];
const READ_ONLY_COMPATIBLE_NAMES: &[(u32, &str)] = &[
    (0x80, "has_snapshot"),
    (0x100, "quota"),
    (0x200, "bigalloc"),
    (0x800, "replica"),
    (0x2000, "project"),
    (0x4000, "shared_blocks"),
    (0x8000, "verity"),
    (0x1_0000, "orphan_present"),
];

/// Features, shown by the names that `mke2fs` has for them; as a number where it has none.
pub(crate) struct Names(pub(crate) Incompatible, pub(crate) ReadOnlyCompatible);

impl fmt::Display for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets = [(self.0.bits(), INCOMPATIBLE_NAMES), (self.1.bits(), READ_ONLY_COMPATIBLE_NAMES)];
        let mut separator = "";
        for (mut bits, names) in sets {
            for (bit, name) in names {
                if bits & bit == 0 {
                    continue;
                }
                write!(formatter, "{separator}{name}")?;
                separator = ", ";
                bits &= !bit;
            }
            if bits != 0 {
                write!(formatter, "{separator}{bits:#x}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_called_as_by_mke2fs() {
        let names = Names(
            Incompatible::CASE_FOLDED | Incompatible::MULTIPLE_MOUNT,
            ReadOnlyCompatible::from_bits_retain(0x100 | 0x8000_0000),
        );
        assert_eq!(names.to_string(), "mmp, casefold, quota, 0x80000000");
    }
}
