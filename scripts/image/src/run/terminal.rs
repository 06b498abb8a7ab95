//! The caller's terminal.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Its height.
    pub rows: u16,
    /// Its width.
    pub columns: u16,
}

impl TerminalSize {
    /// The size of the terminal among the standard streams, if there is one that knows its size.
    pub fn current() -> Option<Self> {
        let known = [stdin(), stdout(), stderr()].into_iter().filter_map(|stream| tcgetwinsize(stream).ok());
        let size = known.into_iter().find(|size| size.ws_row > 0 && size.ws_col > 0)?;
        Some(Self { rows: size.ws_row, columns: size.ws_col })
    }
}

/// Which of the descriptors 0, 1 and 2 are terminals.
pub(super) fn terminals() -> Vec<u8> {
    (0..).zip([stdin(), stdout(), stderr()]).filter(|(_, stream)| isatty(stream)).map(|(number, _)| number).collect()
}

/// Standard input passes every key on while this lives, if it is a terminal: the line editing happens in the machine.
#[derive(Debug)]
pub struct RawMode {
    before: Option<Termios>,
    is_active: AtomicBool,
}

impl RawMode {
    /// Switches the terminal over. Without one nothing happens.
    pub fn enter() -> Self {
        let before = tcgetattr(stdin()).ok();
        let is_active = before.as_ref().is_some_and(|before| {
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(stdin(), OptionalActions::Now, &raw).is_ok()
        });
        Self { before, is_active: AtomicBool::new(is_active) }
    }

    /// Whether the terminal is switched over.
    pub fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    /// Switches back.
    pub fn leave(&self) {
        if self.is_active.swap(false, Ordering::Relaxed)
            && let Some(before) = &self.before
        {
            // A terminal that went away needs nothing.
            let _ = tcsetattr(stdin(), OptionalActions::Drain, before);
        }
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        self.leave();
    }
}
