//! Echo requests by ICMP, of both families, by raw sockets: the namespaces of the tests give the right to have them.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket};

use crate::schedule::Failure;

/// How often is asked.
const TRIES_MAX: u16 = 5;
const PATIENCE: Duration = Duration::from_secs(2);
const NUMBER: u16 = 0x4e61;
/// Packets of others that are read while one waits for an answer.
const OTHERS_MAX: u32 = 1000;

/// Asks with so many bytes until the answer comes.
pub(super) fn answers(host: IpAddr, size: usize) -> Result<(), Failure> {
    let failed = |error: rustix::io::Errno| format!("a ping of {host}: {error}");
    let socket = raw(host).map_err(failed)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).map_err(failed)?;
    let data: Vec<u8> = (0..size).map(|place| place.to_le_bytes()[0]).collect();
    let mut buffer = vec![0; size + 100];
    for sequence in 0..TRIES_MAX {
        let asked = message(request_kind(host), sequence, &data);
        sendto(&socket, &asked, SendFlags::empty(), &SocketAddr::new(host, 0)).map_err(failed)?;
        for _ in 0..OTHERS_MAX {
            let Ok((_, len)) = recv(&socket, &mut buffer[..], RecvFlags::empty()) else { break };
            let wanted = message(answer_kind(host), sequence, &data);
            let found = buffer.get(..len).map(|bytes| behind_header(host, bytes)).unwrap_or_default();
            // The checksum is the kernel's to test.
            if found.get(..2) == wanted.get(..2) && found.get(4..) == wanted.get(4..) {
                return Ok(());
            }
        }
    }
    Err(format!("no answer to a ping of {size} bytes to {host}"))
}

fn raw(host: IpAddr) -> rustix::io::Result<OwnedFd> {
    match host {
        IpAddr::V4(_) => socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)),
        IpAddr::V6(_) => socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6)),
    }
}

fn request_kind(host: IpAddr) -> u8 {
    if host.is_ipv4() { 8 } else { 128 }
}

fn answer_kind(host: IpAddr) -> u8 {
    if host.is_ipv4() { 0 } else { 129 }
}

/// Raw sockets of IPv4 give the header as well.
fn behind_header(host: IpAddr, packet: &[u8]) -> &[u8] {
    let len = if host.is_ipv4() { packet.first().map_or(0, |byte| usize::from(byte & 15) * 4) } else { 0 };
    packet.get(len..).unwrap_or_default()
}

/// A message with its checksum; that of IPv6 is the kernel's work.
fn message(kind: u8, sequence: u16, data: &[u8]) -> Vec<u8> {
    let [number, sequence] = [NUMBER, sequence].map(u16::to_be_bytes);
    let mut bytes = [&[kind, 0, 0, 0], &number[..], &sequence, data].concat();
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [.., high, low] = (!sum).to_be_bytes();
    bytes[2..4].copy_from_slice(&[high, low]);
    bytes
}
