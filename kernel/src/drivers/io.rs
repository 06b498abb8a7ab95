//! Device registers: memory windows and I/O ports.
//!
//! Making one is unsafe, because it says that the registers may be driven; using one is not, because every access is
//! checked against the window.

use x86_64::instructions::port::{PortRead, PortReadOnly, PortWrite, PortWriteOnly};

use crate::memory::mmio;

/// A window onto the registers of a device in memory. Registers are accessed in one piece and never cached.
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    base: usize,
    len: usize,
}

/// A type as wide as a register.
pub(crate) trait Word: Copy {}
impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}

impl Registers {
    /// Maps `len` bytes of registers at `physical`, for ever. `None`: no room or no memory.
    ///
    /// # Safety
    /// There are registers of a device that the caller drives, and nothing else; or nothing at all.
    pub(crate) unsafe fn map(physical: u64, len: usize) -> Option<Self> {
        Some(Self { base: mmio::map(physical, len)?, len })
    }

    /// How many bytes the window has.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A part of the window; none if it is not inside.
    pub(crate) fn part(&self, offset: usize, len: usize) -> Option<Self> {
        let end = offset.checked_add(len)?;
        (end <= self.len).then(|| Self { base: self.base + offset, len })
    }

    /// Reads the register at `offset`.
    pub(crate) fn read<T: Word>(&self, offset: usize) -> T {
        let address = self.address::<T>(offset);
        // SAFETY: `address` is inside the window, which `map` mapped for ever onto registers that may be driven.
        unsafe { (address as *const T).read_volatile() }
    }

    /// Writes the register at `offset`.
    pub(crate) fn write<T: Word>(&self, offset: usize, value: T) {
        let address = self.address::<T>(offset);
        // SAFETY: as in `read`.
        unsafe { (address as *mut T).write_volatile(value) };
    }

    /// Where the register at `offset` is.
    pub(super) fn address<T>(&self, offset: usize) -> usize {
        let size = size_of::<T>();
        assert!(offset <= self.len && size <= self.len - offset, "register outside of its window");
        let address = self.base + offset;
        assert!(address.is_multiple_of(size), "register is not aligned");
        address
    }
}

/// A range of I/O ports.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    base: u16,
    count: u16,
}

impl Ports {
    /// The ports from `base`.
    ///
    /// # Safety
    /// They belong to a device that the caller drives, or to none.
    pub(crate) const unsafe fn new(base: u16, count: u16) -> Self {
        Self { base, count }
    }

    /// Reads port `base + offset`.
    pub(crate) fn read<T: PortRead>(&self, offset: u16) -> T {
        // SAFETY: the port is in the range that may be driven.
        unsafe { PortReadOnly::new(self.port(offset, size_of::<T>())).read() }
    }

    /// Writes port `base + offset`.
    pub(crate) fn write<T: PortWrite>(&self, offset: u16, value: T) {
        // SAFETY: as in `read`.
        unsafe { PortWriteOnly::new(self.port(offset, size_of::<T>())).write(value) };
    }

    fn port(&self, offset: u16, size: usize) -> u16 {
        assert!(usize::from(offset) + size <= usize::from(self.count), "port outside of its range");
        self.base.wrapping_add(offset)
    }
}
