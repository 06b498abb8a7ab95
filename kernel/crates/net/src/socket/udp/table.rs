//! [`UdpTable`]: who has which UDP port, and to whom a datagram for a port goes.
//!
//! Each port in use is one flow, with all sockets bound to it. A datagram to one machine goes to the socket that asks for it most
//! narrowly, as Linux scores them; several of the same score with `SO_REUSEPORT` share by the hash of both ends. One to a group or to all goes to
//! every socket that takes it. Connected sockets have flows of their own besides, found before these.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::sync::atomic::Ordering;

use abi::Errno;
use sync::batch_queue::Entry;
use sync::rcu::{self, RcuCell};
use sync::{Mutex, machine, rank};

use super::UdpSocket;
use crate::Stack;
use crate::channel::{Delivery, ErrorReport, Flow, FlowState, Packet, QueuedPacket};
use crate::flow_key::{FlowKey, address_of_bits, protocol};
use crate::interface::is_same_family;
use crate::settings;
use crate::socket::inet_options::InetFlags;

/// Sockets of one port.
const MEMBERS_MAX: usize = 4096;

/// The UDP ports in use.
pub(crate) struct UdpTable {
    ports: Mutex<BTreeMap<u16, Arc<UdpPort>>>,
    /// What spreads datagrams over sockets that share a port.
    secret: [u64; 2],
}

/// All sockets of a port.
struct UdpPort {
    members: RcuCell<Vec<Arc<UdpSocket>>>,
    flow: FlowState,
    secret: [u64; 2],
}

impl Default for UdpTable {
    fn default() -> Self {
        let mut secret = [[0; 8]; 2];
        secret.iter_mut().for_each(|word| machine::fill_entropy(word));
        Self { ports: Mutex::new(rank::PORT_TABLES, BTreeMap::new()), secret: secret.map(u64::from_le_bytes) }
    }
}

/// The key under which a port takes what no connected socket does.
const fn key_of(port: u16) -> FlowKey {
    FlowKey { local: 0, remote: 0, local_port: port, remote_port: 0, protocol: protocol::UDP }
}

impl UdpTable {
    /// Gives a socket a port: this one, or for 0 one that nobody has. `EADDRINUSE`.
    pub(super) fn bind(&self, socket: &Arc<UdpSocket>, address: Option<IpAddr>, port: u16) -> Result<u16, Errno> {
        let mut ports = self.ports.lock();
        let port = if port == 0 { ephemeral(&ports)? } else { port };
        let entry = match ports.get(&port) {
            Some(entry) => {
                let members = entry.members.load();
                if members.len() >= MEMBERS_MAX || members.iter().any(|other| conflicts(socket, address, other)) {
                    return Err(Errno::EADDRINUSE);
                }
                Arc::clone(entry)
            }
            None => {
                let members = RcuCell::new(Arc::new(Vec::new()));
                let entry = Arc::new(UdpPort { members, flow: FlowState::default(), secret: self.secret });
                ports.insert(port, Arc::clone(&entry));
                socket.stack().flows().insert(key_of(port), Arc::clone(&entry) as Arc<dyn Flow>);
                entry
            }
        };
        socket.datagrams.change_filter(|filter| filter.local = address);
        let mut members = Vec::clone(&entry.members.load());
        members.push(Arc::clone(socket));
        entry.members.replace(Arc::new(members));
        Ok(port)
    }

    /// Takes a socket's port back.
    pub(super) fn unbind(&self, socket: &Arc<UdpSocket>) {
        let Some(port) = socket.datagrams.state.lock().local.map(|local| local.port()) else { return };
        let mut ports = self.ports.lock();
        let Some(entry) = ports.get(&port).cloned() else { return };
        let mut members = Vec::clone(&entry.members.load());
        members.retain(|member| !Arc::ptr_eq(member, socket));
        let is_last = members.is_empty();
        entry.members.replace(Arc::new(members));
        if is_last {
            socket.stack().flows().remove(&key_of(port), &*entry);
            ports.remove(&port);
        }
    }
}

/// A port that nobody has, chosen at random.
fn ephemeral(ports: &BTreeMap<u16, Arc<UdpPort>>) -> Result<u16, Errno> {
    let mut bytes = [0; 2];
    machine::fill_entropy(&mut bytes);
    let (first, last) = settings::ephemeral_ports();
    let count = u32::from(last - first) + 1;
    let start = u32::from(u16::from_le_bytes(bytes)) % count;
    (0..count)
        .map(|step| first + u16::try_from((start + step) % count).unwrap_or(0))
        .find(|port| !ports.contains_key(port))
        .ok_or(Errno::EADDRINUSE)
}

/// Whether two sockets cannot have one port, as in Linux's `inet_rcv_saddr_equal` and its users.
fn conflicts(socket: &UdpSocket, address: Option<IpAddr>, other: &UdpSocket) -> bool {
    let (mine, theirs) = (&socket.datagrams, &other.datagrams);
    let both = |option: fn(&UdpSocket) -> bool| option(socket) && option(other);
    if both(|socket| socket.datagrams.options.reuse_address.load(Ordering::Relaxed))
        || (both(|socket| socket.datagrams.options.reuse_port.load(Ordering::Relaxed)) && socket.user == other.user)
    {
        return false;
    }
    let (own_device, other_device) = (mine.bound_interface(), theirs.bound_interface());
    if own_device != 0 && other_device != 0 && own_device != other_device {
        return false;
    }
    // The addresses a socket stands for, by family.
    let serves_v4 = |is_v6: bool, is_v6_only: bool, address: Option<IpAddr>| match address {
        Some(address) => address.is_ipv4(),
        None => !is_v6 || !is_v6_only,
    };
    let serves_v6 = |is_v6: bool, address: Option<IpAddr>| address.map_or(is_v6, |address| address.is_ipv6());
    let other_address = theirs.with_filter(|filter| filter.local);
    let v6_only = |socket: &UdpSocket| socket.datagrams.inet.has(InetFlags::V6ONLY);
    let meets_v4 =
        serves_v4(mine.is_v6, v6_only(socket), address) && serves_v4(theirs.is_v6, v6_only(other), other_address);
    let meets_v6 = serves_v6(mine.is_v6, address) && serves_v6(theirs.is_v6, other_address);
    let is_same = match (address, other_address) {
        (Some(one), Some(two)) => one == two,
        _ => true,
    };
    is_same && (meets_v4 || meets_v6)
}

impl UdpPort {
    /// How narrowly a socket asks for what this packet is; none if it does not take it.
    fn score(socket: &UdpSocket, packet: &Packet) -> Option<u32> {
        let datagrams = &socket.datagrams;
        let (local, remote) = (address_of_bits(packet.key.local), packet.key.remote_end());
        if !datagrams.serves(local) {
            return None;
        }
        let device = datagrams.bound_interface();
        if device != 0 && device != packet.interface {
            return None;
        }
        let by_filter = datagrams.with_filter(|filter| {
            let mut score = u32::from(datagrams.is_v6 == local.is_ipv6());
            match filter.local {
                Some(address) if address != local => return None,
                Some(_) => score += 4,
                None => {}
            }
            match filter.remote {
                Some(peer) if (peer.ip(), peer.port()) != (remote.ip(), remote.port()) => return None,
                Some(_) => score += 8,
                None => {}
            }
            Some(score)
        })?;
        Some(by_filter + if device != 0 { 4 } else { 0 })
    }

    /// The socket that takes a packet to this machine alone.
    fn best<'a>(&self, members: &'a [Arc<UdpSocket>], packet: &Packet) -> Option<&'a Arc<UdpSocket>> {
        if let [only] = members {
            return Self::score(only, packet).map(|_| only);
        }
        let scores = || members.iter().map(|member| (member, Self::score(member, packet)));
        let most = scores().filter_map(|(_, score)| score).max()?;
        let mut equals = scores().filter(|(_, score)| *score == Some(most)).map(|(member, _)| member);
        let shares = |member: &&Arc<UdpSocket>| member.datagrams.options.reuse_port.load(Ordering::Relaxed);
        let count = equals.clone().filter(shares).count();
        if count > 1 {
            let place = packet.key.hash(self.secret) % count as u64;
            return equals.filter(shares).nth(usize::try_from(place).unwrap_or(0));
        }
        equals.next()
    }

    /// Gives a packet for many to all that take it.
    fn push_group(members: &[Arc<UdpSocket>], packet: QueuedPacket) -> Delivery {
        let (group, source) = (address_of_bits(packet.key.local), address_of_bits(packet.key.remote));
        let takes = |member: &&Arc<UdpSocket>| {
            Self::score(member, &packet).is_some()
                && (!group.is_multicast()
                    || member
                        .datagrams
                        .with_filter(|filter| member.datagrams.passes_group(filter, group, source, packet.interface)))
        };
        let takers: Vec<&Arc<UdpSocket>> = members.iter().filter(takes).collect();
        let mut delivery = Delivery::Dropped;
        let Some((last, others)) = takers.split_last() else { return delivery };
        for taker in others {
            let Ok(copy) = packet.copy() else { continue };
            if taker.push(Entry::new(copy)) == Delivery::Wake {
                delivery = Delivery::Wake;
            }
        }
        if last.push(packet) == Delivery::Wake { Delivery::Wake } else { delivery }
    }

    /// Whether a packet is for this machine at all.
    fn is_for_us(stack: &Stack, packet: &Packet) -> bool {
        let destination = address_of_bits(packet.key.local);
        stack.interfaces().with(|snapshot| snapshot.takes(destination, packet.interface))
    }
}

impl Flow for UdpPort {
    fn push(&self, packet: QueuedPacket) -> Delivery {
        let section = rcu::read();
        let members = self.members.get(&section);
        let Some(first) = members.first() else { return Delivery::Dropped };
        if !Self::is_for_us(first.stack(), &packet) {
            return Delivery::Dropped;
        }
        let is_link_group = packet.frame.head().first().is_some_and(|byte| byte & 1 != 0);
        if is_link_group || address_of_bits(packet.key.local).is_multicast() {
            return Self::push_group(members, packet);
        }
        match self.best(members, &packet) {
            Some(socket) => socket.push(packet),
            None => {
                // Some other socket has the port; this end of it nobody has.
                first.stack().refuse(packet);
                Delivery::Quiet
            }
        }
    }

    fn wake(&self) {
        let section = rcu::read();
        self.members.get(&section).iter().for_each(|member| Flow::wake(&**member));
    }

    fn work(self: Arc<Self>, _stack: &Arc<Stack>, _now_ns: u64) -> u64 {
        machine::NEVER
    }

    fn has_packets(&self) -> bool {
        false
    }

    fn report(&self, report: &ErrorReport<'_>) {
        let local = address_of_bits(report.key.local);
        for member in self.members.load().iter() {
            let is_its = member.datagrams.with_filter(|filter| {
                filter.local.is_none_or(|address| address == local)
                    && filter.remote.is_none_or(|peer| peer == report.key.remote_end())
            });
            if is_its && (member.datagrams.is_v6 || is_same_family(local, IpAddr::from([0_u8; 4]))) {
                Flow::report(&**member, report);
                return;
            }
        }
    }

    fn state(&self) -> &FlowState {
        &self.flow
    }
}
