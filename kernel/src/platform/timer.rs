//! The one timer of this CPU, shared by what is due (`linux::timer`) and by a thread that waits until a time.
//!
//! A wait sets the timer to what comes first; when it ends, [`resume`] leaves the timer to the service. The timer counts
//! only so far: its interrupt sets it again for a deadline that is further away.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sync::machine::NEVER;

use super::program;
use crate::arch::{apic, clock};

/// How far ahead the timer is set at most, so that its counter cannot overflow (4 s at 1 GHz).
pub(super) const TIMER_NS_MAX: u64 = 2_000_000_000;

/// When the service wants to be called.
static SERVICE_NS: AtomicU64 = AtomicU64::new(NEVER);

/// Whether the timer may fire; stopping it costs a device access.
static IS_SET: AtomicBool = AtomicBool::new(false);

/// Sets when the service is called. Interrupts are off.
pub(super) fn set_service(deadline_ns: u64) {
    SERVICE_NS.store(deadline_ns, Ordering::Relaxed);
    resume();
}

/// Sets the timer for a wait until `deadline_ns`, or for the service if that comes first. Interrupts are off.
pub(super) fn set_for_wait(deadline_ns: u64) {
    set(deadline_ns.min(SERVICE_NS.load(Ordering::Relaxed)));
}

/// Sets the timer for the service alone.
pub(super) fn resume() {
    set(SERVICE_NS.load(Ordering::Relaxed));
}

fn set(deadline_ns: u64) {
    if deadline_ns == NEVER {
        if IS_SET.swap(false, Ordering::Relaxed) {
            apic::stop_timer();
        }
    } else {
        IS_SET.store(true, Ordering::Relaxed);
        apic::set_timer(deadline_ns.min(clock::now_ns().saturating_add(TIMER_NS_MAX)));
    }
}

/// The timer's interrupt. It ends the halt of a thread that waits, which then looks at the clock itself.
pub(super) fn on_interrupt(_vector: u8) {
    IS_SET.store(false, Ordering::Relaxed);
    let service_ns = SERVICE_NS.load(Ordering::Relaxed);
    if service_ns == NEVER {
        return;
    }
    if clock::now_ns() < service_ns {
        resume();
    } else {
        program::expire_timers();
    }
}
