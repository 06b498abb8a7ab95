//! Network interfaces: the `ioctl` commands of sockets, and `struct ifreq`.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use crate::layout::abi_struct;

/// The bytes of an interface's name, with its closing zero.
pub const IFNAMSIZ: usize = 16;
/// The bytes of `struct ifreq`.
pub const IFREQ_LEN: usize = 40;

pub const SIOCINQ: u32 = 0x541b;
pub const SIOCOUTQ: u32 = 0x5411;
pub const FIOSETOWN: u32 = 0x8901;
pub const SIOCSPGRP: u32 = 0x8902;
pub const FIOGETOWN: u32 = 0x8903;
pub const SIOCGPGRP: u32 = 0x8904;
pub const SIOCATMARK: u32 = 0x8905;
/// How much waits that was never sent (TCP).
pub const SIOCOUTQNSD: u32 = 0x894b;
pub const SIOCGSTAMP: u32 = 0x8906;
pub const SIOCADDRT: u32 = 0x890b;
pub const SIOCDELRT: u32 = 0x890c;
pub const SIOCGIFNAME: u32 = 0x8910;
pub const SIOCGIFCONF: u32 = 0x8912;
pub const SIOCGIFFLAGS: u32 = 0x8913;
pub const SIOCSIFFLAGS: u32 = 0x8914;
pub const SIOCGIFADDR: u32 = 0x8915;
pub const SIOCSIFADDR: u32 = 0x8916;
pub const SIOCGIFDSTADDR: u32 = 0x8917;
pub const SIOCGIFBRDADDR: u32 = 0x8919;
pub const SIOCGIFNETMASK: u32 = 0x891b;
pub const SIOCGIFMETRIC: u32 = 0x891d;
pub const SIOCGIFMTU: u32 = 0x8921;
pub const SIOCSIFMTU: u32 = 0x8922;
pub const SIOCGIFHWADDR: u32 = 0x8927;
pub const SIOCGIFINDEX: u32 = 0x8933;
pub const SIOCGIFTXQLEN: u32 = 0x8942;
pub const SIOCGIFMAP: u32 = 0x8970;
/// The first and the last command about interfaces and routes that this kernel knows of.
pub const SIOC_INTERFACE_FIRST: u32 = 0x890b;
/// See [`SIOC_INTERFACE_FIRST`].
pub const SIOC_INTERFACE_LAST: u32 = 0x89ff;

pub const IFF_UP: u32 = 0x1;
pub const IFF_BROADCAST: u32 = 0x2;
pub const IFF_LOOPBACK: u32 = 0x8;
pub const IFF_RUNNING: u32 = 0x40;
pub const IFF_MULTICAST: u32 = 0x1000;
pub const IFF_LOWER_UP: u32 = 0x1_0000;

pub const ARPHRD_ETHER: u16 = 1;
pub const ARPHRD_LOOPBACK: u16 = 772;

abi_struct! {
    /// `struct ifreq`: a name, and a value that depends on the command.
    pub struct Ifreq: 40 {
        pub ifr_name: [u8; 16],
        pub ifr_value: [u8; 24],
    }

    /// `struct ifconf`.
    pub struct Ifconf: 16 {
        pub ifc_len: i32,
        pub ifc_padding: u32,
        pub ifc_req: usize,
    }
}
