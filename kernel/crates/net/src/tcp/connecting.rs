//! How a socket comes to a connection: `connect`, to this machine or another.

use alloc::boxed::Box;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::sync::atomic::Ordering;

use abi::{Errno, PollEvents};
use file::Progress;
use sync::{MutexGuard, machine};

use super::engine::{Engine, FastOpen, State};
use super::listener::Arrival;
use super::local::{self, LocalEnd};
use super::socket::{Bound, Inner, Phase, TcpSocket};
use super::wire::{self, Wire};
use crate::counters::Counter;
use crate::interface::{AddressClass, Route, local_source};
use crate::socket::inet_options::InetFlags;
use crate::socket::lacks_scope;
use crate::socket::options::SocketOptions;
use crate::socket::{Address, Caller};

impl TcpSocket {
    /// Whether an address means nothing without an interface, and neither it nor the socket names one.
    pub(super) fn lacks_link(&self, address: SocketAddr) -> bool {
        lacks_scope(address) && self.options.bound_interface.load(Ordering::Relaxed) == 0
    }

    pub(super) fn connect_to(&self, address: &Address, _caller: &Caller) -> Result<Progress, Errno> {
        if *address == Address::Unspecified {
            self.disconnect();
            return Ok(Progress::Done(0));
        }
        let is_done = self.begin(address, None)?.is_none();
        Ok(if is_done { Progress::Done(0) } else { Progress::WouldBlock })
    }

    /// Begins to connect, and answers how many of the bytes went with the first segment that the call has for it (`data`: [`super::fast_open`]). None: it
    /// is connected, or will be by the first bytes that are sent.
    pub(super) fn begin(&self, address: &Address, data: Option<&[u8]>) -> Result<Option<usize>, Errno> {
        let mut remote = self.given(address)?;
        if remote.ip().is_unspecified() {
            remote.set_ip(if remote.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        let mut inner = self.inner.lock();
        match &inner.phase {
            Phase::Idle => {}
            Phase::Listening(_) | Phase::Waiting { is_deferred: true, .. } => return Err(Errno::EISCONN),
            Phase::Waiting { .. } => return Err(Errno::EALREADY),
            Phase::Local(_) | Phase::Wire(_) => {
                drop(inner);
                return self.connect_again().map(|()| None);
            }
        }
        if self.inet.has(InetFlags::V6ONLY) && remote.is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        if self.lacks_link(remote) {
            return Err(Errno::EINVAL);
        }
        let error = inner.error.take();
        if let Some(errno) = error.filter(|_| !core::mem::take(&mut inner.was_disconnected)) {
            inner.has_failed = false;
            return Err(errno);
        }
        if core::mem::take(&mut inner.has_failed) {
            return Err(Errno::ECONNABORTED);
        }
        if data.is_none() && self.defers_connecting(&inner, remote.ip()) {
            return self.defer(inner, remote).map(|()| None);
        }
        self.begin_to(inner, remote, data).map(Some)
    }

    /// Begins to connect a socket that is nothing else.
    pub(super) fn begin_to(
        &self,
        inner: MutexGuard<'_, Inner>,
        remote: SocketAddr,
        data: Option<&[u8]>,
    ) -> Result<usize, Errno> {
        let fast = self.fast_open_to(&inner, remote.ip(), data);
        if self.stack.interfaces().is_local(remote.ip()) {
            self.connect_locally(inner, remote, &fast)?;
            return Ok(self.send_first_locally(&fast));
        }
        self.connect_over_network(inner, remote, fast)
    }

    /// Leaves connecting to the first bytes that are sent. The socket has its own address from now on.
    fn defer(&self, mut inner: MutexGuard<'_, Inner>, remote: SocketAddr) -> Result<(), Errno> {
        if self.stack.interfaces().is_local(remote.ip()) {
            self.claim_locally(&mut inner, remote)?;
        } else {
            self.find_way(&mut inner, remote)?;
        }
        inner.phase = Phase::Waiting { remote, is_deferred: true };
        Ok(())
    }

    /// `connect` on a socket that has a connection, or did try.
    pub(super) fn connect_again(&self) -> Result<(), Errno> {
        match self.connection_state()? {
            Progress::WouldBlock => Err(Errno::EALREADY),
            Progress::Done(_) => {
                let mut inner = self.inner.lock();
                if core::mem::replace(&mut inner.has_told, true) { Err(Errno::EISCONN) } else { Ok(()) }
            }
        }
    }

    /// How the attempt to connect stands. A failed one leaves the socket as it was before.
    fn connection_state(&self) -> Result<Progress, Errno> {
        let mut inner = self.lock_drained();
        match &mut inner.phase {
            Phase::Waiting { .. } => Ok(Progress::WouldBlock),
            Phase::Local(_) => Ok(Progress::Done(0)),
            Phase::Wire(wire) => match wire.engine.state() {
                State::SynReceived if wire.was_established => Ok(Progress::Done(0)),
                State::SynSent | State::SynReceived => Ok(Progress::WouldBlock),
                State::Closed if !wire.was_established => {
                    let errno = wire.engine.take_error().unwrap_or(Errno::ECONNABORTED);
                    self.abandon_attempt(&mut inner);
                    Err(errno)
                }
                _ => Ok(Progress::Done(0)),
            },
            Phase::Idle => {
                inner.has_failed = false;
                Err(inner.error.take().unwrap_or(Errno::ECONNABORTED))
            }
            Phase::Listening(_) => Err(Errno::EISCONN),
        }
    }

    pub(super) fn finish_connecting(&self) -> Result<Progress, Errno> {
        let progress = self.connection_state()?;
        if progress != Progress::WouldBlock {
            self.inner.lock().has_told = true;
        }
        Ok(progress)
    }

    pub(super) fn abandon_attempt(&self, inner: &mut Inner) {
        (inner.phase, inner.pair_claim) = (Phase::Idle, None);
        if let Some(bound) = inner.bound.take_if(|bound| !bound.is_explicit) {
            inner.port_before = bound.claim.port();
        }
    }

    /// The port for a connection from `local`: the bound one, or a new one for which `is_free` says yes.
    fn claim_for(
        &self,
        inner: &mut Inner,
        local: IpAddr,
        within: Option<SocketAddr>,
        is_free: impl Fn(u16) -> bool,
    ) -> Result<SocketAddr, Errno> {
        if let Some(bound) = &mut inner.bound {
            if bound.address.is_unspecified() {
                bound.address = local;
            }
            return Ok(SocketAddr::new(bound.address.to_canonical(), bound.claim.port()));
        }
        let reuse_address = self.options.reuse_address.load(Ordering::Relaxed);
        let claim = self.stack.tcp().ports().claim_outgoing(local, reuse_address, within, is_free)?;
        let address = SocketAddr::new(local, claim.port());
        inner.bound = Some(Bound { claim, address: local, is_explicit: false });
        Ok(address)
    }

    /// The own end of a connection within the machine, one that no other has.
    fn claim_locally(&self, inner: &mut Inner, remote: SocketAddr) -> Result<SocketAddr, Errno> {
        let chosen = inner.address_without_port.filter(|address| !address.is_unspecified());
        let source = chosen.unwrap_or_else(|| local_source(remote.ip()));
        inner.pair_claim = None;
        let local = self.claim_for(inner, source, Some(remote), |_| true)?;
        if !inner.bound.as_ref().is_some_and(|bound| bound.claim.is_within(remote)) {
            // It had a port already.
            inner.pair_claim = Some(self.stack.tcp().ports().claim_pair(local, remote)?);
        }
        Ok(local)
    }

    fn connect_locally(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        remote: SocketAddr,
        fast: &FastOpen<'_>,
    ) -> Result<(), Errno> {
        let local = self.claim_locally(&mut inner, remote)?;
        if local == remote {
            self.connect_to_itself(inner, local);
            return Ok(());
        }
        let Some(listener) = self.stack.tcp().find_listener(remote, || self.stack.tcp().spread()) else {
            // The segment would be answered by RST, but not before `connect` of a socket in O_NONBLOCK mode has returned.
            self.abandon_attempt(&mut inner);
            (inner.error, inner.has_failed) = (Some(Errno::ECONNREFUSED), true);
            drop(inner);
            self.wake_for(PollEvents::all());
            return Ok(());
        };
        inner.phase = Phase::Waiting { remote, is_deferred: false };
        drop(inner);
        self.note_local_cookie(&listener, remote.ip(), fast);
        let me = self.arc();
        match self.stack.tcp().arrive_locally(&listener, &me, [local, remote]) {
            Arrival::Ready | Arrival::Waits => self.stack.mib().count(Counter::TcpActiveOpens),
            Arrival::Refused => {
                let mut inner = self.inner.lock();
                self.abandon_attempt(&mut inner);
                (inner.error, inner.has_failed) = (Some(Errno::ECONNREFUSED), true);
                drop(inner);
                self.wake_for(PollEvents::all());
            }
        }
        Ok(())
    }

    /// What the socket sends is for itself, as nobody else has its port.
    fn connect_to_itself(&self, mut inner: MutexGuard<'_, Inner>, address: SocketAddr) {
        let capacity = self.local_capacity(&self.options);
        let end = LocalEnd::own_peer(address, inner.pair_claim.take(), self.me.clone(), capacity);
        inner.phase = Phase::Local(Box::new(end));
        drop(inner);
        self.stack.mib().count(Counter::TcpActiveOpens);
        self.wake_for(PollEvents::WRITABLE);
    }

    /// Makes the socket one end of a local connection; gives it back if the socket does not wait for one any more.
    pub(super) fn become_local(&self, end: LocalEnd) -> Result<(), LocalEnd> {
        let mut inner = self.inner.lock();
        if !matches!(inner.phase, Phase::Waiting { .. }) {
            return Err(end);
        }
        inner.phase = Phase::Local(Box::new(end));
        drop(inner);
        self.wake_for(PollEvents::WRITABLE);
        Ok(())
    }

    /// Tells a socket that waited for a listener of this machine that there is none any more.
    pub(super) fn refuse(&self) {
        let mut inner = self.inner.lock();
        if matches!(inner.phase, Phase::Waiting { .. }) {
            self.abandon_attempt(&mut inner);
            (inner.error, inner.has_failed) = (Some(Errno::ECONNREFUSED), true);
        }
        drop(inner);
        self.wake_for(PollEvents::all());
    }

    /// Both addresses of a socket that waits for a listener of this machine.
    pub(super) fn waiting_addresses(&self) -> Option<[SocketAddr; 2]> {
        let inner = self.inner.lock();
        let Phase::Waiting { remote, .. } = inner.phase else { return None };
        let bound = inner.bound.as_ref()?;
        Some([SocketAddr::new(bound.address.to_canonical(), bound.claim.port()), remote])
    }

    /// Bytes that may be on their way to this socket on a local connection, from a sender with these options.
    pub(super) fn local_capacity(&self, sender: &SocketOptions) -> usize {
        let receives = &self.options;
        if !receives.is_receive_buffer_set.load(Ordering::Relaxed) && !sender.is_send_buffer_set.load(Ordering::Relaxed)
        {
            return local::CAPACITY_DEFAULT;
        }
        // Linux counts what memory takes beside the bytes: half of each buffer is for bytes.
        ((receives.receive_buffer_len() + sender.send_buffer_len()) / 2).max(4096)
    }

    /// The way to another machine, and the own end of the connection.
    fn find_way(&self, inner: &mut Inner, remote: SocketAddr) -> Result<(Route, SocketAddr), Errno> {
        let bound = inner.bound.as_ref().map(|bound| bound.address).or(inner.address_without_port);
        let bound = bound.filter(|address| !address.is_unspecified());
        let scope = match remote {
            SocketAddr::V6(remote) => remote.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        let interface = match self.options.bound_interface.load(Ordering::Relaxed) {
            0 => scope,
            interface => interface,
        };
        let route = self.stack.interfaces().route(&wire::request(remote.ip(), bound, interface, &self.inet))?;
        if route.class() != AddressClass::Remote {
            // Connections have one other end.
            return Err(Errno::ENETUNREACH);
        }
        let tcp = self.stack.tcp();
        let local = self.claim_for(inner, route.source(), None, |port| {
            tcp.is_free(&self.stack, SocketAddr::new(route.source(), port), remote)
        })?;
        Ok((route, local))
    }

    fn connect_over_network(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        remote: SocketAddr,
        fast: FastOpen<'_>,
    ) -> Result<usize, Errno> {
        let (route, local) = self.find_way(&mut inner, remote)?;
        let tcp = self.stack.tcp();
        let mut settings = self.settings_of(&inner);
        wire::fit(&mut settings, inner.mss_max, &route);
        let wire = Wire::connect(tcp, route, [local, remote], settings, fast, machine::now_ns());
        let key = wire.key;
        inner.phase = Phase::Wire(Box::new(wire));
        if !self.stack.flows().insert(key, self.flow()) {
            self.abandon_attempt(&mut inner);
            return Err(Errno::EADDRNOTAVAIL);
        }
        self.stack.mib().count(Counter::TcpActiveOpens);
        let sent = Self::sent_first(&inner);
        self.settle(&mut inner, machine::now_ns());
        Ok(sent)
    }
}
