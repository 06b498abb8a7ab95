//! What belongs to no flow: ARP, neighbour discovery, ICMP, fragments, configuration, first segments. Runs in the workers.
//!
//! - [`Control`]: the state of it, and when it is to be looked at again. Timers run in the worker of [`CONTROL_CPU`] alone.
//! - [`solicit`]: asks who has an address.

mod arp;
mod configuration;
mod dhcp;
mod icmp;
mod membership;
mod ndp;
mod packet;
mod reassembly;
mod redirect;
mod router;
mod state;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::sync::atomic::Ordering;

use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol};
use sync::machine::{self, NEVER};

use crate::channel::{Packet, QueuedPacket};
use crate::classify::ETHERNET_LEN;
use crate::counters::Counter;
use crate::flow_key::protocol;
use crate::frame::{Payload, ReceivedFrame};
use crate::interface::{Due, Interface, Mac, Solicitation};
use crate::socket::raw::Heard;
use crate::stack::FOR_RAW_SOCKETS;
use crate::{FlowKey, Stack, TransmitFrame, room};
use icmp::Refusal;
use packet::{IpPacket, extension};
use reassembly::Progress;

pub use configuration::Configuration;
pub(crate) use ndp::solicited_node;
pub use state::{Control, NAME_SERVERS_MAX};

/// The protocol number of IGMP.
const IGMP: u8 = 2;
/// The CPU whose worker runs the timers of this module.
const CONTROL_CPU: u32 = 0;

impl Stack {
    /// Handles a packet of no flow.
    pub(crate) fn handle_control(self: &Arc<Self>, packet: QueuedPacket) {
        if packet.key.protocol == protocol::TCP {
            return self.tcp().handle_unmatched(self, packet);
        }
        let Some(interface) = self.interfaces().with(|snapshot| snapshot.interface(packet.interface).cloned()) else {
            return;
        };
        if packet.key == FOR_RAW_SOCKETS {
            return self.hear_transport(&interface, &packet);
        }
        if ethernet_type(&packet) == EthernetProtocol::Arp {
            return arp::handle(self, &interface, &packet);
        }
        let is_datagram = packet.key.protocol == protocol::UDP;
        if is_datagram && packet.key.local_port == dhcp::CLIENT_PORT {
            return dhcp::handle(self, &interface, &packet);
        }
        let Some(ip) = IpPacket::of(&packet) else {
            return self.mib().count(Counter::IpInHdrErrors);
        };
        let is_ipv4 = ip.source.is_ipv4();
        self.mib().count(if is_ipv4 { Counter::IpInReceives } else { Counter::Ip6InReceives });
        // What nobody may send from, and what is for somebody else.
        let is_forged = ip.source.is_multicast()
            || ip.source == IpAddr::V4(core::net::Ipv4Addr::BROADCAST)
            || (ip.source.is_loopback() || ip.destination.is_loopback()) && !interface.is_loopback();
        if is_forged || !self.interfaces().with(|snapshot| snapshot.takes(ip.destination, interface.index())) {
            return self.mib().count(if is_ipv4 { Counter::IpInAddrErrors } else { Counter::Ip6InAddrErrors });
        }
        if is_datagram {
            self.mib().count(if is_ipv4 { Counter::UdpNoPorts } else { Counter::Udp6NoPorts });
            return icmp::refuse(self, &interface, &ip, Refusal::Port);
        }
        if reassembly::is_fragment(&ip) {
            return self.reassemble(&interface, &ip);
        }
        self.mib().count(if is_ipv4 { Counter::IpInDelivers } else { Counter::Ip6InDelivers });
        self.handle_protocol(&interface, &ip);
    }

    /// Handles a whole packet by its protocol.
    fn handle_protocol(self: &Arc<Self>, interface: &Arc<Interface>, packet: &IpPacket) {
        let is_ipv4 = packet.source.is_ipv4();
        match packet.protocol {
            // Behind extension headers; without them the classifier sees whose it is.
            protocol::TCP | protocol::UDP if !is_ipv4 => {
                if let Some(bytes) = packet.without_extensions() {
                    self.receive_again(interface, &bytes, packet.is_link_group);
                }
            }
            protocol::ICMP if is_ipv4 => {
                self.hear(interface, packet);
                icmp::handle4(self, interface, packet);
            }
            protocol::ICMPV6 if !is_ipv4 => {
                self.mib().count(Counter::Icmp6InMsgs);
                if !icmp::is_sound6(packet) {
                    return self.mib().count(Counter::Icmp6InCsumErrors);
                }
                self.hear(interface, packet);
                match packet.body().first() {
                    Some(133..=137) => ndp::handle(self, interface, packet),
                    Some(130..=132 | 143) => membership::handle6(self, interface, packet),
                    _ => icmp::handle6(self, packet),
                }
            }
            IGMP if is_ipv4 => {
                self.hear(interface, packet);
                membership::handle4(self, interface, packet);
            }
            extension::NONE if !is_ipv4 => {}
            _ => {
                if !self.hear(interface, packet) {
                    self.mib().count(if is_ipv4 { Counter::IpInUnknownProtos } else { Counter::Ip6InUnknownProtos });
                    icmp::refuse(self, interface, packet, Refusal::Protocol);
                }
            }
        }
    }

    /// Gives raw sockets of TCP and UDP the copy of a packet that is this machine's.
    fn hear_transport(&self, interface: &Interface, packet: &Packet) {
        if let Some(ip) = IpPacket::of(packet)
            && self.interfaces().with(|snapshot| snapshot.takes(ip.destination, interface.index()))
        {
            self.hear(interface, &ip);
        }
    }

    /// Gives raw sockets their copies. True: one took the packet.
    fn hear(&self, interface: &Interface, packet: &IpPacket) -> bool {
        let key = FlowKey::new(packet.protocol, (packet.destination, 0).into(), (packet.source, 0).into());
        let heard = Heard { bytes: &packet.bytes, payload: packet.payload, key, interface: interface.index() };
        self.raw().deliver(&heard)
    }

    fn reassemble(self: &Arc<Self>, interface: &Arc<Interface>, packet: &IpPacket) {
        let now_ns = machine::now_ns();
        let is_ipv4 = packet.source.is_ipv4();
        self.mib().count(if is_ipv4 { Counter::IpReasmReqds } else { Counter::Ip6ReasmReqds });
        match self.control().with(|state| state.reassembly.add(packet, interface.index(), now_ns)) {
            Progress::Waiting => self.control().request_poll(self, now_ns),
            Progress::Refused => self.mib().count(if is_ipv4 { Counter::IpReasmFails } else { Counter::Ip6ReasmFails }),
            Progress::Whole(bytes) => {
                self.mib().count(if is_ipv4 { Counter::IpReasmOKs } else { Counter::Ip6ReasmOKs });
                self.receive_again(interface, &bytes, packet.is_link_group);
            }
        }
    }

    /// Lets a packet that was mended here come in again.
    fn receive_again(&self, interface: &Arc<Interface>, bytes: &[u8], is_link_group: bool) {
        let is_ipv4 = bytes.first().is_some_and(|byte| byte >> 4 == 4);
        let Ok(mut frame) = room::copy_of([&[0; ETHERNET_LEN], bytes], ETHERNET_LEN + bytes.len()) else {
            return self.mib().count(if is_ipv4 { Counter::IpInDiscards } else { Counter::Ip6InDiscards });
        };
        let kind = if is_ipv4 { EthernetProtocol::Ipv4 } else { EthernetProtocol::Ipv6 };
        let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
        ethernet.set_ethertype(kind);
        ethernet.set_dst_addr(EthernetAddress([u8::from(is_link_group), 0, 0, 0, 0, 0]));
        self.receive(interface, &mut core::iter::once(ReceivedFrame::new(Payload::from(frame))));
    }

    /// Does what is due in the worker of `cpu`, and answers when it wants to be called again.
    pub(crate) fn work_control(self: &Arc<Self>, cpu: u32, now_ns: u64) -> u64 {
        if cpu != CONTROL_CPU {
            return NEVER;
        }
        if self.control().has_link_change.swap(false, Ordering::AcqRel) {
            for interface in self.interfaces().snapshot().interfaces() {
                self.interfaces().tell_of_link(interface.index());
            }
        }
        let tcp_ns = self.tcp().poll(self, now_ns);
        let next_ns = &self.control().next_ns;
        let due_ns = next_ns.load(Ordering::Acquire);
        if due_ns > now_ns {
            return due_ns.min(tcp_ns);
        }
        // Who asks for an earlier look from here on lowers it again.
        next_ns.store(NEVER, Ordering::Release);
        let mut deadline_ns =
            self.expire_configuration(now_ns).min(membership::poll(self, now_ns)).min(self.expire_fragments(now_ns));
        for interface in self.interfaces().snapshot().interfaces() {
            deadline_ns = deadline_ns
                .min(self.poll_neighbours(interface, now_ns))
                .min(dhcp::poll(self, interface, now_ns))
                .min(router::poll(self, interface, now_ns));
        }
        next_ns.fetch_min(deadline_ns, Ordering::AcqRel).min(deadline_ns).min(tcp_ns)
    }

    fn expire_configuration(&self, now_ns: u64) -> u64 {
        match self.interfaces().with(|snapshot| snapshot.next_expiry()) {
            due_ns if due_ns <= now_ns => self.interfaces().update(|snapshot| snapshot.expire(now_ns)),
            due_ns => due_ns,
        }
    }

    fn expire_fragments(&self, now_ns: u64) -> u64 {
        let (given_up, next_ns) = self.control().with(|state| state.reassembly.expire(now_ns));
        for datagram in given_up {
            let is_ipv4 = datagram.first.source.is_ipv4();
            self.mib().count(if is_ipv4 { Counter::IpReasmTimeout } else { Counter::Ip6ReasmTimeout });
            let interface = self.interfaces().with(|snapshot| snapshot.interface(datagram.interface).cloned());
            if let Some(interface) = interface {
                icmp::refuse(self, &interface, &datagram.first, Refusal::Reassembly);
            }
        }
        next_ns
    }

    fn poll_neighbours(self: &Arc<Self>, interface: &Arc<Interface>, now_ns: u64) -> u64 {
        let Due { solicitations, failed, deadline_ns, .. } = interface.neighbours().poll(now_ns);
        for question in &solicitations {
            solicit(self, interface, question, None);
        }
        icmp::report_unreachable(self, failed);
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
