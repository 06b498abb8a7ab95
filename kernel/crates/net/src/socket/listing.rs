//! The sockets of programs as `/proc/net` lists them: [`datagram_rows`], [`unix_rows`], and [`counts`] of all kinds.
//! Those of TCP are in [`crate::tcp::listing`].

use alloc::vec::Vec;
use core::any::Any;
use core::net::SocketAddr;

use abi::socket::{AF_NETLINK, AF_UNIX, SOCK_STREAM};

use super::netlink::NetlinkSocket;
use super::raw::RawSocket;
use super::udp::UdpSocket;
use super::unix::UnixSocket;
use super::{Address, SocketFile, UnixName, open_sockets};
use crate::tcp::TcpSocket;

/// Lists of sockets without connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramKind {
    /// UDP.
    Udp,
    /// Raw.
    Raw,
    /// Echo requests.
    Ping,
}

/// A line of such a list.
#[derive(Clone, Copy, Debug)]
pub struct DatagramRow {
    /// It belongs into the list of IPv6.
    pub is_v6: bool,
    /// Its own end.
    pub local: SocketAddr,
    /// The end it is connected to; all zeroes for none.
    pub remote: SocketAddr,
    /// Whether it is connected.
    pub is_connected: bool,
    /// Bytes that wait to be read, with the memory that keeps them.
    pub receive_queue: u32,
    /// The user of its file.
    pub user: u32,
    /// The number of its file.
    pub inode: u64,
    /// Packets for which there was no room.
    pub drops: u32,
}

/// All sockets of a kind that have a port, an identifier or a protocol.
#[must_use]
pub fn datagram_rows(kind: DatagramKind) -> Vec<DatagramRow> {
    let row = |file: &SocketFile| {
        let socket = &**file.socket();
        let any = socket as &dyn Any;
        let (own_kind, datagrams) = if let Some(udp) = any.downcast_ref::<UdpSocket>() {
            (DatagramKind::Udp, udp.datagrams())
        } else {
            let raw = any.downcast_ref::<RawSocket>()?;
            (if raw.is_ping() { DatagramKind::Ping } else { DatagramKind::Raw }, raw.datagrams())
        };
        let (Address::Inet(local), Address::Inet(none)) = (socket.local_address().ok()?, datagrams.show_none(0)) else {
            return None;
        };
        if own_kind != kind || local.port() == 0 {
            return None;
        }
        let remote = match socket.peer_address() {
            Ok(Address::Inet(remote)) => Some(remote),
            _ => None,
        };
        Some(DatagramRow {
            is_v6: datagrams.is_v6,
            local,
            remote: remote.unwrap_or(none),
            is_connected: remote.is_some(),
            receive_queue: u32::try_from(datagrams.queued_len()).unwrap_or(u32::MAX),
            user: file.user(),
            inode: file.inode(),
            drops: datagrams.drops(),
        })
    };
    open_sockets().iter().filter_map(|file| row(file)).collect()
}

/// A socket of the Unix domain.
#[derive(Clone, Debug)]
pub struct UnixRow {
    /// `SOCK_`.
    pub kind: i32,
    /// It listens.
    pub is_listening: bool,
    /// It has a connection, or is one.
    pub is_connected: bool,
    /// Nobody has accepted it.
    pub is_embryo: bool,
    /// The number of its file; 0 for one that nobody has accepted.
    pub inode: u64,
    /// Its name.
    pub name: UnixName,
}

/// All sockets of the Unix domain.
#[must_use]
pub fn unix_rows() -> Vec<UnixRow> {
    let mut rows = Vec::new();
    for file in open_sockets() {
        if let Some(socket) = (&**file.socket() as &dyn Any).downcast_ref::<UnixSocket>() {
            rows.extend(socket.pending_rows());
            rows.push(UnixRow { inode: file.inode(), ..socket.row() });
        }
    }
    rows
}

/// How many sockets of each sort there are, in the order of [`PROTOCOLS`].
pub type Counts = [u32; PROTOCOLS.len()];

/// A protocol, as `/proc/net/protocols` shows it.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// Its name.
    pub name: &'static str,
    /// Bytes of a socket.
    pub size: usize,
}

/// The protocols there are.
pub const PROTOCOLS: [Protocol; 11] = [
    Protocol { name: "PINGv6", size: size_of::<RawSocket>() },
    Protocol { name: "RAWv6", size: size_of::<RawSocket>() },
    Protocol { name: "UDPv6", size: size_of::<UdpSocket>() },
    Protocol { name: "TCPv6", size: size_of::<TcpSocket>() },
    Protocol { name: "UNIX-STREAM", size: size_of::<UnixSocket>() },
    Protocol { name: "UNIX", size: size_of::<UnixSocket>() },
    Protocol { name: "PING", size: size_of::<RawSocket>() },
    Protocol { name: "RAW", size: size_of::<RawSocket>() },
    Protocol { name: "UDP", size: size_of::<UdpSocket>() },
    Protocol { name: "TCP", size: size_of::<TcpSocket>() },
    Protocol { name: "NETLINK", size: size_of::<NetlinkSocket>() },
];

/// Counts the sockets that are open.
#[must_use]
pub fn counts() -> Counts {
    let mut counts = [0; PROTOCOLS.len()];
    for file in open_sockets() {
        let socket = &**file.socket();
        let any = socket as &dyn Any;
        let kind = socket.kind();
        let name = if let Some(raw) = any.downcast_ref::<RawSocket>() {
            match (raw.is_ping(), raw.datagrams().is_v6) {
                (true, true) => "PINGv6",
                (true, false) => "PING",
                (false, true) => "RAWv6",
                (false, false) => "RAW",
            }
        } else if let Some(udp) = any.downcast_ref::<UdpSocket>() {
            if udp.datagrams().is_v6 { "UDPv6" } else { "UDP" }
        } else if kind.domain == i32::from(AF_UNIX) {
            if kind.kind == SOCK_STREAM { "UNIX-STREAM" } else { "UNIX" }
        } else if kind.domain == i32::from(AF_NETLINK) {
            "NETLINK"
        } else if crate::tcp::listing::is_v6_of(socket) == Some(true) {
            "TCPv6"
        } else {
            "TCP"
        };
        if let Some(place) = PROTOCOLS.iter().position(|protocol| protocol.name == name) {
            counts[place] += 1;
        }
    }
    counts
}
