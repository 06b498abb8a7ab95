//! The power button: a wish of whoever runs the machine that it ends.
//!
//! Fixed hardware reports it by a bit of the PM1 status register and the system control interrupt (ACPI 6.5, 4.8.3.1);
//! a hardware-reduced machine by a generic event device, whose register QEMU clears when it is read. The listener runs in
//! the interrupt.

use sync::Once;

use super::acpi::Facts;
use super::io::{Ports, Registers};
use super::ioapic;
use super::listener::Listener;
use crate::arch::interrupts;

const PM1_POWER_BUTTON: u16 = 1 << 8;
/// The power button's bit in the selector of QEMU's generic event device.
const EVENT_POWER_BUTTON: u32 = 1 << 1;

static LISTENER: Listener<()> = Listener::new();
static SOURCE: Once<Source> = Once::new();

/// Where presses are seen.
enum Source {
    Fixed { status: Ports },
    EventDevice { selector: Registers },
}

/// Makes `listener` hear of every press; it runs in an interrupt handler.
pub(super) fn set_listener(listener: fn(())) {
    LISTENER.set(listener);
}

/// Lets the button interrupt, if the machine has one.
pub(super) fn init(facts: &Facts) {
    let is_routed = match (facts.fadt, facts.event_device) {
        (Some(fadt), _) if fadt.has_fixed_power_button && fadt.events.is_some() => init_fixed(facts),
        (_, Some(_)) => init_event_device(facts),
        _ => None,
    };
    if is_routed != Some(true) {
        log::debug!("the machine has no power button");
    }
}

fn init_fixed(facts: &Facts) -> Option<bool> {
    let events = facts.fadt?.events?;
    // SAFETY: the FADT names these ports; only this file drives them.
    let (status, enable) = unsafe { (Ports::new(events.status, 2), Ports::new(events.enable, 2)) };
    // Presses of the past do not count. Only this event is wanted.
    status.write(0, PM1_POWER_BUTTON);
    enable.write(0, PM1_POWER_BUTTON);
    SOURCE.call_once(|| Source::Fixed { status });
    let vector = interrupts::allocate_vector()?;
    interrupts::set_handler(vector, on_interrupt);
    Some(ioapic::route_isa(u8::try_from(events.interrupt).ok()?, vector))
}

fn init_event_device(facts: &Facts) -> Option<bool> {
    let device = facts.event_device?;
    // SAFETY: the definition block says that the device's selector is there; only this file drives it.
    let selector = unsafe { Registers::map(device.selector, size_of::<u32>())? };
    SOURCE.call_once(|| Source::EventDevice { selector });
    let vector = interrupts::allocate_vector()?;
    interrupts::set_handler(vector, on_interrupt);
    Some(ioapic::route(device.interrupt, vector, false, false))
}

fn on_interrupt(_vector: u8) {
    let is_pressed = match SOURCE.get() {
        Some(Source::Fixed { status }) => {
            let pressed = status.read::<u16>(0) & PM1_POWER_BUTTON;
            status.write(0, pressed);
            pressed != 0
        }
        Some(Source::EventDevice { selector }) => selector.read::<u32>(0) & EVENT_POWER_BUTTON != 0,
        None => false,
    };
    if is_pressed {
        LISTENER.call(());
    }
}
