//! [`Key`]: what tells a word from all others.
//!
//! 1. A word that a call names as private to the process belongs to the address space, at its address.
//! 2. Else whoever owns the memory counts ([`mm::AddressSpace::word_owner`]): an object at an offset, so that all who map
//!    it meet, or the address space. In the latter case the key still differs from that of a private call for the same
//!    word: on Linux, too, calls of the two kinds do not meet.
//!
//! The address space of a key is that of a thread which waits or acts, so it lives as long as the key is used, and its root
//! names no other one. Identities of objects are never used again.

use abi::Errno;
use mm::{WordOwner, user};

use crate::process::Process;

/// Words are this large, and aligned to it.
pub(super) const WORD_LEN: usize = 4;

/// Which calls a call wants to meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sharing {
    /// Those of threads with the same address space (`FUTEX_PRIVATE_FLAG`).
    Private,
    /// Those of everybody who maps the word.
    Shared,
}

/// The last two bits of [`Key::place`], which an aligned address has no use for.
const PRIVATE: u64 = 0;
const SHARED_MEMORY: u64 = 1;
const OBJECT: u64 = 2;

/// Names a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    place: u64,
    owner: (u64, u64),
}

impl Key {
    /// The key of a word of the process. `is_store`: the call is going to change it. `EINVAL` when it is not aligned,
    /// `EFAULT` when it is not memory of the program.
    #[inline]
    pub(super) fn of(process: &Process, sharing: Sharing, address: usize, is_store: bool) -> Result<Self, Errno> {
        if !address.is_multiple_of(WORD_LEN) {
            return Err(Errno::EINVAL);
        }
        user::check_range(address, WORD_LEN)?;
        match sharing {
            Sharing::Private => Ok(Self { place: address as u64 | PRIVATE, owner: (process.memory_root(), 0) }),
            Sharing::Shared => Self::of_shared(process, address, is_store),
        }
    }

    #[inline(never)]
    fn of_shared(process: &Process, address: usize, is_store: bool) -> Result<Self, Errno> {
        let space = process.address_space();
        Ok(match space.word_owner(address, is_store)? {
            WordOwner::Memory => Self { place: address as u64 | SHARED_MEMORY, owner: (space.root(), 0) },
            WordOwner::Object { identity, offset } => Self { place: offset | OBJECT, owner: identity },
        })
    }
}

impl sync::keyed::Key for Key {
    #[inline]
    fn hash(&self) -> usize {
        // 2^64 divided by the golden ratio: the high bits of the product depend on all bits of the factor.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = self.place ^ self.owner.0.rotate_left(17) ^ self.owner.1.rotate_left(41);
        (mixed.wrapping_mul(SPREAD) >> 40) as usize
    }
}
