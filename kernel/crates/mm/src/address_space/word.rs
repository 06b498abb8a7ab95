//! Who owns a word of memory: what futexes that several address spaces share are found by.
//!
//! The rules are those of Linux's `get_futex_key`: a word of a shared mapping belongs to the object at its offset, wherever
//! it is mapped; a word of a private mapping that can be written belongs to the address space, as the first store gives it
//! a page of its own; a private mapping that can only be read shows the object's page as long as it has no copy of it, and
//! anonymous memory that cannot be written will never change, so it is refused.

use abi::Errno;
use sync::atomic::Ordering::Acquire;
use sync::machine;

use super::AddressSpace;
use super::request::{Access, FaultError};
use super::state::State;
use crate::PAGE_SIZE;
use crate::page_table::{PageKind, Rights};
use crate::range::page_down;

/// Who owns a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordOwner {
    /// The address space, at the word's address.
    Memory,
    /// An object, at an offset.
    Object {
        /// [`crate::MappedObject::identity`].
        identity: (u64, u64),
        /// Where in the object the word is.
        offset: u64,
    },
}

/// What a look under the lock found.
enum Look {
    Owner(WordOwner),
    /// The page must be there first.
    PageIn(Access),
}

impl AddressSpace {
    /// Who owns the word at `address`, which the caller will only read, or write as well. EFAULT when the program could not do
    /// that. Called without locks from [`sync::rank::ADDRESS_SPACE`] on; may sleep.
    pub fn word_owner(&self, address: usize, is_store: bool) -> Result<WordOwner, Errno> {
        if !self.has_shared.load(Acquire) && can_be_stored_to(address) {
            return Ok(WordOwner::Memory);
        }
        loop {
            let look = self.state().word_owner(address, is_store)?;
            match look {
                Look::Owner(owner) => return Ok(owner),
                Look::PageIn(access) => _ = self.fault(address, access).map_err(refused)?,
            }
        }
    }
}

/// Whether the word's page is there and takes stores: what is stored is what was read. Without a shared mapping the word then belongs
/// to the address space, and no lock is needed to know it. With the lock, threads that end one after the other while hundreds wait for
/// a word made each other wait for the lock, and found another value in the word whenever they had it.
fn can_be_stored_to(address: usize) -> bool {
    let word = machine::load_user_u32(address);
    word.is_some_and(|value| machine::compare_exchange_user_u32(address, value, value).is_some())
}

fn refused(error: FaultError) -> Errno {
    match error {
        FaultError::OutOfMemory => Errno::ENOMEM,
        FaultError::Unmapped | FaultError::Rights | FaultError::BeyondEnd => Errno::EFAULT,
    }
}

impl State {
    fn word_owner(&self, address: usize, is_store: bool) -> Result<Look, Errno> {
        let access = if is_store { Access::Write } else { Access::Read };
        // Perhaps a stack that grows.
        let Some(area) = self.areas.find(address) else { return Ok(Look::PageIn(access)) };
        let rights = area.page_rights();
        if !rights.contains(if is_store { Rights::WRITE } else { Rights::READ }) {
            return Err(Errno::EFAULT);
        }
        let object = area.object_page(address).map(|(object, index)| {
            let offset = index * PAGE_SIZE as u64 + (address % PAGE_SIZE) as u64;
            (object, offset)
        });
        let Some((object, offset)) = object else {
            let is_writable = rights.contains(Rights::WRITE);
            return if is_writable { Ok(Look::Owner(WordOwner::Memory)) } else { Err(Errno::EFAULT) };
        };
        let is_private_copy = !area.is_shared() && rights.contains(Rights::WRITE);
        let Some(entry) = self.page_table.lookup(page_down(address)) else {
            return Ok(Look::PageIn(if is_private_copy { Access::Write } else { access }));
        };
        if is_private_copy {
            return Ok(Look::Owner(WordOwner::Memory));
        }
        if !area.is_shared() && matches!(entry.kind, PageKind::Anonymous | PageKind::Zero) {
            return Err(Errno::EFAULT);
        }
        Ok(Look::Owner(WordOwner::Object { identity: object.identity(), offset }))
    }
}
