//! Making sockets: which domains, kinds and protocols there are, with Linux's errors for those that there are not.

use alloc::sync::Arc;

use abi::Errno;
use abi::socket::{
    AF_INET, AF_INET6, AF_MAX, AF_NETLINK, AF_PACKET, AF_UNIX, AF_VSOCK, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_IP,
    IPPROTO_MAX, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM, SOCK_MAX, SOCK_PACKET, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM,
};

use super::raw::RawSocket;
use super::udp::UdpSocket;
use super::{Caller, Socket, netlink, unix};
use crate::Stack;
use crate::tcp::TcpSocket;
use crate::vsock;

/// The two sockets of a pair.
pub type Pair = (Arc<dyn Socket>, Arc<dyn Socket>);

/// Makes a socket. `kind` is without flags.
pub fn create(
    stack: &Arc<Stack>,
    domain: i32,
    kind: i32,
    protocol: i32,
    caller: &Caller,
) -> Result<Arc<dyn Socket>, Errno> {
    match family(domain, kind)? {
        AF_UNIX => Ok(unix::create(stack, unix_kind(kind, protocol)?)),
        family @ (AF_INET | AF_INET6) => create_inet(stack, family == AF_INET6, kind, protocol, caller),
        AF_NETLINK => match kind {
            SOCK_RAW | SOCK_DGRAM => Ok(netlink::create(stack, kind, protocol)?),
            _ => Err(Errno::ESOCKTNOSUPPORT),
        },
        AF_VSOCK => Ok(vsock::create(stack, kind, protocol)?),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// Makes two connected sockets.
pub fn create_pair(
    stack: &Arc<Stack>,
    domain: i32,
    kind: i32,
    protocol: i32,
    caller: &Caller,
    groups: &Arc<[u32]>,
) -> Result<Pair, Errno> {
    match family(domain, kind)? {
        AF_UNIX => {
            let (first, second) = unix::pair(stack, unix_kind(kind, protocol)?, caller, Some(groups));
            Ok((first, second))
        }
        // Other sockets have to be makeable for the pair to be what is wrong.
        _ => {
            let socket = create(stack, domain, kind, protocol, caller)?;
            socket.close();
            Err(Errno::EOPNOTSUPP)
        }
    }
}

/// The checks that do not depend on the family.
fn family(domain: i32, kind: i32) -> Result<u16, Errno> {
    let family = u16::try_from(domain).ok().filter(|family| *family < AF_MAX).ok_or(Errno::EAFNOSUPPORT)?;
    if !(0..SOCK_MAX).contains(&kind) {
        return Err(Errno::EINVAL);
    }
    // The way in which packets of the link were had before they had a family.
    if family == AF_INET && kind == SOCK_PACKET {
        return Ok(AF_PACKET);
    }
    if matches!(family, AF_UNIX | AF_INET | AF_INET6 | AF_NETLINK | AF_VSOCK) {
        Ok(family)
    } else {
        Err(Errno::EAFNOSUPPORT)
    }
}

/// The kind of a socket in the Unix domain.
fn unix_kind(kind: i32, protocol: i32) -> Result<i32, Errno> {
    if protocol != 0 && protocol != i32::from(AF_UNIX) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    match kind {
        SOCK_STREAM | SOCK_DGRAM | SOCK_SEQPACKET => Ok(kind),
        SOCK_RAW => Ok(SOCK_DGRAM),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

/// The number of a protocol in the IP header.
fn raw_protocol(number: i32) -> Result<u8, Errno> {
    u8::try_from(number).map_err(|_| Errno::EPROTONOSUPPORT)
}

/// Makes a socket of the Internet families.
fn create_inet(
    stack: &Arc<Stack>,
    is_v6: bool,
    kind: i32,
    protocol: i32,
    caller: &Caller,
) -> Result<Arc<dyn Socket>, Errno> {
    if !(0..IPPROTO_MAX).contains(&protocol) {
        return Err(Errno::EINVAL);
    }
    stack.note_use();
    let echo = if is_v6 { IPPROTO_ICMPV6 } else { IPPROTO_ICMP };
    match (kind, protocol) {
        (SOCK_DGRAM, IPPROTO_IP | IPPROTO_UDP) => Ok(UdpSocket::new(stack, is_v6, caller)),
        // Transports are added here as they come.
        (SOCK_STREAM, IPPROTO_IP | IPPROTO_TCP) => {
            let socket = TcpSocket::new(stack, if is_v6 { AF_INET6 } else { AF_INET }.into());
            socket.set_user(caller.credentials.uid);
            Ok(socket)
        }
        (SOCK_DGRAM, number) if number == echo => Ok(RawSocket::new(stack, is_v6, raw_protocol(number)?, true)),
        (SOCK_RAW, IPPROTO_IP) | (SOCK_STREAM | SOCK_DGRAM, _) => Err(Errno::EPROTONOSUPPORT),
        (SOCK_RAW, _) if !caller.may_use_raw => Err(Errno::EPERM),
        (SOCK_RAW, number) => Ok(RawSocket::new(stack, is_v6, raw_protocol(number)?, false)),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}
