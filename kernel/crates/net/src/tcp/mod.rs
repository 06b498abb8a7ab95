//! TCP: RFC 9293 and its relatives.
//!
//! - [`engine`]: one connection's protocol, without addresses, packets or locks.
//! - [`socket`]: what a program has; [`options`]: what it sets; `calls`: what it calls; `connecting`: how it comes to a connection; `ending`: how it loses it; `flow`: what
//!   interrupts and workers do with it.
//! - `fast_open`: data that goes with the first segment.
//! - [`wire`]: a connection over the network: an engine, its packets and the way to its other end.
//! - [`local`]: connections of the machine with itself, without packets.
//! - [`listing`]: all of them, for those who ask.
//! - [`listener`], [`passive`], `passive_fast_open`: who takes connections, and how they come about.
//! - `memory`: how much all connections together may take of the machine.
//! - [`time_wait`]: what stays of connections that have ended.
//! - [`segment`]: headers from and to bytes.
//!
//! [`Tcp`] is what the connections of a stack share: ports, listeners, secrets, records and counters. None of it is touched on the way of data.

mod calls;
mod connecting;
mod ending;
pub mod engine;
mod fast_open;
mod flow;
mod information;
mod listener;
pub mod listing;
mod local;
mod memory;
mod options;
mod passive;
mod passive_fast_open;
mod segment;
mod socket;
#[cfg(test)]
mod tests;
mod time_wait;
mod wire;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sync::{Mutex, machine, rank};

use crate::Stack;
use crate::counters::Counter;
use crate::flow_key::{FlowKey, protocol};
use crate::ports::Ports;
use crate::ports::Scope;
use fast_open::Cookies;
pub use fast_open::{CookieKey, CookieKeys};
use listener::Arrival;
pub(crate) use listener::Listener;
use local::LocalEnd;
use memory::Budget;
use passive::{HalfOpen, Secrets};
use socket::Phase;
pub use socket::TcpSocket;
use time_wait::TimeWaits;

const SECOND_NS: u64 = 1_000_000_000;

/// What the TCP connections of a stack share.
pub struct Tcp {
    ports: Arc<Ports>,
    listeners: Mutex<BTreeMap<u16, Vec<Arc<Listener>>>>,
    half_open: HalfOpen,
    time_waits: TimeWaits,
    secrets: Secrets,
    cookies: Cookies,
    fast_open_keys: Mutex<Option<CookieKeys>>,
    /// Those to a port that several share.
    local_connections: AtomicU64,
    received: Arc<Budget>,
    orphaned: Arc<Budget>,
}

impl Tcp {
    pub(crate) fn new() -> Self {
        let ports = Ports::new();
        Self {
            listeners: Mutex::new(rank::PORT_TABLES, BTreeMap::new()),
            half_open: HalfOpen::new(),
            time_waits: TimeWaits::new(&ports),
            secrets: Secrets::new(),
            cookies: Cookies::new(),
            fast_open_keys: Mutex::new(rank::PORT_TABLES, None),
            local_connections: AtomicU64::new(0),
            received: Budget::new(),
            orphaned: Budget::new(),
            ports,
        }
    }

    /// Sets how many bytes may wait to be read, in all connections together. There is no limit at first.
    pub fn set_receive_memory(&self, bytes: usize) {
        self.received.set_limit(bytes);
    }

    /// Sets how many bytes may be left to be sent in connections that no program has any more. There is no limit at first.
    pub fn set_orphan_memory(&self, bytes: usize) {
        self.orphaned.set_limit(bytes);
    }

    /// Who has which port.
    pub(crate) fn ports(&self) -> &Arc<Ports> {
        &self.ports
    }

    fn add_listener(&self, listener: &Arc<Listener>) {
        self.listeners.lock().entry(listener.port).or_default().push(Arc::clone(listener));
    }

    fn remove_listener(&self, listener: &Arc<Listener>) {
        let mut listeners = self.listeners.lock();
        let Some(of_port) = listeners.get_mut(&listener.port) else { return };
        of_port.retain(|other| !Arc::ptr_eq(other, listener));
        if of_port.is_empty() {
            listeners.remove(&listener.port);
        }
        drop(listeners);
        self.half_open.forget(listener);
    }

    /// The listener for connections to `address`: one of that very address before those of any. `spread` chooses among those that share it.
    fn find_listener(&self, address: SocketAddr, spread: impl FnOnce() -> u64) -> Option<Arc<Listener>> {
        let listeners = self.listeners.lock();
        let of_port = listeners.get(&address.port())?;
        let rank_of = |listener: &Listener| match listener.scope {
            Scope::Exact(_) => 2,
            Scope::AnyV4 | Scope::AnyV6 => 1,
            Scope::AnyDual => 0,
        };
        let serving = || of_port.iter().filter(|listener| listener.serves(address));
        let best = serving().map(|listener| rank_of(listener)).max()?;
        let equals = || serving().filter(|listener| rank_of(listener) == best);
        let count = equals().count();
        let chosen = if count > 1 { spread() % u64::try_from(count).ok()? } else { 0 };
        equals().nth(usize::try_from(chosen).ok()?).map(Arc::clone)
    }

    /// A number by which connections within the machine are spread over those who share a port: one after the other.
    fn spread(&self) -> u64 {
        self.local_connections.fetch_add(1, Relaxed)
    }

    /// Connects two sockets of this machine: `connector`, and one that `listener` makes, if it has room. `addresses` are those of the two.
    fn arrive_locally(
        &self,
        listener: &Arc<Listener>,
        connector: &Arc<TcpSocket>,
        addresses: [SocketAddr; 2],
    ) -> Arrival {
        let Some(owner) = listener.owner() else { return Arrival::Refused };
        let mut inherited = owner.inherited();
        let mut own_end = None;
        let mut claim = inherited.claim.take();
        let is_deferred = inherited.defer_accept_seconds > 0;
        let arrival = listener.arrive_locally(connector, is_deferred, || {
            let socket = TcpSocket::accepted(&owner, &inherited, Phase::Idle, claim.take(), addresses[1].ip());
            let capacities = [connector.local_capacity(&socket.options), socket.local_capacity(&connector.options)];
            let sockets = [Arc::downgrade(connector), Arc::downgrade(&socket)];
            let ends = connector.inner.lock().pair_claim.take();
            let [mut own, mut other] = LocalEnd::pair(addresses, ends, sockets, capacities);
            if is_deferred {
                (own.deferred, other.deferred) = (Some(Arc::downgrade(listener)), Some(Arc::downgrade(listener)));
            }
            socket.inner.lock().phase = Phase::Local(alloc::boxed::Box::new(other));
            own_end = Some(own);
            if is_deferred {
                let due_ns = machine::now_ns().saturating_add(u64::from(inherited.defer_accept_seconds) * SECOND_NS);
                connector.stack.set_timer(&socket.flow(), due_ns);
            }
            socket
        });
        if matches!(arrival, Arrival::Ready) {
            connector.stack.mib().count(Counter::TcpPassiveOpens);
        }
        if let Some(end) = own_end
            && let Err(mut end) = connector.become_local(end)
        {
            // It was closed meanwhile.
            end.close(true);
        }
        arrival
    }

    /// Whether a new connection may be made between two ends: none has them, or had them a moment ago.
    fn is_free(&self, stack: &Stack, local: SocketAddr, remote: SocketAddr) -> bool {
        let key = FlowKey::new(protocol::TCP, local, remote);
        !stack.flows().contains(&key) && !self.time_waits.contains(&self.secrets, &key)
    }

    /// Connections that wait for their third segment, and those in TIME-WAIT.
    #[must_use]
    pub fn record_counts(&self) -> (usize, usize) {
        (self.half_open.len(), self.time_waits.len())
    }

    fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Keeps what must outlive a connection.
    fn enter_time_wait(&self, key: &FlowKey, what: &engine::TimeWait) {
        self.time_waits.enter(&self.secrets, key, what, machine::now_ns());
    }
}
