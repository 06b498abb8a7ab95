//! [`Snapshot`]: interfaces, addresses and routes as they are at one moment; never changed, only replaced.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use abi::Errno;
use sync::machine::NEVER;

use super::Interface;
use super::address::{AddressClass, AddressState, InterfaceAddress, Origin, is_in_prefix, unspecified};
use super::source::select_source;
use crate::control::solicited_node;

/// Routes that a machine has at most.
pub const ROUTES_MAX: usize = 256;
/// Addresses that a machine has at most.
pub const ADDRESSES_MAX: usize = 256;

/// Destinations whose path takes less than its first link, remembered at most.
pub const PATH_MTUS_MAX: usize = 128;

/// Destinations for which routers have named better next hops, remembered at most.
const REDIRECTS_MAX: usize = 128;

/// The group of all machines on a link.
const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// The same in IPv6.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A way to a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteEntry {
    /// The prefix it leads to.
    pub destination: IpAddr,
    /// Its length in bits; 0 for the default.
    pub prefix_len: u8,
    /// The router; none for what is on the link.
    pub gateway: Option<IpAddr>,
    /// The interface's number.
    pub interface: u32,
    /// Of several for one prefix the one with the least is taken.
    pub metric: u32,
    /// The address to send from, if it says.
    pub source: Option<IpAddr>,
    /// Who gave it.
    pub origin: Origin,
    /// When it goes; [`NEVER`] for never.
    pub valid_until_ns: u64,
}

impl RouteEntry {
    /// A way to a prefix on the link of an interface.
    #[must_use]
    pub const fn connected(address: &InterfaceAddress, network: IpAddr) -> Self {
        let source = if address.address.is_ipv4() { Some(address.address) } else { None };
        Self {
            destination: network,
            prefix_len: address.prefix_len,
            gateway: None,
            interface: address.interface,
            metric: if address.address.is_ipv4() { 0 } else { 256 },
            source,
            origin: Origin::Kernel,
            valid_until_ns: NEVER,
        }
    }

    /// Whether both are ways to one prefix that exclude each other.
    #[must_use]
    pub fn is_same_way(&self, other: &Self) -> bool {
        let way = |route: &Self| (route.destination, route.prefix_len, route.interface, route.gateway, route.metric);
        way(self) == way(other)
    }

    /// The default way.
    #[must_use]
    pub const fn default_via(gateway: IpAddr, interface: u32, metric: u32, origin: Origin) -> Self {
        let destination = unspecified(gateway);
        let (gateway, valid_until_ns) = (Some(gateway), NEVER);
        Self { destination, prefix_len: 0, gateway, interface, metric, source: None, origin, valid_until_ns }
    }
}

/// A better next hop that a router has named.
#[derive(Clone, Copy)]
struct Redirect {
    destination: IpAddr,
    interface: u32,
    /// What the table of routes says, without which it does not count.
    replaced: IpAddr,
    gateway: IpAddr,
    until_ns: u64,
}

/// Interfaces, addresses and routes at one moment.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub(super) interfaces: Vec<Arc<Interface>>,
    pub(super) addresses: Vec<InterfaceAddress>,
    /// The longest prefix first, then the least metric.
    pub(super) routes: Vec<RouteEntry>,
    /// Destination, what its path takes, until when.
    path_mtus: Vec<(IpAddr, u32, u64)>,
    redirects: Vec<Redirect>,
    /// Interface, group, how many are in it.
    groups: Vec<(u32, IpAddr, u32)>,
}

/// What a destination comes to.
#[derive(Clone)]
pub(super) struct Path {
    /// Where packets leave; for local addresses loopback.
    pub(super) interface: Arc<Interface>,
    /// Who gets the frames on the link.
    pub(super) next_hop: IpAddr,
    /// The address to send from.
    pub(super) source: IpAddr,
    /// What the destination is.
    pub(super) class: AddressClass,
}

impl Snapshot {
    /// All interfaces; the first is loopback.
    #[must_use]
    pub fn interfaces(&self) -> &[Arc<Interface>] {
        &self.interfaces
    }

    /// All addresses, tentative ones included.
    #[must_use]
    pub fn addresses(&self) -> &[InterfaceAddress] {
        &self.addresses
    }

    /// All routes in the order in which they are tried.
    #[must_use]
    pub fn routes(&self) -> &[RouteEntry] {
        &self.routes
    }

    /// The interface of a number.
    #[must_use]
    pub fn interface(&self, index: u32) -> Option<&Arc<Interface>> {
        self.interfaces.iter().find(|interface| interface.index() == index)
    }

    /// The interface of a name.
    #[must_use]
    pub fn interface_by_name(&self, name: &str) -> Option<&Arc<Interface>> {
        self.interfaces.iter().find(|interface| interface.name() == name)
    }

    /// The addresses of an interface.
    pub fn addresses_of(&self, index: u32) -> impl Iterator<Item = &InterfaceAddress> + Clone {
        self.addresses.iter().filter(move |address| address.interface == index)
    }

    /// What an address is to this machine.
    #[must_use]
    pub fn class_of(&self, address: IpAddr) -> AddressClass {
        if self.is_local(address) {
            return AddressClass::Local;
        }
        match address {
            _ if address.is_multicast() => AddressClass::Multicast,
            IpAddr::V4(Ipv4Addr::BROADCAST) => AddressClass::Broadcast,
            IpAddr::V4(v4) if self.is_broadcast(v4) => AddressClass::Broadcast,
            _ => AddressClass::Remote,
        }
    }

    /// Whether an address is this machine's own: packets to it end here.
    #[must_use]
    #[inline]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address && own.is_assigned())
            || matches!(address, IpAddr::V4(v4) if v4.is_loopback() && !self.is_broadcast(v4))
    }

    /// Whether an address means all machines of a network that this one is in.
    fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|own| own.broadcast() == Some(address))
    }

    /// The way to a destination: from `source` if it is given, through the interface of number `bound` if that is not 0.
    pub(super) fn path(&self, destination: IpAddr, source: Option<IpAddr>, bound: u32) -> Result<Path, Errno> {
        let destination = if destination.is_unspecified() { loopback_of(destination) } else { destination };
        let class = self.class_of(destination);
        let lo = self.interfaces.first().ok_or(Errno::ENETUNREACH)?;
        if class == AddressClass::Local || matches!(destination, IpAddr::V4(v4) if v4.is_loopback()) {
            // A socket that is bound to a device reaches the addresses of that device.
            let owner = self.addresses.iter().find(|own| own.address == destination).map_or(1, |own| own.interface);
            if bound == 0 || bound == lo.index() || bound == owner {
                let source = source.unwrap_or_else(|| local_source(destination));
                return Ok(Path { interface: Arc::clone(lo), next_hop: destination, source, class });
            }
        }
        let (interface, gateway, preferred) = self.egress(destination, source, bound, class)?;
        let gateway = gateway.map(|gateway| self.redirected(destination, interface.index(), gateway));
        if !interface.is_up() {
            return Err(Errno::ENETUNREACH);
        }
        let next_hop = if class == AddressClass::Remote { gateway.unwrap_or(destination) } else { destination };
        let source = match source {
            Some(source) => source,
            None => preferred
                .or_else(|| select_source(self, destination, next_hop, interface.index()))
                .unwrap_or_else(|| unspecified(destination)),
        };
        if source.is_unspecified() && destination.is_ipv6() && !destination.is_multicast() {
            return Err(Errno::EADDRNOTAVAIL);
        }
        Ok(Path { interface: Arc::clone(interface), next_hop, source, class })
    }

    /// Where packets for a destination leave, and who gets them there; none if there is no way.
    pub(crate) fn next_hop(&self, destination: IpAddr) -> Option<(u32, IpAddr)> {
        let path = self.path(destination, None, 0).ok().filter(|path| path.class == AddressClass::Remote)?;
        Some((path.interface.index(), path.next_hop))
    }

    /// The router for a destination, where a router has named a better one than `gateway`.
    fn redirected(&self, destination: IpAddr, interface: u32, gateway: IpAddr) -> IpAddr {
        let is_it =
            |one: &&Redirect| (one.destination, one.interface, one.replaced) == (destination, interface, gateway);
        self.redirects.iter().find(is_it).map_or(gateway, |one| one.gateway)
    }

    /// Notes a better next hop, as long as the way is what it is.
    pub(super) fn redirect(&mut self, destination: IpAddr, interface: u32, gateway: IpAddr, until_ns: u64) {
        let way = self.egress(destination, None, interface, AddressClass::Remote);
        let Some(replaced) = way.ok().and_then(|(_, gateway, _)| gateway) else { return };
        self.redirects.retain(|one| (one.destination, one.interface) != (destination, interface));
        if self.redirects.len() >= REDIRECTS_MAX {
            self.redirects.remove(0);
        }
        self.redirects.push(Redirect { destination, interface, replaced, gateway, until_ns });
    }

    /// The interface, the router if there is one, and the route's own choice of source.
    #[expect(clippy::type_complexity, reason = "taken apart at once by the only caller")]
    fn egress(
        &self,
        destination: IpAddr,
        source: Option<IpAddr>,
        bound: u32,
        class: AddressClass,
    ) -> Result<(&Arc<Interface>, Option<IpAddr>, Option<IpAddr>), Errno> {
        let mut wanted = bound;
        if wanted == 0 && matches!(class, AddressClass::Multicast | AddressClass::Broadcast) {
            // Who names a source means the link of that address.
            wanted = source
                .and_then(|source| self.addresses.iter().find(|own| own.address == source))
                .map_or(0, |own| own.interface);
        }
        let route = self.routes.iter().find(|route| {
            is_in_prefix(destination, route.destination, route.prefix_len)
                && (wanted == 0 || route.interface == wanted)
                && self.interface(route.interface).is_some_and(|interface| interface.is_up())
        });
        if let Some(route) = route {
            let interface = self.interface(route.interface).ok_or(Errno::ENETUNREACH)?;
            return Ok((interface, route.gateway, route.source));
        }
        if wanted != 0 {
            // No route, but a device: what is asked for must be on its link, as Linux takes it.
            let nowhere = if destination.is_ipv4() { Errno::ENODEV } else { Errno::ENETUNREACH };
            return Ok((self.interface(wanted).ok_or(nowhere)?, None, None));
        }
        let is_link_group = matches!(destination, IpAddr::V6(group) if group.is_multicast());
        let first = self.interfaces.iter().find(|interface| interface.nic().is_some() && interface.is_up());
        match first {
            Some(interface) if is_link_group => Ok((interface, None, None)),
            _ => Err(Errno::ENETUNREACH),
        }
    }

    /// Whether a packet to `destination` that came through an interface is for this machine.
    #[must_use]
    pub fn takes(&self, destination: IpAddr, interface: u32) -> bool {
        match self.class_of(destination) {
            AddressClass::Local | AddressClass::Broadcast => true,
            AddressClass::Remote => false,
            AddressClass::Multicast => self.is_member(interface, destination),
        }
    }

    /// Whether an interface is in a group: those of all machines and of its own addresses, and those that were joined.
    #[must_use]
    pub fn is_member(&self, interface: u32, group: IpAddr) -> bool {
        let is_own = match group {
            IpAddr::V4(group) => group == ALL_SYSTEMS,
            IpAddr::V6(group) => {
                let ends_alike = |own: &InterfaceAddress| match own.address {
                    IpAddr::V6(address) => solicited_node(address) == group,
                    IpAddr::V4(_) => false,
                };
                matches!(group.segments(), [0xff01 | 0xff02, 0, 0, 0, 0, 0, 0, 1])
                    || self.addresses_of(interface).any(ends_alike)
            }
        };
        is_own || self.groups.iter().any(|(index, known, _)| (*index, *known) == (interface, group))
    }

    /// The groups that were joined: interface, group.
    pub fn groups(&self) -> impl Iterator<Item = (u32, IpAddr)> {
        self.groups.iter().map(|(interface, group, _)| (*interface, *group))
    }

    /// The groups that an interface is in, and how many sockets put it there; those that it is always in first, with one.
    pub fn groups_of(&self, interface: u32) -> impl Iterator<Item = (IpAddr, u32)> {
        let all = [IpAddr::V4(ALL_SYSTEMS), IpAddr::V6(ALL_NODES)].map(|group| (group, 1));
        let solicited = self.addresses_of(interface).filter_map(|own| match own.address {
            IpAddr::V6(address) if !address.is_loopback() => Some((IpAddr::V6(solicited_node(address)), 1)),
            _ => None,
        });
        let joined = self.groups.iter().filter(move |(index, ..)| *index == interface);
        all.into_iter().chain(solicited).chain(joined.map(|(_, group, count)| (*group, *count)))
    }

    /// One more is in a group. True: it is the first.
    pub(crate) fn join(&mut self, interface: u32, group: IpAddr) -> bool {
        match self.groups.iter_mut().find(|(index, known, _)| (*index, *known) == (interface, group)) {
            Some((_, _, count)) => {
                *count += 1;
                false
            }
            None => {
                self.groups.push((interface, group, 1));
                true
            }
        }
    }

    /// One less is. True: nobody is left.
    pub(crate) fn leave(&mut self, interface: u32, group: IpAddr) -> bool {
        let is_it = |entry: &(u32, IpAddr, u32)| (entry.0, entry.1) == (interface, group);
        let Some(place) = self.groups.iter().position(is_it) else { return false };
        self.groups[place].2 -= 1;
        let is_last = self.groups[place].2 == 0;
        if is_last {
            self.groups.remove(place);
        }
        is_last
    }

    /// What the path to a destination takes, as far as routers have said.
    #[must_use]
    pub fn path_mtu(&self, destination: IpAddr) -> Option<u32> {
        self.path_mtus.iter().find(|(known, ..)| *known == destination).map(|(_, mtu, _)| *mtu)
    }

    /// Forgets addresses, routes and path MTUs whose time is over, deprecates addresses, and answers when the next is.
    pub fn expire(&mut self, now_ns: u64) -> u64 {
        self.addresses.retain(|own| own.valid_until_ns > now_ns);
        for own in &mut self.addresses {
            if own.state == AddressState::Preferred && own.preferred_until_ns <= now_ns {
                own.state = AddressState::Deprecated;
            }
        }
        self.routes.retain(|route| route.valid_until_ns > now_ns);
        self.path_mtus.retain(|(_, _, until_ns)| *until_ns > now_ns);
        self.redirects.retain(|one| one.until_ns > now_ns);
        self.next_expiry()
    }

    /// When [`Snapshot::expire`] has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> u64 {
        let addresses = self.addresses.iter().map(|own| match own.state {
            AddressState::Preferred => own.preferred_until_ns.min(own.valid_until_ns),
            _ => own.valid_until_ns,
        });
        let routes = self.routes.iter().map(|route| route.valid_until_ns);
        let path_mtus = self.path_mtus.iter().map(|(_, _, until_ns)| *until_ns);
        let redirects = self.redirects.iter().map(|one| one.until_ns);
        addresses.chain(routes).chain(path_mtus).chain(redirects).min().unwrap_or(NEVER)
    }

    pub(super) fn set_path_mtu(&mut self, destination: IpAddr, mtu: u32, until_ns: u64) {
        self.path_mtus.retain(|(known, ..)| *known != destination);
        if self.path_mtus.len() >= PATH_MTUS_MAX {
            self.path_mtus.remove(0);
        }
        self.path_mtus.push((destination, mtu, until_ns));
    }

    pub(super) fn sort_routes(&mut self) {
        self.routes.sort_by_key(|route| (u8::MAX - route.prefix_len, route.metric));
    }
}

/// The loopback address of a family.
const fn loopback_of(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

/// Where packets to an own address come from: from there, but from 127.0.0.1 for all of 127.0.0.0/8.
pub(crate) fn local_source(destination: IpAddr) -> IpAddr {
    match destination {
        IpAddr::V4(v4) if v4.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        _ => destination,
    }
}
