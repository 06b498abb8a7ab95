//! [`Address`]: the name of a socket, in any domain.

use alloc::vec::Vec;
use core::net::SocketAddr;

/// Names an inode: device and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InodeKey {
    /// The device number of its file system.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// The name of a socket in the Unix domain.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum UnixName {
    /// Not bound.
    #[default]
    Unnamed,
    /// In the abstract name space: any bytes, without the zero in front.
    Abstract(Vec<u8>),
    /// A file. Which inode it is was found out by whoever resolved the path; the path is only shown.
    Path {
        /// As the program gave it.
        path: Vec<u8>,
        /// The file.
        inode: InodeKey,
    },
}

/// The name of a socket in `AF_VSOCK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VsockAddress {
    /// Which machine: its context identifier.
    pub cid: u32,
    /// The port there.
    pub port: u32,
}

/// The name of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `AF_UNSPEC`: takes a connection away.
    Unspecified,
    /// `AF_INET` and `AF_INET6`.
    Inet(SocketAddr),
    /// `AF_UNIX`.
    Unix(UnixName),
    /// `AF_VSOCK`.
    Vsock(VsockAddress),
    /// `AF_NETLINK`.
    Netlink {
        /// The socket's number, 0 for the kernel.
        port: u32,
        /// A mask of multicast groups.
        groups: u32,
    },
    /// `AF_PACKET`.
    Link {
        /// The interface's number.
        interface: u32,
        /// The Ethernet type, in host order.
        protocol: u16,
        /// The link address.
        mac: [u8; 6],
        /// `PACKET_HOST` and the like.
        packet_type: u8,
    },
    /// Some other domain: its number, which no socket takes.
    Other(u16),
}
