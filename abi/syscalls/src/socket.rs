//! Sockets: families, kinds, addresses, messages, and the options of level `SOL_SOCKET`.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use crate::layout::abi_struct;

pub const AF_UNSPEC: u16 = 0;
pub const AF_UNIX: u16 = 1;
pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
pub const AF_NETLINK: u16 = 16;
pub const AF_PACKET: u16 = 17;
pub const AF_VSOCK: u16 = 40;
/// One more than the largest family.
pub const AF_MAX: u16 = 46;

pub const SOCK_STREAM: i32 = 1;
pub const SOCK_DGRAM: i32 = 2;
pub const SOCK_RAW: i32 = 3;
pub const SOCK_RDM: i32 = 4;
pub const SOCK_SEQPACKET: i32 = 5;
pub const SOCK_DCCP: i32 = 6;
pub const SOCK_PACKET: i32 = 10;
/// One more than the largest kind.
pub const SOCK_MAX: i32 = 11;
/// The bits of a kind; the rest are flags.
pub const SOCK_TYPE_MASK: i32 = 0xf;
pub const SOCK_CLOEXEC: i32 = 0o2_000_000;
pub const SOCK_NONBLOCK: i32 = 0o4000;

pub const SHUT_RD: i32 = 0;
pub const SHUT_WR: i32 = 1;
pub const SHUT_RDWR: i32 = 2;

/// The most connections that may wait, whatever `listen` asks for (`net.core.somaxconn`).
pub const SOMAXCONN: i32 = 4096;

pub const IPPROTO_IP: i32 = 0;
pub const IPPROTO_ICMP: i32 = 1;
pub const IPPROTO_TCP: i32 = 6;
pub const IPPROTO_UDP: i32 = 17;
pub const IPPROTO_IPV6: i32 = 41;
pub const IPPROTO_ICMPV6: i32 = 58;
pub const IPPROTO_UDPLITE: i32 = 136;
pub const IPPROTO_RAW: i32 = 255;
/// One more than the largest protocol that the Internet families take.
pub const IPPROTO_MAX: i32 = 263;

pub const SOL_SOCKET: i32 = 1;
pub const SOL_NETLINK: i32 = 270;

pub const SO_DEBUG: i32 = 1;
pub const SO_REUSEADDR: i32 = 2;
pub const SO_TYPE: i32 = 3;
pub const SO_ERROR: i32 = 4;
pub const SO_DONTROUTE: i32 = 5;
pub const SO_BROADCAST: i32 = 6;
pub const SO_SNDBUF: i32 = 7;
pub const SO_RCVBUF: i32 = 8;
pub const SO_KEEPALIVE: i32 = 9;
pub const SO_OOBINLINE: i32 = 10;
pub const SO_NO_CHECK: i32 = 11;
pub const SO_PRIORITY: i32 = 12;
pub const SO_LINGER: i32 = 13;
pub const SO_BSDCOMPAT: i32 = 14;
pub const SO_REUSEPORT: i32 = 15;
pub const SO_PASSCRED: i32 = 16;
pub const SO_PEERCRED: i32 = 17;
pub const SO_RCVLOWAT: i32 = 18;
pub const SO_SNDLOWAT: i32 = 19;
pub const SO_RCVTIMEO: i32 = 20;
pub const SO_SNDTIMEO: i32 = 21;
pub const SO_BINDTODEVICE: i32 = 25;
pub const SO_ATTACH_FILTER: i32 = 26;
pub const SO_DETACH_FILTER: i32 = 27;
pub const SO_PEERNAME: i32 = 28;
pub const SO_TIMESTAMP: i32 = 29;
pub const SO_ACCEPTCONN: i32 = 30;
pub const SO_PEERSEC: i32 = 31;
pub const SO_SNDBUFFORCE: i32 = 32;
pub const SO_RCVBUFFORCE: i32 = 33;
pub const SO_PASSSEC: i32 = 34;
pub const SO_TIMESTAMPNS: i32 = 35;
pub const SO_MARK: i32 = 36;
pub const SO_TIMESTAMPING: i32 = 37;
pub const SO_PROTOCOL: i32 = 38;
pub const SO_DOMAIN: i32 = 39;
pub const SO_RXQ_OVFL: i32 = 40;
pub const SO_WIFI_STATUS: i32 = 41;
pub const SO_PEEK_OFF: i32 = 42;
pub const SO_NOFCS: i32 = 43;
pub const SO_LOCK_FILTER: i32 = 44;
pub const SO_SELECT_ERR_QUEUE: i32 = 45;
pub const SO_BUSY_POLL: i32 = 46;
pub const SO_MAX_PACING_RATE: i32 = 47;
pub const SO_INCOMING_CPU: i32 = 49;
pub const SO_ATTACH_BPF: i32 = 50;
pub const SO_CNX_ADVICE: i32 = 53;
pub const SO_MEMINFO: i32 = 55;
pub const SO_INCOMING_NAPI_ID: i32 = 56;
pub const SO_COOKIE: i32 = 57;
pub const SO_PEERGROUPS: i32 = 59;
pub const SO_ZEROCOPY: i32 = 60;
pub const SO_BINDTOIFINDEX: i32 = 62;
pub const SO_TIMESTAMP_NEW: i32 = 63;
pub const SO_TIMESTAMPNS_NEW: i32 = 64;
pub const SO_TIMESTAMPING_NEW: i32 = 65;
pub const SO_RCVTIMEO_NEW: i32 = 66;
pub const SO_SNDTIMEO_NEW: i32 = 67;
pub const SO_PREFER_BUSY_POLL: i32 = 69;
pub const SO_NETNS_COOKIE: i32 = 71;
pub const SO_BUF_LOCK: i32 = 72;

pub const SO_VM_SOCKETS_BUFFER_SIZE: i32 = 0;
pub const SO_VM_SOCKETS_BUFFER_MIN_SIZE: i32 = 1;
pub const SO_VM_SOCKETS_BUFFER_MAX_SIZE: i32 = 2;
pub const SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD: i32 = 6;
pub const SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW: i32 = 8;
/// On `/dev/vsock`: the machine's CID.
pub const IOCTL_VM_SOCKETS_GET_LOCAL_CID: u32 = 0x7b9;
/// In `svm_flags`: the host passes it on to whoever it is for.
pub const VMADDR_FLAG_TO_HOST: u8 = 1;

pub const SCM_RIGHTS: i32 = 1;
pub const SCM_CREDENTIALS: i32 = 2;
/// The most descriptors in one message.
pub const SCM_MAX_FD: usize = 253;

/// The bytes of `sun_path`.
pub const UNIX_PATH_MAX: usize = 108;
/// The bytes of `struct sockaddr_storage`, and the longest address a call takes.
pub const SOCKADDR_STORAGE_LEN: usize = 128;
/// The most messages that `sendmmsg` and `recvmmsg` move.
pub const MMSG_COUNT_MAX: usize = crate::io::IOV_MAX;

abi_struct! {
    /// `struct sockaddr_in`; port and address in network order.
    pub struct SockaddrIn: 16 {
        pub sin_family: u16,
        pub sin_port: [u8; 2],
        pub sin_addr: [u8; 4],
        pub sin_zero: [u8; 8],
    }

    /// `struct sockaddr_in6`; the first members but the family are in network order.
    pub struct SockaddrIn6: 28 {
        pub sin6_family: u16,
        pub sin6_port: [u8; 2],
        pub sin6_flowinfo: [u8; 4],
        pub sin6_addr: [u8; 16],
        pub sin6_scope_id: u32,
    }

    /// `struct sockaddr_nl`.
    pub struct SockaddrNl: 12 {
        pub nl_family: u16,
        pub nl_pad: u16,
        pub nl_pid: u32,
        pub nl_groups: u32,
    }

    /// `struct sockaddr_vm`.
    pub struct SockaddrVm: 16 {
        pub svm_family: u16,
        pub svm_reserved1: u16,
        pub svm_port: u32,
        pub svm_cid: u32,
        pub svm_flags: u8,
        pub svm_zero: [u8; 3],
    }

    /// `struct sockaddr_ll`.
    pub struct SockaddrLl: 20 {
        pub sll_family: u16,
        pub sll_protocol: [u8; 2],
        pub sll_ifindex: i32,
        pub sll_hatype: u16,
        pub sll_pkttype: u8,
        pub sll_halen: u8,
        pub sll_addr: [u8; 8],
    }

    /// `struct msghdr`.
    pub struct Msghdr: 56 {
        pub msg_name: usize,
        pub msg_namelen: i32,
        pub msg_padding: u32,
        pub msg_iov: usize,
        pub msg_iovlen: usize,
        pub msg_control: usize,
        pub msg_controllen: usize,
        pub msg_flags: u32,
        pub msg_padding_end: u32,
    }

    /// `struct mmsghdr`.
    pub struct Mmsghdr: 64 {
        pub msg_hdr: Msghdr,
        pub msg_len: u32,
        pub msg_padding: u32,
    }

    /// `struct cmsghdr`; its data follows.
    pub struct Cmsghdr: 16 {
        pub cmsg_len: usize,
        pub cmsg_level: i32,
        pub cmsg_type: i32,
    }

    /// `struct ucred`.
    pub struct Ucred: 12 {
        pub pid: u32,
        pub uid: u32,
        pub gid: u32,
    }

    /// `struct linger`.
    pub struct Linger: 8 {
        pub l_onoff: i32,
        pub l_linger: i32,
    }
}
