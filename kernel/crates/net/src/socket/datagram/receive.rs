//! The reader's side of [`Datagrams`].

use alloc::sync::Weak;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::Ordering;

use abi::Errno;
use mm::user::UserWriter;
use smoltcp::wire::{Ipv4Packet, Ipv6Packet};
use sync::machine;

use super::{Datagrams, ErrorRecord, State};
use crate::channel::{Packet, QueuedPacket};
use crate::flow_key::address_of_bits;
use crate::loan::{Lender, Lent};
use crate::socket::inet_options::InetFlags;
use crate::socket::{ControlMessage, MessageFlags, ReceiveRequest, Received};

impl Datagrams {
    /// Moves what has come to the reader's list, but for what is not sound.
    pub(super) fn drain(&self, state: &mut State) {
        let mut arrived = self.channel.take();
        while let Some(packet) = arrived.next_entry() {
            if (self.reading.is_sound)(self, &packet) && state.received.try_reserve(1).is_ok() {
                state.received.push_back(packet);
            } else {
                self.drops.fetch_add(1, Ordering::Relaxed);
                self.queued_bytes.word().fetch_sub(packet.frame.footprint(), Ordering::Relaxed);
            }
        }
    }

    /// Takes a packet, or an error.
    pub(in crate::socket) fn receive(&self, request: &mut ReceiveRequest<'_, '_>) -> Result<Option<Received>, Errno> {
        // Who does not wait is told to come again even where nothing will come any more.
        let waits = !request.flags.contains(MessageFlags::DONTWAIT);
        let mut state = self.state.lock();
        if request.flags.contains(MessageFlags::ERRQUEUE) {
            let record = state.errors.pop_front();
            let is_last = state.errors.is_empty();
            if is_last {
                state.pending_error = None;
            } else {
                state.pending_error = state.errors.front().map(|next| next.errno);
            }
            drop(state);
            return self.receive_error(record, request);
        }
        if let Some(errno) = state.pending_error.take() {
            return Err(errno);
        }
        let is_peek = request.flags.contains(MessageFlags::PEEK);
        let mut skip = if is_peek { self.options.peek_start() } else { 0 };
        if state.received.is_empty() || skip > 0 {
            self.drain(&mut state);
        }
        if is_peek {
            let is_behind = |packet: &&QueuedPacket| {
                let len = self.len_of(packet);
                let is_passed = skip > 0 && skip >= len;
                skip -= if is_passed { len } else { 0 };
                !is_passed
            };
            // The packet stays where it is while it is copied: the lock stands before those of page faults.
            return match state.received.iter().find(is_behind) {
                Some(packet) => {
                    let received = self.deliver(packet, request, skip)?;
                    self.options.move_peek_offset(true, received.len);
                    Ok(Some(received))
                }
                None => Ok((state.is_read_shut && waits).then(Received::default)),
            };
        }
        let Some(packet) = state.received.pop_front() else {
            return Ok((state.is_read_shut && waits).then(Received::default));
        };
        drop(state);
        self.queued_bytes.word().fetch_sub(packet.frame.footprint(), Ordering::Relaxed);
        let received = self.deliver(&packet, request, 0)?;
        self.options.move_peek_offset(false, received.len);
        Ok(Some(received))
    }

    /// The program's bytes of a packet.
    pub(super) fn len_of(&self, packet: &Packet) -> usize {
        let (start, end) = (self.reading.payload)(packet, self.is_v6);
        end - start
    }

    /// Lends the buffers of a packet.
    pub(in crate::socket) fn lend(&self, pieces_max: usize, lender: &Weak<dyn Lender>) -> Result<Option<Lent>, Errno> {
        let mut state = self.state.lock();
        if let Some(errno) = state.pending_error.take() {
            return Err(errno);
        }
        if state.received.is_empty() {
            self.drain(&mut state);
        }
        let Some(first) = state.received.front() else { return Ok(state.is_read_shut.then(Lent::default)) };
        if first.frame.pieces().count() > pieces_max {
            return Err(Errno::EMSGSIZE);
        }
        let Some(packet) = state.received.pop_front() else { return Ok(None) };
        drop(state);
        let source = SocketAddr::new(address_of_bits(packet.key.remote), packet.key.remote_port);
        let address = Some(self.show(source, packet.interface));
        let (start, end) = (self.reading.payload)(&packet, self.is_v6);
        let footprint = packet.frame.footprint();
        let mut frame = packet.value.frame;
        frame.truncate(end);
        let mut skip = start;
        let mut pieces: alloc::vec::Vec<_> = frame.into_pieces().collect();
        pieces.iter_mut().for_each(|piece| skip -= piece.trim_front(skip));
        pieces.retain(|piece| !piece.is_empty());
        // Those that stay are added before all of it is taken off, so that it never looks like room.
        pieces.iter().for_each(|piece| self.queued_bytes.add(piece));
        self.queued_bytes.word().fetch_sub(footprint, Ordering::Relaxed);
        Ok(Some(Lent { address, ..Lent::new(pieces, &self.queued_bytes, lender) }))
    }

    /// Hands a packet over, from its byte `skip` on.
    fn deliver(&self, packet: &Packet, request: &mut ReceiveRequest<'_, '_>, skip: usize) -> Result<Received, Errno> {
        let (start, end) = (self.reading.payload)(packet, self.is_v6);
        let (len, room) = (end - start, request.to.remaining());
        let copied = copy(packet, start + skip, end, request.to)?;
        let mut flags = MessageFlags::empty();
        // Linux compares with the whole length when the rest fits exactly.
        if room < len && room <= len - skip {
            flags |= MessageFlags::TRUNC;
        }
        let mut control = alloc::vec::Vec::new();
        if request.wants_control {
            self.describe(packet, &mut control);
        }
        let source = SocketAddr::new(address_of_bits(packet.key.remote), packet.key.remote_port);
        let answered = if request.flags.contains(MessageFlags::TRUNC) { len } else { copied };
        Ok(Received { len: answered, address: Some(self.show(source, packet.interface)), control, flags })
    }

    fn receive_error(
        &self,
        record: Option<ErrorRecord>,
        request: &mut ReceiveRequest<'_, '_>,
    ) -> Result<Option<Received>, Errno> {
        let Some(record) = record else { return Err(Errno::EAGAIN) };
        let len = request.to.write(&record.payload[..record.payload.len().min(request.to.remaining())])?;
        let mut flags = MessageFlags::ERRQUEUE;
        if len < record.payload.len() {
            flags |= MessageFlags::TRUNC;
        }
        let error = ControlMessage::ExtendedError {
            errno: u32::from(record.errno.raw()),
            origin: record.origin,
            kind: record.kind,
            code: record.code,
            info: record.mtu,
            offender: record.offender,
        };
        let address = Some(self.show(record.destination, 0));
        Ok(Some(Received { len, address, control: alloc::vec![error], flags }))
    }

    /// The ancillary data that the options ask for, in Linux's order.
    fn describe(&self, packet: &Packet, control: &mut alloc::vec::Vec<ControlMessage>) {
        if self.options.timestamp.load(Ordering::Relaxed) != 0 {
            let time_ns = if packet.realtime_ns == 0 { machine::realtime_ns() } else { packet.realtime_ns };
            control.push(ControlMessage::Timestamp(time_ns));
        }
        if packet.lost_before > 0 {
            control.push(ControlMessage::Overflow(packet.lost_before));
        }
        if !self.inet.describes() {
            return;
        }
        let header = packet.frame.head().get(usize::from(packet.layout.network)..).unwrap_or_default();
        let destination = address_of_bits(packet.key.local);
        let is_ipv4 = destination.is_ipv4();
        let (hop_limit, traffic_class) = match is_ipv4 {
            true => Ipv4Packet::new_checked(header).map_or((0, 0), |ip| (ip.hop_limit(), ip.dscp() << 2 | ip.ecn())),
            false if header.len() >= 40 => {
                let ip = Ipv6Packet::new_unchecked(header);
                (ip.hop_limit(), ip.traffic_class())
            }
            false => (0, 0),
        };
        let has = |flag| self.inet.has(flag);
        if self.is_v6 && has(InetFlags::RECVPKTINFO6) {
            let shown = match destination {
                IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
                v6 => v6,
            };
            control.push(ControlMessage::PacketInfo {
                interface: packet.interface,
                specified: shown,
                destination: shown,
            });
        }
        if self.is_v6 && !is_ipv4 && has(InetFlags::RECVHOPLIMIT) {
            control.push(ControlMessage::HopLimit(hop_limit, true));
        }
        if self.is_v6 && !is_ipv4 && has(InetFlags::RECVTCLASS) {
            control.push(ControlMessage::TrafficClass(traffic_class, true));
        }
        if let IpAddr::V6(shown) = destination {
            if has(InetFlags::OLD_PKTINFO6) {
                control.push(ControlMessage::OldPacketInfo(packet.interface, shown));
            }
            if has(InetFlags::OLD_HOPLIMIT6) {
                control.push(ControlMessage::OldHopLimit(hop_limit));
            }
        }
        let wanted = if is_ipv4 { InetFlags::RECVORIGDSTADDR } else { InetFlags::RECVORIGDSTADDR6 };
        let original = has(wanted).then(|| ControlMessage::OriginalDestination(packet.key.local_end()));
        if !is_ipv4 {
            control.extend(original);
            return;
        }
        if has(InetFlags::PKTINFO) {
            let specified = self.specified(destination, packet.interface);
            control.push(ControlMessage::PacketInfo { interface: packet.interface, specified, destination });
        }
        if has(InetFlags::RECVTTL) {
            control.push(ControlMessage::HopLimit(hop_limit, false));
        }
        if has(InetFlags::RECVTOS) {
            control.push(ControlMessage::TrafficClass(traffic_class, false));
        }
        control.extend(original);
    }

    /// The local address that a packet came to: the destination, or for groups the interface's.
    fn specified(&self, destination: IpAddr, interface: u32) -> IpAddr {
        self.stack.interfaces().with(|snapshot| {
            if snapshot.is_local(destination) {
                return destination;
            }
            let first = snapshot.addresses_of(interface).find(|own| own.address.is_ipv4());
            first.map_or(Ipv4Addr::UNSPECIFIED.into(), |own| own.address)
        })
    }
}

/// Copies the bytes from `start` to `end` of a packet's frame, as many as there is room for.
fn copy(packet: &Packet, start: usize, end: usize, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
    let (mut at, mut copied) = (0, 0);
    for piece in packet.frame.pieces() {
        let from = start.saturating_sub(at).min(piece.len());
        let until = end.saturating_sub(at).min(piece.len());
        at += piece.len();
        let part = piece.get(from..until).unwrap_or_default();
        let part = &part[..part.len().min(to.remaining())];
        if !part.is_empty() {
            to.write_all(part)?;
            copied += part.len();
        }
    }
    Ok(copied)
}
