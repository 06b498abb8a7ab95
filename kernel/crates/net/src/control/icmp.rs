//! ICMP for IPv4 and IPv6: RFC 792, 4443 and 1122, section 3.2.2.
//!
//! - Echo requests are answered, errors are delivered to the flows they quote, and told to those who send what nobody takes.
//! - What is sent to others is limited by one bucket for all ([`Bucket`]), as Linux's `icmp_msgs_per_sec` and `icmp_msgs_burst` do.
//! - An error is believed only if it quotes a packet of a flow that exists.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use abi::Errno;
use smoltcp::wire::{Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet};
use sync::{machine, rcu};

use super::packet::IpPacket;
use super::redirect;
use crate::channel::ErrorReport;
use crate::checksum::Sum;
use crate::counters::Counter;
use crate::flow_key::{FlowKey, protocol};
use crate::interface::{AddressClass, Interface, RouteRequest};
use crate::{Stack, TransmitFrame};

/// Bytes of an ICMP header.
const HEADER_LEN: usize = 8;
/// Messages a second.
const RATE_PER_SECOND: u64 = 1000;
/// Messages at once.
const BURST: u64 = 50;
const SECOND_NS: u64 = 1_000_000_000;
/// The longest error for IPv4 (RFC 1812, section 4.3.2.3), its headers included.
const ERROR_LEN_MAX4: usize = 576;
/// The longest error for IPv6: the least MTU.
const ERROR_LEN_MAX6: usize = 1280;
/// Path MTUs below are not believed (`net.ipv4.route.min_pmtu`).
const PATH_MTU_MIN4: u32 = 552;
/// The least MTU of IPv6.
const PATH_MTU_MIN6: u32 = 1280;
/// What a router that does not say may take.
const PATH_MTU_UNKNOWN: u32 = 576;
/// How long a path MTU is remembered.
const PATH_MTU_NS: u64 = 600 * SECOND_NS;
/// `SO_EE_ORIGIN_LOCAL` and those of ICMP.
const ORIGIN_LOCAL: u8 = 1;
const ORIGIN_ICMP: u8 = 2;
const ORIGIN_ICMP6: u8 = 3;

/// How many messages may be sent.
#[derive(Default)]
pub(super) struct Bucket {
    tokens: u64,
    filled_ns: u64,
}

impl Bucket {
    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now_ns: u64) -> bool {
        let since_ns = now_ns.saturating_sub(self.filled_ns);
        let new = since_ns.min(SECOND_NS) * RATE_PER_SECOND / SECOND_NS;
        if new > 0 {
            self.tokens = (self.tokens + new).min(BURST);
            self.filled_ns = now_ns;
        }
        let has_one = self.tokens > 0;
        self.tokens -= u64::from(has_one);
        has_one
    }
}

/// Why a packet is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody has the port.
    Port,
    /// Nobody speaks the protocol.
    Protocol,
    /// Its fragments did not all come.
    Reassembly,
}

/// Takes a message for IPv4.
pub(super) fn handle4(stack: &Arc<Stack>, interface: &Arc<Interface>, packet: &IpPacket) {
    let mib = stack.mib();
    mib.count(Counter::IcmpInMsgs);
    let Ok(icmp) = Icmpv4Packet::new_checked(packet.body()) else { return mib.count(Counter::IcmpInErrors) };
    if !icmp.verify_checksum() {
        mib.count(Counter::IcmpInErrors);
        return mib.count(Counter::IcmpInCsumErrors);
    }
    match icmp.msg_type() {
        Icmpv4Message::EchoRequest => {
            mib.count(Counter::IcmpInEchos);
            answer_echo(stack, packet);
        }
        Icmpv4Message::EchoReply => mib.count(Counter::IcmpInEchoReps),
        Icmpv4Message::DstUnreachable => {
            mib.count(Counter::IcmpInDestUnreachs);
            let mtu = packet.body().get(6..8).map_or(0, |field| u32::from(field[0]) << 8 | u32::from(field[1]));
            deliver_error(stack, packet, unreachable4(icmp.msg_code()), (icmp.msg_code() == 4).then_some(mtu));
        }
        Icmpv4Message::Redirect => {
            mib.count(Counter::IcmpInRedirects);
            redirect::handle4(stack, interface, packet);
        }
        Icmpv4Message::TimeExceeded => {
            mib.count(Counter::IcmpInTimeExcds);
            deliver_error(stack, packet, (Errno::EHOSTUNREACH, false), None);
        }
        Icmpv4Message::ParamProblem => {
            mib.count(Counter::IcmpInParmProbs);
            deliver_error(stack, packet, (Errno::EPROTO, true), None);
        }
        _ => {}
    }
}

/// Takes a message for IPv6 that is not neighbour or group discovery. Its checksum was verified.
pub(super) fn handle6(stack: &Arc<Stack>, packet: &IpPacket) {
    let Ok(icmp) = Icmpv6Packet::new_checked(packet.body()) else { return };
    match icmp.msg_type() {
        Icmpv6Message::EchoRequest => answer_echo(stack, packet),
        Icmpv6Message::DstUnreachable => deliver_error(stack, packet, unreachable6(icmp.msg_code()), None),
        Icmpv6Message::PktTooBig => {
            let mtu = packet
                .body()
                .get(4..8)
                .and_then(|field| field.first_chunk())
                .map_or(0, |field| u32::from_be_bytes(*field));
            deliver_error(stack, packet, (Errno::EMSGSIZE, false), Some(mtu));
        }
        Icmpv6Message::TimeExceeded => deliver_error(stack, packet, (Errno::EHOSTUNREACH, false), None),
        Icmpv6Message::ParamProblem => deliver_error(stack, packet, (Errno::EPROTO, true), None),
        _ => {}
    }
}

/// Whether the checksum of a message for IPv6 is right.
pub(super) fn is_sound6(packet: &IpPacket) -> bool {
    let mut sum = Sum::pseudo_header(packet.source, packet.destination, protocol::ICMPV6, packet.body().len());
    sum.add(packet.body());
    sum.finish() == 0
}

/// Error and whether it is hard, of the codes of "destination unreachable"; as Linux has them.
fn unreachable4(code: u8) -> (Errno, bool) {
    match code {
        0 | 11 => (Errno::ENETUNREACH, false),
        2 => (Errno::ENOPROTOOPT, true),
        3 => (Errno::ECONNREFUSED, true),
        4 => (Errno::EMSGSIZE, false),
        5 => (Errno::EOPNOTSUPP, false),
        6 | 9 => (Errno::ENETUNREACH, true),
        7 => (Errno::EHOSTDOWN, true),
        8 => (Errno::ENONET, true),
        10 | 13..=15 => (Errno::EHOSTUNREACH, true),
        _ => (Errno::EHOSTUNREACH, false),
    }
}

fn unreachable6(code: u8) -> (Errno, bool) {
    match code {
        0 => (Errno::ENETUNREACH, false),
        1 | 5 | 6 => (Errno::EACCES, true),
        4 => (Errno::ECONNREFUSED, true),
        _ => (Errno::EHOSTUNREACH, false),
    }
}

/// Sends back what was sent, with the addresses the other way round.
fn answer_echo(stack: &Arc<Stack>, packet: &IpPacket) {
    let is_ipv4 = packet.source.is_ipv4();
    let class = stack.interfaces().class_of(packet.destination);
    // Requests to all are not answered, those to groups only in IPv6, from an address of ours.
    if class != AddressClass::Local && (is_ipv4 || class != AddressClass::Multicast) {
        return;
    }
    let is_own = stack.interfaces().is_local(packet.source);
    if !is_own && !stack.control().may_send_icmp(machine::now_ns()) {
        return stack.mib().count(Counter::IcmpOutRateLimitGlobal);
    }
    // An answer that there is no memory for is lost, as on any network.
    let Ok(mut frame) = TransmitFrame::with_room(packet.body().len()) else { return };
    frame.append(packet.body());
    let source = (class == AddressClass::Local).then_some(packet.destination);
    if is_ipv4 {
        let mut icmp = Icmpv4Packet::new_unchecked(frame.head_mut());
        icmp.set_msg_type(Icmpv4Message::EchoReply);
        icmp.fill_checksum();
        stack.mib().count(Counter::IcmpOutEchoReps);
    } else {
        Icmpv6Packet::new_unchecked(frame.head_mut()).set_msg_type(Icmpv6Message::EchoReply);
    }
    send(stack, packet.source, source, 0, frame);
}

/// Tells the sender that nobody takes a packet.
pub(super) fn refuse(stack: &Stack, interface: &Interface, packet: &IpPacket, why: Refusal) {
    if packet.is_link_group || stack.interfaces().class_of(packet.destination) != AddressClass::Local {
        return;
    }
    let is_host = !packet.source.is_unspecified() && !packet.source.is_multicast();
    if !is_host || stack.interfaces().class_of(packet.source) == AddressClass::Broadcast || is_error(packet) {
        return;
    }
    // What a machine tells itself has no limit.
    if !interface.is_loopback() && !stack.control().may_send_icmp(machine::now_ns()) {
        return stack.mib().count(Counter::IcmpOutRateLimitGlobal);
    }
    let is_ipv4 = packet.source.is_ipv4();
    let limit = if is_ipv4 { ERROR_LEN_MAX4 - 20 } else { ERROR_LEN_MAX6 - 40 };
    let quoted = &packet.bytes[..packet.bytes.len().min(limit - HEADER_LEN)];
    let mut frame = TransmitFrame::new(HEADER_LEN + quoted.len());
    frame.extend(HEADER_LEN);
    frame.append(quoted);
    if is_ipv4 {
        let mut icmp = Icmpv4Packet::new_unchecked(frame.head_mut());
        let (kind, code) = match why {
            Refusal::Port => (Icmpv4Message::DstUnreachable, 3),
            Refusal::Protocol => (Icmpv4Message::DstUnreachable, 2),
            Refusal::Reassembly => (Icmpv4Message::TimeExceeded, 1),
        };
        icmp.set_msg_type(kind);
        icmp.set_msg_code(code);
        icmp.fill_checksum();
        stack.mib().count(if why == Refusal::Reassembly {
            Counter::IcmpOutTimeExcds
        } else {
            Counter::IcmpOutDestUnreachs
        });
    } else {
        let mut icmp = Icmpv6Packet::new_unchecked(frame.head_mut());
        let (kind, code) = match why {
            Refusal::Port => (Icmpv6Message::DstUnreachable, 4),
            Refusal::Protocol => (Icmpv6Message::ParamProblem, 1),
            Refusal::Reassembly => (Icmpv6Message::TimeExceeded, 1),
        };
        icmp.set_msg_type(kind);
        icmp.set_msg_code(code);
        if why == Refusal::Protocol {
            icmp.set_param_problem_ptr(u32::try_from(packet.protocol_place).unwrap_or(0));
        }
    }
    let is_link_local = matches!(packet.source, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let scope = if is_link_local { interface.index() } else { 0 };
    send(stack, packet.source, Some(packet.destination), scope, frame);
}

/// Errors are not answered by errors.
fn is_error(packet: &IpPacket) -> bool {
    let kind = packet.body().first().copied().unwrap_or(0);
    match packet.protocol {
        protocol::ICMP => !matches!(kind, 0 | 8 | 13 | 14),
        protocol::ICMPV6 => kind < 128,
        _ => false,
    }
}

fn send(stack: &Stack, destination: IpAddr, source: Option<IpAddr>, interface: u32, frame: TransmitFrame) {
    let is_ipv4 = destination.is_ipv4();
    let number = if is_ipv4 { protocol::ICMP } else { protocol::ICMPV6 };
    let request = RouteRequest { source, interface, may_fragment: true, ..RouteRequest::new(number, destination) };
    stack.mib().count(if is_ipv4 { Counter::IcmpOutMsgs } else { Counter::Icmp6OutMsgs });
    if let Ok(route) = stack.interfaces().route(&request) {
        // A message that is lost is lost, as on any network.
        let _ = route.send(stack, &mut alloc::vec![frame]);
    }
}

/// Delivers an error to the flow whose packet it quotes.
fn deliver_error(stack: &Arc<Stack>, packet: &IpPacket, (errno, is_hard): (Errno, bool), mtu: Option<u32>) {
    let quoted = packet.body().get(HEADER_LEN..).unwrap_or_default();
    let Some((key, payload)) = quoted_flow(quoted) else { return };
    let head: [u8; 2] = packet.body().first_chunk().copied().unwrap_or_default();
    let origin = if packet.source.is_ipv4() { ORIGIN_ICMP } else { ORIGIN_ICMP6 };
    let is_echo = matches!(key.protocol, protocol::ICMP | protocol::ICMPV6);
    let flow = find(stack, &key);
    if flow.is_none() && !is_echo {
        return;
    }
    let mtu = mtu.map(|mtu| learn_mtu(stack, key.remote_end().ip(), mtu));
    let report = ErrorReport {
        errno,
        is_hard: is_hard || (key.protocol == protocol::TCP && mtu.is_none()),
        mtu,
        origin,
        kind: head[0],
        code: head[1],
        offender: Some(packet.source),
        key,
        payload,
    };
    match flow {
        Some(flow) => flow.report(&report),
        None => stack.raw().report(key.local_port, key.remote_end(), &report),
    }
}

/// Tells the senders of frames that their neighbour does not answer.
pub(super) fn report_unreachable(stack: &Arc<Stack>, frames: Vec<TransmitFrame>) {
    for frame in frames {
        let Ok(bytes) = frame.to_vec() else { continue };
        let Some((key, payload)) = quoted_flow(bytes.get(crate::classify::ETHERNET_LEN..).unwrap_or_default()) else {
            continue;
        };
        let Some(flow) = find(stack, &key) else { continue };
        let is_tcp = key.protocol == protocol::TCP;
        let (kind, code) = if key.remote_end().is_ipv4() { (3, 1) } else { (1, 3) };
        let origin = match () {
            () if is_tcp => ORIGIN_LOCAL,
            () if key.remote_end().is_ipv4() => ORIGIN_ICMP,
            () => ORIGIN_ICMP6,
        };
        let offender = Some(key.local_end().ip());
        let errno = Errno::EHOSTUNREACH;
        flow.report(&ErrorReport { errno, is_hard: is_tcp, mtu: None, origin, kind, code, offender, key, payload });
    }
}

/// The flow of a packet that we have sent, and what it carried.
pub(super) fn quoted_flow(bytes: &[u8]) -> Option<(FlowKey, &[u8])> {
    let (source, destination, number, transport) = match bytes.first()? >> 4 {
        4 => {
            let header: &[u8; 20] = bytes.first_chunk()?;
            let address = |at: usize| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            // Only the first fragment has ports.
            if u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0 {
                return None;
            }
            (address(12), address(16), header[9], usize::from(header[0] & 0xf) * 4)
        }
        6 => {
            let header: &[u8; 40] = bytes.first_chunk()?;
            let address = |at: usize| {
                let octets: [u8; 16] = core::array::from_fn(|place| header[at + place]);
                IpAddr::from(octets)
            };
            (address(8), address(24), header[6], 40)
        }
        _ => return None,
    };
    let ports: &[u8; 8] = bytes.get(transport..)?.first_chunk()?;
    if matches!((number, ports[0]), (protocol::ICMP, 8) | (protocol::ICMPV6, 128)) {
        let identifier = u16::from_be_bytes([ports[4], ports[5]]);
        let key = FlowKey::new(number, SocketAddr::new(source, identifier), SocketAddr::new(destination, 0));
        return Some((key, bytes.get(transport + HEADER_LEN..).unwrap_or_default()));
    }
    let (from, to) = (u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]]));
    let header_len = match number {
        protocol::TCP => 20,
        protocol::UDP => 8,
        _ => return None,
    };
    let key = FlowKey::new(number, SocketAddr::new(source, from), SocketAddr::new(destination, to));
    Some((key, bytes.get(transport + header_len..).unwrap_or_default()))
}

/// The flow that sent a packet.
pub(super) fn find(stack: &Stack, key: &FlowKey) -> Option<Arc<dyn crate::channel::Flow>> {
    let section = rcu::read();
    stack.flow_of(key, &section).cloned()
}

/// Remembers what a path takes, if that is less than what is known, and answers what it takes now.
fn learn_mtu(stack: &Stack, destination: IpAddr, mtu: u32) -> u16 {
    let least = if destination.is_ipv4() { PATH_MTU_MIN4 } else { PATH_MTU_MIN6 };
    let mtu = if mtu == 0 { PATH_MTU_UNKNOWN } else { mtu }.max(least);
    let known = stack.interfaces().with(|snapshot| snapshot.path_mtu(destination));
    let is_news = known.is_none_or(|known| mtu < known) && mtu < 65_535;
    if is_news {
        let until_ns = machine::now_ns().saturating_add(PATH_MTU_NS);
        stack.interfaces().set_path_mtu(destination, mtu, until_ns);
        stack.control().request_poll(stack, until_ns);
    }
    u16::try_from(known.map_or(mtu, |known| known.min(mtu))).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_fills_at_its_rate() {
        let mut bucket = Bucket::default();
        let mut now_ns = 10 * SECOND_NS;
        assert_eq!((0..100).filter(|_| bucket.take(now_ns)).count(), 50);
        now_ns += SECOND_NS / 100;
        assert_eq!((0..100).filter(|_| bucket.take(now_ns)).count(), 10);
    }
}
