//! The end of the machine, in each of its ways: the program ended, it could not be started, the kernel died.

use core::sync::atomic::{AtomicBool, Ordering};

use linux::Outcome;

use crate::arch::ipi;
use crate::drivers::{self, Report};
use crate::platform::observe;

/// Somebody is switching the machine off.
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// Tells the host how the program ended and switches off. The first to say so is believed.
pub(crate) fn program_ended(outcome: Outcome) -> ! {
    observe::finish();
    sync::machine::preemption_disable();
    if IS_ENDING.swap(true, Ordering::SeqCst) {
        loop {
            x86_64::instructions::interrupts::enable_and_hlt();
        }
    }
    // Threads that are still there would go on writing.
    ipi::park_others();
    log::info!("the program ended: {outcome:?}");
    match outcome {
        Outcome::Exited(status) => drivers::finish(Report::Exit(status)),
        Outcome::Killed(signal) => drivers::finish(Report::Signal(signal.number())),
    }
}

/// Gives up before there is a program: one line for the user, and the machine off.
pub(crate) fn fail(message: &str) -> ! {
    log::error!("{message}");
    drivers::finish(Report::Error(message))
}

/// The last thing a panic does.
pub(crate) fn end_of_panic() -> ! {
    drivers::finish_panic()
}
