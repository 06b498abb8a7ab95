//! `AF_VSOCK`: sockets between a machine and its host, and of a machine with itself (vsock(7); Virtual I/O Device
//! specification 1.3, 5.10).
//!
//! - [`packet`]: what travels. `connection`, `credit`, `inbox`: what packets do to one end of a connection, without
//!   locks or time.
//! - [`VsockSocket`]: what a descriptor stands for.
//! - `table`: ports and connections.
//! - [`Device`]: the way to the host.
//! - [`Vsock`]: all of it together; one a machine.
//!
//! # How packets go
//!
//! 1. A socket makes packets under its lock, so that they leave in their order, and gives them to [`Vsock::post`]. Once
//!    it has let go of the lock it calls [`Vsock::finish`].
//! 2. Packets to this machine wait in a queue that whoever calls [`Vsock::finish`] empties: each is handled by its
//!    receiver when the call that sent it returns. Answers go the same way. There is no thread for it.
//! 3. Packets to the host go to the device, or wait for it ([`Waiting`]). A connection has no more bytes there than its
//!    own buffer is large ([`credit`]). While many packets of calls wait, calls with bytes do, and when they may go on
//!    each connection is looked at. While [`REPLIES_MAX`] answers wait nothing is taken from the device that might have
//!    to be answered.
//! 4. The device's interrupt has the network's worker look ([`Vsock::note_interrupt`]), which takes what has come. What
//!    nobody can have sent over the device is dropped, and counted: a packet from this machine, or to another.
//! 5. What is not read in all connections, and connections that nobody has accepted, take a part of memory
//!    ([`Vsock::set_memory`]); a connection that receives more is reset, and one that is asked for is refused. While
//!    memory is short the device keeps what it has, as nothing here may be lost.
//!
//! Locks: [`rank::VSOCK_DELIVERY`] while packets are handled, then that of a socket, then those of the table or of
//! packets that wait.

mod connection;
mod credit;
mod device;
mod inbox;
mod moving;
mod options;
pub mod packet;
mod receiving;
mod socket;
mod table;
#[cfg(test)]
mod tests;
mod waiting;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use abi::Errno;
use abi::socket::{AF_VSOCK, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};
use sync::{Mutex, MutexGuard, Once, machine, rank};

use self::device::Service;
use self::packet::{Header, PAYLOAD_LEN_MAX, Packet, refusal};
use self::table::Table;
use self::waiting::{Cause, Waiting};
use crate::Stack;
use crate::socket::address::VsockAddress;

pub use device::{Device, Taking};
pub use socket::VsockSocket;
pub use table::ANY;

/// The CID of what runs the host's machines, which sends no packets.
const CID_HYPERVISOR: u32 = 0;
/// The CID of this machine for itself.
pub const CID_LOCAL: u32 = 1;
/// The host's.
pub const CID_HOST: u32 = 2;
/// While so many answers wait for the device, nothing is taken from it.
const REPLIES_MAX: usize = 1024;

/// The way that the packets of a connection go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Route {
    Local,
    Device,
}

/// The device, once there is one.
struct Attached {
    device: Arc<dyn Device>,
    /// This machine's CID, as the device last said.
    cid: AtomicU32,
}

/// What became of packets that did not become what they should have.
#[derive(Debug, Default)]
pub struct VsockCounters {
    /// The device brought what is none, is from where nobody is, or is for another machine.
    pub malformed: AtomicU64,
    /// There was no memory for them, or the device has stopped.
    pub lost: AtomicU64,
}

/// The sockets of this machine's `AF_VSOCK`.
pub struct Vsock {
    table: Mutex<Table>,
    /// Held while packets are handled.
    delivery: Mutex<()>,
    /// Packets to this machine.
    local: Mutex<Waiting>,
    /// Packets that the device had no room for.
    backlog: Mutex<Waiting>,
    /// There are such.
    has_backlog: AtomicBool,
    /// Somebody waits for there to be few.
    is_awaited: AtomicBool,
    /// The device has packets that it was not told of.
    has_news: AtomicBool,
    counters: VsockCounters,
    attached: Once<Attached>,
    service: Arc<Service>,
    /// Bytes that all inboxes take, and connections that nobody has accepted.
    held: AtomicUsize,
    /// And how many there may be.
    held_max: AtomicUsize,
}

impl Default for Vsock {
    fn default() -> Self {
        Self {
            table: Mutex::new(rank::VSOCK_TABLE, Table::default()),
            delivery: Mutex::new(rank::VSOCK_DELIVERY, ()),
            local: Mutex::new(rank::VSOCK_PACKETS, Waiting::default()),
            backlog: Mutex::new(rank::VSOCK_PACKETS, Waiting::default()),
            has_backlog: AtomicBool::new(false),
            is_awaited: AtomicBool::new(false),
            has_news: AtomicBool::new(false),
            counters: VsockCounters::default(),
            attached: Once::new(),
            service: Arc::default(),
            held: AtomicUsize::new(0),
            held_max: AtomicUsize::new(usize::MAX),
        }
    }
}

/// Makes a socket, with Linux's errors for kinds that there are not. There are no datagrams on the way to any host.
pub(crate) fn create(stack: &Arc<Stack>, kind: i32, protocol: i32) -> Result<Arc<VsockSocket>, Errno> {
    if protocol != 0 && protocol != i32::from(AF_VSOCK) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    match kind {
        SOCK_STREAM => Ok(VsockSocket::new(stack, packet::Kind::Stream)),
        SOCK_SEQPACKET => Ok(VsockSocket::new(stack, packet::Kind::Seqpacket)),
        SOCK_DGRAM => Err(Errno::ENODEV),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

impl Vsock {
    /// Says how many bytes may wait to be read in all connections.
    pub(crate) fn set_memory(&self, bytes: usize) {
        self.held_max.store(bytes, Ordering::Relaxed);
    }

    /// Gives this machine its way to the host, once.
    pub fn attach(&self, device: Arc<dyn Device>) {
        let cid = AtomicU32::new(device.cid());
        self.attached.call_once(|| Attached { device, cid });
    }

    /// Who has what. Not inlined, as nothing here is in a hurry.
    #[inline(never)]
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }

    /// What was dropped.
    #[must_use]
    pub fn counters(&self) -> &VsockCounters {
        &self.counters
    }

    /// This machine's CID: the one for itself if it has no device.
    #[must_use]
    pub fn cid(&self) -> u32 {
        self.device_cid().unwrap_or(CID_LOCAL)
    }

    fn device_cid(&self) -> Option<u32> {
        Some(self.attached.get()?.cid.load(Ordering::Relaxed))
    }

    /// Whether a socket of this machine may have `cid` for its own.
    fn is_own(&self, cid: u32) -> bool {
        cid == CID_LOCAL || self.device_cid() == Some(cid)
    }

    /// The way to `cid`. As on Linux, the host is this machine where there is no way to any.
    fn route(&self, cid: u32) -> Result<Route, Errno> {
        match self.device_cid() {
            _ if cid == CID_LOCAL => Ok(Route::Local),
            Some(own) => Ok(if cid == own { Route::Local } else { Route::Device }),
            None if cid == CID_HOST => Ok(Route::Local),
            None => Err(Errno::ENODEV),
        }
    }

    /// Whether connections that way may have messages.
    fn has_messages(&self, route: Route) -> bool {
        route == Route::Local || self.attached.get().is_some_and(|attached| attached.device.has_messages())
    }

    /// The most bytes in a packet that way.
    fn payload_len_max(&self, route: Route) -> usize {
        match self.attached.get() {
            Some(attached) if route == Route::Device => attached.device.payload_len_max().min(PAYLOAD_LEN_MAX),
            _ => PAYLOAD_LEN_MAX,
        }
    }

    /// The CID in packets that way.
    fn source_cid(&self, route: Route) -> u32 {
        if route == Route::Local { CID_LOCAL } else { self.cid() }
    }

    /// The packets that wait to go that way.
    fn waiting(&self, route: Route) -> &Mutex<Waiting> {
        if route == Route::Local { &self.local } else { &self.backlog }
    }

    /// Whether calls may post bytes that way. If not, [`VsockSocket::go_on`] is called when they may.
    fn has_room(&self, route: Route) -> bool {
        if route == Route::Local || !self.has_backlog.load(Ordering::SeqCst) {
            return true;
        }
        let backlog = self.backlog.lock();
        let is_busy = backlog.is_busy();
        self.is_awaited.fetch_or(is_busy, Ordering::SeqCst);
        !is_busy
    }

    /// Sends a packet, or has it wait. [`Vsock::finish`] is called afterwards.
    fn post(&self, packet: Packet, route: Route, cause: Cause) {
        self.put(&mut self.waiting(route).lock(), packet, route, cause);
    }

    /// Sends `count` packets with bytes, all or none: none is made before there is room for them. `ENOBUFS`.
    fn post_all(&self, packets: &mut dyn Iterator<Item = Packet>, count: usize, route: Route) -> Result<(), Errno> {
        let mut waiting = self.waiting(route).lock();
        waiting.reserve(count)?;
        packets.take(count).for_each(|packet| self.put(&mut waiting, packet, route, Cause::Call));
        Ok(())
    }

    fn put(&self, waiting: &mut Waiting, packet: Packet, route: Route, cause: Cause) {
        let refused = if route == Route::Device && waiting.is_empty() { self.send(packet) } else { Err(packet) };
        let Err(packet) = refused else { return };
        if !waiting.push(packet, cause) {
            self.counters.lost.fetch_add(1, Ordering::Relaxed);
        }
        if route == Route::Device {
            self.has_backlog.store(true, Ordering::SeqCst);
            // What the device was done with before could be seen does not tell of room any more.
            self.send_backlog(waiting);
        }
    }

    /// Gives the device a packet. Without one there is no way to it.
    fn send(&self, packet: Packet) -> Result<(), Packet> {
        let Some(attached) = self.attached.get() else { return Ok(()) };
        attached.device.send(packet)?;
        self.has_news.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn send_backlog(&self, backlog: &mut Waiting) {
        backlog.send_all(|packet| self.send(packet));
        if backlog.is_empty() {
            self.has_backlog.store(false, Ordering::SeqCst);
        }
    }

    /// Tells the device of what it was given.
    fn kick(&self) {
        if self.has_news.swap(false, Ordering::SeqCst)
            && let Some(attached) = self.attached.get()
        {
            attached.device.kick();
        }
    }

    /// What was posted is on its way, or has arrived. Called without locks.
    fn finish(&self, stack: &Arc<Stack>, route: Route) {
        if route == Route::Device {
            return self.kick();
        }
        let _delivery = self.delivery.lock();
        loop {
            let next = self.local.lock().pop();
            let Some(packet) = next else { return };
            self.deliver(stack, &packet.header, &packet.payload, Route::Local);
        }
    }

    /// Gives a packet to its socket, or refuses it. Under the lock of delivery.
    fn deliver(&self, stack: &Arc<Stack>, header: &Header, payload: &[u8], route: Route) {
        let socket = self.table().find(header, route);
        let is_taken = socket.is_some_and(|socket| socket.take_packet(stack, header, payload, route));
        if !is_taken && let Some(mut answer) = refusal(header) {
            answer.header.source.cid = self.source_cid(route);
            self.post(answer, route, Cause::Answer);
        }
    }

    /// The device has something, or has done something. Callable from interrupts.
    pub fn note_interrupt(&self, stack: &Stack, has_arrived: bool) {
        let waits = self.has_backlog.load(Ordering::SeqCst) || self.is_awaited.load(Ordering::SeqCst);
        if (has_arrived || waits) && self.service.is_to_be_poked() {
            stack.poke(Arc::clone(&self.service) as _);
        }
    }

    /// In a worker: takes what the device has. Answers when it wants this again.
    fn serve(&self, stack: &Arc<Stack>, now_ns: u64) -> u64 {
        let Some(attached) = self.attached.get() else { return machine::NEVER };
        let device = &*attached.device;
        let delivery = self.delivery.lock();
        // Before anything is taken that came behind it, which is of connections that are there.
        if device.take_reset() {
            attached.cid.store(device.cid(), Ordering::Relaxed);
            self.backlog.lock().clear();
            self.each_over_device(VsockSocket::lose);
        }
        self.send_backlog(&mut self.backlog.lock());
        if self.is_awaited.load(Ordering::SeqCst) && self.backlog.lock().is_quiet() {
            self.is_awaited.store(false, Ordering::SeqCst);
            self.each_over_device(VsockSocket::go_on);
        }
        let mut taking = Taking::Nothing;
        // The interrupt that tells of room calls again.
        if self.backlog.lock().answers() < REPLIES_MAX {
            taking = device.take(&mut |bytes| match packet::parse(bytes) {
                Some((header, payload)) if self.is_likely(&header) => {
                    self.deliver(stack, &header, payload, Route::Device);
                }
                _ => drop(self.counters.malformed.fetch_add(1, Ordering::Relaxed)),
            });
        }
        drop(delivery);
        self.kick();
        taking.again_ns(now_ns)
    }

    /// Whether a packet can be one that the device brings: to this machine, from the host or another machine.
    fn is_likely(&self, header: &Header) -> bool {
        let own = self.cid();
        header.destination.cid == own && ![CID_HYPERVISOR, CID_LOCAL, ANY, own].contains(&header.source.cid)
    }

    /// Does something with each socket that has a connection over the device.
    fn each_over_device(&self, act: fn(&VsockSocket)) {
        let mut last = None;
        loop {
            let next = self.table().next_over_device(last);
            let Some((key, socket)) = next else { return };
            act(&socket);
            last = Some(key);
        }
    }

    /// Memory is in use that was not, or the opposite. False: there are too many.
    fn account(&self, before: usize, after: usize) -> bool {
        if after <= before {
            self.held.fetch_sub(before - after, Ordering::Relaxed);
            return true;
        }
        let grown = after - before;
        self.held.fetch_add(grown, Ordering::Relaxed) + grown <= self.held_max.load(Ordering::Relaxed)
    }

    /// Binds a socket, and answers its address. `may_have_any`: ports that need privileges as well.
    fn bind(
        &self,
        socket: &Arc<VsockSocket>,
        address: VsockAddress,
        may_have_any: bool,
    ) -> Result<VsockAddress, Errno> {
        if address.cid != ANY && !self.is_own(address.cid) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if address.port < table::PORT_FREE_FIRST && !may_have_any {
            return Err(Errno::EACCES);
        }
        let mut random = [0; 4];
        machine::fill_entropy(&mut random);
        self.table().bind(socket, address, u32::from_ne_bytes(random))
    }
}
