//! The end of the machine, in each of its ways: the program ended, it could not be started, the kernel died.

use linux::Outcome;

use crate::drivers::{self, Report};

/// Tells the host how the program ended and switches off.
pub(crate) fn program_ended(outcome: Outcome) -> ! {
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
