//! Socket addresses: from the bytes of a program to [`Address`], and back.
//!
//! What length and family an address must have depends on the socket's domain and on the call, and so does the error when it has not.

use alloc::vec::Vec;
use core::mem::offset_of;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use abi::socket::{
    AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, AF_UNSPEC, AF_VSOCK, SOCK_DGRAM, SOCKADDR_STORAGE_LEN,
    SockaddrIn, SockaddrIn6, SockaddrLl, SockaddrNl, SockaddrVm, UNIX_PATH_MAX, VMADDR_FLAG_TO_HOST,
};
use abi::stat::S_IFSOCK;
use abi::{Errno, UserPtr};
use mm::user::{UserReader, UserWriter, read_user_struct, write_user_struct};
use net::socket::address::{InodeKey, VsockAddress};
use net::socket::{Address, Kind, UnixName};
use vfs::{FileKind, PathRef, Permissions};
use zerocopy::{FromBytes, IntoBytes};

use crate::lookup::View;
use crate::thread::Thread;

/// The bytes of an address before what its family makes of it.
const FAMILY_LEN: usize = size_of::<u16>();
/// The bytes of `struct sockaddr_in6` in the days of RFC 2133, which still do.
const INET6_LEN_MIN: usize = offset_of!(SockaddrIn6, sin6_scope_id);
/// The permissions of a socket's file, before the umask.
const SOCKET_MODE: u32 = 0o777;

/// What the address is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Bind,
    Connect,
    Send,
}

/// Reads the bytes of an address. `EINVAL` for a length that no address has.
pub(crate) fn read_bytes(pointer: UserPtr, len: u32) -> Result<Vec<u8>, Errno> {
    let len = usize::try_from(len).ok().filter(|len| *len <= SOCKADDR_STORAGE_LEN).ok_or(Errno::EINVAL)?;
    let mut bytes = alloc::vec![0; len];
    if len > 0 {
        UserReader::new(pointer.address(), len)?.read_exact(&mut bytes)?;
    }
    Ok(bytes)
}

/// The address in `bytes` for a call on a socket of this kind. Paths are resolved; those to be bound are made by [`bind_path`].
pub(crate) fn parse(thread: &Thread, kind: Kind, bytes: &[u8], purpose: Purpose) -> Result<Address, Errno> {
    let family = bytes.first_chunk().map(|family| u16::from_ne_bytes(*family));
    let is_disconnect = purpose == Purpose::Connect && family == Some(AF_UNSPEC);
    match u16::try_from(kind.domain) {
        Ok(AF_UNIX) if is_disconnect && kind.kind == SOCK_DGRAM => Ok(Address::Unspecified),
        Ok(AF_UNIX) => parse_unix(thread, bytes, purpose).map(Address::Unix),
        _ if is_disconnect => Ok(Address::Unspecified),
        Ok(AF_INET) => parse_inet(bytes, purpose),
        Ok(AF_INET6) => parse_inet6(bytes, purpose),
        Ok(AF_NETLINK) => {
            let (address, _) = SockaddrNl::read_from_prefix(bytes).map_err(|_| Errno::EINVAL)?;
            if address.nl_family != AF_NETLINK {
                return Err(Errno::EINVAL);
            }
            Ok(Address::Netlink { port: address.nl_pid, groups: address.nl_groups })
        }
        Ok(AF_VSOCK) => parse_vsock(bytes).map(Address::Vsock),
        _ => family.map(Address::Other).ok_or(Errno::EINVAL),
    }
}

fn parse_inet(bytes: &[u8], purpose: Purpose) -> Result<Address, Errno> {
    let (address, _) = SockaddrIn::read_from_prefix(bytes).map_err(|_| Errno::EINVAL)?;
    let is_known = match address.sin_family {
        AF_INET => true,
        // Old programs leave the family out.
        AF_UNSPEC => purpose == Purpose::Send || address.sin_addr == [0; 4],
        _ => false,
    };
    if !is_known {
        return Err(Errno::EAFNOSUPPORT);
    }
    let port = u16::from_be_bytes(address.sin_port);
    Ok(Address::Inet(SocketAddrV4::new(Ipv4Addr::from(address.sin_addr), port).into()))
}

fn parse_inet6(bytes: &[u8], purpose: Purpose) -> Result<Address, Errno> {
    let family: [u8; FAMILY_LEN] = *bytes.first_chunk().ok_or(Errno::EINVAL)?;
    match u16::from_ne_bytes(family) {
        AF_INET6 => {}
        AF_INET if purpose == Purpose::Send => return parse_inet(bytes, purpose),
        AF_INET if purpose == Purpose::Connect && bytes.len() >= size_of::<SockaddrIn>() => {
            return parse_inet(bytes, purpose);
        }
        _ if bytes.len() < INET6_LEN_MIN || purpose == Purpose::Send => return Err(Errno::EINVAL),
        _ => return Err(Errno::EAFNOSUPPORT),
    }
    if bytes.len() < INET6_LEN_MIN {
        return Err(Errno::EINVAL);
    }
    let mut address = SockaddrIn6::zeroed();
    let len = bytes.len().min(size_of::<SockaddrIn6>());
    address.as_mut_bytes()[..len].copy_from_slice(&bytes[..len]);
    let (ip, port) = (Ipv6Addr::from(address.sin6_addr), u16::from_be_bytes(address.sin6_port));
    let flow = u32::from_be_bytes(address.sin6_flowinfo);
    Ok(Address::Inet(SocketAddrV6::new(ip, port, flow, address.sin6_scope_id).into()))
}

/// All that is wrong with such an address is the same error.
fn parse_vsock(bytes: &[u8]) -> Result<VsockAddress, Errno> {
    let (address, _) = SockaddrVm::read_from_prefix(bytes).map_err(|_| Errno::EINVAL)?;
    if address.svm_family != AF_VSOCK || address.svm_flags & !VMADDR_FLAG_TO_HOST != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(VsockAddress { cid: address.svm_cid, port: address.svm_port })
}

fn parse_unix(thread: &Thread, bytes: &[u8], purpose: Purpose) -> Result<UnixName, Errno> {
    let family: [u8; FAMILY_LEN] = *bytes.first_chunk().ok_or(Errno::EINVAL)?;
    if u16::from_ne_bytes(family) != AF_UNIX || bytes.len() > FAMILY_LEN + UNIX_PATH_MAX {
        return Err(Errno::EINVAL);
    }
    match &bytes[FAMILY_LEN..] {
        [] if purpose == Purpose::Bind => Ok(UnixName::Unnamed),
        [] => Err(Errno::EINVAL),
        [0, name @ ..] => Ok(UnixName::Abstract(name.to_vec())),
        rest => {
            let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
            let path = rest[..end].to_vec();
            // To be made when it is bound.
            let inode = if purpose == Purpose::Bind { InodeKey { device: 0, inode: 0 } } else { find(thread, &path)? };
            Ok(UnixName::Path { path, inode })
        }
    }
}

/// What names the file of a socket.
fn key(place: &PathRef) -> InodeKey {
    let metadata = place.inode().metadata();
    InodeKey { device: metadata.device(), inode: metadata.number() }
}

/// The file of a socket that the thread may send to.
fn find(thread: &Thread, path: &[u8]) -> Result<InodeKey, Errno> {
    let view = View::of(thread);
    let place = view.resolve(None, path, true)?;
    place.inode().check_permission(&view.credentials, Permissions::WRITE)?;
    if place.inode().metadata().kind() == FileKind::Socket { Ok(key(&place)) } else { Err(Errno::ECONNREFUSED) }
}

/// Makes the file of a socket and calls `bind` with its name; removes it again when that fails.
pub(crate) fn bind_path(
    thread: &Thread,
    path: &[u8],
    bind: impl FnOnce(&Address) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let view = View::of(thread);
    let (context, credentials) = (&view.context, &view.credentials);
    // As Linux: the umask counts even where a directory has a list for what is made in it.
    let mode = S_IFSOCK | SOCKET_MODE & !context.umask;
    vfs::mknod(context, credentials, None, path, mode, 0).map_err(|errno| match errno {
        Errno::EEXIST => Errno::EADDRINUSE,
        other => other,
    })?;
    let bound = view
        .resolve(None, path, false)
        .and_then(|place| bind(&Address::Unix(UnixName::Path { path: path.to_vec(), inode: key(&place) })));
    if bound.is_err() {
        // It may be gone already.
        let _ = vfs::unlink(context, credentials, None, path);
    }
    bound
}

/// The bytes that a program gets of an address, as a socket of this kind shows it.
pub(crate) fn to_bytes(kind: Kind, address: &Address) -> Vec<u8> {
    match address {
        Address::Unspecified => AF_UNSPEC.to_ne_bytes().to_vec(),
        Address::Other(family) => family.to_ne_bytes().to_vec(),
        Address::Inet(address) => inet_bytes(*address, kind.domain == i32::from(AF_INET6)),
        Address::Unix(name) => {
            let mut bytes = AF_UNIX.to_ne_bytes().to_vec();
            match name {
                UnixName::Unnamed => {}
                UnixName::Abstract(name) => {
                    bytes.push(0);
                    bytes.extend_from_slice(name);
                }
                UnixName::Path { path, .. } => {
                    bytes.extend_from_slice(path);
                    bytes.push(0);
                }
            }
            bytes
        }
        Address::Vsock(VsockAddress { cid, port }) => {
            let address = SockaddrVm { svm_family: AF_VSOCK, svm_port: *port, svm_cid: *cid, ..SockaddrVm::zeroed() };
            address.as_bytes().to_vec()
        }
        Address::Netlink { port, groups } => {
            SockaddrNl { nl_family: AF_NETLINK, nl_pad: 0, nl_pid: *port, nl_groups: *groups }.as_bytes().to_vec()
        }
        Address::Link { interface, protocol, mac, packet_type } => {
            let mut sll_addr = [0; 8];
            sll_addr[..mac.len()].copy_from_slice(mac);
            let address = SockaddrLl {
                sll_family: AF_PACKET,
                sll_protocol: protocol.to_be_bytes(),
                sll_ifindex: interface.cast_signed(),
                sll_hatype: abi::interface::ARPHRD_ETHER,
                sll_pkttype: *packet_type,
                sll_halen: 6,
                sll_addr,
            };
            address.as_bytes().to_vec()
        }
    }
}

fn inet_bytes(address: SocketAddr, is_v6_socket: bool) -> Vec<u8> {
    let sin6 = |ip: Ipv6Addr, flow: u32, scope: u32| SockaddrIn6 {
        sin6_family: AF_INET6,
        sin6_port: address.port().to_be_bytes(),
        sin6_flowinfo: flow.to_be_bytes(),
        sin6_addr: ip.octets(),
        sin6_scope_id: scope,
    };
    match (address, address.ip()) {
        (SocketAddr::V6(v6), _) => sin6(*v6.ip(), v6.flowinfo(), v6.scope_id()).as_bytes().to_vec(),
        (SocketAddr::V4(v4), IpAddr::V4(_)) if !is_v6_socket => SockaddrIn {
            sin_family: AF_INET,
            sin_port: v4.port().to_be_bytes(),
            sin_addr: v4.ip().octets(),
            sin_zero: [0; 8],
        }
        .as_bytes()
        .to_vec(),
        (SocketAddr::V4(v4), _) if v4.ip().is_unspecified() => sin6(Ipv6Addr::UNSPECIFIED, 0, 0).as_bytes().to_vec(),
        (SocketAddr::V4(v4), _) => sin6(v4.ip().to_ipv6_mapped(), 0, 0).as_bytes().to_vec(),
    }
}

/// Gives an address to the program: as much of it as there is room for, and its whole length.
pub(crate) fn write(bytes: &[u8], pointer: UserPtr, len_pointer: usize) -> Result<(), Errno> {
    let room: i32 = read_user_struct(len_pointer)?;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let part = &bytes[..bytes.len().min(room)];
    if !part.is_empty() {
        UserWriter::new(pointer.address(), part.len())?.write_all(part)?;
    }
    write_user_struct(len_pointer, &i32::try_from(bytes.len()).unwrap_or(i32::MAX))
}
