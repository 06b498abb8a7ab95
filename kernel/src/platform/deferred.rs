//! Work that an interrupt asks for and that must not run under the locks of its wake.

use core::sync::atomic::{AtomicBool, Ordering};

use sync::Wake;

static TERMINAL_HAS_EVENTS: AtomicBool = AtomicBool::new(false);

/// In the wait queues of the terminal's ports.
pub(super) struct TerminalEvents;

impl Wake for TerminalEvents {
    fn wake(&self, _events: u32) -> bool {
        TERMINAL_HAS_EVENTS.store(true, Ordering::Relaxed);
        true
    }
}

/// Does what was asked for; called after every interrupt and before every wait, with no spinlock held.
pub(crate) fn run() {
    linux::kernel_log::notify();
    if TERMINAL_HAS_EVENTS.load(Ordering::Relaxed) && TERMINAL_HAS_EVENTS.swap(false, Ordering::Relaxed) {
        super::program::service_terminal();
    }
}
