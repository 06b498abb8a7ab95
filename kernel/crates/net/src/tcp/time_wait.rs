//! [`TimeWaits`]: what stays of connections that this side has closed first.
//!
//! For a minute (Linux's `TCP_TIMEWAIT_LEN`, half of what RFC 9293 would have) the last FIN of the other side is acknowledged again if that was lost, and
//! segments that have strayed are not taken for those of a new connection. A record has 64 bytes; there are at most [`RECORDS_MAX`], beyond which
//! connections end at once, as on Linux.
//!
//! Records lie in the order of their ends, which is that of their beginnings. A table finds them by their keys; one that ends early is marked.
//!
//! A record keeps its port from those who do not want to share ([`crate::ports::Sharing::Outgoing`]).
//!
//! Lock: [`rank::PORT_TABLES`], never with another of this rank.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashTable;
use sync::machine::NEVER;
use sync::{Mutex, rank};

use super::engine::{SegmentFlags, SegmentHeader, State, TimeWait};
use super::listing::TcpRow;
use super::passive::Secrets;
use crate::flow_key::{FlowKey, address_of_bits, protocol};
use crate::ports::Ports;

/// Records that are kept.
const RECORDS_MAX: usize = 65_536;
/// How long.
const LIFE_NS: u64 = 60_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// A connection that has ended.
#[derive(Clone, Copy)]
struct Record {
    local: [u64; 2],
    remote: [u64; 2],
    local_port: u16,
    remote_port: u16,
    send_next: u32,
    receive_next: u32,
    window: u16,
    has_timestamps: bool,
    is_over: bool,
    /// The peer's last timestamp.
    timestamp: u32,
    timestamp_offset: u32,
    expires_seconds: u32,
}

const _: () = assert!(size_of::<Record>() <= 64);

fn halves(bits: u128) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = bits.to_be_bytes();
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes(rest)]
}

fn whole([high, low]: [u64; 2]) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

impl Record {
    fn key(&self) -> FlowKey {
        FlowKey {
            local: whole(self.local),
            remote: whole(self.remote),
            local_port: self.local_port,
            remote_port: self.remote_port,
            protocol: protocol::TCP,
        }
    }
}

#[derive(Default)]
struct Records {
    /// In the order of their ends.
    list: VecDeque<Record>,
    /// How many have left the list: the number of its first.
    first: u32,
    /// Numbers of records by their keys.
    places: HashTable<u32>,
}

impl Records {
    fn get(&self, number: u32) -> Option<&Record> {
        self.list.get(number.wrapping_sub(self.first) as usize)
    }

    fn find(&self, key: &FlowKey, hash: u64) -> Option<u32> {
        self.places.find(hash, |number| self.get(*number).is_some_and(|record| record.key() == *key)).copied()
    }

    fn unlink(&mut self, key: &FlowKey, hash: u64) {
        let Self { list, first, places } = self;
        let is_it =
            |number: &u32| list.get(number.wrapping_sub(*first) as usize).is_some_and(|record| record.key() == *key);
        if let Ok(entry) = places.find_entry(hash, is_it) {
            entry.remove();
        }
    }
}

/// What a segment for a connection in TIME-WAIT brings about.
pub(super) enum Verdict {
    /// There is no such connection.
    Unknown,
    /// Nothing.
    Nothing,
    /// This answer.
    Answer(SegmentHeader),
    /// It begins a new connection; the old one is forgotten.
    Begins,
}

/// The connections in TIME-WAIT.
pub(super) struct TimeWaits {
    records: Mutex<Records>,
    ports: Arc<Ports>,
}

impl TimeWaits {
    pub(super) fn new(ports: &Arc<Ports>) -> Self {
        Self { records: Mutex::new(rank::PORT_TABLES, Records::default()), ports: Arc::clone(ports) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.records.lock().places.len()
    }

    /// A line for each.
    pub(super) fn rows(&self, now_ns: u64) -> Vec<TcpRow> {
        let row = |record: &Record| {
            let key = record.key();
            TcpRow {
                timer: 3,
                timer_left_ns: (u64::from(record.expires_seconds) * SECOND_NS).saturating_sub(now_ns),
                ..TcpRow::record(key.local_end(), key.remote_end(), State::TimeWait)
            }
        };
        self.records.lock().list.iter().filter(|record| !record.is_over).map(row).collect()
    }

    /// Keeps a record of a connection that has ended. False: there are too many, or there is no memory for more.
    pub(super) fn enter(&self, secrets: &Secrets, key: &FlowKey, what: &TimeWait, now_ns: u64) -> bool {
        let expires_seconds = u32::try_from(now_ns.saturating_add(LIFE_NS) / SECOND_NS).unwrap_or(u32::MAX);
        let (timestamp, timestamp_offset) = what.timestamps.unwrap_or((0, 0));
        let record = Record {
            local: halves(key.local),
            remote: halves(key.remote),
            local_port: key.local_port,
            remote_port: key.remote_port,
            send_next: what.send_next,
            receive_next: what.receive_next,
            window: what.window,
            has_timestamps: what.timestamps.is_some(),
            is_over: false,
            timestamp,
            timestamp_offset,
            expires_seconds,
        };
        let mut records = self.records.lock();
        if records.list.len() >= RECORDS_MAX || records.find(key, secrets.hash(key)).is_some() {
            return false;
        }
        let number = records.first.wrapping_add(u32::try_from(records.list.len()).unwrap_or(0));
        if records.list.try_reserve(1).is_err() {
            return false;
        }
        records.list.push_back(record);
        let Records { list, first, places } = &mut *records;
        let hash_of = |number: &u32| {
            let record = list.get(number.wrapping_sub(*first) as usize);
            record.map_or(0, |record| secrets.hash(&record.key()))
        };
        if places.try_reserve(1, hash_of).is_err() {
            list.pop_back();
            return false;
        }
        places.insert_unique(secrets.hash(key), number, hash_of);
        drop(records);
        self.ports.hold(address_of_bits(key.local), key.local_port);
        true
    }

    /// Whether a connection with this key would be told from the last one by nobody.
    pub(super) fn contains(&self, secrets: &Secrets, key: &FlowKey) -> bool {
        self.records.lock().find(key, secrets.hash(key)).is_some()
    }

    /// What a segment means to the record of its key (RFC 9293, 3.10.7.4; RFC 6191; Linux's `tcp_timewait_state_process`).
    pub(super) fn receive(
        &self,
        secrets: &Secrets,
        key: &FlowKey,
        header: &SegmentHeader,
        len: usize,
        now_ms: u32,
    ) -> Verdict {
        let hash = secrets.hash(key);
        let mut records = self.records.lock();
        let Some(number) = records.find(key, hash) else { return Verdict::Unknown };
        let Some(record) = records.get(number).copied() else { return Verdict::Unknown };
        let is_newer = |a: u32, b: u32| a.wrapping_sub(b).cast_signed() > 0;
        let is_old_timestamp =
            record.has_timestamps && header.timestamps.is_some_and(|(value, _)| is_newer(record.timestamp, value));
        if header.flags.contains(SegmentFlags::RST) {
            let is_exact = header.sequence == record.receive_next;
            if is_exact && !is_old_timestamp {
                self.end(&mut records, number, key, hash);
                drop(records);
                self.ports.release(address_of_bits(key.local), key.local_port);
            }
            return Verdict::Nothing;
        }
        let begins = header.flags.contains(SegmentFlags::SYN)
            && !header.flags.contains(SegmentFlags::ACK)
            && !is_old_timestamp
            && (is_newer(header.sequence, record.receive_next)
                || record.has_timestamps
                    && header.timestamps.is_some_and(|(value, _)| is_newer(value, record.timestamp)));
        if begins {
            self.end(&mut records, number, key, hash);
            drop(records);
            self.ports.release(address_of_bits(key.local), key.local_port);
            return Verdict::Begins;
        }
        drop(records);
        let ends = SegmentFlags::SYN | SegmentFlags::FIN;
        if len == 0 && !header.flags.intersects(ends) && header.sequence == record.receive_next && !is_old_timestamp {
            return Verdict::Nothing;
        }
        Verdict::Answer(SegmentHeader {
            sequence: record.send_next,
            acknowledgement: record.receive_next,
            flags: SegmentFlags::ACK,
            window: record.window,
            timestamps: record.has_timestamps.then(|| (now_ms.wrapping_add(record.timestamp_offset), record.timestamp)),
            ..SegmentHeader::default()
        })
    }

    /// Ends a record before its time. Its port is the caller's to release.
    fn end(&self, records: &mut Records, number: u32, key: &FlowKey, hash: u64) {
        records.unlink(key, hash);
        let place = number.wrapping_sub(records.first) as usize;
        if let Some(record) = records.list.get_mut(place) {
            record.is_over = true;
        }
    }

    /// Ends what has waited long enough, and answers when the next will have.
    pub(super) fn expire(&self, secrets: &Secrets, now_ns: u64) -> u64 {
        let now_seconds = u32::try_from(now_ns / SECOND_NS).unwrap_or(u32::MAX);
        loop {
            let mut records = self.records.lock();
            let Some(first) = records.list.front().copied() else { return NEVER };
            if !first.is_over && first.expires_seconds > now_seconds {
                return u64::from(first.expires_seconds) * SECOND_NS;
            }
            let key = first.key();
            if !first.is_over {
                records.unlink(&key, secrets.hash(&key));
            }
            records.list.pop_front();
            records.first = records.first.wrapping_add(1);
            if records.list.is_empty() {
                // The memory of a busy time goes back.
                *records = Records { first: records.first, ..Records::default() };
            }
            drop(records);
            if !first.is_over {
                self.ports.release(address_of_bits(key.local), key.local_port);
            }
        }
    }
}
