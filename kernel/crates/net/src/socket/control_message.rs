//! [`ControlMessage`]: ancillary data of messages, in kernel form.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use file::OpenFile;

/// `struct ucred`: who a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SocketCredentials {
    /// Its number.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// One piece of ancillary data.
#[derive(Clone)]
pub enum ControlMessage {
    /// `SCM_RIGHTS`: open files.
    Rights(Vec<Arc<OpenFile>>),
    /// `SCM_CREDENTIALS`.
    Credentials(SocketCredentials),
    /// `SO_TIMESTAMP` and its relatives: nanoseconds since 1970.
    Timestamp(u64),
    /// `IP_PKTINFO`, `IPV6_PKTINFO`: the interface's number, the local address of it, the destination in the header.
    PacketInfo {
        /// The interface's number.
        interface: u32,
        /// The local address that the packet came to, or is to come from.
        specified: core::net::IpAddr,
        /// The destination in the header.
        destination: core::net::IpAddr,
    },
    /// `IP_TTL`, `IPV6_HOPLIMIT`.
    HopLimit(u8, bool),
    /// `IP_TOS`, `IPV6_TCLASS`; true for the IPv6 form.
    TrafficClass(u8, bool),
    /// `IPV6_2292PKTINFO`: the interface's number, and the destination.
    OldPacketInfo(u32, core::net::Ipv6Addr),
    /// `IPV6_2292HOPLIMIT`.
    OldHopLimit(u8),
    /// `IPV6_DONTFRAG`: whether the packet stays whole.
    StaysWhole(bool),
    /// `IP_RECVERR`, `IPV6_RECVERR`: an error from the network.
    ExtendedError {
        /// The error number.
        errno: u32,
        /// `SO_EE_ORIGIN_`.
        origin: u8,
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
        /// The path's MTU, where the error tells.
        info: u32,
        /// Who reported it.
        offender: Option<SocketAddr>,
    },
    /// `SO_RXQ_OVFL`: how many packets were lost before this one.
    Overflow(u32),
    /// `IP_RECVORIGDSTADDR`, `IPV6_RECVORIGDSTADDR`: where a packet was sent to.
    OriginalDestination(SocketAddr),
    /// `TCP_INQ`: bytes that wait behind those that were read.
    Waiting(u32),
    /// `UDP_SEGMENT`: the length of each datagram that a message is cut into.
    SegmentLen(u16),
}

impl core::fmt::Debug for ControlMessage {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Rights(files) => write!(out, "Rights({} files)", files.len()),
            Self::Credentials(credentials) => write!(out, "{credentials:?}"),
            Self::Timestamp(time_ns) => write!(out, "Timestamp({time_ns})"),
            Self::PacketInfo { interface, destination, .. } => write!(out, "PacketInfo({interface}, {destination})"),
            Self::OldPacketInfo(interface, destination) => write!(out, "PacketInfo({interface}, {destination})"),
            Self::OldHopLimit(limit) => write!(out, "HopLimit({limit})"),
            Self::StaysWhole(stays) => write!(out, "StaysWhole({stays})"),
            Self::HopLimit(limit, _) => write!(out, "HopLimit({limit})"),
            Self::TrafficClass(class, _) => write!(out, "TrafficClass({class})"),
            Self::ExtendedError { errno, .. } => write!(out, "ExtendedError({errno})"),
            Self::Overflow(count) => write!(out, "Overflow({count})"),
            Self::OriginalDestination(address) => write!(out, "OriginalDestination({address})"),
            Self::Waiting(len) => write!(out, "Waiting({len})"),
            Self::SegmentLen(len) => write!(out, "SegmentLen({len})"),
        }
    }
}
