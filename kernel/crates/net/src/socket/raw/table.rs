//! [`RawTable`]: the raw sockets, and those for echo requests by their identifiers.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use abi::Errno;
use sync::batch_queue::Entry;
use sync::{Mutex, machine, rank};

use super::{ECHO_REPLY4, ECHO_REPLY6, RawSocket};
use crate::channel::{ErrorReport, Packet, QueuedPacket};
use crate::classify::Layout;
use crate::flow_key::protocol;
use crate::frame::{ChecksumState, Payload, ReceivedFrame};
use crate::{FlowKey, room};

/// Sockets in the table.
const SOCKETS_MAX: usize = 65_536;

/// The raw sockets of a stack.
pub(crate) struct RawTable {
    sockets: Mutex<Sockets>,
    /// Whether some are of TCP or UDP, whose packets are copied for them.
    hears_transports: AtomicBool,
}

#[derive(Default)]
struct Sockets {
    raw: Vec<Arc<RawSocket>>,
    /// By identifier and family.
    ping: alloc::collections::BTreeMap<(u16, bool), Arc<RawSocket>>,
}

impl Default for RawTable {
    fn default() -> Self {
        Self { sockets: Mutex::new(rank::PORT_TABLES, Sockets::default()), hears_transports: AtomicBool::new(false) }
    }
}

/// A packet that the control worker looks at.
pub(crate) struct Heard<'a> {
    /// From the IP header on.
    pub(crate) bytes: &'a [u8],
    /// Where the protocol's header begins.
    pub(crate) payload: usize,
    /// Both ends and the protocol.
    pub(crate) key: FlowKey,
    /// Where it came in.
    pub(crate) interface: u32,
}

impl Heard<'_> {
    fn to_packet(&self) -> Option<QueuedPacket> {
        let mut frame = ReceivedFrame::new(Payload::from(room::copy_of([self.bytes], self.bytes.len()).ok()?));
        frame.checksum = ChecksumState::Verified;
        let layout = Layout {
            network: 0,
            transport: u16::try_from(self.payload).ok()?,
            end: u32::try_from(self.bytes.len()).ok()?,
        };
        let (key, interface, received_ns) = (self.key, self.interface, machine::now_ns());
        Some(Entry::new(Packet::new(frame, layout, key, interface, received_ns)))
    }
}

impl RawTable {
    pub(super) fn add(&self, socket: &Arc<RawSocket>) {
        let mut sockets = self.sockets.lock();
        if sockets.raw.len() < SOCKETS_MAX {
            sockets.raw.push(Arc::clone(socket));
        }
        self.note_transports(&sockets);
    }

    fn note_transports(&self, sockets: &Sockets) {
        let hears = sockets.raw.iter().any(|socket| matches!(socket.protocol, protocol::TCP | protocol::UDP));
        self.hears_transports.store(hears, Relaxed);
    }

    /// Whether there are raw sockets of TCP or UDP. Callable from interrupts.
    #[inline]
    pub(crate) fn hears_transports(&self) -> bool {
        self.hears_transports.load(Relaxed)
    }

    /// Enters a socket for echo requests under an identifier, or for 0 under one that is free. `EADDRINUSE`.
    pub(super) fn add_ping(&self, socket: &Arc<RawSocket>, identifier: u16) -> Result<u16, Errno> {
        let mut sockets = self.sockets.lock();
        let is_v6 = socket.datagrams.is_v6;
        let identifier = if identifier != 0 {
            Some(identifier).filter(|identifier| !sockets.ping.contains_key(&(*identifier, is_v6)))
        } else {
            let mut bytes = [0; 2];
            machine::fill_entropy(&mut bytes);
            let first = u16::from_le_bytes(bytes);
            (0..=u16::MAX)
                .map(|step| first.wrapping_add(step))
                .find(|identifier| *identifier != 0 && !sockets.ping.contains_key(&(*identifier, is_v6)))
        };
        let identifier = identifier.ok_or(Errno::EADDRINUSE)?;
        sockets.ping.insert((identifier, is_v6), Arc::clone(socket));
        Ok(identifier)
    }

    pub(super) fn remove(&self, socket: &Arc<RawSocket>) {
        let mut sockets = self.sockets.lock();
        sockets.raw.retain(|known| !Arc::ptr_eq(known, socket));
        self.note_transports(&sockets);
        sockets.ping.retain(|_, known| !Arc::ptr_eq(known, socket));
    }

    /// Gives a packet to all who take it. True: somebody did, for its protocol.
    pub(crate) fn deliver(&self, heard: &Heard<'_>) -> bool {
        let takers: Vec<Arc<RawSocket>> = {
            let sockets = self.sockets.lock();
            if sockets.raw.is_empty() && sockets.ping.is_empty() {
                return false;
            }
            let is_it = |socket: &&Arc<RawSocket>| socket.protocol == heard.key.protocol;
            let raw = sockets.raw.iter().filter(is_it);
            raw.chain(self.ping_of(&sockets, heard)).cloned().collect()
        };
        let mut is_taken = false;
        for taker in takers {
            let Some(packet) = heard.to_packet() else { return false };
            if taker.takes(&packet) {
                is_taken = true;
                taker.give(packet);
            }
        }
        is_taken
    }

    /// The socket whose echo request a packet answers.
    fn ping_of<'a>(&self, sockets: &'a Sockets, heard: &Heard<'_>) -> Option<&'a Arc<RawSocket>> {
        let header: &[u8; 8] = heard.bytes.get(heard.payload..)?.first_chunk()?;
        let is_v6 = match (heard.key.protocol, header[0]) {
            (protocol::ICMP, ECHO_REPLY4) => false,
            (protocol::ICMPV6, ECHO_REPLY6) => true,
            _ => return None,
        };
        sockets.ping.get(&(u16::from_be_bytes([header[4], header[5]]), is_v6))
    }

    /// Tells the socket of an echo request that it did not arrive.
    pub(crate) fn report(&self, identifier: u16, remote: SocketAddr, report: &ErrorReport<'_>) {
        let socket = self.sockets.lock().ping.get(&(identifier, remote.is_ipv6())).cloned();
        if let Some(socket) = socket {
            socket.report(report);
        }
    }
}
