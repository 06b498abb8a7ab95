//! The program's word, under the lock of its bucket.

use abi::Errno;
use mm::user;
use sync::machine;

use super::key::WORD_LEN;

/// The word is not there, or not writable. Drop all locks, [resolve](Absent::resolve), start over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Absent {
    address: usize,
    is_store: bool,
}

impl Absent {
    /// Makes the word present. `EFAULT` if that cannot be. May sleep.
    #[cold]
    pub(super) fn resolve(self) -> Result<(), Errno> {
        user::fault_in(self.address, WORD_LEN, self.is_store)
    }
}

/// Loads the word.
#[inline]
pub(super) fn load(address: usize) -> Result<u32, Absent> {
    machine::load_user_u32(address).ok_or(Absent { address, is_store: false })
}

/// Loads the word, without locks, paging it in.
pub(super) fn load_faulting(address: usize) -> Result<u32, Errno> {
    loop {
        match load(address) {
            Ok(value) => return Ok(value),
            Err(absent) => absent.resolve()?,
        }
    }
}

/// Replaces `old` by `new`. An error inside is what the word has instead.
pub(super) fn exchange(address: usize, old: u32, new: u32) -> Result<Result<(), u32>, Absent> {
    match machine::compare_exchange_user_u32(address, old, new) {
        Some(result) => Ok(result.map(|_| ())),
        None => Err(Absent { address, is_store: true }),
    }
}

/// Replaces the word by what `change` makes of it, and answers what it was.
pub(super) fn update(address: usize, change: impl Fn(u32) -> u32) -> Result<u32, Absent> {
    let mut old = machine::load_user_u32(address).ok_or(Absent { address, is_store: true })?;
    loop {
        match exchange(address, old, change(old))? {
            Ok(()) => return Ok(old),
            Err(found) => old = found,
        }
    }
}
