//! The I/O APICs: from interrupt lines to vectors.
//!
//! Lines are numbered as ACPI numbers them (global system interrupts), across all I/O APICs. Every line is masked until a
//! driver routes it. Interrupts go to the processor that booted.
//!
//! Lock rank: `DRIVER`; it is taken to change a route, never by an interrupt.

use alloc::vec::Vec;

use devices::io_apic::{self, Route};
use firmware::acpi::{InterruptOverride, Madt, Polarity, TriggerMode};
use sync::{IrqSpinLock, rank};

use super::io::Registers;
use crate::arch::apic;

/// Where the I/O APIC is on a machine that does not tell.
const DEFAULT_ADDRESS: u64 = 0xfec0_0000;

struct Controller {
    registers: Registers,
    first_interrupt: u32,
    pins: u32,
}

struct State {
    controllers: Vec<Controller>,
    overrides: Vec<InterruptOverride>,
}

static STATE: IrqSpinLock<State> =
    IrqSpinLock::new(rank::DRIVER, State { controllers: Vec::new(), overrides: Vec::new() });

/// Finds the controllers and masks all lines.
pub(super) fn init(madt: Option<&Madt>) {
    let told = madt.into_iter().flat_map(|madt| madt.io_apics()).map(|found| (found.address, found.first_interrupt));
    let mut controllers: Vec<_> = told.filter_map(|(address, first)| Controller::at(address, first)).collect();
    if madt.is_none() {
        controllers.extend(Controller::at(DEFAULT_ADDRESS, 0));
    }
    for controller in &controllers {
        log::debug!("I/O APIC: lines {} to {}", controller.first_interrupt, controller.end() - 1);
    }
    let overrides = madt.into_iter().flat_map(|madt| madt.overrides()).collect();
    *STATE.lock() = State { controllers, overrides };
}

/// Delivers a line as `vector`. False if no controller has it.
pub(super) fn route(interrupt: u32, vector: u8, is_level: bool, is_active_low: bool) -> bool {
    let Ok(destination) = u8::try_from(apic::id()) else { return false };
    let state = STATE.lock();
    let has_line = |controller: &&Controller| (controller.first_interrupt..controller.end()).contains(&interrupt);
    let Some(controller) = state.controllers.iter().find(has_line) else { return false };
    let Ok(pin) = u8::try_from(interrupt - controller.first_interrupt) else { return false };
    controller.set(pin, Route { vector, destination, is_active_low, is_level }.entry());
    true
}

/// Delivers an ISA interrupt as `vector`, wired as the overrides say.
pub(super) fn route_isa(source: u8, vector: u8) -> bool {
    let found = STATE.lock().overrides.iter().find(|entry| entry.source == source).copied();
    let (interrupt, polarity, trigger) = match found {
        Some(entry) => (entry.interrupt, entry.polarity, entry.trigger_mode),
        None => (u32::from(source), Polarity::Bus, TriggerMode::Bus),
    };
    route(interrupt, vector, trigger == TriggerMode::Level, polarity == Polarity::Low)
}

impl Controller {
    /// The controller at `address` with all its pins masked; none if nobody answers there.
    fn at(address: u64, first_interrupt: u32) -> Option<Self> {
        // SAFETY: firmware says that an I/O APIC is there, or it is where PCs have theirs; nobody else drives it.
        let registers = unsafe { Registers::map(address, io_apic::LEN_BYTES)? };
        let mut controller = Self { registers, first_interrupt, pins: 0 };
        controller.pins = io_apic::pin_count(controller.read(io_apic::REGISTER_VERSION))?;
        for pin in 0..=u8::MAX {
            if u32::from(pin) < controller.pins {
                controller.set(pin, (io_apic::MASKED_ENTRY, 0));
            }
        }
        Some(controller)
    }

    fn end(&self) -> u32 {
        self.first_interrupt.saturating_add(self.pins)
    }

    fn read(&self, register: u32) -> u32 {
        self.registers.write(io_apic::INDEX, register);
        self.registers.read(io_apic::WINDOW)
    }

    fn write(&self, register: u32, value: u32) {
        self.registers.write(io_apic::INDEX, register);
        self.registers.write(io_apic::WINDOW, value);
    }

    /// Writes an entry, masked until its high half is right.
    fn set(&self, pin: u8, (low, high): (u32, u32)) {
        let (low_register, high_register) = io_apic::entry_registers(pin);
        self.write(low_register, io_apic::MASKED_ENTRY);
        self.write(high_register, high);
        self.write(low_register, low);
    }
}
