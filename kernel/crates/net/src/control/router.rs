//! Router discovery and the addresses made of it: RFC 4861, section 6.3, RFC 4862, RFC 8106.
//!
//! Addresses end in the modified EUI-64 of the link address, as Linux makes them unless told otherwise. Each is tentative until nobody has
//! objected for a second.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use abi::Errno;
use smoltcp::wire::{NdiscOption, NdiscOptionRepr, NdiscPrefixInfoFlags, NdiscPrefixInformation};
use sync::machine::{self, NEVER};

use super::ndp;
use crate::Stack;
use crate::interface::{AddressState, Interface, InterfaceAddress, Mac, Origin, RouteEntry, is_in_prefix, network_of};

const SECOND_NS: u64 = 1_000_000_000;
/// `RetransTimer`: how long an objection may take.
const OBJECTION_NS: u64 = SECOND_NS;
/// `MAX_RTR_SOLICITATIONS`.
const SOLICITATIONS_MAX: u32 = 3;
/// `RTR_SOLICITATION_INTERVAL`.
const SOLICITATION_INTERVAL_NS: u64 = 4 * SECOND_NS;
/// The metric of routes that routers advertise, as on Linux.
const ROUTE_METRIC: u32 = 1024;
/// Prefixes of which addresses are made have this length.
const PREFIX_LEN: u8 = 64;
/// Advertised lifetimes below count only for addresses that have less left (RFC 4862, section 5.5.3).
const LIFETIME_MIN_NS: u64 = 7200 * SECOND_NS;
/// Addresses of one interface that routers give.
const ADDRESSES_MAX: usize = 16;
/// The option with what the link takes.
const MTU_OPTION: u8 = 5;
/// The option with name servers.
const NAME_SERVERS_OPTION: u8 = 25;
/// Name servers taken from one advertisement.
const NAME_SERVERS_MAX: usize = 3;

/// What an interface waits for.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    /// Addresses that nobody has objected to yet, and since when they count as ours.
    tentative: Vec<(Ipv6Addr, u64)>,
    /// Solicitations that may still be sent, and when.
    solicitations: u32,
    solicit_ns: u64,
    /// What routers advertise is taken.
    listens: bool,
}

/// Begins on an interface: its own address for the link, and, if it `listens` to them, the search for routers.
pub(super) fn start(stack: &Arc<Stack>, interface: &Arc<Interface>, listens: bool) {
    let now_ns = machine::now_ns();
    if listens {
        stack.control().with(|state| {
            let discovery = state.discoveries.entry(interface.index()).or_default();
            (discovery.solicitations, discovery.solicit_ns) = (SOLICITATIONS_MAX, now_ns.saturating_add(OBJECTION_NS));
            discovery.listens = true;
        });
    }
    let address = address_of(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), interface.mac());
    let entry = InterfaceAddress::permanent(interface.index(), address.into(), PREFIX_LEN, Origin::Kernel);
    // It is not there yet, or as good.
    let _ = add(stack, interface, entry);
}

/// Looks for routers anew, where they are looked for at all.
pub(super) fn search(stack: &Stack, interface: &Interface) {
    let now_ns = machine::now_ns();
    stack.control().with(|state| {
        if let Some(discovery) = state.discoveries.get_mut(&interface.index()).filter(|one| one.listens) {
            (discovery.solicitations, discovery.solicit_ns) = (SOLICITATIONS_MAX, now_ns);
        }
    });
}

/// The address of an interface in a prefix (RFC 4291, appendix A).
fn address_of(prefix: Ipv6Addr, [a, b, c, d, e, f]: Mac) -> Ipv6Addr {
    let id = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits((prefix.to_bits() >> 64 << 64) | u128::from(id))
}

impl Stack {
    /// Gives an interface an address; one of IPv6 is its own once nobody objects, if `detects`. Errors as of
    /// `Interfaces::add_address`.
    pub(crate) fn add_address(self: &Arc<Self>, address: InterfaceAddress, detects: bool) -> Result<(), Errno> {
        let interface = self.interfaces().with(|snapshot| snapshot.interface(address.interface).cloned());
        let interface = interface.ok_or(Errno::ENODEV)?;
        if detects && address.address.is_ipv6() && !interface.is_loopback() {
            return add(self, &interface, address);
        }
        self.interfaces().add_address(address)?;
        // It may have an end.
        self.control().request_poll(self, machine::now_ns());
        Ok(())
    }
}

/// Gives an interface an address, once nobody objects.
fn add(stack: &Arc<Stack>, interface: &Arc<Interface>, address: InterfaceAddress) -> Result<(), Errno> {
    let tentative = InterfaceAddress { state: AddressState::Tentative, ..address };
    let IpAddr::V6(v6) = address.address else { return Err(Errno::EINVAL) };
    stack.interfaces().add_address(tentative)?;
    let now_ns = machine::now_ns();
    let due_ns = now_ns.saturating_add(OBJECTION_NS);
    stack.control().with(|state| state.discoveries.entry(interface.index()).or_default().tentative.push((v6, due_ns)));
    ndp::probe(interface, v6);
    stack.control().request_poll(stack, now_ns);
    Ok(())
}

/// Somebody has the address that we wanted.
pub(super) fn duplicate(stack: &Arc<Stack>, interface: &Arc<Interface>, address: Ipv6Addr) {
    log::warn!("net: {address} for {} is used by another machine", interface.name());
    stack.control().with(|state| {
        if let Some(discovery) = state.discoveries.get_mut(&interface.index()) {
            discovery.tentative.retain(|(known, _)| *known != address);
        }
    });
    set_state(stack, interface, address, AddressState::Duplicate);
}

fn set_state(stack: &Arc<Stack>, interface: &Arc<Interface>, address: Ipv6Addr, state: AddressState) {
    stack.interfaces().change_addresses(interface.index(), |own| {
        if own.address == IpAddr::V6(address) {
            own.state = state;
        }
    });
}

/// Does what is due, and answers when the next is.
pub(super) fn poll(stack: &Arc<Stack>, interface: &Arc<Interface>, now_ns: u64) -> u64 {
    let due = stack.control().with(|state| {
        let discovery = state.discoveries.get_mut(&interface.index())?;
        let (ripe, tentative) = discovery.tentative.iter().partition(|(_, due_ns)| *due_ns <= now_ns);
        discovery.tentative = tentative;
        let ripe: Vec<(Ipv6Addr, u64)> = ripe;
        let solicits = discovery.solicitations > 0 && discovery.solicit_ns <= now_ns;
        if solicits {
            discovery.solicitations -= 1;
            discovery.solicit_ns = now_ns.saturating_add(SOLICITATION_INTERVAL_NS);
        }
        let solicit_ns = if discovery.solicitations > 0 { discovery.solicit_ns } else { NEVER };
        let next_ns = discovery.tentative.iter().map(|(_, due_ns)| *due_ns).min().unwrap_or(NEVER).min(solicit_ns);
        Some((ripe, solicits, next_ns))
    });
    let Some((ripe, solicits, next_ns)) = due else { return NEVER };
    for (address, _) in ripe {
        set_state(stack, interface, address, AddressState::Preferred);
        log::info!("net: {} has {address}", interface.name());
    }
    if solicits {
        ndp::solicit_routers(stack, interface);
    }
    next_ns
}

/// A router advertises itself, and prefixes.
pub(super) fn advertised(
    stack: &Arc<Stack>,
    interface: &Arc<Interface>,
    router: Ipv6Addr,
    lifetime_seconds: u64,
    options: &[u8],
) {
    let is_wanted = stack.control().with(|state| match state.discoveries.get_mut(&interface.index()) {
        Some(discovery) if discovery.listens => {
            discovery.solicitations = 0;
            true
        }
        _ => false,
    });
    if !is_wanted {
        return;
    }
    let now_ns = machine::now_ns();
    let index = interface.index();
    let until_ns = after(now_ns, lifetime_seconds);
    let route = RouteEntry::default_via(router.into(), index, ROUTE_METRIC, Origin::Router);
    let is_known = stack.interfaces().with(|snapshot| snapshot.routes().iter().any(|known| known.is_same_way(&route)));
    if lifetime_seconds > 0 {
        // Full tables keep what is there.
        let _ = stack.interfaces().add_route(RouteEntry { valid_until_ns: until_ns, ..route });
    } else if is_known {
        stack.interfaces().retain_routes(|known| !known.is_same_way(&route));
    }
    let mut rest = options;
    while let [kind, units, ..] = rest {
        let (option, next) = rest.split_at((usize::from(*units) * 8).min(rest.len()));
        if option.is_empty() {
            break;
        }
        if *kind == NAME_SERVERS_OPTION {
            name_servers(stack, index, option);
        } else if let Ok(option) = NdiscOption::new_checked(option)
            && let Ok(NdiscOptionRepr::PrefixInformation(prefix)) = NdiscOptionRepr::parse(&option)
        {
            take_prefix(stack, interface, &prefix, now_ns);
        } else if let &[MTU_OPTION, 1, _, _, a, b, c, d] = option {
            stack.interfaces().set_mtu6(interface, u32::from_be_bytes([a, b, c, d]));
        }
        rest = next;
    }
    stack.control().request_poll(stack, now_ns);
}

/// The time that comes after so many seconds; the largest 32-bit number means never.
fn after(now_ns: u64, seconds: u64) -> u64 {
    if seconds >= u64::from(u32::MAX) { NEVER } else { now_ns.saturating_add(seconds * SECOND_NS) }
}

fn name_servers(stack: &Arc<Stack>, index: u32, option: &[u8]) {
    let (Some(lifetime), Some(addresses)) = (option.get(4..8), option.get(8..)) else { return };
    let servers = match lifetime {
        [0, 0, 0, 0] => Vec::new(),
        _ => addresses.as_chunks::<16>().0.iter().take(NAME_SERVERS_MAX).map(|bytes| IpAddr::from(*bytes)).collect(),
    };
    stack.control().set_name_servers(index, Origin::Router, servers, None);
}

fn take_prefix(stack: &Arc<Stack>, interface: &Arc<Interface>, prefix: &NdiscPrefixInformation, now_ns: u64) {
    let network: IpAddr = prefix.prefix.into();
    if prefix.prefix_len > 128 || prefix.prefix.is_unicast_link_local() || prefix.prefix.is_multicast() {
        return;
    }
    let index = interface.index();
    let (valid, preferred) = (prefix.valid_lifetime.secs(), prefix.preferred_lifetime.secs());
    if prefix.flags.contains(NdiscPrefixInfoFlags::ON_LINK) {
        let route = RouteEntry {
            destination: network_of(network, prefix.prefix_len),
            prefix_len: prefix.prefix_len,
            gateway: None,
            valid_until_ns: after(now_ns, valid),
            ..RouteEntry::default_via(network, index, 256, Origin::Router)
        };
        if valid > 0 {
            // Full tables keep what is there.
            let _ = stack.interfaces().add_route(route);
        } else {
            stack.interfaces().retain_routes(|known| !(known.is_same_way(&route) && known.origin == Origin::Router));
        }
    }
    let is_autonomous = prefix.flags.contains(NdiscPrefixInfoFlags::ADDRCONF) && prefix.prefix_len == PREFIX_LEN;
    if !is_autonomous || preferred > valid {
        return;
    }
    let known = stack.interfaces().with(|snapshot| {
        let of_router = |own: &&InterfaceAddress| own.origin == Origin::Router && own.address.is_ipv6();
        let is_it = |own: &InterfaceAddress| is_in_prefix(own.address, network, PREFIX_LEN);
        let count = snapshot.addresses_of(index).filter(of_router).count();
        (snapshot.addresses_of(index).filter(of_router).any(is_it), count)
    });
    match known {
        (true, _) => refresh(stack, index, network, (valid, preferred), now_ns),
        (false, count) if count < ADDRESSES_MAX && valid > 0 => {
            let address = address_of(prefix.prefix, interface.mac());
            let permanent = InterfaceAddress::permanent(index, address.into(), PREFIX_LEN, Origin::Router);
            let (preferred_until_ns, valid_until_ns) = (after(now_ns, preferred), after(now_ns, valid));
            // Full tables keep what is there.
            let _ = add(stack, interface, InterfaceAddress { preferred_until_ns, valid_until_ns, ..permanent });
        }
        _ => {}
    }
}

/// Gives addresses of a prefix new lifetimes; nobody can end them at once (RFC 4862, section 5.5.3, point e).
fn refresh(stack: &Arc<Stack>, index: u32, network: IpAddr, (valid, preferred): (u64, u64), now_ns: u64) {
    stack.interfaces().change_addresses(index, |own| {
        if own.origin != Origin::Router || !is_in_prefix(own.address, network, PREFIX_LEN) {
            return;
        }
        let left_ns = own.valid_until_ns.saturating_sub(now_ns);
        let valid_until_ns = after(now_ns, valid);
        if valid_until_ns.saturating_sub(now_ns) > LIFETIME_MIN_NS || valid_until_ns > own.valid_until_ns {
            own.valid_until_ns = valid_until_ns;
        } else if left_ns > LIFETIME_MIN_NS {
            own.valid_until_ns = now_ns.saturating_add(LIFETIME_MIN_NS);
        }
        own.preferred_until_ns = after(now_ns, preferred);
        if own.state == AddressState::Deprecated && preferred > 0 {
            own.state = AddressState::Preferred;
        }
    });
}
