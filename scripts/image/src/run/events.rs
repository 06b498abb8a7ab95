//! What the main thread waits for.

use std::sync::mpsc::Sender;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use super::control::Record;
use crate::{Failure, Result};

/// Something happened.
pub(super) enum Event {
    /// The kernel said something.
    Record(Record),
    /// QEMU is gone.
    ControlClosed,
    /// Somebody wants the program to end.
    Terminate,
    /// A signal for the program.
    Signal(i32),
    /// The terminal has another size.
    Resized,
}

/// Turns signals to this process into events.
pub(super) fn watch_signals(sender: &Sender<Event>) -> Result<()> {
    let mut signals = Signals::new([SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH])
        .map_err(|error| Failure::new(format!("signals cannot be caught: {error}")))?;
    let sender = sender.clone();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let event = match signal {
                SIGINT | SIGTERM => Event::Terminate,
                SIGWINCH => Event::Resized,
                other => Event::Signal(other),
            };
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    Ok(())
}
