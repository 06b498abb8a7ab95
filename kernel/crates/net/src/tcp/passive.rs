//! Connections that others ask for: from their SYN to a socket that waits to be accepted. Runs in the workers.
//!
//! 1. A SYN for a listener makes a record ([`Pending`]), and is answered. The third segment makes an engine of the record, and a socket.
//! 2. A listener has so many records as its backlog, at least [`PENDING_MIN`]; the stack [`PENDING_MAX`]. Beyond that nothing is kept: the number of our SYN is made
//!    of what must be known later (a *cookie*, RFC 4987, 3.6). It carries the time in minutes, and one of eight sizes of segments; scaling, SACK and
//!    timestamps are lost.
//! 3. Numbers of our SYNs are a clock plus a keyed hash of both ends (RFC 6528), so that nobody can guess them, and a connection that is made again
//!    continues above its last.
//! 4. An answer that is not acknowledged is sent again, after one second, two, four and so on ([`ANSWERS_MAX`]).
//! 5. A segment that belongs to nobody is answered by a reset.
//! 6. While memory is critically short nobody is answered who wants a new connection: each takes memory that only the ends of others
//!    give back. Who asks tries again, as for a full backlog.
//!
//! Lock: [`rank::HALF_OPEN`] around the records; a listener's may be taken under it.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mm::pressure;
use siphasher::sip::SipHasher24;
use sync::machine::{self, NEVER};
use sync::{Mutex, rank};

use super::Tcp;
use super::engine::{Handshake, SegmentFlags, SegmentHeader, Settings, State};
use super::listener::Listener;
use super::listing::TcpRow;
use super::passive_fast_open::FastOpenVerdict;
use super::segment::{self, bare};
use super::socket::{Inherited, Phase, TcpSocket};
use super::time_wait::Verdict;
use super::wire::Wire;
use crate::Stack;
use crate::channel::{Flow, QueuedPacket};
use crate::counters::Counter;
use crate::flow_key::{FlowKey, address_of_bits, protocol};
use crate::frame::ReceivedFrame;
use crate::interface::{Route, RouteRequest};

/// Records of a listener with a small backlog.
const PENDING_MIN: usize = 128;
/// Records of all listeners.
const PENDING_MAX: usize = 8192;
/// Answers to a SYN (`net.ipv4.tcp_synack_retries`, and the first).
const ANSWERS_MAX: u32 = 6;
const SECOND_NS: u64 = 1_000_000_000;
/// A cookie is good for this minute and the last.
const COOKIE_NS: u64 = 60 * SECOND_NS;
/// The sizes of segments that a cookie can carry, in three bits.
const COOKIE_SIZES: [u16; 8] = [536, 1220, 1300, 1360, 1400, 1440, 1460, 8960];

/// The keys of this stack's hashes.
pub(super) struct Secrets {
    sequence: [u8; 16],
    cookie: [u8; 16],
    table: [u64; 2],
}

impl Secrets {
    pub(super) fn new() -> Self {
        let random = || {
            let mut bytes = [0; 16];
            machine::fill_entropy(&mut bytes);
            bytes
        };
        let table = random();
        let (low, high) = table.split_at(8);
        let word = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Self { sequence: random(), cookie: random(), table: [word(low), word(high)] }
    }

    /// For tables in memory.
    pub(super) fn hash(&self, key: &FlowKey) -> u64 {
        key.hash(self.table)
    }

    fn keyed(key: &[u8; 16], flow: &FlowKey, salt: u64) -> u64 {
        let hasher = SipHasher24::new_with_key(key);
        let mut bytes = [0; 44];
        bytes[..16].copy_from_slice(&flow.local.to_le_bytes());
        bytes[16..32].copy_from_slice(&flow.remote.to_le_bytes());
        bytes[32..34].copy_from_slice(&flow.local_port.to_le_bytes());
        bytes[34..36].copy_from_slice(&flow.remote_port.to_le_bytes());
        bytes[36..].copy_from_slice(&salt.to_le_bytes());
        hasher.hash(&bytes)
    }

    /// The number of our SYN: a clock of 4 microseconds and a hash of the ends (RFC 6528, 3).
    pub(super) fn initial_sequence(&self, key: &FlowKey, now_ns: u64) -> u32 {
        low(now_ns / 4000).wrapping_add(low(Self::keyed(&self.sequence, key, 0)))
    }

    /// What is added to our clock for timestamps of this flow (RFC 7323, 5.4).
    pub(super) fn timestamp_offset(&self, key: &FlowKey) -> u32 {
        low(Self::keyed(&self.sequence, key, 1))
    }

    /// The number of a SYN that keeps nothing.
    fn cookie(&self, key: &FlowKey, peer_sequence: u32, size: usize, minute: u64) -> u32 {
        let hash = low(Self::keyed(&self.cookie, key, minute << 32 | u64::from(peer_sequence)));
        hash & !0xff | (low(minute) & 0x1f) << 3 | u32::try_from(size).unwrap_or(0)
    }

    /// The size of segments in a cookie that we gave in this minute or the last.
    fn open_cookie(&self, key: &FlowKey, peer_sequence: u32, cookie: u32, now_ns: u64) -> Option<u16> {
        let size = (cookie & 7) as usize;
        let this = now_ns / COOKIE_NS;
        let is_ours = [Some(this), this.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|minute| self.cookie(key, peer_sequence, size, minute) == cookie);
        is_ours.then(|| COOKIE_SIZES[size])
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn low(word: u64) -> u32 {
    word as u32
}

/// A connection that was asked for, and answered.
struct Pending {
    listener: Arc<Listener>,
    handshake: Handshake,
    settings: Settings,
    answered_ns: u64,
    answers: u32,
    due_ns: u64,
}

impl Pending {
    fn new(listener: Arc<Listener>, handshake: Handshake, settings: Settings, now_ns: u64) -> Self {
        listener.half_open_len.fetch_add(1, Relaxed);
        let due_ns = now_ns.saturating_add(SECOND_NS);
        Self { listener, handshake, settings, answered_ns: now_ns, answers: 1, due_ns }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.listener.half_open_len.fetch_sub(1, Relaxed);
    }
}

/// All connections that were asked for.
pub(super) struct HalfOpen {
    records: Mutex<BTreeMap<FlowKey, Pending>>,
    /// When one of them is due, or earlier: until then nobody looks at them all. Written under the lock.
    next_ns: AtomicU64,
}

impl HalfOpen {
    pub(super) fn new() -> Self {
        Self { records: Mutex::new(rank::HALF_OPEN, BTreeMap::new()), next_ns: AtomicU64::new(NEVER) }
    }

    /// Drops what was asked of a listener that is no more.
    pub(super) fn forget(&self, listener: &Arc<Listener>) {
        self.records.lock().retain(|_, pending| !Arc::ptr_eq(&pending.listener, listener));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.records.lock().len()
    }

    /// A line for each.
    pub(super) fn rows(&self, now_ns: u64) -> Vec<TcpRow> {
        let row = |(key, pending): (&FlowKey, &Pending)| TcpRow {
            timer: 1,
            timer_left_ns: pending.due_ns.saturating_sub(now_ns),
            retransmits: u8::try_from(pending.answers.saturating_sub(1)).unwrap_or(u8::MAX),
            ..TcpRow::record(key.local_end(), key.remote_end(), State::SynReceived)
        };
        self.records.lock().iter().map(row).collect()
    }
}

/// A segment that belongs to no connection, without its packet's headers.
pub(super) struct Stray {
    pub(super) key: FlowKey,
    pub(super) interface: u32,
    pub(super) header: SegmentHeader,
    pub(super) payload_len: usize,
}

impl Tcp {
    /// A segment that belonged to no connection when it came.
    pub(crate) fn handle_unmatched(&self, stack: &Arc<Stack>, mut packet: QueuedPacket) {
        if let Some(flow) = stack.flows().get(&packet.key) {
            // The connection came about since.
            stack.deliver(&flow, packet);
            return;
        }
        let (key, interface) = (packet.key, packet.interface);
        // To groups, to all machines and to others there are no connections, and they are not answered, not even by a RST.
        let is_link_group = packet.frame.head().first().is_some_and(|byte| byte & 1 != 0);
        if is_link_group || !stack.interfaces().is_local(key.local_end().ip()) {
            return stack.mib().count(Counter::IpInAddrErrors);
        }
        stack.mib().count(Counter::TcpInSegs);
        let mut header = SegmentHeader::default();
        if !segment::parse(&mut packet, &mut header) {
            stack.mib().count(Counter::TcpInErrs);
            return stack.mib().count(Counter::TcpInCsumErrors);
        }
        let frame = packet.value.frame;
        let stray = Stray { key, interface, header, payload_len: frame.len() };
        let now_ns = machine::now_ns();
        match self.time_waits.receive(&self.secrets, &key, &header, stray.payload_len, millis(now_ns)) {
            Verdict::Nothing => return,
            Verdict::Answer(answer) => return self.answer(stack, &stray, answer),
            Verdict::Unknown | Verdict::Begins => {}
        }
        if header.flags.contains(SegmentFlags::RST) {
            self.take_reset(&stray);
        } else if header.flags.contains(SegmentFlags::SYN) && !header.flags.contains(SegmentFlags::ACK) {
            self.take_request(stack, &stray, frame, now_ns);
        } else if !header.flags.contains(SegmentFlags::ACK) || !self.take_third(stack, &stray, frame, now_ns) {
            self.refuse(stack, &stray);
        }
    }

    /// Sends answers again that were not acknowledged, and answers when the next are due.
    pub(crate) fn poll(&self, stack: &Arc<Stack>, now_ns: u64) -> u64 {
        let next_ns = self.half_open.next_ns.load(Relaxed);
        if next_ns > now_ns {
            return next_ns.min(self.time_waits.expire(&self.secrets, now_ns));
        }
        let mut due = Vec::new();
        let mut next_ns = NEVER;
        let mut dropped = Vec::new();
        let mut records = self.half_open.records.lock();
        records.retain(|key, pending| {
            if pending.due_ns <= now_ns {
                if pending.answers >= ANSWERS_MAX {
                    dropped.push(Arc::clone(&pending.listener));
                    return false;
                }
                pending.due_ns = now_ns.saturating_add(SECOND_NS << pending.answers);
                pending.answers += 1;
                pending.handshake.was_retransmitted = true;
                due.push((*key, pending.handshake.answer(&pending.settings, now_ns)));
            }
            next_ns = next_ns.min(pending.due_ns);
            true
        });
        self.half_open.next_ns.store(next_ns, Relaxed);
        drop(records);
        drop(dropped);
        for (key, answer) in due {
            self.send(stack, &key, 0, answer);
        }
        next_ns.min(self.time_waits.expire(&self.secrets, now_ns))
    }

    /// A SYN.
    fn take_request(&self, stack: &Arc<Stack>, stray: &Stray, frame: ReceivedFrame, now_ns: u64) {
        let key = &stray.key;
        let Some(listener) = self.find_listener(key.local_end(), || self.secrets.hash(key)) else {
            return self.refuse(stack, stray);
        };
        if pressure::is_critical() {
            return stack.mib().count(Counter::TcpExtListenDrops);
        }
        let Some(owner) = listener.owner() else { return };
        let Ok(route) = self.route_of(stack, key, stray.interface) else { return };
        let settings = owner.settings_for(&route);
        let verdict = self.judge_fast_open(&listener, &owner, stray, now_ns);
        let mut records = self.half_open.records.lock();
        if let Some(pending) = records.get_mut(key) {
            // It has not seen our answer, or asks anew.
            if pending.handshake.peer_initial_sequence == stray.header.sequence {
                pending.handshake.was_retransmitted = true;
                let answer = pending.handshake.answer(&pending.settings, now_ns);
                drop(records);
                return self.answer(stack, stray, answer);
            }
            records.remove(key);
        }
        let given = match verdict {
            FastOpenVerdict::Plain => None,
            FastOpenVerdict::Give(cookie) => Some(cookie),
            FastOpenVerdict::Take(place, given) => {
                drop(records);
                let request = (&*listener, &*owner, settings);
                return self.take_fast(stack, stray, frame, request, (place, given), now_ns);
            }
        };
        let of_listener = listener.half_open_len.load(Relaxed);
        let (backlog, _) = listener.backlog();
        let is_full = records.len() >= PENDING_MAX || of_listener >= PENDING_MIN.max(backlog as usize);
        if is_full {
            drop(records);
            return self.answer_with_cookie(stack, stray, &settings, now_ns);
        }
        let sequence = self.secrets.initial_sequence(key, now_ns);
        let offset = self.secrets.timestamp_offset(key);
        let handshake = Handshake::from_syn(&stray.header, &settings, sequence, offset);
        let answer = SegmentHeader { fast_open: given, ..handshake.answer(&settings, now_ns) };
        let pending = Pending::new(listener, handshake, settings, now_ns);
        let due_ns = pending.due_ns;
        self.half_open.next_ns.fetch_min(due_ns, Relaxed);
        records.insert(*key, pending);
        drop(records);
        // This may be the worker of another CPU than the one that has the timers.
        stack.control().request_poll(stack, due_ns);
        self.answer(stack, stray, answer);
    }

    /// Answers a SYN of which nothing is kept.
    fn answer_with_cookie(&self, stack: &Arc<Stack>, stray: &Stray, settings: &Settings, now_ns: u64) {
        stack.mib().count(Counter::TcpExtSyncookiesSent);
        let wanted = stray.header.mss.unwrap_or(COOKIE_SIZES[0]);
        let size = COOKIE_SIZES.iter().rposition(|size| *size <= wanted).unwrap_or(0);
        let sequence = self.secrets.cookie(&stray.key, stray.header.sequence, size, now_ns / COOKIE_NS);
        let handshake = Handshake::from_syn(&cookie_syn(&stray.header, size), settings, sequence, 0);
        self.answer(stack, stray, handshake.answer(settings, now_ns));
    }

    /// The third segment of a connection, or data behind it. False: it belongs to nobody.
    fn take_third(&self, stack: &Arc<Stack>, stray: &Stray, frame: ReceivedFrame, now_ns: u64) -> bool {
        let header = &stray.header;
        let is_known = self.half_open.records.lock().contains_key(&stray.key);
        // Asked for without the lock, and not for the sake of strays.
        let is_short_of_memory = is_known && pressure::is_critical();
        let mut records = self.half_open.records.lock();
        let Some(pending) = records.get_mut(&stray.key) else {
            drop(records);
            return self.take_cookie(stack, stray, frame, now_ns);
        };
        if header.acknowledgement != pending.handshake.initial_sequence.wrapping_add(1) {
            return false;
        }
        if header.sequence != pending.handshake.peer_initial_sequence.wrapping_add(1) {
            // Behind something that was lost: it will come again.
            return true;
        }
        let listener = Arc::clone(&pending.listener);
        let owner = listener.owner();
        let is_early = stray.payload_len == 0 && owner.as_ref().is_some_and(|owner| owner.defers_accept());
        let is_full = !self.has_room(stack, &listener, is_short_of_memory);
        let Some(owner) = owner.filter(|_| !is_early && !is_full) else {
            // The other side believes that it is connected, and sends its data again.
            return true;
        };
        let mut handshake = pending.handshake;
        handshake.complete(header, pending.answered_ns, now_ns);
        let settings = pending.settings;
        records.remove(&stray.key);
        drop(records);
        self.complete(stack, stray, frame, (&listener, &owner, &handshake, settings), now_ns);
        true
    }

    /// A segment that may acknowledge a cookie.
    fn take_cookie(&self, stack: &Arc<Stack>, stray: &Stray, frame: ReceivedFrame, now_ns: u64) -> bool {
        let (key, header) = (&stray.key, &stray.header);
        let (cookie, peer_sequence) = (header.acknowledgement.wrapping_sub(1), header.sequence.wrapping_sub(1));
        let Some(listener) = self.find_listener(key.local_end(), || self.secrets.hash(key)) else { return false };
        let Some(size) = self.secrets.open_cookie(key, peer_sequence, cookie, now_ns) else { return false };
        let Some(owner) = listener.owner() else { return false };
        stack.mib().count(Counter::TcpExtSyncookiesRecv);
        if !self.has_room(stack, &listener, pressure::is_critical()) {
            return true;
        }
        let Ok(route) = self.route_of(stack, key, stray.interface) else { return true };
        let settings = owner.settings_for(&route);
        let syn = SegmentHeader { sequence: peer_sequence, mss: Some(size), ..SegmentHeader::default() };
        let mut handshake = Handshake::from_syn(&syn, &settings, cookie, 0);
        handshake.was_retransmitted = true;
        handshake.complete(header, now_ns, now_ns);
        self.complete(stack, stray, frame, (&listener, &owner, &handshake, settings), now_ns);
        true
    }

    /// Whether there is room for one more connection. Counts that there was none.
    pub(super) fn has_room(&self, stack: &Stack, listener: &Listener, is_short_of_memory: bool) -> bool {
        let can_take = listener.can_take();
        if !can_take {
            stack.mib().count(Counter::TcpExtListenOverflows);
        }
        let has_room = can_take && !is_short_of_memory;
        if !has_room {
            stack.mib().count(Counter::TcpExtListenDrops);
        }
        has_room
    }

    /// Makes the socket of a connection and lets it wait to be accepted.
    fn complete(
        &self,
        stack: &Arc<Stack>,
        stray: &Stray,
        frame: ReceivedFrame,
        (listener, owner, handshake, settings): (&Arc<Listener>, &TcpSocket, &Handshake, Settings),
        now_ns: u64,
    ) {
        let key = stray.key;
        let Ok(route) = self.route_of(stack, &key, stray.interface) else { return };
        let inherited = owner.inherited();
        let wire = Wire::accept(self, key, handshake, route, settings, now_ns);
        let Some(socket) = accepted(stack, owner, inherited, wire) else { return };
        socket.take_segment(&stray.header, frame, now_ns);
        if !listener.push(Arc::clone(&socket)) {
            socket.end(true);
        }
    }

    fn take_reset(&self, stray: &Stray) {
        let mut records = self.half_open.records.lock();
        let expects = |pending: &Pending| pending.handshake.peer_initial_sequence.wrapping_add(1);
        let removed = match records.get(&stray.key) {
            Some(pending) if expects(pending) == stray.header.sequence => records.remove(&stray.key),
            _ => None,
        };
        drop(records);
        drop(removed);
    }

    /// Answers a segment that belongs to nobody.
    fn refuse(&self, stack: &Arc<Stack>, stray: &Stray) {
        if let Some(reset) = segment::reset_for(&stray.header, stray.payload_len) {
            stack.mib().count(Counter::TcpOutRsts);
            self.answer(stack, stray, reset);
        }
    }

    fn answer(&self, stack: &Arc<Stack>, stray: &Stray, header: SegmentHeader) {
        self.send(stack, &stray.key, stray.interface, header);
    }

    /// Sends a segment without payload.
    fn send(&self, stack: &Arc<Stack>, key: &FlowKey, interface: u32, header: SegmentHeader) {
        // Who cannot be reached is not told.
        let Ok(route) = self.route_of(stack, key, interface) else { return };
        stack.mib().count(Counter::TcpOutSegs);
        let _is_sent = route.send(stack, &mut alloc::vec![segment::build(key, &bare(header))]);
    }

    /// The way back to who has sent a segment.
    pub(super) fn route_of(&self, stack: &Stack, key: &FlowKey, interface: u32) -> Result<Route, abi::Errno> {
        let remote = address_of_bits(key.remote);
        let is_link_local = matches!(remote, core::net::IpAddr::V6(address) if address.is_unicast_link_local());
        stack.interfaces().route(&RouteRequest {
            source: Some(address_of_bits(key.local)),
            interface: if is_link_local { interface } else { 0 },
            ..RouteRequest::new(protocol::TCP, remote)
        })
    }
}

/// The socket of a new connection, in the table of flows. None: there is no place in it, or somebody has these ends.
pub(super) fn accepted(
    stack: &Arc<Stack>,
    owner: &TcpSocket,
    inherited: Inherited,
    wire: Wire,
) -> Option<Arc<TcpSocket>> {
    let key = wire.key;
    let mut inherited = inherited;
    let claim = inherited.claim.take();
    let phase = Phase::Wire(alloc::boxed::Box::new(wire));
    let socket = TcpSocket::accepted(owner, &inherited, phase, claim, key.local_end().ip());
    let is_new = stack.flows().insert(key, Arc::clone(&socket) as Arc<dyn Flow>);
    stack.mib().add(Counter::TcpPassiveOpens, u64::from(is_new));
    is_new.then_some(socket)
}

/// A SYN as a cookie will remember it.
fn cookie_syn(header: &SegmentHeader, size: usize) -> SegmentHeader {
    SegmentHeader {
        sequence: header.sequence,
        window: header.window,
        mss: Some(COOKIE_SIZES[size]),
        ..SegmentHeader::default()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the clock of timestamps wraps")]
fn millis(now_ns: u64) -> u32 {
    (now_ns / 1_000_000) as u32
}
