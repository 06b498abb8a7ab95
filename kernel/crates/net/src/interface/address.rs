//! [`InterfaceAddress`]: an address that an interface has, and [`AddressClass`]: what an address is to this machine.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sync::machine::NEVER;

/// How far an address reaches, in Linux's numbers (`RT_SCOPE_`): the smaller, the farther.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Scope {
    /// Everywhere.
    Global = 0,
    /// The site (deprecated `fec0::/10`).
    Site = 200,
    /// The link.
    Link = 253,
    /// This machine.
    Host = 254,
}

/// Who gave an address or a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The kernel by itself: loopback, link-local addresses, routes to what is on the link.
    Kernel,
    /// Configuration.
    Static,
    /// DHCP.
    Dhcp,
    /// A router's advertisement.
    Router,
}

/// Whether an address may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressState {
    /// Duplicate address detection is under way: it is nobody's yet (RFC 4862, section 5.4).
    Tentative,
    /// It may.
    Preferred,
    /// By connections that have it, not for new ones.
    Deprecated,
    /// Another machine has it.
    Duplicate,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface's number.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// Bits that all on the link have in common.
    pub prefix_len: u8,
    /// Who gave it.
    pub origin: Origin,
    /// Whether it may be used.
    pub state: AddressState,
    /// When it becomes deprecated; [`NEVER`] for never.
    pub preferred_until_ns: u64,
    /// When it goes; [`NEVER`] for never.
    pub valid_until_ns: u64,
}

impl InterfaceAddress {
    /// An address that is used from now on, for good.
    #[must_use]
    pub const fn permanent(interface: u32, address: IpAddr, prefix_len: u8, origin: Origin) -> Self {
        let (state, until) = (AddressState::Preferred, NEVER);
        Self { interface, address, prefix_len, origin, state, preferred_until_ns: until, valid_until_ns: until }
    }

    /// How far it reaches.
    #[must_use]
    pub fn scope(&self) -> Scope {
        scope_of(self.address)
    }

    /// Whether packets to it are for this machine.
    #[must_use]
    pub const fn is_assigned(&self) -> bool {
        matches!(self.state, AddressState::Preferred | AddressState::Deprecated)
    }

    /// Whether `other` is on the same link by its prefix.
    #[must_use]
    pub fn covers(&self, other: IpAddr) -> bool {
        is_in_prefix(other, self.address, self.prefix_len)
    }

    /// The address of all machines in its prefix; none for IPv6, and for prefixes too long to have one.
    #[must_use]
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(address) if self.prefix_len < 31 => {
                Some(Ipv4Addr::from_bits(address.to_bits() | !mask4(self.prefix_len)))
            }
            _ => None,
        }
    }

    /// The address of its network, which some old machines take for broadcast.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        network_of(self.address, self.prefix_len)
    }
}

/// What an address is to this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressClass {
    /// One of its own.
    Local,
    /// One for all on a link.
    Broadcast,
    /// A group.
    Multicast,
    /// Somebody else's.
    Remote,
}

/// How far an address reaches, from its form.
#[must_use]
pub fn scope_of(address: IpAddr) -> Scope {
    match address {
        IpAddr::V4(address) if address.is_loopback() => Scope::Host,
        IpAddr::V4(address) if address.is_link_local() => Scope::Link,
        IpAddr::V4(_) => Scope::Global,
        IpAddr::V6(address) if address.is_loopback() => Scope::Host,
        IpAddr::V6(address) if address.is_unicast_link_local() => Scope::Link,
        IpAddr::V6(address) if address.segments()[0] & 0xffc0 == 0xfec0 => Scope::Site,
        IpAddr::V6(address) if address.is_multicast() => match address.segments()[0] & 0xf {
            0 | 1 => Scope::Host,
            2 => Scope::Link,
            3..=5 => Scope::Site,
            _ => Scope::Global,
        },
        IpAddr::V6(_) => Scope::Global,
    }
}

/// The network mask of an IPv4 prefix.
#[must_use]
pub fn mask4(prefix_len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix_len.min(32))).unwrap_or(0)
}

/// The network mask of an IPv6 prefix.
#[must_use]
pub fn mask6(prefix_len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix_len.min(128))).unwrap_or(0)
}

/// The address with nothing behind the prefix.
#[must_use]
pub fn network_of(address: IpAddr, prefix_len: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & mask4(prefix_len)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & mask6(prefix_len)).into(),
    }
}

/// Whether the first `prefix_len` bits are the same.
#[must_use]
pub fn is_in_prefix(address: IpAddr, network: IpAddr, prefix_len: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()) & mask4(prefix_len) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()) & mask6(prefix_len) == 0,
        _ => false,
    }
}

/// Whether both are of one family.
#[must_use]
pub const fn is_same_family(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}

/// The address of nobody, in the family of another.
#[must_use]
pub const fn unspecified(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_cover_and_have_broadcasts() {
        let address = InterfaceAddress::permanent(2, "10.1.2.3".parse().unwrap(), 22, Origin::Static);
        assert!(address.covers("10.1.3.255".parse().unwrap()) && !address.covers("10.1.4.0".parse().unwrap()));
        assert_eq!(address.broadcast(), Some(Ipv4Addr::new(10, 1, 3, 255)));
        assert_eq!(address.network(), "10.1.0.0".parse::<IpAddr>().unwrap());
        assert_eq!((mask4(0), mask4(32), mask6(0), mask6(128)), (0, u32::MAX, 0, u128::MAX));
        assert!(is_in_prefix("fe80::1".parse().unwrap(), "fe80::".parse().unwrap(), 10));
        let host = InterfaceAddress::permanent(2, "10.1.2.3".parse().unwrap(), 31, Origin::Static);
        assert_eq!(host.broadcast(), None);
    }

    #[test]
    fn scopes_are_those_of_the_form() {
        for (address, scope) in [
            ("127.1.2.3", Scope::Host),
            ("169.254.1.1", Scope::Link),
            ("10.0.0.1", Scope::Global),
            ("::1", Scope::Host),
            ("fe80::1", Scope::Link),
            ("fd00::1", Scope::Global),
            ("ff02::1", Scope::Link),
            ("ff05::1", Scope::Site),
            ("ff0e::1", Scope::Global),
        ] {
            assert_eq!(scope_of(address.parse().unwrap()), scope, "{address}");
        }
    }
}
