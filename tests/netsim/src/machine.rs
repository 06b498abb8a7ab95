//! [`Machine`]: a whole network stack of Nacre with one Ethernet device, whose cable is the test; [`StackEnd`]: a connection of such a machine.
//!
//! Machines of one thread share its clock (`testkit::clock`), which their ends set to the time of the simulation.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use abi::Errno;
use file::Progress;
use mm::user::{UserReader, UserWriter};
use net::Stack;
use net::control::Configuration;
use net::frame::{Payload, ReceivedFrame, TransmitFrame};
use net::interface::{Interface, InterfaceAddress, Origin};
use net::nic::{Nic, NicCounters, NicFeatures, NicProperties};
use net::socket::{
    Address, Caller, Half, MessageFlags, Opening, ReceiveRequest, SendRequest, Socket, SocketCredentials, create,
};
use net::tcp::TcpSocket;
use testkit::clock;

use crate::counting::unhindered;
use crate::{NEVER, Received, Role, TcpEnd};

/// The clock's time when a simulation begins.
const START_NS: u64 = 1_000_000_000;
/// Ethernet's.
const MTU: u16 = 1500;
/// The port of servers.
pub const PORT: u16 = 5000;

/// Who calls in tests: root.
pub const CALLER: Caller = Caller {
    credentials: SocketCredentials { pid: 1, uid: 0, gid: 0 },
    may_bind_low_ports: true,
    may_use_raw: true,
    is_network_admin: true,
    in_flight_max: 100,
};

/// A device that keeps what it sends until it is taken.
struct CableNic {
    mac: [u8; 6],
    mtu: u16,
    sent: Mutex<Vec<Vec<u8>>>,
}

impl Nic for CableNic {
    fn properties(&self) -> NicProperties {
        NicProperties { mac: self.mac, mtu: self.mtu, features: NicFeatures::empty(), queues: 1, pieces_max: 18 }
    }

    fn is_link_up(&self) -> bool {
        true
    }

    fn counters(&self) -> NicCounters {
        NicCounters::default()
    }

    fn transmit(&self, frames: &mut Vec<TransmitFrame>) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        unhindered(|| sent.extend(frames.drain(..).map(|frame| frame.to_vec().expect("there is memory"))));
    }

    fn poll(&self, _queue: u16, _budget: usize) -> bool {
        false
    }
}

/// A machine on the net 10.97.0.0/24 and fd97::/64.
pub struct Machine {
    stack: Arc<Stack>,
    nic: Arc<CableNic>,
    interface: Arc<Interface>,
}

impl Machine {
    /// The machine with a number, which its addresses end in.
    ///
    /// # Panics
    /// When the stack refuses its first device or address.
    #[must_use]
    pub fn new(number: u8) -> Self {
        Self::with_mtu(number, MTU)
    }

    /// The same with a device for other frames than is usual.
    ///
    /// # Panics
    /// As [`Machine::new`].
    #[must_use]
    pub fn with_mtu(number: u8, mtu: u16) -> Self {
        let stack = Stack::new(1);
        let nic = Arc::new(CableNic { mac: Self::mac(number), mtu, sent: Mutex::default() });
        let interface = stack.interfaces().add(Arc::clone(&nic) as Arc<dyn Nic>).expect("the first device");
        for (address, prefix_len) in [(Self::address4(number), 24), (Self::address6(number), 64)] {
            let address = InterfaceAddress::permanent(interface.index(), address, prefix_len, Origin::Static);
            stack.interfaces().add_address(address).expect("the first of its family");
        }
        Self { stack, nic, interface }
    }

    /// Gives it one more device, whose cable nobody has. False: there are too many.
    #[must_use]
    pub fn add_device(&self, number: u8) -> bool {
        let nic = Arc::new(CableNic { mac: Self::mac(number), mtu: MTU, sent: Mutex::default() });
        self.stack.interfaces().add(nic).is_some()
    }

    /// The link address of a machine.
    #[must_use]
    pub const fn mac(number: u8) -> [u8; 6] {
        [2, 0, 0, 0, 0, number]
    }

    /// Its IPv4 address.
    #[must_use]
    pub fn address4(number: u8) -> IpAddr {
        [10, 97, 0, number].into()
    }

    /// Its IPv6 address.
    #[must_use]
    pub fn address6(number: u8) -> IpAddr {
        [0xfd97, 0, 0, 0, 0, 0, 0, u16::from(number)].into()
    }

    /// Its stack.
    #[must_use]
    pub fn stack(&self) -> &Arc<Stack> {
        &self.stack
    }

    /// Gives its interface what is configured.
    pub fn configure(&self, configuration: &Configuration) -> Result<(), Errno> {
        self.stack.configure(self.interface.index(), configuration)
    }

    /// A socket of any kind.
    pub fn socket(&self, domain: u16, kind: i32, protocol: i32) -> Result<Arc<dyn Socket>, Errno> {
        create(&self.stack, domain.into(), kind, protocol, &CALLER)
    }

    /// A frame comes in.
    pub fn receive(&self, frame: Vec<u8>) {
        self.receive_frame(ReceivedFrame::new(Payload::from(frame)));
    }

    /// A frame comes in, as a device gives it.
    pub fn receive_frame(&self, frame: ReceivedFrame) {
        self.stack.receive(&self.interface, &mut std::iter::once(frame));
    }

    /// Takes the frames that it has sent.
    #[must_use]
    pub fn take_sent(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.nic.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A socket that listens at [`PORT`] of all addresses.
    pub fn listen(&self, backlog: i32) -> Result<Arc<TcpSocket>, Errno> {
        let listener = TcpSocket::new(&self.stack, i32::from(abi_family(true)));
        listener.bind(&Address::Inet(SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), PORT)), &CALLER)?;
        listener.listen(backlog, &CALLER)?;
        Ok(listener)
    }

    /// A socket that is about to be connected to [`PORT`] of `to`.
    pub fn connect(&self, to: IpAddr) -> Result<Arc<TcpSocket>, Errno> {
        let socket = TcpSocket::new(&self.stack, i32::from(abi_family(to.is_ipv6())));
        socket.connect(&Address::Inet(SocketAddr::new(to, PORT)), &CALLER)?;
        Ok(socket)
    }

    /// The same by sending `bytes`, of which some may go with the first segment: how many.
    pub fn connect_by_send(&self, to: IpAddr, bytes: &[u8]) -> Result<(Arc<TcpSocket>, usize), Errno> {
        let socket = TcpSocket::new(&self.stack, i32::from(abi_family(to.is_ipv6())));
        let taken = open_by_send(&*socket, SocketAddr::new(to, PORT), bytes)?;
        Ok((socket, taken))
    }
}

/// `AF_INET6` or `AF_INET`.
const fn abi_family(is_v6: bool) -> u16 {
    if is_v6 { 10 } else { 2 }
}

/// Sends what a socket takes of `bytes`.
pub fn send(socket: &dyn Socket, bytes: &[u8]) -> Result<usize, Errno> {
    let mut from = UserReader::from_kernel(bytes);
    let (control, flags) = (&mut Vec::new(), MessageFlags::empty());
    let mut request = SendRequest { from: &mut from, address: None, control, flags, caller: &CALLER };
    Ok(match socket.send(&mut request)? {
        Progress::Done(len) => len,
        Progress::WouldBlock => 0,
    })
}

/// Connects a socket by sending (`MSG_FASTOPEN`), and answers how many bytes went with the first segment; 0 as well where there is nothing to wait for.
pub fn open_by_send(socket: &dyn Socket, to: SocketAddr, bytes: &[u8]) -> Result<usize, Errno> {
    let address = Address::Inet(to);
    let (mut from, control, flags) = (UserReader::from_kernel(bytes), &mut Vec::new(), MessageFlags::FASTOPEN);
    let address = Some(&address);
    let mut request = SendRequest { from: &mut from, address, control, flags, caller: &CALLER };
    Ok(match socket.open_by_send(&mut request)? {
        Opening::UnderWay(taken) => taken,
        Opening::Open | Opening::No => 0,
    })
}

/// Receives into `to`; none if nothing is there.
pub fn receive(socket: &dyn Socket, to: &mut [u8]) -> Result<Option<usize>, Errno> {
    let mut to = UserWriter::to_kernel(to);
    let mut request = ReceiveRequest { to: &mut to, flags: MessageFlags::empty(), wants_control: false };
    Ok(socket.receive(&mut request)?.map(|received| received.len))
}

/// Carries frames between two machines until none is under way.
pub fn settle(machines: [&Machine; 2]) {
    loop {
        let mut is_any = false;
        for place in 0..2 {
            for frame in machines[place].take_sent() {
                is_any = true;
                machines[1 - place].receive(frame);
            }
        }
        for machine in machines {
            machine.stack.work(0);
        }
        if !is_any {
            return;
        }
    }
}

/// A connection's end on a machine of its own.
pub struct StackEnd {
    name: String,
    machine: Machine,
    server: IpAddr,
    listener: Option<Arc<TcpSocket>>,
    socket: Option<Arc<dyn Socket>>,
    role: Role,
    failure: Option<String>,
    has_finished: bool,
    has_ended: bool,
    is_closed: bool,
    poll_at_ns: u64,
}

impl StackEnd {
    /// The client is machine 1, the server machine 2.
    #[must_use]
    pub fn new(role: Role, is_v6: bool) -> Self {
        clock::stop_at(START_NS);
        let server = if is_v6 { Machine::address6(2) } else { Machine::address4(2) };
        let machine = Machine::new(if role == Role::Client { 1 } else { 2 });
        let (mut listener, mut failure) = (None, None);
        if role == Role::Server {
            match machine.listen(5) {
                Ok(socket) => listener = Some(socket),
                Err(errno) => failure = Some(format!("listen: {errno:?}")),
            }
        }
        let name = format!("stack {role:?}").to_lowercase();
        let (socket, poll_at_ns) = (None, 0);
        let (has_finished, has_ended, is_closed) = (false, false, false);
        Self { name, machine, server, listener, socket, role, failure, has_finished, has_ended, is_closed, poll_at_ns }
    }

    fn begin(&mut self) {
        if self.socket.is_some() {
            return;
        }
        if self.role == Role::Client {
            match self.machine.connect(self.server) {
                Ok(socket) => self.socket = Some(socket),
                Err(errno) => self.failure = Some(format!("connect: {errno:?}")),
            }
        } else if let Some(listener) = &self.listener {
            match listener.accept() {
                Ok(accepted) => self.socket = accepted.map(|accepted| accepted.socket),
                Err(errno) => self.failure = Some(format!("accept: {errno:?}")),
            }
        }
    }
}

impl TcpEnd for StackEnd {
    fn name(&self) -> &str {
        &self.name
    }

    fn receive(&mut self, now_ns: u64, packet: Vec<u8>) {
        clock::stop_at(START_NS + now_ns);
        self.machine.receive(packet);
    }

    fn poll(&mut self, now_ns: u64, send: &mut dyn FnMut(Vec<u8>)) {
        clock::stop_at(START_NS + now_ns);
        let at_ns = self.machine.stack.work(0);
        self.begin();
        if self.has_finished && self.has_ended && !self.is_closed {
            self.is_closed = true;
            if let Some(socket) = &self.socket {
                socket.close();
            }
        }
        self.poll_at_ns = if at_ns == sync::machine::NEVER { NEVER } else { at_ns.saturating_sub(START_NS) };
        self.machine.take_sent().into_iter().for_each(send);
    }

    fn poll_at(&mut self, now_ns: u64) -> u64 {
        // What the program has done since may have set a timer.
        clock::stop_at(START_NS + now_ns);
        let at_ns = self.machine.stack.work(0);
        if at_ns == sync::machine::NEVER { NEVER } else { at_ns.saturating_sub(START_NS).max(now_ns + 1000) }
    }

    fn is_open(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.finish_connect() == Ok(Progress::Done(0)))
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        if !self.is_open() {
            return 0;
        }
        let Some(socket) = &self.socket else { return 0 };
        match send(&**socket, bytes) {
            Ok(len) => len,
            Err(errno) => {
                self.failure = Some(format!("send: {errno:?}"));
                0
            }
        }
    }

    fn finish_writing(&mut self) {
        self.has_finished = true;
        if let Some(Err(errno)) = self.socket.as_ref().map(|socket| socket.shutdown(Half::Write)) {
            self.failure = Some(format!("shutdown: {errno:?}"));
        }
    }

    fn read(&mut self, to: &mut [u8]) -> Received {
        if !self.is_open() {
            return Received::Nothing;
        }
        let Some(socket) = &self.socket else { return Received::Nothing };
        match receive(&**socket, to) {
            Ok(None) => Received::Nothing,
            Ok(Some(0)) => {
                self.has_ended = true;
                Received::End
            }
            Ok(Some(len)) => Received::Bytes(len),
            Err(errno) => {
                self.failure = Some(format!("receive: {errno:?}"));
                Received::Nothing
            }
        }
    }

    fn is_over(&self) -> bool {
        self.is_closed && self.machine.stack.flows().is_empty()
    }

    fn failure(&self) -> Option<String> {
        self.failure.clone()
    }
}
