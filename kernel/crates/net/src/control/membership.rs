//! Groups that interfaces are in, and what routers are told of them: IGMPv3 (RFC 3376) and MLDv2 (RFC 3810).
//!
//! A group is reported when its first socket joins, once more a little later, and when a router asks; the last socket to leave says so. The groups of
//! all machines are not reported in IPv4. Where a router asks in IGMPv2 (RFC 2236) or MLDv1 (RFC 2710) it is told in
//! that for as long as it can be there (RFC 3376, section 7.2.1; RFC 3810, section 8.2.1). Sources are filtered by
//! sockets alone: routers are told of whole groups.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetProtocol, Icmpv6Packet, Icmpv6Repr, IgmpPacket, IgmpRepr, IgmpVersion, IpProtocol, Ipv4Packet, Ipv6Packet,
    MldAddressRecordRepr, MldRecordType, MldRepr,
};
use sync::machine::{self, NEVER};

use super::packet::IpPacket;
use super::{ndp, send_link};
use crate::checksum::Sum;
use crate::flow_key::protocol;
use crate::interface::{Interface, InterfaceAddress};
use crate::{Stack, TransmitFrame};

/// Reports that wait to be sent.
const REPORTS_MAX: usize = 1024;
/// The longest wait before an unasked report is repeated.
const REPEAT_NS: u64 = 1_000_000_000;
/// A unit of the longest wait in a query.
const MILLISECOND_NS: u64 = 1_000_000;
/// The IPv4 option that makes routers look (RFC 2113).
const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];
/// Hop-by-hop options with that of IPv6 (RFC 2711) and padding, before ICMP.
const HOP_BY_HOP: [u8; 8] = [58, 0, 5, 2, 0, 0, 1, 0];
const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
const ALL_IGMPV3_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
/// The type of an IGMPv3 report.
const REPORT3: u8 = 0x22;
/// Bytes of queries of the versions before.
const QUERY2_LEN: usize = 8;
/// How long a router of the version before is believed to be there: the robustness variable times the query interval,
/// and the longest answer.
const OLDER_ROUTER_NS: u64 = 260_000_000_000;
const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// MLD types: a query, and what MLDv1 knows of members.
const QUERY6: u8 = 130;
const REPORT6: u8 = 131;
const DONE6: u8 = 132;
/// Bytes of each message of MLDv1.
const MLD1_LEN: usize = 24;
const ALL_ROUTERS6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const ALL_MLDV2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
const IPV4_LEN: usize = 24;
const IPV6_LEN: usize = 40;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// A member.
    Member,
    /// A member, since now.
    Join,
    /// No member any more.
    Leave,
}

/// A report that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    interface: u32,
    group: IpAddr,
    due_ns: u64,
    news: News,
}

impl Stack {
    /// One more socket is in a group on an interface.
    pub(crate) fn join_group(&self, interface: u32, group: IpAddr) {
        let is_first = self.interfaces().update(|snapshot| snapshot.join(interface, group));
        if is_first {
            self.tell_now(interface, group, News::Join);
            self.schedule(interface, group, machine::now_ns().saturating_add(delay(REPEAT_NS)), News::Join);
        }
    }

    /// One less is.
    pub(crate) fn leave_group(&self, interface: u32, group: IpAddr) {
        let is_last = self.interfaces().update(|snapshot| snapshot.leave(interface, group));
        if is_last {
            self.control()
                .with(|state| state.reports.retain(|report| (report.interface, report.group) != (interface, group)));
            self.tell_now(interface, group, News::Leave);
        }
    }

    fn tell_now(&self, interface: u32, group: IpAddr, news: News) {
        if let Some(interface) = self.interfaces().with(|snapshot| snapshot.interface(interface).cloned()) {
            tell(self, &interface, group, news);
        }
    }

    fn schedule(&self, interface: u32, group: IpAddr, due_ns: u64, news: News) {
        self.control().with(|state| {
            let has_room = state.reports.len() < REPORTS_MAX;
            let known = state.reports.iter_mut().find(|known| (known.interface, known.group) == (interface, group));
            match known {
                Some(known) => known.due_ns = known.due_ns.min(due_ns),
                None if has_room => {
                    state.reports.push(Report { interface, group, due_ns, news });
                }
                None => {}
            }
        });
        self.control().request_poll(self, due_ns);
    }
}

/// Sends the reports that are due, and answers when the next is.
pub(super) fn poll(stack: &Arc<Stack>, now_ns: u64) -> u64 {
    let (due, next_ns) = stack.control().with(|state| {
        let (due, later): (Vec<Report>, Vec<Report>) = state.reports.iter().partition(|report| report.due_ns <= now_ns);
        let next_ns = later.iter().map(|report| report.due_ns).min().unwrap_or(NEVER);
        state.reports = later;
        (due, next_ns)
    });
    for report in due {
        let interface = stack.interfaces().with(|snapshot| {
            let is_member = snapshot.is_member(report.interface, report.group);
            snapshot.interface(report.interface).filter(|_| is_member).cloned()
        });
        if let Some(interface) = interface {
            tell(stack, &interface, report.group, report.news);
        }
    }
    next_ns
}

/// Takes an IGMP message.
pub(super) fn handle4(stack: &Arc<Stack>, interface: &Arc<Interface>, packet: &IpPacket) {
    let Ok(igmp) = IgmpPacket::new_checked(packet.body()) else { return };
    if !igmp.verify_checksum() {
        return;
    }
    if let Ok(IgmpRepr::MembershipQuery { max_resp_time, group_addr, .. }) = IgmpRepr::parse(&igmp) {
        if packet.body().len() == QUERY2_LEN {
            let until_ns = machine::now_ns().saturating_add(OLDER_ROUTER_NS);
            stack.control().with(|state| state.igmp2_until_ns.insert(interface.index(), until_ns));
        }
        let wait_ns = max_resp_time.total_millis().max(100) * MILLISECOND_NS;
        answer(stack, interface, IpAddr::from(group_addr), wait_ns);
    }
}

/// Takes a message of group discovery in IPv6; its checksum is right.
pub(super) fn handle6(stack: &Arc<Stack>, interface: &Arc<Interface>, packet: &IpPacket) {
    let is_from_link = matches!(packet.source, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let body = packet.body();
    if !is_from_link || packet.hop_limit != 1 || body.first() != Some(&QUERY6) {
        return;
    }
    let (Some(&[high, low]), Some(group)) = (body.get(4..6), body.get(8..24).and_then(<[u8]>::first_chunk::<16>))
    else {
        return;
    };
    let code = u16::from_be_bytes([high, low]);
    let wait_ms = if body.len() == MLD1_LEN { u64::from(code) } else { longest_wait_ms(code) };
    if body.len() == MLD1_LEN {
        let until_ns = machine::now_ns().saturating_add(OLDER_ROUTER_NS);
        stack.control().with(|state| state.mld1_until_ns.insert(interface.index(), until_ns));
    }
    let wait_ns = wait_ms * MILLISECOND_NS;
    answer(stack, interface, IpAddr::from(*group), wait_ns);
}

/// The longest wait in a query of MLDv2 (RFC 3810, section 5.1.3).
fn longest_wait_ms(code: u16) -> u64 {
    let (mantissa, exponent) = (u64::from(code & 0xfff), code >> 12 & 7);
    if code < 0x8000 { code.into() } else { (mantissa | 0x1000) << (exponent + 3) }
}

/// A router asks for one group, or with nobody's address for all.
fn answer(stack: &Arc<Stack>, interface: &Arc<Interface>, group: IpAddr, wait_ns: u64) {
    let index = interface.index();
    let groups: Vec<IpAddr> = stack.interfaces().with(|snapshot| {
        let is_asked =
            |known: &IpAddr| *known == group || (group.is_unspecified() && known.is_ipv4() == group.is_ipv4());
        snapshot
            .groups()
            .filter(|(interface, _)| *interface == index)
            .map(|(_, known)| known)
            .filter(is_asked)
            .collect()
    });
    for group in groups {
        stack.schedule(index, group, machine::now_ns().saturating_add(delay(wait_ns)), News::Member);
    }
}

/// A random time up to `limit_ns`.
fn delay(limit_ns: u64) -> u64 {
    let mut bytes = [0; 8];
    machine::fill_entropy(&mut bytes);
    u64::from_le_bytes(bytes) % limit_ns.max(1)
}

fn tell(stack: &Stack, interface: &Interface, group: IpAddr, news: News) {
    if interface.is_loopback() {
        return;
    }
    match group {
        IpAddr::V4(group) if group != ALL_SYSTEMS => tell4(stack, interface, group, news),
        IpAddr::V4(_) => {}
        IpAddr::V6(group) => tell6(stack, interface, group, news),
    }
}

fn tell4(stack: &Stack, interface: &Interface, group: Ipv4Addr, news: News) {
    let until_ns = stack.control().with(|state| state.igmp2_until_ns.get(&interface.index()).copied());
    if until_ns.is_some_and(|until_ns| machine::now_ns() < until_ns) {
        let (message, destination) = match news {
            News::Leave => (IgmpRepr::LeaveGroup { group_addr: group }, ALL_ROUTERS),
            _ => (IgmpRepr::MembershipReport { group_addr: group, version: IgmpVersion::Version2 }, group),
        };
        return send4(stack, interface, destination, message.buffer_len(), |room| {
            message.emit(&mut IgmpPacket::new_unchecked(room));
        });
    }
    let report = report3(group, news);
    send4(stack, interface, ALL_IGMPV3_ROUTERS, report.len(), |room| room.copy_from_slice(&report));
}

/// A report of IGMPv3 with one record (RFC 3376, section 4.2).
fn report3(group: Ipv4Addr, news: News) -> [u8; 16] {
    let kind = match news {
        News::Member => 2,
        News::Leave => 3,
        News::Join => 4,
    };
    let [a, b, c, d] = group.octets();
    let mut report = [REPORT3, 0, 0, 0, 0, 0, 0, 1, kind, 0, 0, 0, a, b, c, d];
    let mut sum = Sum::new();
    sum.add(&report);
    report[2..4].copy_from_slice(&sum.finish().to_be_bytes());
    report
}

/// Sends a message of `message_len` bytes that `write` makes.
fn send4(
    stack: &Stack,
    interface: &Interface,
    destination: Ipv4Addr,
    message_len: usize,
    write: impl FnOnce(&mut [u8]),
) {
    let source = stack.interfaces().with(|snapshot| {
        let is_own = |own: &&InterfaceAddress| own.address.is_ipv4() && own.is_assigned();
        snapshot.addresses_of(interface.index()).find(is_own).map(|own| own.address)
    });
    let len = IPV4_LEN + message_len;
    let mut frame = TransmitFrame::new(len);
    let mut packet = Ipv4Packet::new_unchecked(frame.extend(len));
    packet.set_version(4);
    packet.set_header_len(24);
    packet.set_total_len(u16::try_from(len).unwrap_or(0));
    packet.set_hop_limit(1);
    packet.set_next_header(IpProtocol::Igmp);
    if let Some(IpAddr::V4(source)) = source {
        packet.set_src_addr(source);
    }
    packet.set_dst_addr(destination);
    write(packet.payload_mut());
    frame.head_mut()[20..IPV4_LEN].copy_from_slice(&ROUTER_ALERT);
    Ipv4Packet::new_unchecked(frame.head_mut()).fill_checksum();
    let [_, b, c, d] = destination.octets();
    send_link(interface, EthernetProtocol::Ipv4, [0x01, 0x00, 0x5e, b & 0x7f, c, d], frame);
}

fn tell6(stack: &Stack, interface: &Interface, group: Ipv6Addr, news: News) {
    let source = ndp::link_local(stack, interface).unwrap_or(Ipv6Addr::UNSPECIFIED);
    let until_ns = stack.control().with(|state| state.mld1_until_ns.get(&interface.index()).copied());
    if until_ns.is_some_and(|until_ns| machine::now_ns() < until_ns) {
        let (kind, destination) = if news == News::Leave { (DONE6, ALL_ROUTERS6) } else { (REPORT6, group) };
        return send6(interface, source, destination, MLD1_LEN, |room| {
            room[0] = kind;
            room[8..].copy_from_slice(&group.octets());
            let mut sum = Sum::pseudo_header(source.into(), destination.into(), protocol::ICMPV6, MLD1_LEN);
            sum.add(room);
            let sum = sum.finish();
            room[2..4].copy_from_slice(&sum.to_be_bytes());
        });
    }
    let record_type = match news {
        News::Member => MldRecordType::ModeIsExclude,
        News::Join => MldRecordType::ChangeToExclude,
        News::Leave => MldRecordType::ChangeToInclude,
    };
    let records = [MldAddressRecordRepr::new(record_type, group)];
    let message = Icmpv6Repr::Mld(MldRepr::ReportRecordReprs(&records));
    // The length of a message does not count its records.
    let len = message.buffer_len() + records.iter().map(MldAddressRecordRepr::buffer_len).sum::<usize>();
    send6(interface, source, ALL_MLDV2_ROUTERS, len, |room| {
        let mut icmp = Icmpv6Packet::new_unchecked(room);
        message.emit(&source, &ALL_MLDV2_ROUTERS, &mut icmp, &ChecksumCapabilities::default());
    });
}

/// Sends a message of `message_len` bytes that `write` makes, its checksum included.
fn send6(
    interface: &Interface,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    message_len: usize,
    write: impl FnOnce(&mut [u8]),
) {
    let len = HOP_BY_HOP.len() + message_len;
    let mut frame = TransmitFrame::new(IPV6_LEN + len);
    let mut packet = Ipv6Packet::new_unchecked(frame.extend(IPV6_LEN + len));
    packet.set_version(6);
    packet.set_payload_len(u16::try_from(len).unwrap_or(0));
    packet.set_next_header(IpProtocol::HopByHop);
    packet.set_hop_limit(1);
    packet.set_src_addr(source);
    packet.set_dst_addr(destination);
    let (options, body) = packet.payload_mut().split_at_mut(HOP_BY_HOP.len());
    options.copy_from_slice(&HOP_BY_HOP);
    write(body);
    let [.., a, b, c, d] = destination.octets();
    send_link(interface, EthernetProtocol::Ipv6, [0x33, 0x33, a, b, c, d], frame);
}
