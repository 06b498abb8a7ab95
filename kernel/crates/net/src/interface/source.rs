//! [`select_source`]: which of our addresses a packet is sent from, if the program does not say.
//!
//! IPv4: the first address of the interface in the prefix of the next hop, else its first one that reaches far enough, else any that
//! does. IPv6: RFC 6724, section 5, with the default table of section 2.1; rules 4 (home addresses) and 7 (temporary addresses) do not
//! apply, as there are none.

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv6Addr};

use super::address::{AddressState, InterfaceAddress, Scope, is_in_prefix, scope_of};
use super::snapshot::Snapshot;

/// The best of our addresses for a destination that is reached through `interface` by way of `next_hop`.
pub(super) fn select_source(table: &Snapshot, destination: IpAddr, next_hop: IpAddr, interface: u32) -> Option<IpAddr> {
    match destination {
        IpAddr::V4(_) => select_source4(table, destination, next_hop, interface),
        IpAddr::V6(destination) => select_source6(table, destination, interface),
    }
}

fn select_source4(table: &Snapshot, destination: IpAddr, next_hop: IpAddr, interface: u32) -> Option<IpAddr> {
    // Groups and neighbours may be reached from an address of the link, the rest of the world not.
    let reach = scope_of(destination).min(Scope::Link);
    let usable = |own: &&InterfaceAddress| own.address.is_ipv4() && own.is_assigned() && own.scope() <= reach;
    let mut of_interface = table.addresses_of(interface).filter(usable);
    of_interface
        .clone()
        .find(|own| own.covers(next_hop))
        .or_else(|| of_interface.next())
        .or_else(|| table.addresses().iter().filter(usable).find(|own| own.scope() == Scope::Global))
        .map(|own| own.address)
}

fn select_source6(table: &Snapshot, destination: Ipv6Addr, interface: u32) -> Option<IpAddr> {
    let scope = scope_of(destination.into());
    let candidates = table.addresses().iter().filter(|own| {
        // What does not reach beyond its link or this machine is a source on that link only.
        own.address.is_ipv6() && own.is_assigned() && (own.interface == interface || own.scope() < Scope::Link)
    });
    let rank = |own: &InterfaceAddress| {
        let IpAddr::V6(address) = own.address else { return Default::default() };
        (
            // Rule 1.
            address == destination,
            // Rule 2: of those that reach the destination the one that reaches least far, else the one that reaches farthest.
            (own.scope() <= scope, if own.scope() <= scope { own.scope() as u8 } else { u8::MAX - own.scope() as u8 }),
            // Rule 3.
            own.state == AddressState::Preferred,
            // Rule 5.
            own.interface == interface,
            // Rule 6.
            label(address) == label(destination),
            // Rule 8.
            (address.to_bits() ^ destination.to_bits()).leading_zeros().min(u32::from(own.prefix_len)),
        )
    };
    // Of equals the first wins.
    candidates.enumerate().max_by_key(|(place, own)| (rank(own), Reverse(*place))).map(|(_, own)| own.address)
}

/// The label of the policy table.
fn label(address: Ipv6Addr) -> u8 {
    const TABLE: [(Ipv6Addr, u8, u8); 8] = [
        (Ipv6Addr::LOCALHOST, 128, 0),
        (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 4),
        (Ipv6Addr::UNSPECIFIED, 96, 3),
        (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 5),
        (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 2),
        (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, 12),
        (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, 11),
        (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 13),
    ];
    TABLE
        .iter()
        .find(|(network, len, _)| is_in_prefix(address.into(), (*network).into(), *len))
        .map_or(1, |(_, _, label)| *label)
}
