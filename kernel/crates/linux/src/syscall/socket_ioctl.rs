//! `ioctl` on sockets: interfaces and their addresses, which any socket can be asked for.

use core::net::{IpAddr, Ipv4Addr};

use abi::Errno;
use abi::interface::*;
use abi::socket::{AF_INET, SockaddrIn};
use alloc::sync::Arc;
use alloc::vec::Vec;
use file::OpenFile;
use mm::user::{UserWriter, read_user_struct, write_user_struct};
use net::interface::{Interface, InterfaceAddress, Snapshot, mask4};
use zerocopy::IntoBytes;

use super::descriptor::{set_file_owner, signed_owner};
use crate::SyscallResult;
use crate::socket::CAP_NET_ADMIN;
use crate::thread::Thread;

/// The queue of a link, as Linux's default is.
const TRANSMIT_QUEUE_LEN: i32 = 1000;
/// The largest size that is asked of `SIOCGIFCONF`.
const CONFIGURATION_LEN_MAX: usize = 1 << 20;

/// Serves a command about the owner of signals or about interfaces. None: it is the socket's own.
pub(crate) fn socket_ioctl(
    thread: &Thread,
    open: &OpenFile,
    domain: i32,
    command: u32,
    address: usize,
) -> Option<SyscallResult> {
    match command {
        FIOSETOWN | SIOCSPGRP => Some(read_owner(thread, open, address)),
        FIOGETOWN | SIOCGPGRP => Some(write_owner(open, address)),
        SIOCATMARK | SIOCOUTQNSD => None,
        // Addresses are the business of the family that has them.
        SIOCGIFADDR | SIOCGIFNETMASK | SIOCGIFBRDADDR | SIOCGIFDSTADDR | SIOCADDRT | SIOCDELRT
            if domain != i32::from(AF_INET) =>
        {
            Some(Err(Errno::ENOTTY.into()))
        }
        SIOC_INTERFACE_FIRST..=SIOC_INTERFACE_LAST => Some(interface_ioctl(thread, command, address)),
        _ => None,
    }
}

fn read_owner(thread: &Thread, open: &OpenFile, address: usize) -> SyscallResult {
    set_file_owner(thread, open, read_user_struct(address)?)
}

fn write_owner(open: &OpenFile, address: usize) -> SyscallResult {
    let owner = open.known_owner().and_then(|owner| owner.get()).map_or(0, signed_owner);
    write_user_struct(address, &owner)?;
    Ok(0)
}

fn interface_ioctl(thread: &Thread, command: u32, address: usize) -> SyscallResult {
    let interfaces = thread.process().system().network().interfaces();
    let snapshot = interfaces.snapshot();
    if command == SIOCGIFCONF {
        return configuration(&snapshot, address);
    }
    let mut request: Ifreq = read_user_struct(address)?;
    if command == SIOCGIFNAME {
        let [a, b, c, d, ..] = request.ifr_value;
        let index = i32::from_ne_bytes([a, b, c, d]);
        let found = snapshot.interfaces().iter().find(|one| one.index().cast_signed() == index).ok_or(Errno::ENODEV)?;
        request.ifr_name = name_field(found.name());
        write_user_struct(address, &request)?;
        return Ok(0);
    }
    if is_change(command) {
        thread.credentials().require(CAP_NET_ADMIN)?;
    }
    let found = find(&snapshot, &request.ifr_name);
    let value = match command {
        SIOCSIFFLAGS => {
            let flags = u16::from_ne_bytes([request.ifr_value[0], request.ifr_value[1]]);
            interfaces.set_up(found?.index(), u32::from(flags) & IFF_UP != 0)?;
            return Ok(0);
        }
        SIOCSIFMTU => {
            let [a, b, c, d, ..] = request.ifr_value;
            let mtu = u32::try_from(i32::from_ne_bytes([a, b, c, d])).map_err(|_| Errno::EINVAL)?;
            interfaces.set_mtu(found?.index(), mtu)?;
            return Ok(0);
        }
        SIOCGIFFLAGS => {
            // The old field has 16 bits.
            let [low, high, ..] = found?.flags().bits().to_ne_bytes();
            value_of(&[low, high])
        }
        SIOCGIFINDEX => value_of(&found?.index().to_ne_bytes()),
        SIOCGIFMTU => value_of(&found?.mtu().to_ne_bytes()),
        SIOCGIFMETRIC => found.map(|_| value_of(&0_i32.to_ne_bytes()))?,
        SIOCGIFTXQLEN => found.map(|_| value_of(&TRANSMIT_QUEUE_LEN.to_ne_bytes()))?,
        SIOCGIFMAP => found.map(|_| [0; 24])?,
        SIOCGIFHWADDR => {
            let interface = found?;
            let kind = if interface.is_loopback() { ARPHRD_LOOPBACK } else { ARPHRD_ETHER };
            value_of(&[&kind.to_ne_bytes()[..], &interface.mac()].concat())
        }
        SIOCGIFADDR | SIOCGIFNETMASK | SIOCGIFBRDADDR | SIOCGIFDSTADDR => {
            let interface = found?;
            let one = addresses_of(&snapshot, interface).next().ok_or(Errno::EADDRNOTAVAIL)?;
            value_of(address_for(command, interface, one).as_bytes())
        }
        _ if is_change(command) => return Err(Errno::EOPNOTSUPP.into()),
        _ => return Err(Errno::ENOTTY.into()),
    };
    request.ifr_value[..value.len()].copy_from_slice(&value);
    write_user_struct(address, &request)?;
    Ok(0)
}

/// Whether a command would change something.
fn is_change(command: u32) -> bool {
    matches!(
        command,
        SIOCADDRT | SIOCDELRT | SIOCSIFFLAGS | SIOCSIFADDR | SIOCSIFMTU | 0x8918 | 0x891a | 0x891c | 0x8924
    )
}

/// A value, with zeroes behind it.
fn value_of(bytes: &[u8]) -> [u8; 24] {
    let mut value = [0; 24];
    let len = bytes.len().min(value.len());
    value[..len].copy_from_slice(&bytes[..len]);
    value
}

fn name_field(name: &str) -> [u8; IFNAMSIZ] {
    let mut field = [0; IFNAMSIZ];
    let len = name.len().min(IFNAMSIZ - 1);
    field[..len].copy_from_slice(&name.as_bytes()[..len]);
    field
}

/// The interface of a name, behind which a colon and a label may stand.
fn find<'a>(snapshot: &'a Snapshot, name: &[u8; IFNAMSIZ]) -> Result<&'a Arc<Interface>, Errno> {
    let name = name.split(|byte| matches!(byte, 0 | b':')).next().unwrap_or_default();
    snapshot.interfaces().iter().find(|one| one.name().as_bytes() == name).ok_or(Errno::ENODEV)
}

/// The IPv4 addresses of an interface.
fn addresses_of<'a>(snapshot: &'a Snapshot, interface: &Interface) -> impl Iterator<Item = &'a InterfaceAddress> {
    let index = interface.index();
    snapshot.addresses().iter().filter(move |one| one.interface == index && one.address.is_ipv4())
}

fn socket_address(address: Ipv4Addr) -> SockaddrIn {
    SockaddrIn { sin_family: AF_INET, sin_port: [0; 2], sin_addr: address.octets(), sin_zero: [0; 8] }
}

fn address_for(command: u32, interface: &Interface, one: &InterfaceAddress) -> SockaddrIn {
    let IpAddr::V4(own) = one.address else { return socket_address(Ipv4Addr::UNSPECIFIED) };
    socket_address(match command {
        SIOCGIFNETMASK => Ipv4Addr::from(mask4(one.prefix_len)),
        SIOCGIFBRDADDR if interface.is_loopback() => Ipv4Addr::UNSPECIFIED,
        SIOCGIFBRDADDR => one.broadcast().unwrap_or(Ipv4Addr::UNSPECIFIED),
        _ => own,
    })
}

/// `SIOCGIFCONF`: all IPv4 addresses with the names of their interfaces; without room for them, how many bytes they take.
fn configuration(snapshot: &Snapshot, address: usize) -> SyscallResult {
    let mut request: Ifconf = read_user_struct(address)?;
    let mut records = Vec::new();
    for interface in snapshot.interfaces() {
        for one in addresses_of(snapshot, interface) {
            let value = value_of(address_for(SIOCGIFADDR, interface, one).as_bytes());
            records.extend_from_slice(Ifreq { ifr_name: name_field(interface.name()), ifr_value: value }.as_bytes());
        }
    }
    let mut len = records.len();
    if request.ifc_req != 0 {
        let room = usize::try_from(request.ifc_len).map_err(|_| Errno::EINVAL)?.min(CONFIGURATION_LEN_MAX);
        // Whole records only.
        len = len.min(room / IFREQ_LEN * IFREQ_LEN);
        UserWriter::new(request.ifc_req, len)?.write_all(&records[..len])?;
    }
    request.ifc_len = i32::try_from(len).unwrap_or(i32::MAX);
    write_user_struct(address, &request)?;
    Ok(0)
}
