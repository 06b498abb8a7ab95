//! [`Link`]: one direction of a wire, with what goes wrong on wires.
//!
//! It knows no clock: who uses it says what time it is, and never goes back. The same seed and the same packets at the same times give the
//! same fate to each packet.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use testkit::Random;

/// A time that does not come.
pub const NEVER: u64 = u64::MAX;

const MILLION: usize = 1_000_000;
/// How late a packet may be that is to be overtaken, where nothing else says so.
const REORDER_LATENESS_NS: u64 = 1_000_000;

/// What a link is like. The default loses nothing and takes no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LinkSettings {
    /// Capacity; 0 for no limit.
    pub bits_per_second: u64,
    /// Bytes that wait for the wire at most, the packet on it included; more are dropped. 0 for no limit.
    pub queue_len_max: usize,
    /// How long a packet is under way once it is on the wire.
    pub delay_ns: u64,
    /// Packets are under way up to this much longer, each by itself: they may overtake each other.
    pub jitter_ns: u64,
    /// Packets in a million that are lost.
    pub loss_ppm: u32,
    /// Packets in a million that come twice.
    pub duplicate_ppm: u32,
    /// Packets in a million that come late, so that others overtake them.
    pub reorder_ppm: u32,
    /// Packets in a million of which one byte changes.
    pub corrupt_ppm: u32,
}

/// What a link has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LinkCounters {
    /// Packets that were sent.
    pub sent: u64,
    /// Packets that came to the other end, doubled ones twice.
    pub delivered: u64,
    /// Bytes of these.
    pub delivered_bytes: u64,
    /// Packets that were lost by chance.
    pub lost: u64,
    /// Packets that found the queue full.
    pub overflowed: u64,
    /// Packets that were doubled.
    pub duplicated: u64,
    /// Packets that were made late.
    pub reordered: u64,
    /// Packets that were changed.
    pub corrupted: u64,
}

/// A packet under way.
#[derive(Debug)]
struct UnderWay {
    at_ns: u64,
    number: u64,
    packet: Vec<u8>,
}

impl UnderWay {
    fn rank(&self) -> (u64, u64) {
        (self.at_ns, self.number)
    }
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for UnderWay {}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// One direction of a wire.
#[derive(Debug)]
pub struct Link {
    settings: LinkSettings,
    random: Random,
    /// When the wire has taken all that waits.
    is_free_at_ns: u64,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    next_number: u64,
    counters: LinkCounters,
}

impl Link {
    /// A link whose chances follow `seed`.
    #[must_use]
    pub fn new(settings: LinkSettings, seed: u64) -> Self {
        Self {
            settings,
            random: Random::new(seed),
            is_free_at_ns: 0,
            under_way: BinaryHeap::new(),
            next_number: 0,
            counters: LinkCounters::default(),
        }
    }

    /// Makes it another link, for packets sent from now on.
    pub fn change(&mut self, settings: LinkSettings) {
        self.settings = settings;
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> LinkCounters {
        self.counters
    }

    /// Sends a packet.
    pub fn send(&mut self, now_ns: u64, mut packet: Vec<u8>) {
        self.counters.sent += 1;
        let Some(sent_ns) = self.pass_queue(now_ns, packet.len()) else {
            self.counters.overflowed += 1;
            return;
        };
        if self.happens(self.settings.loss_ppm) {
            self.counters.lost += 1;
            return;
        }
        if self.happens(self.settings.corrupt_ppm) && !packet.is_empty() {
            // One byte: no checksum of the Internet overlooks that.
            let place = self.random.below(packet.len());
            packet[place] ^= u8::try_from(1 + self.random.below(255)).unwrap_or(1);
            self.counters.corrupted += 1;
        }
        if self.happens(self.settings.duplicate_ppm) {
            self.counters.duplicated += 1;
            let at_ns = sent_ns + self.delay_ns();
            self.put(at_ns, packet.clone());
        }
        let mut at_ns = sent_ns + self.delay_ns();
        if self.happens(self.settings.reorder_ppm) {
            self.counters.reordered += 1;
            at_ns += 1 + self.below(REORDER_LATENESS_NS.max(self.settings.delay_ns / 2));
        }
        self.put(at_ns, packet);
    }

    /// When the next packet arrives; [`NEVER`] if none is under way.
    #[must_use]
    pub fn next_at(&self) -> u64 {
        self.under_way.peek().map_or(NEVER, |Reverse(next)| next.at_ns)
    }

    /// A packet that has arrived by now.
    pub fn take(&mut self, now_ns: u64) -> Option<Vec<u8>> {
        if self.next_at() > now_ns {
            return None;
        }
        let Reverse(next) = self.under_way.pop()?;
        self.counters.delivered += 1;
        self.counters.delivered_bytes += next.packet.len() as u64;
        Some(next.packet)
    }

    /// When the wire has taken a packet of `len` bytes; none if the queue is full.
    fn pass_queue(&mut self, now_ns: u64, len: usize) -> Option<u64> {
        let rate = u128::from(self.settings.bits_per_second);
        if rate == 0 {
            return Some(now_ns);
        }
        let waits_ns = self.is_free_at_ns.saturating_sub(now_ns);
        let waiting_len = u128::from(waits_ns) * rate / 8_000_000_000;
        let limit = self.settings.queue_len_max as u128;
        if limit > 0 && waiting_len > 0 && waiting_len + len as u128 > limit {
            return None;
        }
        let takes_ns = u64::try_from(len as u128 * 8_000_000_000 / rate).unwrap_or(NEVER / 2);
        self.is_free_at_ns = now_ns + waits_ns + takes_ns;
        Some(self.is_free_at_ns)
    }

    fn put(&mut self, at_ns: u64, packet: Vec<u8>) {
        self.under_way.push(Reverse(UnderWay { at_ns, number: self.next_number, packet }));
        self.next_number += 1;
    }

    fn delay_ns(&mut self) -> u64 {
        let jitter_ns = if self.settings.jitter_ns == 0 { 0 } else { self.below(self.settings.jitter_ns) };
        self.settings.delay_ns + jitter_ns
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound.max(1)
    }

    /// Chances of 0 use no random number, so that switching one on leaves the rest of a run as it was.
    fn happens(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.random.below(MILLION) < ppm as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(link: &mut Link) -> Vec<(u64, Vec<u8>)> {
        let mut packets = Vec::new();
        while link.next_at() != NEVER {
            let at_ns = link.next_at();
            packets.push((at_ns, link.take(at_ns).unwrap()));
        }
        packets
    }

    #[test]
    fn a_perfect_link_keeps_order_and_takes_no_time() {
        let mut link = Link::new(LinkSettings::default(), 1);
        (0..10).for_each(|number| link.send(5, vec![number]));
        let packets = all(&mut link);
        assert!((0..10).zip(&packets).all(|(number, (at_ns, packet))| *at_ns == 5 && *packet == [number]));
    }

    #[test]
    fn capacity_and_delay_add_up() {
        let settings = LinkSettings { bits_per_second: 8_000_000, delay_ns: 100, ..LinkSettings::default() };
        let mut link = Link::new(settings, 1);
        link.send(0, vec![0; 1000]);
        link.send(0, vec![0; 1000]);
        assert_eq!(link.next_at(), 1_000_100);
        assert!(link.take(1_000_099).is_none());
        assert!(link.take(1_000_100).is_some());
        assert_eq!(link.next_at(), 2_000_100);
    }

    #[test]
    fn a_full_queue_drops() {
        let settings = LinkSettings { bits_per_second: 8_000_000, queue_len_max: 2500, ..LinkSettings::default() };
        let mut link = Link::new(settings, 1);
        (0..4).for_each(|_| link.send(0, vec![0; 1000]));
        assert_eq!(link.counters().overflowed, 2);
        link.send(1_000_000, vec![0; 1000]);
        assert_eq!(link.counters().overflowed, 2, "one has left the queue meanwhile");
    }

    #[test]
    fn chances_are_met_and_repeat() {
        let settings = LinkSettings {
            loss_ppm: 100_000,
            duplicate_ppm: 50_000,
            reorder_ppm: 20_000,
            corrupt_ppm: 10_000,
            delay_ns: 1_000_000,
            ..LinkSettings::default()
        };
        let run = |seed| {
            let mut link = Link::new(settings, seed);
            (0..100_000u64).for_each(|number| link.send(number * 1000, number.to_le_bytes().to_vec()));
            (all(&mut link), link.counters())
        };
        let (packets, counters) = run(7);
        assert!(counters.lost.abs_diff(10_000) < 500, "{counters:?}");
        assert!(counters.duplicated.abs_diff(4_500) < 400, "{counters:?}");
        assert!(counters.reordered.abs_diff(1_800) < 300, "{counters:?}");
        assert!(counters.corrupted.abs_diff(900) < 200, "{counters:?}");
        assert!(!packets.is_sorted_by_key(|(_, packet)| packet.clone()));
        assert_eq!((packets, counters), run(7));
        assert_ne!(run(7).1, run(8).1);
    }
}
