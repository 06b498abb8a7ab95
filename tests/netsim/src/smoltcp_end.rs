//! [`SmoltcpEnd`]: smoltcp's TCP as the engine of one flow: an interface of IP medium, and a set with one socket.

use std::collections::VecDeque;
use std::net::SocketAddrV4;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, RecvError, Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

use crate::{NEVER, Received, TcpEnd};

/// Which end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opens the connection.
    Client,
    /// Waits for it.
    Server,
}

/// What is chosen for a connection before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmoltcpSettings {
    /// Bytes of the largest IP packet.
    pub mtu: usize,
    /// Bytes of the buffer for what is sent.
    pub send_buffer: usize,
    /// Bytes of the buffer for what is received.
    pub receive_buffer: usize,
    /// The control of congestion.
    pub congestion: CongestionControl,
    /// Seed of initial sequence numbers.
    pub seed: u64,
}

/// The device of a flow: its queues.
#[derive(Debug)]
struct Queues {
    mtu: usize,
    received: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
}

impl Device for Queues {
    type RxToken<'a> = TakenPacket;
    type TxToken<'a> = SentPackets<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(TakenPacket, SentPackets<'_>)> {
        let packet = self.received.pop_front()?;
        Some((TakenPacket(packet), SentPackets(&mut self.sent)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<SentPackets<'_>> {
        Some(SentPackets(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

/// A received packet.
struct TakenPacket(Vec<u8>);

impl RxToken for TakenPacket {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

/// Where packets go.
struct SentPackets<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for SentPackets<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut packet = vec![0; len];
        let result = fill(&mut packet);
        self.0.push_back(packet);
        result
    }
}

/// One end of a connection by smoltcp.
pub struct SmoltcpEnd {
    name: String,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    queues: Queues,
    was_open: bool,
    has_finished: bool,
}

impl SmoltcpEnd {
    /// An end at `own` that opens a connection to `other`, or waits for one.
    ///
    /// # Panics
    /// When smoltcp refuses the addresses.
    #[must_use]
    pub fn new(role: Role, own: SocketAddrV4, other: SocketAddrV4, settings: &SmoltcpSettings) -> Self {
        let mut queues = Queues { mtu: settings.mtu, received: VecDeque::new(), sent: VecDeque::new() };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = settings.seed;
        let mut interface = Interface::new(config, &mut queues, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::Ipv4(*own.ip()), 24)).expect("there is room for one address");
        });
        let buffer = |len| SocketBuffer::new(vec![0; len]);
        let mut socket = Socket::new(buffer(settings.receive_buffer), buffer(settings.send_buffer));
        socket.set_congestion_control(settings.congestion);
        match role {
            Role::Client => socket.connect(interface.context(), other, own.port()).expect("the addresses are fine"),
            Role::Server => socket.listen(own.port()).expect("the port is not 0"),
        }
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        let name = format!("smoltcp {role:?}").to_lowercase();
        Self { name, interface, sockets, handle, queues, was_open: false, has_finished: false }
    }

    fn socket(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }

    fn socket_mut(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }
}

fn instant(now_ns: u64) -> Instant {
    Instant::from_micros(i64::try_from(now_ns / 1000).unwrap_or(i64::MAX))
}

impl TcpEnd for SmoltcpEnd {
    fn name(&self) -> &str {
        &self.name
    }

    fn receive(&mut self, _now_ns: u64, packet: Vec<u8>) {
        self.queues.received.push_back(packet);
    }

    fn poll(&mut self, now_ns: u64, send: &mut dyn FnMut(Vec<u8>)) {
        self.interface.poll(instant(now_ns), &mut self.queues, &mut self.sockets);
        self.queues.sent.drain(..).for_each(send);
        self.was_open |= self.socket().may_send();
    }

    fn poll_at(&mut self, now_ns: u64) -> u64 {
        if !self.queues.received.is_empty() {
            return now_ns;
        }
        let at = self.interface.poll_at(instant(now_ns), &self.sockets);
        at.map_or(NEVER, |at| u64::try_from(at.total_micros()).unwrap_or(0).saturating_mul(1000))
    }

    fn is_open(&self) -> bool {
        self.socket().may_send()
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        // Not open yet, or no longer.
        self.socket_mut().send_slice(bytes).unwrap_or(0)
    }

    fn finish_writing(&mut self) {
        self.has_finished = true;
        self.socket_mut().close();
    }

    fn read(&mut self, to: &mut [u8]) -> Received {
        match self.socket_mut().recv_slice(to) {
            Ok(0) => Received::Nothing,
            Ok(len) => Received::Bytes(len),
            Err(RecvError::Finished) => Received::End,
            Err(RecvError::InvalidState) => Received::Nothing,
        }
    }

    fn is_over(&self) -> bool {
        self.has_finished && matches!(self.socket().state(), State::TimeWait | State::Closed)
    }

    fn failure(&self) -> Option<String> {
        // A reset looks like an end, but comes before this end has finished.
        let is_broken = self.was_open && !self.has_finished && self.socket().state() == State::Closed;
        is_broken.then(|| "the connection was reset".to_owned())
    }
}
