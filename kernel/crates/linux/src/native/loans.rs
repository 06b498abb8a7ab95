//! [`Loans`]: what a process has borrowed of the kernel's memory.
//!
//! A loan has a number that says its slot and how often the slot was used before, so one that was given back means nothing any more, whatever
//! the program does with it. Bit 63 tells loans from the addresses of a program, for libraries that have both.
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
}

/// See the module.
pub(crate) struct Loans(Mutex<Table>);

impl Loans {
    /// None.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(rank::PROCESS, Table::default()))
    }

    /// Whether there is room for `count` more. Others may take it meanwhile.
    pub(super) fn have_room(&self, count: usize) -> bool {
        let table = self.0.lock();
        table.slots.len() - table.free.len() + count <= LOANS_MAX
    }

    /// Notes loans and answers their numbers. `ENOBUFS` if there are too many; then all of these are given back.
    pub(super) fn add(&self, loans: Vec<Loan>) -> Result<Vec<u64>, Errno> {
        let mut table = self.0.lock();
        if table.slots.len() - table.free.len() + loans.len() > LOANS_MAX {
            drop(table);
            return Err(Errno::ENOBUFS);
        }
        Ok(loans.into_iter().map(|loan| table.insert(loan)).collect())
    }

    /// The loan of a number, which is the caller's to end. `EINVAL` if there is none.
    pub(super) fn take(&self, number: u64) -> Result<Loan, Errno> {
        self.0.lock().take(number).ok_or(Errno::EINVAL)
    }

    /// Ends all of them: the program that had them is no more.
    pub(crate) fn clear(&self) {
        let table = core::mem::take(&mut *self.0.lock());
        drop(table);
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
