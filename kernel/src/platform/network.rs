//! The network of this machine.

use alloc::sync::Arc;

use net::Stack;

use crate::threads;

/// Makes the network. All CPUs run by now.
pub(super) fn start() -> Arc<Stack> {
    Stack::new(u32::try_from(threads::cpu::count()).unwrap_or(1))
}
