//! The thread that writes back what is dirty, and drops pages of files when memory is short.

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
    vfs::write_back::work()
}
