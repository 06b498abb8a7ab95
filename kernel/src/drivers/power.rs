//! Switching the machine off, and resetting it.
//!
//! Everything needed is looked up and mapped at start-up, so that [`off`] works in a panic: it takes no lock and allocates
//! nothing. The ways are tried in turn: the sleep control register of hardware-reduced machines (QEMU microvm), the PM1
//! control registers of fixed hardware (q35, pc), the keyboard controller's reset (which ends Firecracker, and QEMU under
//! `-no-reboot`), a triple fault (which ends QEMU's microvm without ACPI). References: ACPI 6.5, 4.8.3.2 and 4.8.3.7.

use firmware::acpi::{Fadt, GenericAddress, Space};
use sync::Once;
use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::structures::DescriptorTablePointer;

use super::acpi::Facts;
use super::io::{Ports, Registers};
use crate::arch::{clock, cpu};

const SLEEP_ENABLE: u8 = 1 << 5;
const SLEEP_TYPE_SHIFT: u32 = 2;
const PM1_SLEEP_ENABLE: u16 = 1 << 13;
const PM1_SLEEP_TYPE_SHIFT: u32 = 10;
const PM1_SLEEP_TYPE_MASK: u16 = 7 << PM1_SLEEP_TYPE_SHIFT;
const PM1_ACPI_MODE: u16 = 1 << 0;
const KEYBOARD_RESET: u8 = 0xfe;

/// QEMU's `isa-debug-exit` at its documented place; it reads as zero, an absent port as ones.
const DEBUG_EXIT_PORT: u16 = 0x501;

/// How long a way of switching off is given.
const WAIT_NS: u64 = 50_000_000;
/// How often ACPI mode is asked for.
const LOOKS_MAX: usize = 100_000;

// SAFETY: the command port of the PC's keyboard controller; resetting is what it is used for here.
const KEYBOARD: Ports = unsafe { Ports::new(0x64, 1) };
// SAFETY: QEMU's debug exit device or nobody.
const DEBUG_EXIT: Ports = unsafe { Ports::new(DEBUG_EXIT_PORT, 4) };

static CONTROL: Once<Control> = Once::new();

/// A register of eight or sixteen bits, wherever it is.
#[derive(Clone, Copy)]
enum Register {
    Memory(Registers),
    Port(Ports),
}

impl Register {
    /// # Safety
    /// The register is what the FADT says, and the caller may drive it.
    unsafe fn map(address: GenericAddress, len: u16) -> Option<Self> {
        match address.space {
            // SAFETY: per the contract.
            Space::Memory(physical) => unsafe { Registers::map(physical, usize::from(len)).map(Self::Memory) },
            // SAFETY: per the contract.
            Space::Port(port) => Some(Self::Port(unsafe { Ports::new(port, len) })),
        }
    }

    fn write_u8(&self, value: u8) {
        match self {
            Self::Memory(registers) => registers.write(0, value),
            Self::Port(ports) => ports.write(0, value),
        }
    }

    fn read_u16(&self) -> u16 {
        match self {
            Self::Memory(registers) => registers.read(0),
            Self::Port(ports) => ports.read(0),
        }
    }

    fn write_u16(&self, value: u16) {
        match self {
            Self::Memory(registers) => registers.write(0, value),
            Self::Port(ports) => ports.write(0, value),
        }
    }
}

/// What switches the machine off.
struct Control {
    sleep: Option<(Register, u8)>,
    pm1: [Option<(Register, u16)>; 2],
    reset: Option<(Register, u8)>,
}

/// Prepares for [`off`], and takes the machine into ACPI mode if firmware did not.
#[inline(never)]
pub(super) fn init(facts: &Facts) {
    let Some(fadt) = &facts.fadt else { return };
    // Without the object every machine that we know sleeps by type 0 (q35, pc) or 5 (microvm).
    let default_type = if fadt.is_hardware_reduced { 5 } else { 0 };
    let (type_a, type_b) = facts.off_type.unwrap_or((default_type, default_type));
    // SAFETY: the FADT names these registers, and nobody else drives them.
    let map = |address: Option<GenericAddress>, len| address.and_then(|address| unsafe { Register::map(address, len) });
    let pm1_value = |sleep_type: u8| u16::from(sleep_type & 7) << PM1_SLEEP_TYPE_SHIFT;
    let control = Control {
        sleep: map(fadt.sleep_control, 1).map(|register| (register, (type_a & 7) << SLEEP_TYPE_SHIFT | SLEEP_ENABLE)),
        pm1: [
            map(fadt.pm1a_control, 2).map(|register| (register, pm1_value(type_a))),
            map(fadt.pm1b_control, 2).map(|register| (register, pm1_value(type_b))),
        ],
        reset: fadt.reset.and_then(|(address, value)| Some((map(Some(address), 1)?, value))),
    };
    enter_acpi_mode(fadt, &control);
    CONTROL.call_once(|| control);
}

/// Asks firmware to let go of the power management registers (4.8.3.2.1: the SCI_EN bit).
fn enter_acpi_mode(fadt: &Fadt, control: &Control) {
    let (Some((port, value)), Some((pm1a, _))) = (fadt.enable_command, control.pm1[0]) else { return };
    if pm1a.read_u16() & PM1_ACPI_MODE != 0 {
        return;
    }
    // SAFETY: the FADT names the port for this purpose.
    unsafe { Ports::new(port, 1) }.write(0, value);
    if !(0..LOOKS_MAX).any(|_| pm1a.read_u16() & PM1_ACPI_MODE != 0) {
        log::debug!("the machine does not enter ACPI mode");
    }
}

/// Switches the machine off.
pub(crate) fn off() -> ! {
    x86_64::instructions::interrupts::disable();
    let _ = super::serial::PanicSerial::take();
    if let Some(control) = CONTROL.get() {
        if let Some((register, value)) = control.sleep {
            register.write_u8(value);
            clock::delay(WAIT_NS);
        }
        for (register, value) in control.pm1.into_iter().flatten() {
            let kept = register.read_u16() & !(PM1_SLEEP_TYPE_MASK | PM1_SLEEP_ENABLE);
            register.write_u16(kept | value);
            register.write_u16(kept | value | PM1_SLEEP_ENABLE);
        }
        if control.pm1.iter().any(Option::is_some) {
            clock::delay(WAIT_NS);
        }
    }
    reset()
}

/// Ends an emulator that has the debug exit device with status `2 * code + 1`; returns if there is none.
pub(crate) fn debug_exit(code: u8) {
    if DEBUG_EXIT.read::<u8>(0) == 0 {
        DEBUG_EXIT.write(0, u32::from(code));
    }
}

/// Resets the machine.
pub(crate) fn reset() -> ! {
    x86_64::instructions::interrupts::disable();
    KEYBOARD.write(0, KEYBOARD_RESET);
    clock::delay(WAIT_NS);
    if let Some((register, value)) = CONTROL.get().and_then(|control| control.reset) {
        register.write_u8(value);
        clock::delay(WAIT_NS);
    }
    triple_fault()
}

/// Takes an exception without a table of handlers, which no processor survives.
fn triple_fault() -> ! {
    let nothing = DescriptorTablePointer { limit: 0, base: VirtAddr::zero() };
    // SAFETY: this processor never runs anything else.
    unsafe { lidt(&nothing) };
    x86_64::instructions::interrupts::int3();
    cpu::halt_forever()
}
