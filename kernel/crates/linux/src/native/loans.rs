//! [`Loans`]: what a process has borrowed of the kernel's memory.
//!
//! A loan has a number that says its slot and how often the slot was used before, so one that was given back means
//! nothing any more, whatever the program does with it. Bit 63 tells loans from the addresses of a program, for
//! libraries that have both.
//!
//! Lock: [`rank::PROCESS`], for the table alone. Loans end outside of it, which takes the locks of sockets.

use alloc::vec::Vec;

use abi::Errno;
use abi::native::LOANS_MAX;
use net::loan::Loan;
use sync::{Mutex, rank};

/// Set in all numbers.
const MARK: u64 = 1 << 63;
const INDEX_BITS: u32 = 16;

struct Slot {
    /// How often it was used.
    uses: u32,
    loan: Option<Loan>,
}

#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    free: Vec<u16>,
    /// For so many more there is [`Room`].
    reserved: usize,
}

/// See the module.
pub(crate) struct Loans(Mutex<Table>);

impl Loans {
    /// None.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(rank::PROCESS, Table::default()))
    }

    /// Room for `count` more, which nobody else takes. `ENOBUFS` if there would be too many.
    pub(super) fn reserve(&self, count: usize) -> Result<Room<'_>, Errno> {
        let mut table = self.0.lock();
        let used = table.slots.len() - table.free.len() + table.reserved;
        if count > LOANS_MAX.saturating_sub(used) {
            return Err(Errno::ENOBUFS);
        }
        table.reserved += count;
        Ok(Room { loans: self, count })
    }

    /// The loan of a number, which is the caller's to end. `EINVAL` if there is none.
    pub(super) fn take(&self, number: u64) -> Result<Loan, Errno> {
        self.0.lock().take(number).ok_or(Errno::EINVAL)
    }

    /// Ends all of them: the program that had them is no more.
    pub(crate) fn clear(&self) {
        let mut table = self.0.lock();
        table.free.clear();
        let slots = core::mem::take(&mut table.slots);
        drop(table);
        drop(slots);
    }
}

/// Room for loans that are still to be made. What is not used is given up with it.
pub(super) struct Room<'a> {
    loans: &'a Loans,
    count: usize,
}

impl Room<'_> {
    /// Notes loans, not more than there is room for, and answers their numbers.
    pub(super) fn fill(mut self, loans: Vec<Loan>) -> Vec<u64> {
        assert!(loans.len() <= self.count, "{} loans, and room for {}", loans.len(), self.count);
        let mut table = self.loans.0.lock();
        table.reserved -= core::mem::take(&mut self.count);
        loans.into_iter().map(|loan| table.insert(loan)).collect()
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.loans.0.lock().reserved -= self.count;
        }
    }
}

impl Table {
    fn insert(&mut self, loan: Loan) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { uses: 0, loan: None });
            u16::try_from(self.slots.len() - 1).expect("there are at most LOANS_MAX")
        });
        let slot = &mut self.slots[usize::from(index)];
        slot.uses = slot.uses.wrapping_add(1);
        slot.loan = Some(loan);
        MARK | u64::from(slot.uses & (u32::MAX >> 1)) << INDEX_BITS | u64::from(index)
    }

    fn take(&mut self, number: u64) -> Option<Loan> {
        let index = u16::try_from(number & ((1 << INDEX_BITS) - 1)).ok()?;
        let slot = self.slots.get_mut(usize::from(index))?;
        if number != MARK | u64::from(slot.uses & (u32::MAX >> 1)) << INDEX_BITS | u64::from(index) {
            return None;
        }
        let loan = slot.loan.take()?;
        self.free.push(index);
        Some(loan)
    }
}

#[cfg(test)]
mod tests {
    use testkit as _;

    use super::*;

    #[test]
    fn room_is_one_owners_until_it_is_given_up() {
        let loans = Loans::new();
        let room = loans.reserve(LOANS_MAX).unwrap();
        assert_eq!(loans.reserve(1).err(), Some(Errno::ENOBUFS));
        drop(room);
        let room = loans.reserve(1).unwrap();
        assert_eq!(loans.reserve(LOANS_MAX).err(), Some(Errno::ENOBUFS));
        assert!(loans.reserve(LOANS_MAX - 1).is_ok());
        // What is filled with less gives the rest up.
        assert!(room.fill(Vec::new()).is_empty());
        assert!(loans.reserve(LOANS_MAX).is_ok());
        assert_eq!(loans.reserve(usize::MAX).err(), Some(Errno::ENOBUFS));
    }
}
