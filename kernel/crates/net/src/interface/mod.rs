//! Interfaces: devices with names and addresses, and the ways from them to the world.
//!
//! - [`Interface`]: a device, or loopback.
//! - [`Interfaces`]: all of them with their addresses and routes, as a [`Snapshot`] that is replaced as a whole. Readers follow it under RCU; who changes
//!   it holds a lock of rank `NETWORK`. Each change moves [`Interfaces::generation`] on.
//! - [`Route`]: the way to one destination with its headers prepared, which a flow keeps until the generation moves.
//! - [`Neighbours`]: link addresses.

mod address;
mod change;
mod fragment;
mod neighbour;
mod route;
mod snapshot;
mod source;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::sync::Arc;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use abi::Errno;
use sync::rcu::{self, RcuCell};
use sync::{Mutex, rank};

use crate::Nic;
use crate::counters::Counters;
use crate::nic::NicCounters;
use crate::settings;
use crate::socket::netlink;

pub use address::{
    AddressClass, AddressState, InterfaceAddress, Origin, Scope, is_in_prefix, is_same_family, mask4, mask6,
    network_of, scope_of, unspecified,
};
pub use change::RouteInsertion;
pub use neighbour::{
    Due, Evidence, Mac, NEIGHBOURS_MAX, Neighbour, NeighbourState, Neighbours, QUEUE_MAX, Solicitation,
};
pub use route::{Route, RouteRequest};
pub(crate) use snapshot::local_source;
pub use snapshot::{ADDRESSES_MAX, PATH_MTUS_MAX, ROUTES_MAX, RouteEntry, Snapshot};

/// Interfaces that a machine has at most.
pub const INTERFACES_MAX: usize = 64;
/// The number of loopback.
pub const LOOPBACK_INDEX: u32 = 1;
/// What loopback takes in one packet, as on Linux. IPv4 allows 65,535.
const LOOPBACK_MTU: u32 = 65_536;
/// The least an IPv4 link takes (RFC 791).
const MTU_MIN: u32 = 68;
/// The least an IPv6 link takes.
const MTU6_MIN: u32 = 1280;
/// Counters of packet identifications; a power of two.
const IDENTIFICATIONS: usize = 64;

bitflags::bitflags! {
    /// `IFF_`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct InterfaceFlags: u32 {
        /// It is switched on.
        const UP = 0x1;
        /// It can reach all on its link at once.
        const BROADCAST = 0x2;
        /// It leads back.
        const LOOPBACK = 0x8;
        /// Its link is up.
        const RUNNING = 0x40;
        /// It can reach groups.
        const MULTICAST = 0x1000;
        /// The layer below is up.
        const LOWER_UP = 0x1_0000;
    }
}

/// An interface.
pub struct Interface {
    index: u32,
    name: String,
    nic: Option<Arc<dyn Nic>>,
    mac: Mac,
    mtu: AtomicU32,
    /// What routers say that the link takes of IPv6.
    mtu6: AtomicU32,
    is_up: AtomicBool,
    /// `accept_redirects` of IPv4 and of IPv6.
    pub accept_redirects: [AtomicBool; 2],
    neighbours: Neighbours,
    /// Of loopback; a device counts by itself.
    traffic: Counters<2>,
}

/// The place of packets in [`Interface::traffic`].
const PACKETS: usize = 0;
/// The place of bytes.
const BYTES: usize = 1;

impl Interface {
    fn new(index: u32, name: String, nic: Option<Arc<dyn Nic>>, cpus: u32) -> Self {
        let (mac, mtu) = nic.as_ref().map_or(([0; 6], LOOPBACK_MTU), |nic| {
            let properties = nic.properties();
            (properties.mac, u32::from(properties.mtu))
        });
        let traffic = Counters::new(if nic.is_some() { 1 } else { cpus });
        let (mtu, mtu6, is_up) = (AtomicU32::new(mtu), AtomicU32::new(u32::MAX), AtomicBool::new(true));
        let accept_redirects = [AtomicBool::new(true), AtomicBool::new(true)];
        Self { index, name, nic, mac, mtu, mtu6, is_up, accept_redirects, neighbours: Neighbours::default(), traffic }
    }

    /// Whether routers may name better next hops here. In IPv4 it is enough that all interfaces do.
    pub(crate) fn accepts_redirects(&self, is_ipv4: bool) -> bool {
        let [of_ipv4, of_ipv6] = &self.accept_redirects;
        match is_ipv4 {
            true => of_ipv4.load(Ordering::Relaxed) || settings::ACCEPT_REDIRECTS4.get() != 0,
            false => of_ipv6.load(Ordering::Relaxed),
        }
    }

    /// Its number, from 1.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Its name, such as `eth0`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its device; none for loopback.
    #[must_use]
    pub fn nic(&self) -> Option<&Arc<dyn Nic>> {
        self.nic.as_ref()
    }

    /// Whether it is loopback.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.nic.is_none()
    }

    /// Its link address; zeroes for loopback.
    #[must_use]
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// The largest IP packet it takes.
    #[must_use]
    pub fn mtu(&self) -> u32 {
        self.mtu.load(Ordering::Relaxed)
    }

    /// The largest packet of the family of `destination` that it takes.
    pub(crate) fn mtu_to(&self, destination: IpAddr) -> u32 {
        let limit = if destination.is_ipv4() { u32::MAX } else { self.mtu6.load(Ordering::Relaxed) };
        self.mtu().min(limit)
    }

    /// Whether it is switched on.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Its state as programs see it.
    #[must_use]
    pub fn flags(&self) -> InterfaceFlags {
        let mut flags = match &self.nic {
            None => InterfaceFlags::LOOPBACK,
            Some(_) => InterfaceFlags::BROADCAST | InterfaceFlags::MULTICAST,
        };
        let is_link_up = self.nic.as_ref().is_none_or(|nic| nic.is_link_up());
        if self.is_up() {
            flags |= InterfaceFlags::UP;
            if is_link_up {
                flags |= InterfaceFlags::RUNNING | InterfaceFlags::LOWER_UP;
            }
        }
        flags
    }

    /// Who is on its link.
    #[must_use]
    pub fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    /// What it has carried.
    #[must_use]
    pub fn counters(&self) -> NicCounters {
        if let Some(nic) = &self.nic {
            return nic.counters();
        }
        let (frames, bytes) = (self.traffic.get(PACKETS), self.traffic.get(BYTES));
        NicCounters {
            received_frames: frames,
            received_bytes: bytes,
            sent_frames: frames,
            sent_bytes: bytes,
            ..NicCounters::default()
        }
    }

    /// Counts what loopback carries.
    pub(crate) fn count_traffic(&self, packets: usize, bytes: usize) {
        self.traffic.add(PACKETS, packets as u64);
        self.traffic.add(BYTES, bytes as u64);
    }
}

/// The interfaces of a machine with their addresses and routes. The first interface is loopback.
pub struct Interfaces {
    current: RcuCell<Snapshot>,
    /// Held while the snapshot is replaced.
    change: Mutex<()>,
    generation: AtomicU64,
    identifications: [AtomicU32; IDENTIFICATIONS],
}

impl Default for Interfaces {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Interfaces {
    /// Loopback alone, with its addresses, on a machine with so many CPUs.
    #[must_use]
    pub fn new(cpus: u32) -> Self {
        let loopback = Arc::new(Interface::new(LOOPBACK_INDEX, "lo".into(), None, cpus));
        let mut snapshot = Snapshot::default();
        snapshot.interfaces.push(loopback);
        for (address, prefix_len) in [(IpAddr::from(Ipv4Addr::LOCALHOST), 8), (Ipv6Addr::LOCALHOST.into(), 128)] {
            snapshot.addresses.push(InterfaceAddress::permanent(LOOPBACK_INDEX, address, prefix_len, Origin::Kernel));
        }
        let mut seeds = [0; IDENTIFICATIONS * 4];
        sync::machine::fill_entropy(&mut seeds);
        let (seeds, _) = seeds.as_chunks::<4>();
        Self {
            current: RcuCell::new(Arc::new(snapshot)),
            change: Mutex::new(rank::NETWORK, ()),
            generation: AtomicU64::new(1),
            identifications: core::array::from_fn(|place| {
                AtomicU32::new(seeds.get(place).map_or(0, |seed| u32::from_le_bytes(*seed)))
            }),
        }
    }

    /// Adds a device under the next name `ethN`. None: there are too many.
    pub fn add(&self, nic: Arc<dyn Nic>) -> Option<Arc<Interface>> {
        self.update(|snapshot| {
            if snapshot.interfaces.len() >= INTERFACES_MAX {
                return None;
            }
            let index = u32::try_from(snapshot.interfaces.len() + 1).ok()?;
            let name = alloc::format!("eth{}", index - 2);
            let interface = Arc::new(Interface::new(index, name, Some(nic), 1));
            snapshot.interfaces.push(Arc::clone(&interface));
            Some(interface)
        })
    }

    /// Moves with each change: what was found in a snapshot is true as long as this is what it was before the look.
    #[must_use]
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Everything as it is now, to keep.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load()
    }

    /// Looks at everything as it is now, in an RCU read section: `look` does not sleep.
    #[inline]
    pub fn with<R>(&self, look: impl FnOnce(&Snapshot) -> R) -> R {
        look(self.current.get(&rcu::read()))
    }

    /// What an address is to this machine.
    #[must_use]
    pub fn class_of(&self, address: IpAddr) -> AddressClass {
        self.with(|snapshot| snapshot.class_of(address))
    }

    /// Whether an address is this machine's own.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.with(|snapshot| snapshot.is_local(address))
    }

    /// Changes a copy of everything and puts it in place. Sleeps.
    pub fn update<R>(&self, change: impl FnOnce(&mut Snapshot) -> R) -> R {
        let _change = self.change.lock();
        let old = self.current.load();
        let mut snapshot = Snapshot::clone(&old);
        let result = change(&mut snapshot);
        snapshot.sort_routes();
        let new = Arc::new(snapshot);
        self.current.replace(Arc::clone(&new));
        self.generation.fetch_add(1, Ordering::AcqRel);
        netlink::notify(self, &old, &new);
        result
    }

    /// Gives an interface an address, and the route to its prefix. `EEXIST`: it has it.
    pub fn add_address(&self, address: InterfaceAddress) -> Result<(), Errno> {
        self.update(|snapshot| {
            snapshot.interface(address.interface).ok_or(Errno::ENODEV)?;
            if snapshot.addresses_of(address.interface).any(|own| own.address == address.address) {
                return Err(Errno::EEXIST);
            }
            if snapshot.addresses.len() >= ADDRESSES_MAX {
                return Err(Errno::ENOBUFS);
            }
            snapshot.addresses.push(address);
            let network = address.network();
            let route = RouteEntry::connected(&address, network);
            let is_host = address.prefix_len >= if network.is_ipv4() { 32 } else { 128 };
            let is_known = |known: &RouteEntry| {
                (known.destination, known.prefix_len, known.interface) == (network, route.prefix_len, route.interface)
            };
            if !is_host && !snapshot.routes.iter().any(is_known) && snapshot.routes.len() < ROUTES_MAX {
                snapshot.routes.push(route);
            }
            Ok(())
        })
    }

    /// Takes an address from an interface, with the routes that were from it. `EADDRNOTAVAIL`: it has no such address.
    pub fn remove_address(&self, interface: u32, address: IpAddr) -> Result<(), Errno> {
        self.update(|snapshot| {
            let is_it = |own: &InterfaceAddress| own.interface == interface && own.address == address;
            let place = snapshot.addresses.iter().position(is_it).ok_or(Errno::EADDRNOTAVAIL)?;
            let gone = snapshot.addresses.remove(place);
            let remaining = snapshot.addresses.clone();
            snapshot.routes.retain(|route| {
                let is_of_prefix = route.interface == interface
                    && route.gateway.is_none()
                    && (route.destination, route.prefix_len) == (gone.network(), gone.prefix_len)
                    && !remaining.iter().any(|own| own.interface == interface && own.network() == gone.network());
                !is_of_prefix && route.source != Some(address)
            });
            Ok(())
        })
    }

    /// Adds a route, in place of one to the same prefix with the same metric and way.
    pub fn add_route(&self, route: RouteEntry) -> Result<(), Errno> {
        self.update(|snapshot| {
            snapshot.interface(route.interface).ok_or(Errno::ENODEV)?;
            snapshot.routes.retain(|known| !known.is_same_way(&route));
            if snapshot.routes.len() >= ROUTES_MAX {
                return Err(Errno::ENOBUFS);
            }
            snapshot.routes.push(route);
            Ok(())
        })
    }

    /// Takes all routes that `is_wanted` refuses, and answers how many.
    pub fn retain_routes(&self, is_wanted: impl FnMut(&RouteEntry) -> bool) -> usize {
        self.update(|snapshot| {
            let before = snapshot.routes.len();
            snapshot.routes.retain(is_wanted);
            before - snapshot.routes.len()
        })
    }

    /// Changes the addresses of an interface in place.
    pub fn change_addresses(&self, interface: u32, mut change: impl FnMut(&mut InterfaceAddress)) {
        self.update(|snapshot| {
            snapshot.addresses.iter_mut().filter(|own| own.interface == interface).for_each(&mut change);
        });
    }

    /// Switches an interface on or off. `ENODEV`: there is none of this number.
    pub fn set_up(&self, index: u32, is_up: bool) -> Result<(), Errno> {
        self.update(|snapshot| {
            let interface = snapshot.interface(index).ok_or(Errno::ENODEV)?;
            interface.is_up.store(is_up, Ordering::Relaxed);
            Ok::<(), Errno>(())
        })?;
        self.tell_of_link(index);
        Ok(())
    }

    /// Tells who wants to know of the state of a link, which has changed.
    pub(crate) fn tell_of_link(&self, index: u32) {
        if let Some(interface) = self.snapshot().interface(index) {
            netlink::notify_link(self, interface);
        }
    }

    /// Sets the MTU. `EINVAL`: the device does not take it.
    pub fn set_mtu(&self, index: u32, mtu: u32) -> Result<(), Errno> {
        self.update(|snapshot| {
            let interface = snapshot.interface(index).ok_or(Errno::ENODEV)?;
            let mtu_max = interface.nic().map_or(LOOPBACK_MTU, |nic| u32::from(nic.properties().mtu));
            if !(MTU_MIN..=mtu_max).contains(&mtu) {
                return Err(Errno::EINVAL);
            }
            interface.mtu.store(mtu, Ordering::Relaxed);
            interface.mtu6.store(u32::MAX, Ordering::Relaxed);
            Ok::<(), Errno>(())
        })?;
        self.tell_of_link(index);
        Ok(())
    }

    /// A router says what a link takes of IPv6. Less than what all links do (RFC 8200, section 5) and more than this
    /// one does is ignored, as on Linux.
    pub(crate) fn set_mtu6(&self, interface: &Interface, mtu: u32) {
        let is_news = interface.mtu6.load(Ordering::Relaxed) != mtu;
        if is_news && (MTU6_MIN..=interface.mtu()).contains(&mtu) {
            // Ways that were found before are looked for again.
            self.update(|_| interface.mtu6.store(mtu, Ordering::Relaxed));
        }
    }

    /// Notes what the path to a destination takes, until then.
    pub fn set_path_mtu(&self, destination: IpAddr, mtu: u32, until_ns: u64) {
        self.update(|snapshot| snapshot.set_path_mtu(destination, mtu, until_ns));
    }

    /// Notes a better next hop to a destination, as long as the way to it is what it is now, until then.
    pub(crate) fn redirect(&self, destination: IpAddr, interface: u32, gateway: IpAddr, until_ns: u64) {
        self.update(|snapshot| snapshot.redirect(destination, interface, gateway, until_ns));
    }

    /// `count` identifications in a row for packets to a destination; the first.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the field has 16 bits, or the caller takes 32")]
    pub fn identification(&self, destination: IpAddr, count: u32) -> u32 {
        let bits = crate::flow_key::address_bits(destination);
        let place = ((bits as u64) ^ ((bits >> 64) as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        self.identifications[place as usize % IDENTIFICATIONS].fetch_add(count, Ordering::Relaxed)
    }
}
