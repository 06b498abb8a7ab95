//! [`Table`]: which socket has which port, and which connection a packet is of.
//!
//! 1. A bound socket has its port for its own CID, or for any. Two sockets conflict where a packet could be for both.
//! 2. A connection is found by its own port and both things of the other end. On the way between two sockets of this
//!    machine CIDs say nothing: such connections are told apart by ports alone.
//! 3. Ports that nobody chose begin at a random one and go up, as on Linux; ports below [`PORT_FREE_FIRST`] are for who
//!    has `CAP_NET_BIND_SERVICE`.
//!
//! The table holds on to its sockets: each is taken out when it is closed.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use abi::Errno;

use super::Route;
use super::packet::Header;
use super::socket::VsockSocket;
use crate::socket::address::VsockAddress;

/// Any CID, or any port.
pub const ANY: u32 = u32::MAX;
/// The first port that needs no privilege.
pub(super) const PORT_FREE_FIRST: u32 = 1024;
/// Ports that are tried for who does not choose, as on Linux.
const TRIES_MAX: u32 = 24;
/// The most sockets that have ports, and connections. They are in rows, as there are few.
const ENTRIES_MAX: usize = 1 << 16;

/// Names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    route: Route,
    own_port: u32,
    peer: VsockAddress,
}

impl Key {
    pub(super) fn new(route: Route, own_port: u32, peer: VsockAddress) -> Self {
        let cid = if route == Route::Local { ANY } else { peer.cid };
        Self { route, own_port, peer: VsockAddress { cid, ..peer } }
    }
}

/// Who has what, both in order.
#[derive(Default)]
pub(super) struct Table {
    bound: Vec<Bound>,
    connected: Vec<(Key, Arc<VsockSocket>)>,
    /// The next port for who does not choose.
    next_port: u32,
}

/// A socket with a port.
struct Bound {
    port: u32,
    cid: u32,
    socket: Arc<VsockSocket>,
}

/// Whether a packet could be for both.
fn meets(one: u32, other: u32) -> bool {
    one == other || one == ANY || other == ANY
}

impl Table {
    /// The sockets that have `port`, by their places.
    fn places_of(&self, port: u32) -> Range<usize> {
        let start = self.bound.partition_point(|bound| bound.port < port);
        let count = self.bound[start..].iter().take_while(|bound| bound.port == port).count();
        start..start + count
    }

    /// The socket that is bound to `address`, or has its port for any CID.
    fn find_bound(&self, address: VsockAddress) -> Option<&Arc<VsockSocket>> {
        let bound = &self.bound[self.places_of(address.port)];
        bound.iter().find(|bound| meets(bound.cid, address.cid)).map(|bound| &bound.socket)
    }

    /// Binds `socket`, and answers its address. `random`: where ports begin that nobody chose.
    pub(super) fn bind(
        &mut self,
        socket: &Arc<VsockSocket>,
        address: VsockAddress,
        random: u32,
    ) -> Result<VsockAddress, Errno> {
        if self.bound.len() >= ENTRIES_MAX {
            return Err(Errno::ENOBUFS);
        }
        let port = if address.port == ANY { self.choose_port(address.cid, random)? } else { address.port };
        let address = VsockAddress { port, ..address };
        if self.find_bound(address).is_some() {
            return Err(Errno::EADDRINUSE);
        }
        self.bound.try_reserve(1).map_err(|_| Errno::ENOBUFS)?;
        let place = self.places_of(port).start;
        self.bound.insert(place, Bound { port, cid: address.cid, socket: Arc::clone(socket) });
        Ok(address)
    }

    fn choose_port(&mut self, cid: u32, random: u32) -> Result<u32, Errno> {
        if self.next_port == 0 {
            self.next_port = random;
        }
        for _ in 0..TRIES_MAX {
            if !(PORT_FREE_FIRST..ANY).contains(&self.next_port) {
                self.next_port = PORT_FREE_FIRST;
            }
            let port = self.next_port;
            self.next_port += 1;
            if self.find_bound(VsockAddress { cid, port }).is_none() {
                return Ok(port);
            }
        }
        Err(Errno::EADDRNOTAVAIL)
    }

    /// Takes the port of `socket` back.
    pub(super) fn unbind(&mut self, socket: &VsockSocket, port: u32) {
        let is_it = |bound: &Bound| core::ptr::eq(&raw const *bound.socket, socket);
        if let Some(place) = self.places_of(port).find(|place| is_it(&self.bound[*place])) {
            self.bound.remove(place);
        }
    }

    fn place_of(&self, key: Key) -> Result<usize, usize> {
        self.connected.binary_search_by_key(&key, |(key, _)| *key)
    }

    /// Packets of `key` are for `socket` from now on. `EADDRINUSE`: they are for another. `ENOBUFS`: there are too many
    /// connections, or there is no memory for one more.
    pub(super) fn connect(&mut self, key: Key, socket: &Arc<VsockSocket>) -> Result<(), Errno> {
        let Err(place) = self.place_of(key) else { return Err(Errno::EADDRINUSE) };
        if self.connected.len() >= ENTRIES_MAX || self.connected.try_reserve(1).is_err() {
            return Err(Errno::ENOBUFS);
        }
        self.connected.insert(place, (key, Arc::clone(socket)));
        Ok(())
    }

    /// And not any more.
    pub(super) fn disconnect(&mut self, key: Key, socket: &VsockSocket) {
        if let Ok(place) = self.place_of(key)
            && core::ptr::eq(&raw const *self.connected[place].1, socket)
        {
            self.connected.remove(place);
        }
    }

    /// Whom a packet is for.
    pub(super) fn find(&self, header: &Header, route: Route) -> Option<Arc<VsockSocket>> {
        match self.place_of(Key::new(route, header.destination.port, header.source)) {
            Ok(place) => Some(Arc::clone(&self.connected[place].1)),
            Err(_) => self.find_bound(header.destination).cloned(),
        }
    }

    /// The next socket behind `last` with a connection over the device, in the order of their keys.
    pub(super) fn next_over_device(&self, last: Option<Key>) -> Option<(Key, Arc<VsockSocket>)> {
        let is_before = |key: &Key| key.route != Route::Device || last.is_some_and(|last| *key <= last);
        let place = self.connected.partition_point(|(key, _)| is_before(key));
        let (key, socket) = self.connected.get(place)?;
        Some((*key, Arc::clone(socket)))
    }
}
