//! A CPU that runs in an address space: it loads, stores and fetches through a page table and faults as hardware does.

use std::sync::Arc;

use abi::Errno;
use mm::{Access, AddressSpace, FaultError, Frame, Layout, PAGE_SIZE};

use crate::page_table::FakePageTable;
use crate::{frames, user};

/// Where the address spaces of tests place mappings from.
pub const MMAP_BASE: usize = 0x7f00_0000_0000;

/// Faults at one address in a row. A fault that does not help within a few turns never will, even if others take pages away.
const FAULTS_MAX: usize = 16;

/// An address space and its page table.
#[derive(Clone)]
pub struct Cpu {
    /// The address space, which serves the faults.
    pub space: Arc<AddressSpace>,
    /// Its page table.
    pub table: FakePageTable,
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

impl Cpu {
    /// A CPU in a new address space.
    #[must_use]
    pub fn new() -> Self {
        frames::install();
        let table = FakePageTable::new();
        let space = AddressSpace::new(Box::new(table.clone()), Layout { mmap_base: MMAP_BASE });
        Self { space, table }
    }

    /// A CPU in a copy of this address space.
    pub fn fork(&self) -> Result<Self, Errno> {
        let table = FakePageTable::new();
        let space = self.space.fork(Box::new(table.clone()))?;
        Ok(Self { space, table })
    }

    /// Makes this the program memory of the calling thread.
    pub fn make_current(&self) {
        let space = Arc::clone(&self.space);
        user::set_table(self.table.clone(), move |address, access| space.fault(address, access).is_ok());
    }

    /// Loads a byte.
    pub fn load(&self, address: usize) -> Result<u8, FaultError> {
        self.access(address, Access::Read, |frame| read_byte(frame, address))
    }

    /// Stores a byte.
    pub fn store(&self, address: usize, byte: u8) -> Result<(), FaultError> {
        self.access(address, Access::Write, |frame| frame.write(address % PAGE_SIZE, &[byte]))
    }

    /// Fetches a byte of an instruction.
    pub fn execute(&self, address: usize) -> Result<u8, FaultError> {
        self.access(address, Access::Execute, |frame| read_byte(frame, address))
    }

    /// Does something with the frame an access reaches, after faults.
    fn access<R>(&self, address: usize, access: Access, act: impl Fn(&Frame) -> R) -> Result<R, FaultError> {
        for _ in 0..FAULTS_MAX {
            match self.table.touch(address, access, &act) {
                Some(result) => return Ok(result),
                None => drop(self.space.fault(address, access)?),
            }
        }
        panic!("the fault at {address:#x} ({access:?}) is handled again and again");
    }
}

fn read_byte(frame: &Frame, address: usize) -> u8 {
    let mut byte = [0];
    frame.read(address % PAGE_SIZE, &mut byte);
    byte[0]
}

#[cfg(test)]
mod tests {
    use mm::{MapRequest, Rights};
    use sync::machine as seam;

    use super::*;

    fn cpu_with_pages(pages: usize) -> (Cpu, usize) {
        let cpu = Cpu::new();
        let address = cpu.space.map(MapRequest::anonymous(pages * PAGE_SIZE, Rights::READ | Rights::WRITE)).unwrap();
        (cpu, address)
    }

    #[test]
    fn stores_are_loaded_again() {
        let (cpu, address) = cpu_with_pages(2);
        assert_eq!(cpu.load(address), Ok(0));
        cpu.store(address + 1, 7).unwrap();
        assert_eq!(cpu.load(address + 1), Ok(7));
        assert_eq!(cpu.execute(address), Err(FaultError::Rights));
        assert_eq!(cpu.load(address + 2 * PAGE_SIZE), Err(FaultError::Unmapped));
    }

    #[test]
    fn copies_reach_the_current_address_space() {
        let (cpu, address) = cpu_with_pages(2);
        cpu.make_current();
        assert_eq!(seam::copy_to_user_nofault(address, b"ab"), 0);
        assert_eq!(seam::copy_to_user(address + PAGE_SIZE - 1, b"ab"), 2);
        assert_eq!(cpu.load(address + PAGE_SIZE), Ok(b'b'));
        // A copy of six bytes that begins four before the end of the memory.
        let mut bytes = [0; 6];
        assert_eq!(seam::copy_from_user(&mut bytes, address + 2 * PAGE_SIZE - 4), 4);
        assert!(seam::page_in_user(address, true));
        assert_eq!(seam::copy_to_user_nofault(address, b"ab"), 2);
        crate::user::clear();
        assert_eq!(seam::copy_to_user(address, b"ab"), 0);
    }

    #[test]
    fn a_fork_has_its_own_memory() {
        let (parent, address) = cpu_with_pages(1);
        parent.store(address, 1).unwrap();
        let child = parent.fork().unwrap();
        child.store(address, 2).unwrap();
        assert_eq!((parent.load(address), child.load(address)), (Ok(1), Ok(2)));
    }
}
