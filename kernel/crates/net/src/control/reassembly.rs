//! [`Reassembly`]: datagrams whose fragments come one by one, RFC 791, section 3.2, and RFC 8200, section 4.5.
//!
//! 1. Memory is bounded by [`BYTES_MAX`], or less on small machines, and [`DATAGRAMS_MAX`]; the oldest datagram makes room. Headers count, which an
//!    IPv6 packet may have as much of as of anything.
//! 2. Fragments that overlap end their datagram (RFC 5722), in IPv4 as well; one that comes twice is ignored.
//! 3. A datagram that is not whole after [`TIMEOUT4_NS`] or [`TIMEOUT6_NS`] is given up; its sender is told if its first fragment came.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use smoltcp::wire::{Ipv4Packet, Ipv6FragmentHeader, Ipv6Packet};
use sync::machine::NEVER;

use super::packet::{IpPacket, extension};
use crate::room;

/// Bytes of fragments that wait (`net.ipv4.ipfrag_high_thresh`).
const BYTES_MAX: usize = 4 << 20;
/// Datagrams that wait.
const DATAGRAMS_MAX: usize = 1024;
/// Fragments of one datagram.
const FRAGMENTS_MAX: usize = 8192 / 8;
/// How long one waits (`net.ipv4.ipfrag_time`).
const TIMEOUT4_NS: u64 = 30_000_000_000;
/// How long one of IPv6 waits.
const TIMEOUT6_NS: u64 = 60_000_000_000;
/// The longest packet, its headers included but for that of IPv6.
const PACKET_LEN_MAX: usize = 65_535;
/// What a fragment costs beside its bytes.
const OVERHEAD: usize = 64;
const FRAGMENT_HEADER_LEN: usize = 8;

/// What names a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
    /// Of IPv4 alone.
    protocol: u8,
}

/// A fragment.
struct Fragment<'a> {
    key: Key,
    offset: usize,
    has_more: bool,
    /// What comes before the payload, without a fragment header.
    header: &'a [u8],
    payload: &'a [u8],
}

struct Entry {
    /// From the first fragment.
    header: Option<Vec<u8>>,
    pieces: BTreeMap<usize, Vec<u8>>,
    /// Where the payload ends, from the last fragment.
    end: Option<usize>,
    bytes: usize,
    deadline_ns: u64,
    interface: u32,
    is_link_group: bool,
}

/// What became of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It waits for others.
    Waiting,
    /// It made a packet whole.
    Whole(Vec<u8>),
    /// It was refused, with what had come of its datagram.
    Refused,
}

/// A datagram that was given up: its first fragment.
pub(super) struct GivenUp {
    pub(super) first: IpPacket,
    pub(super) interface: u32,
}

/// Datagrams whose fragments have not all come.
pub(super) struct Reassembly {
    entries: BTreeMap<Key, Entry>,
    bytes: usize,
    bytes_max: usize,
}

impl Default for Reassembly {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), bytes: 0, bytes_max: BYTES_MAX }
    }
}

/// Whether a packet is a fragment.
pub(super) fn is_fragment(packet: &IpPacket) -> bool {
    match packet.source {
        IpAddr::V4(_) => packet.bytes.get(6..8).is_some_and(|field| (field[0] & 0x3f, field[1]) != (0, 0)),
        IpAddr::V6(_) => packet.protocol == extension::FRAGMENT,
    }
}

fn parse(packet: &IpPacket) -> Option<(Fragment<'_>, Option<(usize, u8)>)> {
    let (source, destination) = (packet.source, packet.destination);
    if source.is_ipv4() {
        let ip = Ipv4Packet::new_checked(&packet.bytes[..]).ok()?;
        let key = Key { source, destination, identification: ip.ident().into(), protocol: packet.protocol };
        let header = packet.bytes.get(..packet.payload)?;
        let payload = packet.bytes.get(packet.payload..usize::from(ip.total_len()))?;
        return Some((
            Fragment { key, offset: ip.frag_offset().into(), has_more: ip.more_frags(), header, payload },
            None,
        ));
    }
    let header = packet.bytes.get(packet.payload..packet.payload + FRAGMENT_HEADER_LEN)?;
    let fragment = Ipv6FragmentHeader::new_checked(&header[2..]).ok()?;
    let key = Key { source, destination, identification: fragment.ident(), protocol: 0 };
    let (offset, has_more) = (usize::from(fragment.frag_offset()) * 8, fragment.more_frags());
    let payload = packet.bytes.get(packet.payload + FRAGMENT_HEADER_LEN..)?;
    let patch = Some((packet.protocol_place, header[0]));
    Some((Fragment { key, offset, has_more, header: packet.bytes.get(..packet.payload)?, payload }, patch))
}

impl Reassembly {
    /// Lets fragments take no more than this, nor more than [`BYTES_MAX`].
    pub(super) fn limit(&mut self, bytes: usize) {
        self.bytes_max = bytes.min(BYTES_MAX);
    }

    /// Takes a fragment.
    pub(super) fn add(&mut self, packet: &IpPacket, interface: u32, now_ns: u64) -> Progress {
        let Some((fragment, patch)) = parse(packet) else { return Progress::Refused };
        let Fragment { key, offset, has_more, payload, .. } = fragment;
        let end = offset + payload.len();
        let is_odd = has_more && !payload.len().is_multiple_of(8);
        // The length of an IPv6 packet does not count its header.
        let counted =
            if key.source.is_ipv4() { fragment.header.len() } else { fragment.header.len().saturating_sub(40) };
        if payload.is_empty() || is_odd || counted + end > PACKET_LEN_MAX {
            self.remove(&key);
            return Progress::Refused;
        }
        let Ok(mut header) = room::copy_of([fragment.header], fragment.header.len()) else { return Progress::Refused };
        if let Some((place, number)) = patch
            && let Some(field) = header.get_mut(place)
        {
            *field = number;
        }
        // A fragment that is all there is has nothing to do with others (RFC 6946).
        if offset == 0 && !has_more {
            return whole(header, [payload].into_iter(), payload.len());
        }
        let len = payload.len() + OVERHEAD + if offset == 0 { header.len() } else { 0 };
        if len > self.bytes_max {
            self.remove(&key);
            return Progress::Refused;
        }
        let Ok(piece) = room::copy_of([payload], payload.len()) else { return Progress::Refused };
        self.make_room(&key, len);
        let timeout_ns = if key.source.is_ipv4() { TIMEOUT4_NS } else { TIMEOUT6_NS };
        let entry = self.entries.entry(key).or_insert_with(|| Entry {
            header: None,
            pieces: BTreeMap::new(),
            end: None,
            bytes: 0,
            deadline_ns: now_ns.saturating_add(timeout_ns),
            interface,
            is_link_group: packet.is_link_group,
        });
        if entry.pieces.get(&offset).is_some_and(|known| known.len() == payload.len()) {
            return Progress::Waiting;
        }
        if !entry.takes(offset, end, has_more) {
            self.remove(&key);
            return Progress::Refused;
        }
        entry.bytes += len;
        self.bytes += len;
        entry.pieces.insert(offset, piece);
        if offset == 0 {
            entry.header = Some(header);
        }
        if !has_more {
            entry.end = Some(end);
        }
        if !entry.is_whole() {
            return Progress::Waiting;
        }
        let Some(entry) = self.remove(&key) else { return Progress::Refused };
        let len = entry.end.unwrap_or(0);
        let pieces = entry.pieces.values().map(Vec::as_slice);
        whole(entry.header.unwrap_or_default(), pieces, len)
    }

    /// Gives up what has waited too long; and when that is next.
    pub(super) fn expire(&mut self, now_ns: u64) -> (Vec<GivenUp>, u64) {
        let late: Vec<Key> =
            self.entries.iter().filter(|(_, entry)| entry.deadline_ns <= now_ns).map(|(key, _)| *key).collect();
        let mut given_up = Vec::new();
        for key in late {
            let Some(mut entry) = self.remove(&key) else { continue };
            let (Some(mut bytes), Some(first)) = (entry.header.take(), entry.pieces.get(&0)) else { continue };
            if bytes.try_reserve_exact(first.len()).is_err() {
                continue;
            }
            bytes.extend_from_slice(first);
            if let Some(first) = IpPacket::parse(bytes, entry.is_link_group) {
                given_up.push(GivenUp { first, interface: entry.interface });
            }
        }
        (given_up, self.entries.values().map(|entry| entry.deadline_ns).min().unwrap_or(NEVER))
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    fn make_room(&mut self, key: &Key, len: usize) {
        let is_new = !self.entries.contains_key(key);
        while self.bytes + len > self.bytes_max || (is_new && self.entries.len() >= DATAGRAMS_MAX) {
            let oldest =
                self.entries.iter().filter(|(known, _)| *known != key).min_by_key(|(_, entry)| entry.deadline_ns);
            let Some(oldest) = oldest.map(|(known, _)| *known) else { return };
            self.remove(&oldest);
        }
    }
}

impl Entry {
    /// Whether a fragment fits between those that are there.
    fn takes(&self, offset: usize, end: usize, has_more: bool) -> bool {
        let before = self.pieces.range(..=offset).next_back();
        let overlaps_before = before.is_some_and(|(at, piece)| at + piece.len() > offset);
        let overlaps_after = self.pieces.range(offset..).next().is_some_and(|(at, _)| *at < end);
        let last = self.pieces.last_key_value().map_or(0, |(at, piece)| at + piece.len());
        let is_beyond = match self.end {
            Some(known) if has_more => end > known,
            Some(known) => end != known,
            None => !has_more && last > end,
        };
        !overlaps_before && !overlaps_after && !is_beyond && self.pieces.len() < FRAGMENTS_MAX
    }

    fn is_whole(&self) -> bool {
        let Some(end) = self.end else { return false };
        // Nothing overlaps: what is there adds up only if nothing is missing.
        self.header.is_some() && self.pieces.values().map(Vec::len).sum::<usize>() == end
    }
}

/// A packet made of its header and payload; refused if there is no memory for it.
fn whole<'a>(header: Vec<u8>, pieces: impl Iterator<Item = &'a [u8]>, len: usize) -> Progress {
    let header_len = header.len();
    let mut bytes = header;
    if bytes.try_reserve_exact(len).is_err() {
        return Progress::Refused;
    }
    pieces.for_each(|piece| bytes.extend_from_slice(piece));
    let total = bytes.len();
    if bytes.first().is_some_and(|byte| byte >> 4 == 4) {
        let mut ip = Ipv4Packet::new_unchecked(&mut bytes[..]);
        ip.set_total_len(u16::try_from(total).unwrap_or(u16::MAX));
        ip.set_more_frags(false);
        ip.set_frag_offset(0);
        ip.fill_checksum();
    } else if header_len >= 40 {
        Ipv6Packet::new_unchecked(&mut bytes[..]).set_payload_len(u16::try_from(total - 40).unwrap_or(u16::MAX));
    }
    Progress::Whole(bytes)
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::IpProtocol;
    use testkit::Random;

    use super::*;

    fn fragment(identification: u16, offset: usize, payload: &[u8], has_more: bool) -> IpPacket {
        let mut bytes = alloc::vec![0; 20 + payload.len()];
        let mut ip = Ipv4Packet::new_unchecked(&mut bytes[..]);
        ip.set_version(4);
        ip.set_header_len(20);
        ip.set_total_len(u16::try_from(20 + payload.len()).unwrap());
        ip.set_ident(identification);
        ip.set_frag_offset(u16::try_from(offset).unwrap());
        ip.set_more_frags(has_more);
        ip.set_hop_limit(64);
        ip.set_next_header(IpProtocol::Udp);
        ip.set_src_addr([10, 0, 0, 2].into());
        ip.set_dst_addr([10, 0, 0, 1].into());
        ip.payload_mut().copy_from_slice(payload);
        ip.fill_checksum();
        IpPacket::parse(bytes, false).unwrap()
    }

    #[test]
    fn fragments_in_any_order_make_the_whole() {
        let seed = 11;
        let mut random = Random::new(seed);
        let payload: Vec<u8> = (0..4000_u32).map(|number| number.to_le_bytes()[0]).collect();
        for round in 0..50 {
            let mut table = Reassembly::default();
            let mut parts: Vec<(usize, &[u8])> =
                payload.chunks(512).enumerate().map(|(n, part)| (n * 512, part)).collect();
            for place in (1..parts.len()).rev() {
                parts.swap(place, random.below(place + 1));
            }
            let mut result = None;
            for (offset, part) in &parts {
                let packet = fragment(round, *offset, part, offset + part.len() < payload.len());
                assert!(is_fragment(&packet));
                // Each comes twice.
                for _ in 0..2 {
                    if let Progress::Whole(bytes) = table.add(&packet, 2, 0) {
                        assert!(result.replace(bytes).is_none());
                        break;
                    }
                }
            }
            let bytes = result.unwrap_or_else(|| panic!("seed {seed}"));
            let ip = Ipv4Packet::new_checked(&bytes[..]).unwrap();
            assert!(ip.verify_checksum() && !ip.more_frags() && ip.payload() == payload, "seed {seed}");
            assert_eq!((table.bytes, table.entries.len()), (0, 0));
        }
    }

    #[test]
    fn overlaps_and_impossible_ends_are_refused() {
        let mut table = Reassembly::default();
        let refused = |table: &mut Reassembly, packet: IpPacket| table.add(&packet, 2, 0) == Progress::Refused;
        assert_eq!(table.add(&fragment(1, 0, &[0; 16], true), 2, 0), Progress::Waiting);
        assert!(refused(&mut table, fragment(1, 8, &[0; 16], true)));
        assert!(table.entries.is_empty());
        table.add(&fragment(2, 16, &[0; 8], false), 2, 0);
        assert!(refused(&mut table, fragment(2, 24, &[0; 8], true)));
        assert!(refused(&mut table, fragment(3, 0, &[0; 9], true)));
        assert!(refused(&mut table, fragment(4, 65_528, &[0; 100], false)));
        table.add(&fragment(5, 800, &[0; 8], true), 2, 0);
        assert!(refused(&mut table, fragment(5, 0, &[0; 8], false)) || table.entries.len() == 1);
    }

    /// The first fragment of an IPv6 packet with as many options as are looked behind.
    fn long_header(identification: u32) -> IpPacket {
        let mut bytes = alloc::vec![0; 40];
        let mut ip = Ipv6Packet::new_unchecked(&mut bytes[..]);
        ip.set_version(6);
        ip.set_next_header(IpProtocol::Ipv6Opts);
        ip.set_src_addr(core::net::Ipv6Addr::LOCALHOST);
        for place in 0..7 {
            let next = if place == 6 { extension::FRAGMENT } else { extension::DESTINATION };
            bytes.extend([next, 100]);
            bytes.resize(bytes.len() + 8 * 101 - 2, 0);
        }
        bytes.extend([17, 0, 0, 1]);
        bytes.extend(identification.to_be_bytes());
        bytes.extend([0; 8]);
        IpPacket::parse(bytes, false).unwrap()
    }

    #[test]
    fn headers_count() {
        let mut table = Reassembly::default();
        for number in 0..2000 {
            assert_eq!(table.add(&long_header(number), 2, u64::from(number)), Progress::Waiting);
            let kept = |entry: &Entry| {
                entry.header.as_ref().map_or(0, Vec::len) + entry.pieces.values().map(Vec::len).sum::<usize>()
            };
            assert!(table.entries.values().map(kept).sum::<usize>() <= BYTES_MAX);
        }
        table.limit(10_000);
        assert_eq!(table.add(&long_header(2000), 2, 2000), Progress::Waiting);
        assert_eq!(table.entries.len(), 1);
        table.limit(1000);
        assert_eq!(table.add(&long_header(2001), 2, 2001), Progress::Refused);
    }

    #[test]
    fn memory_and_time_are_bounded() {
        let mut table = Reassembly::default();
        for number in 0..5000 {
            table.add(&fragment(number, 0, &[0; 1400], true), 2, u64::from(number));
            assert!(table.bytes <= BYTES_MAX && table.entries.len() <= DATAGRAMS_MAX);
        }
        assert_eq!(table.entries.len(), DATAGRAMS_MAX);
        let (given_up, next_ns) = table.expire(TIMEOUT4_NS + 4500);
        assert!(given_up.len() > 400 && next_ns > TIMEOUT4_NS + 4500);
        table.expire(NEVER - 1);
        assert_eq!(table.bytes, 0);
    }
}
