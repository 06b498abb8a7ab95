//! Who is at the ports of the host, for one machine.
//!
//! What is known of packets is written here anew, so that the kernel's own reading of the specification is compared
//! with another.

use std::collections::{BTreeMap, VecDeque};

/// Bytes of a header.
const HEADER_LEN: usize = 44;
/// The host's CID.
const HOST: u64 = 2;
/// Room for what is not echoed yet.
const BUFFER_LEN: u32 = 64 << 10;
/// A packet has to fit one of the machine's buffers: pages here, less on Linux.
const PAYLOAD_LEN_MAX: usize = 2048;

/// Echoes.
const ECHO: u32 = 1000;
/// Echoes, and connects to [`CALLED_BACK`] of the machine.
const CALL_BACK: u32 = 1001;
/// Sends what nobody may, then more than there is room for.
const HOSTILE: u32 = 1002;
/// Hears and says nothing.
const SILENT: u32 = 1003;
/// Ends connections at once.
const SHORT: u32 = 1004;
const CALLED_BACK: u32 = 2000;
const GREETING: &[u8] = b"a call from the host";

const REQUEST: u16 = 1;
const RESPONSE: u16 = 2;
const RESET: u16 = 3;
const SHUTDOWN: u16 = 4;
const DATA: u16 = 5;
const CREDIT_UPDATE: u16 = 6;
const CREDIT_REQUEST: u16 = 7;
const STREAM: u16 = 1;
const BOTH_HALVES: u32 = 3;
const SENDS_NO_MORE: u32 = 2;

/// The other side's account of a connection.
#[derive(Default)]
struct Connection {
    /// Bytes that are to be echoed.
    waiting: VecDeque<u8>,
    sent: u32,
    taken: u32,
    /// The machine's room, and what its program has taken.
    room: u32,
    taken_there: u32,
    /// The machine sends no more.
    is_ending: bool,
}

/// The host's side.
pub(super) struct Peer {
    cid: u64,
    /// By the ports of host and machine.
    connections: BTreeMap<(u32, u32), Connection>,
    /// Packets for the machine.
    pub(super) outbox: VecDeque<Vec<u8>>,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_le_bytes(*word))
}

impl Peer {
    pub(super) fn new(cid: u32) -> Self {
        Self { cid: cid.into(), connections: BTreeMap::new(), outbox: VecDeque::new() }
    }

    fn send(&mut self, key: (u32, u32), operation: u16, flags: u32, payload: &[u8]) {
        let taken = self.connections.get(&key).map_or(0, |connection| connection.taken);
        let len = u32::try_from(payload.len()).unwrap_or(0);
        let packet = [
            &HOST.to_le_bytes()[..],
            &self.cid.to_le_bytes(),
            &key.0.to_le_bytes(),
            &key.1.to_le_bytes(),
            &len.to_le_bytes(),
            &STREAM.to_le_bytes(),
            &operation.to_le_bytes(),
            &flags.to_le_bytes(),
            &BUFFER_LEN.to_le_bytes(),
            &taken.to_le_bytes(),
            payload,
        ];
        self.outbox.push_back(packet.concat());
    }

    /// Takes a packet of the machine.
    pub(super) fn receive(&mut self, packet: &[u8]) {
        let Some((header, payload)) = packet.split_at_checked(HEADER_LEN) else { return };
        let key = (word(header, 20), word(header, 16));
        let operation = u16::from_le_bytes([header[30], header[31]]);
        if key.0 == SILENT {
            return;
        }
        if operation == REQUEST {
            return self.take_request(key, header);
        }
        let Some(connection) = self.connections.get_mut(&key) else {
            if operation != RESET {
                self.send(key, RESET, 0, b"");
            }
            return;
        };
        (connection.room, connection.taken_there) = (word(header, 36), word(header, 40));
        match operation {
            DATA => connection.waiting.extend(payload),
            SHUTDOWN => connection.is_ending |= word(header, 32) & SENDS_NO_MORE != 0,
            RESET => {
                self.connections.remove(&key);
                return;
            }
            CREDIT_REQUEST => self.send(key, CREDIT_UPDATE, 0, b""),
            RESPONSE => {
                // Nothing that was received.
                connection.sent += u32::try_from(GREETING.len()).unwrap_or(0);
                self.send(key, DATA, 0, GREETING);
            }
            _ => {}
        }
        self.echo(key);
    }

    fn take_request(&mut self, key: (u32, u32), header: &[u8]) {
        if !(ECHO..=SHORT).contains(&key.0) {
            return self.send(key, RESET, 0, b"");
        }
        let connection = Connection { room: word(header, 36), ..Connection::default() };
        self.connections.insert(key, connection);
        self.send(key, RESPONSE, 0, b"");
        // No connection is between these ports.
        self.send((SILENT, key.1), DATA, 0, b"of somebody else");
        match key.0 {
            CALL_BACK => {
                self.connections.insert((CALL_BACK, CALLED_BACK), Connection::default());
                self.send((CALL_BACK, CALLED_BACK), REQUEST, 0, b"");
            }
            HOSTILE => self.be_hostile(key),
            SHORT => {
                self.send(key, DATA, 0, b"bye");
                self.send(key, RESET, 0, b"");
            }
            _ => {}
        }
    }

    /// Sends as much as the machine has room for.
    fn echo(&mut self, key: (u32, u32)) {
        while let Some(connection) = self.connections.get_mut(&key) {
            let under_way = connection.sent.wrapping_sub(connection.taken_there);
            let room = connection.room.saturating_sub(under_way) as usize;
            let len = room.min(PAYLOAD_LEN_MAX).min(connection.waiting.len());
            if len == 0 {
                let is_over = connection.is_ending && connection.waiting.is_empty();
                if is_over {
                    self.send(key, SHUTDOWN, BOTH_HALVES, b"");
                    self.connections.remove(&key);
                }
                return;
            }
            let payload: Vec<u8> = connection.waiting.drain(..len).collect();
            let count = u32::try_from(len).unwrap_or(0);
            connection.sent = connection.sent.wrapping_add(count);
            connection.taken = connection.taken.wrapping_add(count);
            self.send(key, DATA, 0, &payload);
        }
    }

    /// Packets that are none, of nobody, or too many.
    fn be_hostile(&mut self, key: (u32, u32)) {
        for len in [0, 1, HEADER_LEN - 1] {
            self.outbox.push_back(vec![0xff; len]);
        }
        self.send(key, 99, 0, b"");
        self.send(key, REQUEST, 0, b"");
        self.send(key, CREDIT_UPDATE, u32::MAX, b"with bytes");
        self.send((key.0, 77), DATA, 0, b"for nobody");
        self.send((HOSTILE, CALLED_BACK), RESPONSE, 0, b"");
        // The length is that of another packet.
        let mut longer = self.outbox.back().cloned().unwrap_or_default();
        longer[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
        self.outbox.push_back(longer);
        for _ in 0..200 {
            self.send(key, DATA, 0, &[b'x'; PAYLOAD_LEN_MAX]);
        }
    }
}
