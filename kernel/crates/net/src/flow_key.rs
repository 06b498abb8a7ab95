//! [`FlowKey`]: what names a flow, in a form that is quick to hash and compare.
//!
//! Addresses are IPv6 addresses; IPv4 ones are mapped (RFC 4291, 2.5.5.2), as sockets that serve both see them.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The transport protocols that have flows, by their IP numbers.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
}

/// Both ends of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// This machine's address. All zeroes: any (only in the keys of sockets that are bound so).
    pub local: u128,
    /// The other end's address.
    pub remote: u128,
    /// This machine's port.
    pub local_port: u16,
    /// The other end's port.
    pub remote_port: u16,
    /// One of [`protocol`].
    pub protocol: u8,
}

/// An address as keys have it.
#[must_use]
#[inline]
pub fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// The address of [`address_bits`]; mapped ones are IPv4 again.
#[must_use]
#[inline]
pub fn address_of_bits(bits: u128) -> IpAddr {
    Ipv6Addr::from(bits).to_canonical()
}

impl FlowKey {
    /// The key of a flow between two ends.
    #[must_use]
    pub fn new(protocol: u8, local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local: address_bits(local.ip()),
            remote: address_bits(remote.ip()),
            local_port: local.port(),
            remote_port: remote.port(),
            protocol,
        }
    }

    /// Whether an end is an address that no packet of a network has (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3).
    #[must_use]
    #[inline]
    pub fn is_within_machine(&self) -> bool {
        let is_loopback = |bits: u128| bits >> 24 == 0xff_ff7f || bits == 1;
        is_loopback(self.local) || is_loopback(self.remote)
    }

    /// This machine's end.
    #[must_use]
    pub fn local_end(&self) -> SocketAddr {
        SocketAddr::new(address_of_bits(self.local), self.local_port)
    }

    /// The other end.
    #[must_use]
    pub fn remote_end(&self) -> SocketAddr {
        SocketAddr::new(address_of_bits(self.remote), self.remote_port)
    }

    /// A number that whoever does not know `secret` cannot steer: two rounds of folded multiplication over all bits of the key.
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken, each by itself")]
    pub fn hash(&self, secret: [u64; 2]) -> u64 {
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            (product as u64) ^ ((product >> 64) as u64)
        };
        let rest = u64::from(self.local_port) << 32 | u64::from(self.remote_port) << 8 | u64::from(self.protocol);
        let first = fold(self.remote as u64 ^ secret[0], (self.remote >> 64) as u64 ^ rest ^ secret[1]);
        let second = fold(self.local as u64 ^ secret[1], (self.local >> 64) as u64 ^ rest ^ secret[0]);
        fold(first ^ secret[0] ^ rest, second.rotate_left(17) ^ secret[1])
    }
}
