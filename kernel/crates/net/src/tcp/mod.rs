//! TCP: RFC 9293 and its relatives.
//!
//! - [`engine`]: one connection's protocol, without addresses, packets or locks.

pub mod engine;

use alloc::sync::Arc;

use crate::Stack;
use crate::channel::Packet;

/// What the TCP connections of a stack share.
#[derive(Default)]
pub struct Tcp {}

impl Tcp {
    pub(crate) fn new() -> Self {
        Self {}
    }

    /// A segment that belongs to no connection.
    pub(crate) fn handle_unmatched(&self, stack: &Arc<Stack>, packet: Packet) {
        let _ = (stack, packet);
    }
}
