//! What belongs to no flow: ARP, neighbour discovery, ICMP, fragments, configuration, first segments. Runs in the workers.

use alloc::sync::Arc;

use sync::machine::NEVER;

use crate::Stack;
use crate::channel::Packet;
use crate::flow_key::protocol;

impl Stack {
    /// Handles a packet of no flow.
    pub(crate) fn handle_control(self: &Arc<Self>, packet: Packet) {
        if packet.key.protocol == protocol::TCP {
            self.tcp().handle_unmatched(self, packet);
        }
    }

    /// Does what is due in the worker of `cpu`, and answers when it wants to be called again.
    pub(crate) fn work_control(self: &Arc<Self>, cpu: u32, now_ns: u64) -> u64 {
        let _ = (cpu, now_ns);
        NEVER
    }
}
