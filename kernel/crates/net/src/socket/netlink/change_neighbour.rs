//! `ip neighbour`: link addresses that a program gives, or has forgotten.
//!
//! Not there, and `EOPNOTSUPP`: proxies, and states without a link address.

use alloc::sync::Arc;
use core::net::IpAddr;

use abi::Errno;
use abi::netlink::*;
use abi::socket::AF_INET;
use sync::machine;
use zerocopy::FromBytes;

use super::change::{address_of, prefix_len_max};
use super::message::find_attribute;
use crate::Stack;
use crate::interface::{Evidence, Interface, Mac, NeighbourState};

/// What a request says of a neighbour's name.
pub(super) struct NamedNeighbour {
    pub(super) interface: Arc<Interface>,
    pub(super) address: IpAddr,
}

impl NamedNeighbour {
    /// In the order of Linux's checks.
    pub(super) fn parse(stack: &Stack, body: &[u8]) -> Result<Self, Errno> {
        let (header, rest) = Ndmsg::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
        let value = find_attribute(rest, NDA_DST).ok_or(Errno::EINVAL)?;
        let index = header.ndm_ifindex;
        let interface = stack.interfaces().with(|snapshot| snapshot.interface(index.cast_unsigned()).cloned());
        if index != 0 && interface.is_none() {
            return Err(Errno::ENODEV);
        }
        let address_len = match prefix_len_max(header.ndm_family) {
            Ok(_) if u16::from(header.ndm_family) == AF_INET => 4,
            Ok(_) => 16,
            Err(_) => return Err(Errno::EAFNOSUPPORT),
        };
        let address = if value.len() < address_len { None } else { address_of(rest, NDA_DST, header.ndm_family)? };
        match (interface, address) {
            (Some(interface), Some(address)) => Ok(Self { interface, address }),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// Gives a neighbour its link address.
pub(super) fn add(stack: &Stack, flags: u16, body: &[u8]) -> Result<(), Errno> {
    let (header, rest) = Ndmsg::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
    let named = NamedNeighbour::parse(stack, body)?;
    let mac: Option<Mac> = match find_attribute(rest, NDA_LLADDR) {
        Some(value) => Some(*value.first_chunk().ok_or(Errno::EINVAL)?),
        None => None,
    };
    let neighbours = named.interface.neighbours();
    let known = neighbours.find(named.address);
    match known {
        None if flags & NLM_F_CREATE == 0 => return Err(Errno::ENOENT),
        Some(_) if flags & NLM_F_EXCL != 0 => return Err(Errno::EEXIST),
        _ => {}
    }
    let evidence = match header.ndm_state {
        NUD_PERMANENT => Evidence::Static,
        NUD_REACHABLE => Evidence::Answer,
        NUD_STALE | NUD_DELAY | NUD_PROBE => Evidence::Claim,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    let known_mac = known.and_then(|(mac, _)| mac);
    let Some(mac) = mac.or(known_mac) else { return Err(Errno::EINVAL) };
    if known_mac.is_some_and(|known| known != mac) && flags & NLM_F_REPLACE == 0 {
        // What is known stays, which is no error.
        return Ok(());
    }
    if known.is_some_and(|(_, state)| state == NeighbourState::Permanent) {
        neighbours.remove(named.address);
    }
    let mut waiting = neighbours.learn(named.address, mac, evidence, true, machine::now_ns());
    if let Some(nic) = named.interface.nic()
        && !waiting.is_empty()
    {
        nic.transmit(&mut waiting);
    }
    Ok(())
}

/// Forgets a neighbour.
pub(super) fn remove(stack: &Stack, body: &[u8]) -> Result<(), Errno> {
    let named = NamedNeighbour::parse(stack, body)?;
    if named.interface.neighbours().remove(named.address) { Ok(()) } else { Err(Errno::ENOENT) }
}
