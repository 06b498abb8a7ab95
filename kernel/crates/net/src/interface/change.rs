//! Routes that a program sets: what Linux asks of them before it takes them.

use core::net::IpAddr;

use abi::Errno;

use super::snapshot::{ROUTES_MAX, RouteEntry, Snapshot};
use super::{Interfaces, Scope, is_in_prefix, scope_of};

/// How a route comes to be among the others to its prefix with its metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteInsertion {
    /// There need be no other.
    pub creates: bool,
    /// There may be no other.
    pub is_exclusive: bool,
    /// It takes the place of another.
    pub replaces: bool,
    /// Its router is on the link, whatever the other routes say.
    pub is_on_link: bool,
}

impl Interfaces {
    /// Sets a route. Without an interface (number 0) it is that of its router.
    ///
    /// `ENODEV`: no interface. `ENETDOWN`: it is switched off. `EINVAL`: the router or the source is none.
    /// `ENETUNREACH`, `EHOSTUNREACH`: the router is on no link. `EEXIST`, `ENOENT`: there is another route, or none.
    /// `ENOBUFS`: there are too many.
    pub fn insert_route(&self, mut route: RouteEntry, how: RouteInsertion) -> Result<(), Errno> {
        self.update(|snapshot| {
            route.interface = interface_of(snapshot, &route, how.is_on_link)?;
            // As of old in IPv4, this machine as the router means that there is none.
            route.gateway = route.gateway.filter(|gateway| !snapshot.is_local(*gateway));
            let is_rival = |known: &RouteEntry| {
                (known.destination, known.prefix_len, known.metric)
                    == (route.destination, route.prefix_len, route.metric)
            };
            match snapshot.routes.iter().position(is_rival) {
                Some(_) if how.is_exclusive => return Err(Errno::EEXIST),
                Some(place) if how.replaces => drop(snapshot.routes.remove(place)),
                Some(_) if snapshot.routes.iter().any(|known| known.is_same_way(&route)) => return Err(Errno::EEXIST),
                None if !how.creates => return Err(Errno::ENOENT),
                _ => {}
            }
            snapshot.routes.retain(|known| !known.is_same_way(&route));
            if snapshot.routes.len() >= ROUTES_MAX {
                return Err(Errno::ENOBUFS);
            }
            snapshot.routes.push(route);
            Ok(())
        })
    }
}

/// The interface that a route leads through, if the route can be.
fn interface_of(snapshot: &Snapshot, route: &RouteEntry, is_on_link: bool) -> Result<u32, Errno> {
    let index = match (route.interface, route.gateway) {
        (0, None) => return Err(Errno::ENODEV),
        (0, Some(gateway)) => link_of(snapshot, gateway, 0).ok_or(unreachable(gateway))?,
        (index, _) => index,
    };
    if !snapshot.interface(index).ok_or(Errno::ENODEV)?.is_up() {
        return Err(Errno::ENETDOWN);
    }
    if let Some(gateway) = route.gateway {
        if gateway.is_multicast() || (gateway.is_ipv6() && snapshot.is_local(gateway)) {
            return Err(Errno::EINVAL);
        }
        let is_of_link = gateway.is_ipv6() && scope_of(gateway) == Scope::Link;
        if !is_on_link && !is_of_link && link_of(snapshot, gateway, index) != Some(index) {
            return Err(unreachable(gateway));
        }
    }
    match route.source {
        Some(source) if !snapshot.is_local(source) => Err(Errno::EINVAL),
        _ => Ok(index),
    }
}

/// The error of a router that nobody reaches.
const fn unreachable(gateway: IpAddr) -> Errno {
    if gateway.is_ipv4() { Errno::ENETUNREACH } else { Errno::EHOSTUNREACH }
}

/// The interface on whose link an address is by the routes; `wanted`, if that is not 0.
fn link_of(snapshot: &Snapshot, address: IpAddr, wanted: u32) -> Option<u32> {
    let best = snapshot.routes.iter().find(|route| {
        is_in_prefix(address, route.destination, route.prefix_len) && (wanted == 0 || route.interface == wanted)
    })?;
    best.gateway.is_none().then_some(best.interface)
}
