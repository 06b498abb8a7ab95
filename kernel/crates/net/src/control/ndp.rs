//! Neighbour discovery: RFC 4861.

use alloc::sync::Arc;
use core::net::{IpAddr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetProtocol, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet, NdiscRepr, RawHardwareAddress,
};

use super::send_link;
use crate::interface::{Interface, InterfaceAddress, Mac, Scope};
use crate::{Stack, TransmitFrame};

/// Bytes of an IPv6 header.
const IPV6_LEN: usize = 40;
/// What shows that a packet has passed no router.
const HOP_LIMIT: u8 = 255;

/// Asks who has an address: its last known owner, or the group of all who may.
pub(super) fn solicit(
    stack: &Stack,
    interface: &Arc<Interface>,
    address: Ipv6Addr,
    mac: Option<Mac>,
    source: Option<IpAddr>,
) {
    let source = match source {
        Some(IpAddr::V6(source)) if stack.interfaces().is_local(source.into()) => source,
        _ => link_local(stack, interface).unwrap_or(Ipv6Addr::UNSPECIFIED),
    };
    let destination = if mac.is_some() { address } else { solicited_node(address) };
    let lladdr = (!source.is_unspecified()).then(|| RawHardwareAddress::from(EthernetAddress(interface.mac())));
    let message = NdiscRepr::NeighborSolicit { target_addr: address, lladdr };
    send(interface, source, destination, mac, message);
}

/// The group of all whose address ends alike (RFC 4291, section 2.7.1).
pub(crate) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).to_bits() | (address.to_bits() & 0xff_ffff))
}

/// The address of the interface that its link alone knows.
pub(super) fn link_local(stack: &Stack, interface: &Interface) -> Option<Ipv6Addr> {
    let is_it = |own: &&InterfaceAddress| own.scope() == Scope::Link && own.is_assigned();
    stack.interfaces().with(|snapshot| {
        snapshot.addresses_of(interface.index()).filter(is_it).find_map(|own| match own.address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        })
    })
}

/// Sends a message; without `mac` to the group's link address.
fn send(interface: &Interface, source: Ipv6Addr, destination: Ipv6Addr, mac: Option<Mac>, message: NdiscRepr<'_>) {
    let message = Icmpv6Repr::Ndisc(message);
    let mut frame = TransmitFrame::new(IPV6_LEN + message.buffer_len());
    let mut packet = Ipv6Packet::new_unchecked(frame.extend(IPV6_LEN + message.buffer_len()));
    packet.set_version(6);
    packet.set_payload_len(u16::try_from(message.buffer_len()).unwrap_or(0));
    packet.set_next_header(IpProtocol::Icmpv6);
    packet.set_hop_limit(HOP_LIMIT);
    packet.set_src_addr(source);
    packet.set_dst_addr(destination);
    let mut icmp = Icmpv6Packet::new_unchecked(packet.payload_mut());
    message.emit(&source, &destination, &mut icmp, &ChecksumCapabilities::default());
    let [.., a, b, c, d] = destination.octets();
    send_link(interface, EthernetProtocol::Ipv6, mac.unwrap_or([0x33, 0x33, a, b, c, d]), frame);
}
