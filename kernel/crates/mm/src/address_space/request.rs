//! What callers ask of an address space, and what they are told: plain data.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Errno, MapFlags, ProtFlags};
use bitflags::bitflags;

use crate::object::MappedObject;
use crate::page_table::Rights;
use crate::range::PageRange;

/// Where things go in an address space. The random part is chosen by the caller.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Mappings without an address are placed downwards from here. Page aligned.
    pub mmap_base: usize,
}

/// Resource limits, in bytes. `u64::MAX` is none.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// RLIMIT_AS.
    pub address_space: u64,
    /// RLIMIT_DATA.
    pub data: u64,
    /// RLIMIT_STACK.
    pub stack: u64,
    /// RLIMIT_MEMLOCK.
    pub locked: u64,
    /// CAP_IPC_LOCK: the limit on locked memory does not bind.
    pub may_lock_any: bool,
}

impl Default for Limits {
    /// Linux's defaults for root.
    fn default() -> Self {
        Self { address_space: u64::MAX, data: u64::MAX, stack: 8 << 20, locked: 8 << 20, may_lock_any: true }
    }
}

impl Rights {
    /// The rights of PROT_ flags.
    #[must_use]
    pub fn from_protection(protection: ProtFlags) -> Self {
        let mut rights = Self::empty();
        rights.set(Self::READ, protection.contains(ProtFlags::READ));
        rights.set(Self::WRITE, protection.contains(ProtFlags::WRITE));
        rights.set(Self::EXECUTE, protection.contains(ProtFlags::EXEC));
        rights
    }
}

/// How changes of a mapping travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// MAP_PRIVATE: changes stay in this address space.
    Private,
    /// MAP_SHARED: changes are changes of the object.
    Shared,
}

bitflags! {
    /// The flags of mmap that change what it does.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct MapOptions: u16 {
        /// Exactly there, replacing what is there.
        const FIXED = 1;
        /// Exactly there, or EEXIST.
        const FIXED_NOREPLACE = 1 << 1;
        /// A stack.
        const GROWS_DOWN = 1 << 2;
        /// Not counted against memory.
        const NORESERVE = 1 << 3;
        /// Page everything in.
        const POPULATE = 1 << 4;
        /// As mlock.
        const LOCKED = 1 << 5;
        /// In the first 2 GiB (MAP_32BIT).
        const LOW = 1 << 6;
        /// The program is never allowed more than the rights of the mapping. No flag of mmap.
        const FINAL_RIGHTS = 1 << 7;
        /// May be emptied at any time, is not inherited and not dumped (MAP_DROPPABLE).
        const DROPPABLE = 1 << 8;
    }
}

impl MapOptions {
    /// Takes the flags of mmap apart. `is_anonymous` says that no file is mapped.
    ///
    /// Flags Linux ignores are ignored, flags it does not know as well, but EOPNOTSUPP with
    /// MAP_SHARED_VALIDATE. Huge pages cannot be reserved: MAP_HUGETLB is ENOMEM for anonymous
    /// memory, as on a Linux without a pool of them, and EINVAL for a file.
    pub fn from_flags(flags: MapFlags, is_anonymous: bool) -> Result<(Sharing, Self), Errno> {
        /// What MAP_SHARED_VALIDATE accepts (Linux's `LEGACY_MAP_MASK`; `MAP_HUGE_2MB` and
        /// `MAP_HUGE_1GB` are the last two).
        const VALIDATED: u32 = MapFlags::MAP_TYPE
            | MapFlags::FIXED
                .union(MapFlags::ANONYMOUS)
                .union(MapFlags::DENYWRITE)
                .union(MapFlags::EXECUTABLE)
                .union(MapFlags::UNINITIALIZED)
                .union(MapFlags::GROWSDOWN)
                .union(MapFlags::LOCKED)
                .union(MapFlags::NORESERVE)
                .union(MapFlags::POPULATE)
                .union(MapFlags::NONBLOCK)
                .union(MapFlags::STACK)
                .union(MapFlags::HUGETLB)
                .union(MapFlags::MAP_32BIT)
                .union(MapFlags::ABOVE4G)
                .bits()
            | 21 << 26
            | 30 << 26;
        let type_bits = |flag: MapFlags| flag.bits();
        let sharing = match flags.map_type() {
            bits if bits == type_bits(MapFlags::PRIVATE) => Sharing::Private,
            bits if bits == type_bits(MapFlags::SHARED) => Sharing::Shared,
            bits if bits == type_bits(MapFlags::DROPPABLE) => {
                let senseless = MapFlags::LOCKED | MapFlags::HUGETLB | MapFlags::GROWSDOWN;
                if !is_anonymous || flags.intersects(senseless) {
                    return Err(Errno::EINVAL);
                }
                Sharing::Private
            }
            bits if bits == type_bits(MapFlags::SHARED_VALIDATE) && !is_anonymous => {
                if flags.bits() & !VALIDATED != 0 {
                    return Err(Errno::EOPNOTSUPP);
                }
                Sharing::Shared
            }
            _ => return Err(Errno::EINVAL),
        };
        if flags.contains(MapFlags::HUGETLB) {
            return Err(if is_anonymous { Errno::ENOMEM } else { Errno::EINVAL });
        }
        let mut options = Self::empty();
        options.set(Self::FIXED, flags.contains(MapFlags::FIXED));
        options.set(Self::FIXED_NOREPLACE, flags.contains(MapFlags::FIXED_NOREPLACE));
        options.set(Self::GROWS_DOWN, flags.contains(MapFlags::GROWSDOWN));
        options.set(Self::NORESERVE, flags.contains(MapFlags::NORESERVE));
        // Linux populates only what may block.
        options.set(Self::POPULATE, flags.contains(MapFlags::POPULATE) && !flags.contains(MapFlags::NONBLOCK));
        options.set(Self::LOCKED, flags.contains(MapFlags::LOCKED));
        options.set(Self::LOW, flags.contains(MapFlags::MAP_32BIT));
        options.set(Self::DROPPABLE, flags.map_type() == type_bits(MapFlags::DROPPABLE));
        Ok((sharing, options))
    }
}

/// What a mapping shows.
#[derive(Clone)]
pub enum Backing {
    /// Zeroes.
    Anonymous,
    /// A file.
    File {
        /// Its pages.
        object: Arc<dyn MappedObject>,
        /// Byte offset of the first page in the file; EINVAL unless page aligned.
        offset: u64,
        /// What the descriptor (READ, WRITE) and the mount (EXECUTE) allow.
        access: Rights,
    },
}

/// The arguments of mmap.
#[derive(Clone)]
pub struct MapRequest {
    /// The wanted address, or a hint.
    pub address: usize,
    /// Length in bytes.
    pub length: usize,
    /// PROT_READ, PROT_WRITE, PROT_EXEC.
    pub rights: Rights,
    /// MAP_PRIVATE or MAP_SHARED.
    pub sharing: Sharing,
    /// The other flags.
    pub options: MapOptions,
    /// What is mapped.
    pub backing: Backing,
}

impl MapRequest {
    /// Private anonymous memory anywhere.
    #[must_use]
    pub fn anonymous(length: usize, rights: Rights) -> Self {
        Self {
            address: 0,
            length,
            rights,
            sharing: Sharing::Private,
            options: MapOptions::empty(),
            backing: Backing::Anonymous,
        }
    }

    /// A private mapping of a file that may be read and executed.
    #[must_use]
    pub fn private_file(object: Arc<dyn MappedObject>, offset: u64, length: usize, rights: Rights) -> Self {
        let backing = Backing::File { object, offset, access: Rights::READ | Rights::EXECUTE };
        Self { backing, ..Self::anonymous(length, rights) }
    }

    /// The same, exactly at `address`, replacing what is there.
    #[must_use]
    pub fn at(self, address: usize) -> Self {
        Self { address, options: self.options | MapOptions::FIXED, ..self }
    }

    /// The same with more options.
    #[must_use]
    pub fn with(self, options: MapOptions) -> Self {
        Self { options: self.options | options, ..self }
    }
}

/// What an access wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

/// What a fault that was served took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Only memory.
    Minor,
    /// The page had to be read from a file.
    Major,
}

/// Why an access cannot be made to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// Nothing is mapped there: SIGSEGV, SEGV_MAPERR.
    Unmapped,
    /// The mapping does not allow it: SIGSEGV, SEGV_ACCERR.
    Rights,
    /// Beyond the end of the file, or it cannot be read: SIGBUS, BUS_ADRERR.
    BeyondEnd,
    /// No memory is left.
    OutOfMemory,
}

impl FaultError {
    /// The page could not be had from its object.
    pub(super) fn from_object(errno: Errno) -> Self {
        if errno == Errno::ENOMEM { Self::OutOfMemory } else { Self::BeyondEnd }
    }
}

/// One area, for `/proc/self/maps` and core dumps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AreaSnapshot {
    /// Its addresses.
    pub range: PageRange,
    /// What the program may do.
    pub rights: Rights,
    /// What it may ever be allowed to do.
    pub rights_max: Rights,
    /// MAP_SHARED.
    pub is_shared: bool,
    /// Byte offset in the file, or 0.
    pub offset: u64,
    /// Device number of the file, or 0.
    pub device: u64,
    /// Inode number of the file, or 0.
    pub inode: u64,
    /// Left out of core dumps.
    pub is_dumped: bool,
    /// The path of the file, `[heap]`, `[stack]`, or empty.
    pub name: Vec<u8>,
}

/// Sizes in pages, for `/proc/self/status`, `statm` and getrusage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All mapped (VmSize).
    pub mapped: usize,
    /// The most ever mapped (VmPeak).
    pub mapped_max: usize,
    /// Locked (VmLck).
    pub locked: usize,
    /// Private and writable, no stack (VmData).
    pub data: usize,
    /// Stacks (VmStk).
    pub stack: usize,
    /// Executable, not writable (VmExe and VmLib).
    pub executable: usize,
    /// Resident pages of the program's own (RssAnon).
    pub resident_anonymous: usize,
    /// Resident pages of files (RssFile).
    pub resident_file: usize,
    /// Resident pages of shared memory (RssShmem).
    pub resident_shared: usize,
    /// The most ever resident (VmHWM).
    pub resident_max: usize,
}

impl Usage {
    /// All resident pages (VmRSS).
    #[must_use]
    pub const fn resident(&self) -> usize {
        self.resident_anonymous + self.resident_file + self.resident_shared
    }
}
