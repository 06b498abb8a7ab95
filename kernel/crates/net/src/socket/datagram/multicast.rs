//! Groups: [`MembershipChange`], what a program asks, and [`Membership`], which packets of a group a socket takes.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use abi::Errno;

use crate::socket::inet_options::{SOL_IP, SOL_IPV6};

/// Groups of IPv4 one socket may be in (`net.ipv4.igmp_max_memberships`).
const V4_MEMBERSHIPS_MAX: usize = 20;
/// Groups of IPv6. Linux has no such limit but memory's.
const V6_MEMBERSHIPS_MAX: usize = 256;
/// Sources that one membership of IPv4 names (`net.ipv4.igmp_max_msf`).
const V4_SOURCES_MAX: usize = 10;
/// The same of IPv6 (`net.ipv6.mld_max_msf`).
const V6_SOURCES_MAX: usize = 64;

mod option {
    pub(super) const ADD_MEMBERSHIP: i32 = 35;
    pub(super) const DROP_MEMBERSHIP: i32 = 36;
    pub(super) const UNBLOCK_SOURCE: i32 = 37;
    pub(super) const BLOCK_SOURCE: i32 = 38;
    pub(super) const ADD_SOURCE: i32 = 39;
    pub(super) const DROP_SOURCE: i32 = 40;
    pub(super) const V6_JOIN: i32 = 20;
    pub(super) const V6_LEAVE: i32 = 21;
    pub(super) const JOIN: i32 = 42;
    pub(super) const BLOCK: i32 = 43;
    pub(super) const UNBLOCK: i32 = 44;
    pub(super) const LEAVE: i32 = 45;
    pub(super) const JOIN_SOURCE: i32 = 46;
    pub(super) const LEAVE_SOURCE: i32 = 47;
}

/// Bytes of a `struct sockaddr_storage`.
const STORAGE_LEN: usize = 128;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MembershipKind {
    Join,
    Leave,
    Block(IpAddr),
    Unblock(IpAddr),
    JoinSource(IpAddr),
    LeaveSource(IpAddr),
}

/// A change of memberships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MembershipChange {
    pub(crate) kind: MembershipKind,
    pub(crate) group: IpAddr,
    /// The interface's number, or 0.
    pub(crate) interface: u32,
    /// One of its addresses, instead.
    pub(crate) address: Option<Ipv4Addr>,
}

impl MembershipChange {
    /// What an option asks, if it is one of these. `EINVAL`: a value too short. `EADDRNOTAVAIL` where Linux says so for what is no group.
    /// `EPROTO`: streams are in no groups.
    pub(crate) fn parse(level: i32, number: i32, value: &[u8], is_stream: bool) -> Result<Option<Self>, Errno> {
        if is_stream && level == SOL_IP && matches!(number, option::ADD_MEMBERSHIP | option::DROP_MEMBERSHIP) {
            return Err(Errno::EPROTO);
        }
        let change = match (level, number) {
            (SOL_IP, option::ADD_MEMBERSHIP) => Self::from_mreq(value, MembershipKind::Join)?,
            (SOL_IP, option::DROP_MEMBERSHIP) => Self::from_mreq(value, MembershipKind::Leave)?,
            (SOL_IP, option::UNBLOCK_SOURCE..=option::DROP_SOURCE) => Self::from_source(number, value)?,
            (SOL_IPV6, option::V6_JOIN) => Self::from_mreq6(value, MembershipKind::Join)?,
            (SOL_IPV6, option::V6_LEAVE) => Self::from_mreq6(value, MembershipKind::Leave)?,
            (SOL_IP | SOL_IPV6, option::JOIN..=option::LEAVE_SOURCE) => Self::from_group_request(level, number, value)?,
            _ => return Ok(None),
        };
        // Linux asks whether it is a stream first, or whether it is a group.
        let is_asked_first = level == SOL_IPV6 && matches!(number, option::V6_JOIN | option::V6_LEAVE);
        if is_stream && (is_asked_first || change.group.is_multicast()) {
            return Err(Errno::EPROTO);
        }
        if !change.group.is_multicast() {
            let is_left = (level, number) == (SOL_IP, option::DROP_MEMBERSHIP);
            return Err(if is_left { Errno::EADDRNOTAVAIL } else { Errno::EINVAL });
        }
        Ok(Some(change))
    }

    /// `struct ip_mreq` or `ip_mreqn`.
    fn from_mreq(value: &[u8], kind: MembershipKind) -> Result<Self, Errno> {
        let (group, address) = (address4(value, 0)?, address4(value, 4)?);
        let interface =
            value.get(8..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        let address = (!address.is_unspecified()).then_some(address);
        Ok(Self { kind, group: group.into(), interface, address })
    }

    /// `struct ip_mreq_source`: group, interface, source.
    fn from_source(number: i32, value: &[u8]) -> Result<Self, Errno> {
        let (group, address) = (address4(value, 0)?, address4(value, 4)?);
        let source = IpAddr::from(address4(value, 8)?);
        let kind = match number {
            option::BLOCK_SOURCE => MembershipKind::Block(source),
            option::UNBLOCK_SOURCE => MembershipKind::Unblock(source),
            option::ADD_SOURCE => MembershipKind::JoinSource(source),
            _ => MembershipKind::LeaveSource(source),
        };
        Ok(Self { kind, group: group.into(), interface: 0, address: (!address.is_unspecified()).then_some(address) })
    }

    /// `struct ipv6_mreq`.
    fn from_mreq6(value: &[u8], kind: MembershipKind) -> Result<Self, Errno> {
        let group: [u8; 16] = *value.first_chunk().ok_or(Errno::EINVAL)?;
        let interface = value.get(16..).and_then(|rest| rest.first_chunk()).ok_or(Errno::EINVAL)?;
        let interface = u32::from_ne_bytes(*interface);
        Ok(Self { kind, group: Ipv6Addr::from(group).into(), interface, address: None })
    }

    /// `struct group_req` and `group_source_req`.
    fn from_group_request(level: i32, number: i32, value: &[u8]) -> Result<Self, Errno> {
        let interface = u32::from_ne_bytes(*value.first_chunk().ok_or(Errno::EINVAL)?);
        let group = storage(level, value.get(8..8 + STORAGE_LEN).ok_or(Errno::EINVAL)?)?;
        let source = || storage(level, value.get(8 + STORAGE_LEN..8 + 2 * STORAGE_LEN).ok_or(Errno::EINVAL)?);
        let kind = match number {
            option::JOIN => MembershipKind::Join,
            option::LEAVE => MembershipKind::Leave,
            option::BLOCK => MembershipKind::Block(source()?),
            option::UNBLOCK => MembershipKind::Unblock(source()?),
            option::JOIN_SOURCE => MembershipKind::JoinSource(source()?),
            _ => MembershipKind::LeaveSource(source()?),
        };
        Ok(Self { kind, group, interface, address: None })
    }
}

fn address4(value: &[u8], at: usize) -> Result<Ipv4Addr, Errno> {
    let bytes = value.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or(Errno::EINVAL)?;
    Ok(Ipv4Addr::from(*bytes))
}

/// The address in a `struct sockaddr_storage`, which must be of the level's family.
fn storage(level: i32, bytes: &[u8]) -> Result<IpAddr, Errno> {
    let family = bytes.first_chunk().map_or(0, |family| u16::from_ne_bytes(*family));
    match (level, family) {
        (SOL_IP, abi::socket::AF_INET) => Ok(address4(bytes, 4)?.into()),
        (SOL_IPV6, abi::socket::AF_INET6) => {
            let address: [u8; 16] = *bytes.get(8..).and_then(|rest| rest.first_chunk()).ok_or(Errno::EINVAL)?;
            Ok(Ipv6Addr::from(address).into())
        }
        (SOL_IP, _) => Err(Errno::EINVAL),
        _ => Err(Errno::EADDRNOTAVAIL),
    }
}

/// A group that a socket is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) group: IpAddr,
    pub(crate) interface: u32,
    /// Only from the sources; otherwise from all others.
    is_include: bool,
    sources: Vec<IpAddr>,
}

/// What follows from a change for the interface's own membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// Nothing.
    None,
    /// It joins.
    Join,
    /// It leaves.
    Leave,
}

/// Applies a change whose interface is resolved, with Linux's errors.
pub(crate) fn apply(list: &mut Vec<Membership>, change: &MembershipChange) -> Result<Consequence, Errno> {
    let place = list.iter().position(|known| (known.group, known.interface) == (change.group, change.interface));
    let new =
        |is_include, sources| Membership { group: change.group, interface: change.interface, is_include, sources };
    let of_family = list.iter().filter(|known| known.group.is_ipv4() == change.group.is_ipv4()).count();
    let is_full = of_family >= if change.group.is_ipv4() { V4_MEMBERSHIPS_MAX } else { V6_MEMBERSHIPS_MAX };
    match (change.kind, place) {
        (MembershipKind::Join, Some(_)) => Err(Errno::EADDRINUSE),
        (MembershipKind::Join | MembershipKind::JoinSource(_), None) if is_full => Err(Errno::ENOBUFS),
        (MembershipKind::Join, None) => {
            list.push(new(false, Vec::new()));
            Ok(Consequence::Join)
        }
        (MembershipKind::JoinSource(source), None) => {
            list.push(new(true, alloc::vec![source]));
            Ok(Consequence::Join)
        }
        (MembershipKind::Leave, Some(place)) => {
            list.remove(place);
            Ok(Consequence::Leave)
        }
        (MembershipKind::Leave, None) => Err(Errno::EADDRNOTAVAIL),
        (MembershipKind::LeaveSource(_) | MembershipKind::Block(_) | MembershipKind::Unblock(_), None) => {
            Err(Errno::EINVAL)
        }
        (kind, Some(place)) => {
            let is_emptied = change_sources(&mut list[place], kind)?;
            if is_emptied {
                list.remove(place);
                return Ok(Consequence::Leave);
            }
            Ok(Consequence::None)
        }
    }
}

/// Changes the sources of a membership. True: nothing is left of it.
fn change_sources(membership: &mut Membership, kind: MembershipKind) -> Result<bool, Errno> {
    let (source, wants_include, adds) = match kind {
        MembershipKind::Block(source) => (source, false, true),
        MembershipKind::Unblock(source) => (source, false, false),
        MembershipKind::JoinSource(source) => (source, true, true),
        MembershipKind::LeaveSource(source) => (source, true, false),
        MembershipKind::Join | MembershipKind::Leave => return Err(Errno::EINVAL),
    };
    if membership.is_include != wants_include {
        return Err(Errno::EINVAL);
    }
    let place = membership.sources.iter().position(|known| *known == source);
    let sources_max = if source.is_ipv4() { V4_SOURCES_MAX } else { V6_SOURCES_MAX };
    match (adds, place) {
        (true, Some(_)) | (false, None) => return Err(Errno::EADDRNOTAVAIL),
        (true, None) if membership.sources.len() >= sources_max => return Err(Errno::ENOBUFS),
        (true, None) => membership.sources.push(source),
        (false, Some(place)) => {
            membership.sources.remove(place);
        }
    }
    Ok(membership.is_include && membership.sources.is_empty())
}

/// Whether memberships let a packet to a group pass; `takes_all` decides for groups that the socket is not in.
pub(crate) fn passes(list: &[Membership], group: IpAddr, source: IpAddr, interface: u32, takes_all: bool) -> bool {
    match list.iter().find(|known| (known.group, known.interface) == (group, interface)) {
        Some(known) => known.sources.contains(&source) == known.is_include,
        None => takes_all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: MembershipKind) -> MembershipChange {
        MembershipChange { kind, group: "239.1.1.1".parse().unwrap(), interface: 2, address: None }
    }

    #[test]
    fn groups_are_joined_once_and_filtered_by_source() {
        let mut list = Vec::new();
        let (one, two): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let group = change(MembershipKind::Join).group;
        assert_eq!(apply(&mut list, &change(MembershipKind::Join)), Ok(Consequence::Join));
        assert_eq!(apply(&mut list, &change(MembershipKind::Join)), Err(Errno::EADDRINUSE));
        assert_eq!(apply(&mut list, &change(MembershipKind::JoinSource(one))), Err(Errno::EINVAL));
        assert_eq!(apply(&mut list, &change(MembershipKind::Block(one))), Ok(Consequence::None));
        assert!(
            !passes(&list, group, one, 2, true)
                && passes(&list, group, two, 2, false)
                && !passes(&list, group, two, 3, false)
        );
        assert_eq!(apply(&mut list, &change(MembershipKind::Leave)), Ok(Consequence::Leave));
        assert_eq!(apply(&mut list, &change(MembershipKind::Leave)), Err(Errno::EADDRNOTAVAIL));
        assert_eq!(apply(&mut list, &change(MembershipKind::JoinSource(one))), Ok(Consequence::Join));
        assert!(passes(&list, group, one, 2, false) && !passes(&list, group, two, 2, true));
        assert_eq!(apply(&mut list, &change(MembershipKind::LeaveSource(one))), Ok(Consequence::Leave));
        assert!(list.is_empty());
    }

    #[test]
    fn values_of_programs_are_read() {
        let mreq = [239, 1, 1, 1, 10, 0, 0, 1];
        let change = MembershipChange::parse(SOL_IP, option::ADD_MEMBERSHIP, &mreq, false).unwrap().unwrap();
        assert_eq!((change.kind, change.address), (MembershipKind::Join, Some(Ipv4Addr::new(10, 0, 0, 1))));
        assert_eq!(MembershipChange::parse(SOL_IP, option::ADD_MEMBERSHIP, &mreq[..7], false), Err(Errno::EINVAL));
        assert_eq!(MembershipChange::parse(SOL_IP, option::ADD_MEMBERSHIP, &[10; 8], false), Err(Errno::EINVAL));
        assert_eq!(MembershipChange::parse(SOL_IP, 1, &mreq, false), Ok(None));
        let mut request = [0; 136];
        request[0] = 3;
        request[8..10].copy_from_slice(&2_u16.to_ne_bytes());
        request[12..16].copy_from_slice(&[239, 1, 1, 1]);
        let change = MembershipChange::parse(SOL_IP, option::JOIN, &request, false).unwrap().unwrap();
        assert_eq!((change.group, change.interface), ("239.1.1.1".parse().unwrap(), 3));
    }
}
