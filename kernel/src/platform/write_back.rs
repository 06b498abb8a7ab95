//! The thread that writes back what is dirty.

use sync::{Parker, machine};

use crate::threads;

/// Lets `vfs` start the thread when there is something that can become dirty.
pub(super) fn install() {
    vfs::write_back::set_starter(start);
}

fn start() {
    if !threads::worker::start(0, work) {
        log::error!("not enough memory for the thread that writes back");
    }
}

fn work(_cpu: u32) -> ! {
    let parker = Parker::new();
    loop {
        let _is_over = parker.park_until(machine::now_ns().saturating_add(vfs::write_back::PERIOD_NS));
        vfs::write_back::run();
    }
}
