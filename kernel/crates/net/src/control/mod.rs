//! What belongs to no flow: ARP, neighbour discovery, ICMP, fragments, configuration, first segments. Runs in the workers.
//!
//! - [`Control`]: the state of it, and when it is to be looked at again. Timers run in the worker of [`CONTROL_CPU`] alone.
//! - [`solicit`]: asks who has an address.

mod arp;
mod configuration;
mod dhcp;
mod membership;
mod ndp;
mod state;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::sync::atomic::Ordering;

use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol};
use sync::machine::NEVER;

use crate::channel::Packet;
use crate::classify::ETHERNET_LEN;
use crate::flow_key::protocol;
use crate::interface::{Due, Interface, Mac, Solicitation};
use crate::{Stack, TransmitFrame};

pub use configuration::Configuration;
pub(crate) use ndp::solicited_node;
pub use state::{Control, NAME_SERVERS_MAX};

/// The CPU whose worker runs the timers of this module.
const CONTROL_CPU: u32 = 0;

impl Stack {
    /// Handles a packet of no flow.
    pub(crate) fn handle_control(self: &Arc<Self>, packet: Packet) {
        if packet.key.protocol == protocol::TCP {
            return self.tcp().handle_unmatched(self, packet);
        }
        let Some(interface) = self.interfaces().with(|snapshot| snapshot.interface(packet.interface).cloned()) else {
            return;
        };
        if packet.key.protocol == protocol::UDP {
            if packet.key.local_port == dhcp::CLIENT_PORT {
                dhcp::handle(self, &interface, &packet);
            }
            return;
        }
        if ethernet_type(&packet) == EthernetProtocol::Arp {
            arp::handle(self, &interface, &packet);
        }
    }

    /// Does what is due in the worker of `cpu`, and answers when it wants to be called again.
    pub(crate) fn work_control(self: &Arc<Self>, cpu: u32, now_ns: u64) -> u64 {
        if cpu != CONTROL_CPU {
            return NEVER;
        }
        let tcp_ns = self.tcp().poll(self, now_ns);
        let next_ns = &self.control().next_ns;
        let due_ns = next_ns.load(Ordering::Acquire);
        if due_ns > now_ns {
            return due_ns.min(tcp_ns);
        }
        // Who asks for an earlier look from here on lowers it again.
        next_ns.store(NEVER, Ordering::Release);
        let mut deadline_ns = self.expire_configuration(now_ns);
        for interface in self.interfaces().snapshot().interfaces() {
            deadline_ns =
                deadline_ns.min(self.poll_neighbours(interface, now_ns)).min(dhcp::poll(self, interface, now_ns));
        }
        next_ns.fetch_min(deadline_ns, Ordering::AcqRel).min(deadline_ns).min(tcp_ns)
    }

    fn expire_configuration(&self, now_ns: u64) -> u64 {
        match self.interfaces().with(|snapshot| snapshot.next_expiry()) {
            due_ns if due_ns <= now_ns => self.interfaces().update(|snapshot| snapshot.expire(now_ns)),
            due_ns => due_ns,
        }
    }

    fn poll_neighbours(&self, interface: &Arc<Interface>, now_ns: u64) -> u64 {
        let Due { solicitations, failed, deadline_ns } = interface.neighbours().poll(now_ns);
        for question in &solicitations {
            solicit(self, interface, question, None);
        }
        drop(failed);
        deadline_ns
    }
}

/// Asks who has an address on the link. `source`: the sender of the packet that is the reason.
pub(crate) fn solicit(stack: &Stack, interface: &Arc<Interface>, question: &Solicitation, source: Option<IpAddr>) {
    match question.address {
        IpAddr::V4(address) => arp::solicit(stack, interface, address, question.mac, source),
        IpAddr::V6(address) => ndp::solicit(stack, interface, address, question.mac, source),
    }
}

/// The type in the Ethernet header, behind tags.
fn ethernet_type(packet: &Packet) -> EthernetProtocol {
    let at = usize::from(packet.layout.network).saturating_sub(2);
    match packet.frame.head().get(at..at + 2) {
        Some(&[high, low]) => EthernetProtocol::from(u16::from_be_bytes([high, low])),
        _ => EthernetProtocol::Unknown(0),
    }
}

/// Sends a frame whose payload is there.
fn send_link(interface: &Interface, kind: EthernetProtocol, destination: Mac, mut frame: TransmitFrame) {
    let Some(nic) = interface.nic() else { return };
    let mut ethernet = EthernetFrame::new_unchecked(frame.push_front(ETHERNET_LEN));
    ethernet.set_src_addr(EthernetAddress(interface.mac()));
    ethernet.set_dst_addr(EthernetAddress(destination));
    ethernet.set_ethertype(kind);
    let mut frames = Vec::with_capacity(1);
    frames.push(frame);
    nic.transmit(&mut frames);
}
