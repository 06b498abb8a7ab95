//! Ancillary data: from the bytes of a program to [`ControlMessage`], and back.
//!
//! What Linux's families ignore, refuse and understand differs; unknown levels are ignored, unknown messages of a known level are refused.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::sync::atomic::Ordering::Relaxed;

use abi::inet::{
    IP_ORIGDSTADDR, IP_PKTINFO, IP_RECVERR, IP_TOS, IP_TTL, IPV6_2292HOPLIMIT, IPV6_2292PKTINFO, IPV6_DONTFRAG,
    IPV6_HOPLIMIT, IPV6_ORIGDSTADDR, IPV6_PKTINFO, IPV6_RECVERR, IPV6_TCLASS, In6Pktinfo, InPktinfo, SOL_IP, SOL_IPV6,
    SOL_UDP, SockExtendedErr, TCP_INQ, UDP_SEGMENT,
};
use abi::socket::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, Cmsghdr, IPPROTO_TCP, SCM_CREDENTIALS, SCM_MAX_FD, SCM_RIGHTS, SO_MARK,
    SO_RXQ_OVFL, SO_TIMESTAMP, SO_TIMESTAMPNS, SOL_SOCKET, Ucred,
};
use abi::{Errno, Timespec, Timeval};
use file::OpenFile;
use mm::user::{UserReader, UserWriter};
use net::socket::{Address, ControlMessage, Kind, MessageFlags, Socket, SocketCredentials};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address;
use crate::credentials::{CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN};
use crate::thread::Thread;

/// The most ancillary data of one message (`net.core.optmem_max`).
const CONTROL_LEN_MAX: usize = 131_072;
/// The bytes of a header.
const HEADER_LEN: usize = size_of::<Cmsghdr>();
/// What the next header is aligned to.
const ALIGNMENT: usize = size_of::<usize>();

// ---- From the program -----------------------------------------------------------------------------------------------

/// Reads the ancillary data of a message to be sent.
pub(crate) fn read(thread: &Thread, kind: Kind, address: usize, len: usize) -> Result<Vec<ControlMessage>, Errno> {
    let mut messages = Vec::new();
    if len == 0 {
        return Ok(messages);
    }
    if len > CONTROL_LEN_MAX {
        return Err(Errno::ENOBUFS);
    }
    let mut bytes = alloc::vec![0; len];
    UserReader::new(address, len)?.read_exact(&mut bytes)?;
    let mut rest = &bytes[..];
    // A tail that is too short for a header is no message.
    while rest.len() >= HEADER_LEN {
        let (header, _) = Cmsghdr::read_from_prefix(rest).map_err(|_| Errno::EINVAL)?;
        if header.cmsg_len < HEADER_LEN || header.cmsg_len > rest.len() {
            return Err(Errno::EINVAL);
        }
        let data = &rest[HEADER_LEN..header.cmsg_len];
        let is_local = [AF_UNIX, AF_NETLINK].iter().any(|family| i32::from(*family) == kind.domain);
        let message = match header.cmsg_level {
            SOL_SOCKET if is_local => read_local(thread, kind, header.cmsg_type, data)?,
            SOL_SOCKET => match header.cmsg_type {
                SCM_RIGHTS | SCM_CREDENTIALS => None,
                // A mark has no part in where packets go, as with the option.
                SO_MARK if !may_mark(thread) => return Err(Errno::EPERM),
                SO_MARK if data.len() == size_of::<u32>() => None,
                _ => return Err(Errno::EINVAL),
            },
            _ if is_local => None,
            // Levels of the other family are passed over; of IPv4 those of a socket of both families may be meant.
            SOL_IPV6 if kind.domain != i32::from(AF_INET6) => None,
            SOL_IP if kind.domain == i32::from(AF_INET6) => read_inet(SOL_IP, header.cmsg_type, data).unwrap_or(None),
            level => read_inet(level, header.cmsg_type, data)?,
        };
        messages.extend(message);
        rest = rest.get(header.cmsg_len.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    check_count(&messages)?;
    Ok(messages)
}

/// Whether packets may be marked.
fn may_mark(thread: &Thread) -> bool {
    let caller = super::caller(thread);
    caller.may_use_raw || caller.is_network_admin
}

/// All descriptors of a message together have a limit.
fn check_count(messages: &[ControlMessage]) -> Result<(), Errno> {
    let count_of = |message: &ControlMessage| match message {
        ControlMessage::Rights(files) => files.len(),
        _ => 0,
    };
    let count: usize = messages.iter().map(count_of).sum();
    if count > SCM_MAX_FD { Err(Errno::EINVAL) } else { Ok(()) }
}

/// Messages between processes of this machine.
fn read_local(thread: &Thread, kind: Kind, message: i32, data: &[u8]) -> Result<Option<ControlMessage>, Errno> {
    match message {
        SCM_RIGHTS if kind.domain == i32::from(AF_UNIX) => read_rights(thread, data),
        SCM_CREDENTIALS => {
            let credentials = Ucred::read_from_bytes(data).map_err(|_| Errno::EINVAL)?;
            check_credentials(thread, &credentials)?;
            let Ucred { pid, uid, gid } = credentials;
            Ok(Some(ControlMessage::Credentials(SocketCredentials { pid, uid, gid })))
        }
        _ => Err(Errno::EINVAL),
    }
}

fn read_rights(thread: &Thread, data: &[u8]) -> Result<Option<ControlMessage>, Errno> {
    let count = data.len() / size_of::<i32>();
    if count > SCM_MAX_FD {
        return Err(Errno::EINVAL);
    }
    let numbers = data.chunks_exact(size_of::<i32>()).filter_map(|number| number.first_chunk());
    let files: Result<Vec<_>, _> =
        numbers.map(|number| thread.fds().get_counted(i32::from_ne_bytes(*number))).collect();
    let files = files?;
    Ok((!files.is_empty()).then_some(ControlMessage::Rights(files)))
}

/// `EPERM` for who says to be somebody else.
fn check_credentials(thread: &Thread, claimed: &Ucred) -> Result<(), Errno> {
    let own = thread.credentials();
    let is_one_of = |ids: &crate::credentials::Ids, id| [ids.real, ids.effective, ids.saved].contains(&id);
    let is_pid_right = claimed.pid == thread.process().pid() || own.has(CAP_SYS_ADMIN);
    let is_uid_right = is_one_of(&own.user, claimed.uid) || own.has(CAP_SETUID);
    let is_gid_right = is_one_of(&own.group, claimed.gid) || own.has(CAP_SETGID);
    if !(is_pid_right && is_uid_right && is_gid_right) {
        return Err(Errno::EPERM);
    }
    let is_there = claimed.pid == thread.process().pid() || thread.process().system().process(claimed.pid).is_some();
    if is_there { Ok(()) } else { Err(Errno::ESRCH) }
}

/// Messages for the Internet families.
fn read_inet(level: i32, message: i32, data: &[u8]) -> Result<Option<ControlMessage>, Errno> {
    let message = match (level, message) {
        (SOL_IP, IP_PKTINFO) => {
            let info = exactly::<InPktinfo>(data)?;
            let (specified, destination) = (Ipv4Addr::from(info.ipi_spec_dst), Ipv4Addr::from(info.ipi_addr));
            ControlMessage::PacketInfo {
                interface: info.ipi_ifindex.cast_unsigned(),
                specified: specified.into(),
                destination: destination.into(),
            }
        }
        (SOL_IP, IP_TTL) => {
            let value = exactly::<i32>(data)?;
            let limit = u8::try_from(value).ok().filter(|limit| *limit > 0).ok_or(Errno::EINVAL)?;
            ControlMessage::HopLimit(limit, false)
        }
        (SOL_IP, IP_TOS) => ControlMessage::TrafficClass(byte_or_int(data)?, false),
        (SOL_IPV6, IPV6_PKTINFO | IPV6_2292PKTINFO) => {
            let info = exactly::<In6Pktinfo>(data)?;
            let ip = IpAddr::from(info.ipi6_addr);
            let interface = info.ipi6_ifindex.cast_unsigned();
            ControlMessage::PacketInfo { interface, specified: ip, destination: ip }
        }
        (SOL_IPV6, IPV6_DONTFRAG) => match exactly::<i32>(data)? {
            0 => ControlMessage::StaysWhole(false),
            1 => ControlMessage::StaysWhole(true),
            _ => return Err(Errno::EINVAL),
        },
        (SOL_IPV6, IPV6_HOPLIMIT | IPV6_2292HOPLIMIT) => {
            ControlMessage::HopLimit(byte_of(exactly::<i32>(data)?)?, true)
        }
        (SOL_IPV6, IPV6_TCLASS) => ControlMessage::TrafficClass(byte_of(exactly::<i32>(data)?)?, true),
        (SOL_UDP, UDP_SEGMENT) => ControlMessage::SegmentLen(exactly::<u16>(data)?),
        (SOL_IP | SOL_IPV6 | SOL_UDP, _) => return Err(Errno::EINVAL),
        _ => return Ok(None),
    };
    Ok(Some(message))
}

fn exactly<T: FromBytes>(data: &[u8]) -> Result<T, Errno> {
    T::read_from_bytes(data).map_err(|_| Errno::EINVAL)
}

/// A value of one byte; -1 stands for the default.
fn byte_of(value: i32) -> Result<u8, Errno> {
    if value == -1 { Ok(0) } else { u8::try_from(value).map_err(|_| Errno::EINVAL) }
}

fn byte_or_int(data: &[u8]) -> Result<u8, Errno> {
    match data {
        [byte] => Ok(*byte),
        _ => u8::try_from(exactly::<i32>(data)?).map_err(|_| Errno::EINVAL),
    }
}

// ---- To the program -------------------------------------------------------------------------------------------------

/// Where ancillary data goes in the program's memory.
pub(crate) struct ControlWriter<'a> {
    thread: &'a Thread,
    address: usize,
    room: usize,
    /// Bytes written.
    pub used: usize,
    /// `CTRUNC` when something did not fit.
    pub flags: MessageFlags,
    closes_on_exec: bool,
}

impl<'a> ControlWriter<'a> {
    /// A writer to `len` bytes at `address`.
    pub(crate) fn new(thread: &'a Thread, address: usize, len: usize, closes_on_exec: bool) -> Self {
        let room = if address == 0 { 0 } else { len };
        Self { thread, address, room, used: 0, flags: MessageFlags::empty(), closes_on_exec }
    }

    /// Writes what was received by `socket`.
    pub(crate) fn write_all(&mut self, socket: &dyn Socket, messages: Vec<ControlMessage>) {
        for message in messages {
            if let ControlMessage::Rights(files) = message {
                self.rights(files);
            } else {
                self.message(socket, &message);
            }
        }
    }

    fn message(&mut self, socket: &dyn Socket, message: &ControlMessage) {
        let is_v6 = socket.kind().domain == i32::from(AF_INET6);
        match *message {
            ControlMessage::Rights(_) | ControlMessage::SegmentLen(_) | ControlMessage::StaysWhole(_) => {}
            ControlMessage::OldPacketInfo(interface, ip) => {
                let info = In6Pktinfo { ipi6_addr: ip.octets(), ipi6_ifindex: interface.cast_signed() };
                self.value(SOL_IPV6, IPV6_2292PKTINFO, &info);
            }
            ControlMessage::OldHopLimit(limit) => self.value(SOL_IPV6, IPV6_2292HOPLIMIT, &i32::from(limit)),
            ControlMessage::Credentials(SocketCredentials { pid, uid, gid }) => {
                self.value(SOL_SOCKET, SCM_CREDENTIALS, &Ucred { pid, uid, gid });
            }
            ControlMessage::Timestamp(time_ns) => {
                let time_ns = i64::try_from(time_ns).unwrap_or(i64::MAX);
                if socket.options().timestamp.load(Relaxed) == 1 {
                    self.value(SOL_SOCKET, SO_TIMESTAMP, &Timeval::from_nanoseconds(time_ns));
                } else {
                    self.value(SOL_SOCKET, SO_TIMESTAMPNS, &Timespec::from_nanoseconds(time_ns));
                }
            }
            ControlMessage::PacketInfo { interface, specified, destination } => match (specified, destination) {
                (IpAddr::V4(specified), IpAddr::V4(destination)) if !is_v6 => {
                    let ipi_ifindex = interface.cast_signed();
                    let (ipi_spec_dst, ipi_addr) = (specified.octets(), destination.octets());
                    self.value(SOL_IP, IP_PKTINFO, &InPktinfo { ipi_ifindex, ipi_spec_dst, ipi_addr });
                }
                (_, destination) => {
                    let ip = match destination {
                        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                        IpAddr::V6(ip) => ip,
                    };
                    let info = In6Pktinfo { ipi6_addr: ip.octets(), ipi6_ifindex: interface.cast_signed() };
                    self.value(SOL_IPV6, IPV6_PKTINFO, &info);
                }
            },
            ControlMessage::Overflow(count) => self.value(SOL_SOCKET, SO_RXQ_OVFL, &count),
            ControlMessage::Waiting(len) => self.value(IPPROTO_TCP, TCP_INQ, &len),
            ControlMessage::OriginalDestination(address) => {
                let (level, message, domain) = match address {
                    SocketAddr::V4(_) => (SOL_IP, IP_ORIGDSTADDR, AF_INET),
                    SocketAddr::V6(_) => (SOL_IPV6, IPV6_ORIGDSTADDR, AF_INET6),
                };
                let kind = Kind { domain: domain.into(), ..socket.kind() };
                self.bytes(level, message, &address::to_bytes(kind, &Address::Inet(address)));
            }
            ControlMessage::HopLimit(limit, false) => self.value(SOL_IP, IP_TTL, &i32::from(limit)),
            ControlMessage::HopLimit(limit, true) => self.value(SOL_IPV6, IPV6_HOPLIMIT, &i32::from(limit)),
            ControlMessage::TrafficClass(class, false) => self.value(SOL_IP, IP_TOS, &class),
            ControlMessage::TrafficClass(class, true) => self.value(SOL_IPV6, IPV6_TCLASS, &i32::from(class)),
            ControlMessage::ExtendedError { errno, origin, kind, code, info, offender } => {
                let error = SockExtendedErr {
                    ee_errno: errno,
                    ee_origin: origin,
                    ee_type: kind,
                    ee_code: code,
                    ee_pad: 0,
                    ee_info: info,
                    ee_data: 0,
                };
                let mut bytes = error.as_bytes().to_vec();
                let unknown: SocketAddr = match is_v6 {
                    true => (Ipv6Addr::UNSPECIFIED, 0).into(),
                    false => (Ipv4Addr::UNSPECIFIED, 0).into(),
                };
                let offender = Address::Inet(offender.unwrap_or(unknown));
                bytes.extend_from_slice(&address::to_bytes(socket.kind(), &offender));
                let (level, message) = if is_v6 { (SOL_IPV6, IPV6_RECVERR) } else { (SOL_IP, IP_RECVERR) };
                self.bytes(level, message, &bytes);
            }
        }
    }

    fn value<T: IntoBytes + Immutable + KnownLayout>(&mut self, level: i32, message: i32, value: &T) {
        self.bytes(level, message, value.as_bytes());
    }

    /// One message, or the part of it that fits.
    fn bytes(&mut self, level: i32, message: i32, data: &[u8]) {
        let room = self.room - self.used;
        if room < HEADER_LEN {
            self.flags |= MessageFlags::CTRUNC;
            return;
        }
        let mut len = HEADER_LEN + data.len();
        if room < len {
            self.flags |= MessageFlags::CTRUNC;
            len = room;
        }
        let header = Cmsghdr { cmsg_len: len, cmsg_level: level, cmsg_type: message };
        let written = UserWriter::new(self.address + self.used, len).and_then(|mut writer| {
            writer.write_struct(&header)?;
            writer.write_all(&data[..len - HEADER_LEN])
        });
        // As in Linux a program that gave bad memory gets to know nothing more.
        if written.is_ok() {
            self.used += (HEADER_LEN + data.len()).next_multiple_of(ALIGNMENT).min(room);
        }
    }

    /// Open files become descriptors, as many as there is room for; the others are closed.
    fn rights(&mut self, files: Vec<Arc<OpenFile>>) {
        let room = self.room - self.used;
        let room_for = room.saturating_sub(HEADER_LEN) / size_of::<i32>();
        let count = files.len();
        let mut given = 0;
        let at = self.address + self.used + HEADER_LEN;
        for file in files.into_iter().take(room_for) {
            let Ok(reservation) = self.thread.fds().reserve(self.closes_on_exec) else { break };
            let number = reservation.number();
            if mm::user::write_user_struct(at + given * size_of::<i32>(), &number).is_err() {
                break;
            }
            reservation.install(file);
            given += 1;
        }
        if given > 0 {
            let len = HEADER_LEN + given * size_of::<i32>();
            let header = Cmsghdr { cmsg_len: len, cmsg_level: SOL_SOCKET, cmsg_type: SCM_RIGHTS };
            if mm::user::write_user_struct(self.address + self.used, &header).is_ok() {
                self.used += len.next_multiple_of(ALIGNMENT).min(room);
            }
        }
        if given < count {
            self.flags |= MessageFlags::CTRUNC;
        }
    }
}
