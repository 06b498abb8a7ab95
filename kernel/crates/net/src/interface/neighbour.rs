//! [`Neighbours`]: who has which link address on the link of an interface, for ARP and neighbour discovery alike.
//!
//! 1. An entry goes through the states of RFC 4861, section 7.3.2. Its link address and state are one word, which senders read without a
//!    lock; only what changes an entry takes the lock of the table, rank `NEIGHBOURS`.
//! 2. Packets for an address that is not resolved wait in its entry, [`QUEUE_MAX`] of them, the latest, and [`QUEUED_MAX`] in all; when it is resolved
//!    they go out, when it cannot be they are given back, and their senders are told.
//! 3. The table has at most [`NEIGHBOURS_MAX`] entries. Room is made by those that nobody uses: first by such as have not answered, with the packets that
//!    wait for them, then by one that has; of either kind by those that were changed longest ago. So answers to forged senders keep nobody
//!    out who is there.
//!
//! It sends nothing: solicitations and packets are handed to the caller.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::Errno;
use sync::machine::NEVER;
use sync::{Mutex, rank};

use crate::{TransmitFrame, room};

/// Entries of one interface.
pub const NEIGHBOURS_MAX: usize = 1024;
/// Packets that wait for one link address.
pub const QUEUE_MAX: usize = 64;
/// Packets that wait for link addresses in all.
const QUEUED_MAX: usize = 512;
/// Solicitations before an address counts as unreachable.
const SOLICITATIONS_MAX: u8 = 3;
/// `RETRANS_TIMER`.
const RETRANSMIT_NS: u64 = 1_000_000_000;
/// `REACHABLE_TIME`.
const REACHABLE_NS: u64 = 30_000_000_000;
/// `DELAY_FIRST_PROBE_TIME`.
const DELAY_NS: u64 = 5_000_000_000;
/// How long a failed entry stays to be shown.
const FAILED_NS: u64 = 60_000_000_000;

/// A link address.
pub type Mac = [u8; 6];

/// What is known of a neighbour, in the bits of Linux's `NUD_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NeighbourState {
    /// Nothing, and nobody asks.
    None = 0,
    /// It was asked for.
    Incomplete = 0x01,
    /// It has answered lately.
    Reachable = 0x02,
    /// It has answered once.
    Stale = 0x04,
    /// As stale, but used: it is asked soon.
    Delay = 0x08,
    /// It is being asked again.
    Probe = 0x10,
    /// It does not answer.
    Failed = 0x20,
    /// Configured.
    Permanent = 0x80,
}

impl NeighbourState {
    const fn from_bits(bits: u8) -> Self {
        match bits {
            0x01 => Self::Incomplete,
            0x02 => Self::Reachable,
            0x04 => Self::Stale,
            0x08 => Self::Delay,
            0x10 => Self::Probe,
            0x20 => Self::Failed,
            0x80 => Self::Permanent,
            _ => Self::None,
        }
    }

    const fn has_mac(self) -> bool {
        matches!(self, Self::Reachable | Self::Stale | Self::Delay | Self::Probe | Self::Permanent)
    }
}

/// A neighbour, as senders hold on to it.
#[derive(Debug)]
pub struct Neighbour {
    address: IpAddr,
    /// Link address and state, see [`pack`].
    word: AtomicU64,
}

impl Neighbour {
    /// Its IP address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Its link address, if it can be sent to, and its state.
    #[must_use]
    #[inline]
    pub fn get(&self) -> (Option<Mac>, NeighbourState) {
        let bytes = self.word.load(Ordering::Acquire).to_le_bytes();
        let state = NeighbourState::from_bits(bytes[6]);
        let [a, b, c, d, e, f, ..] = bytes;
        (state.has_mac().then_some([a, b, c, d, e, f]), state)
    }

    /// Its link address, if that is known and nobody has to look whether it is right.
    #[must_use]
    #[inline]
    pub fn fresh(&self) -> Option<Mac> {
        use NeighbourState::{Delay, Permanent, Probe, Reachable};
        const FRESH: u8 = Reachable as u8 | Delay as u8 | Probe as u8 | Permanent as u8;
        let [a, b, c, d, e, f, state, _] = self.word.load(Ordering::Acquire).to_le_bytes();
        (state & FRESH != 0).then_some([a, b, c, d, e, f])
    }

    fn set(&self, mac: Mac, state: NeighbourState) {
        self.word.store(pack(mac, state), Ordering::Release);
    }

    /// The last link address, whatever the state.
    fn mac(&self) -> Mac {
        let [a, b, c, d, e, f, ..] = self.word.load(Ordering::Relaxed).to_le_bytes();
        [a, b, c, d, e, f]
    }
}

const fn pack([a, b, c, d, e, f]: Mac, state: NeighbourState) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, state as u8, 0])
}

/// A question to be sent: who has the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// The address.
    pub address: IpAddr,
    /// Whom to ask: the last known owner, or everybody.
    pub mac: Option<Mac>,
}

/// What the packet says of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It answered us.
    Answer,
    /// It said so by itself.
    Claim,
    /// It said so, and does not insist (an advertisement without the override flag).
    Hint,
    /// Configuration.
    Static,
}

/// What is to be done after a change.
#[derive(Debug, Default)]
pub struct Due {
    /// Questions to send.
    pub solicitations: Vec<Solicitation>,
    /// Packets of neighbours that do not answer.
    pub failed: Vec<TransmitFrame>,
    /// When to poll again.
    pub deadline_ns: u64,
    /// How many frames wait no longer, those that there was no memory to tell of included.
    given_back: usize,
}

impl Due {
    /// Takes what has waited in vain.
    fn take(&mut self, queue: &mut Vec<TransmitFrame>) {
        self.given_back += queue.len();
        if self.failed.is_empty() {
            self.failed = core::mem::take(queue);
        } else if self.failed.try_reserve(queue.len()).is_ok() {
            self.failed.append(queue);
        }
        queue.clear();
    }
}

struct Entry {
    neighbour: Arc<Neighbour>,
    queue: Vec<TransmitFrame>,
    solicitations: u8,
    due_ns: u64,
    changed_ns: u64,
}

/// The entries, and how many packets wait in all of them.
#[derive(Default)]
struct Table {
    entries: BTreeMap<IpAddr, Entry>,
    queued: usize,
}

/// The neighbours of one interface.
pub struct Neighbours {
    table: Mutex<Table>,
}

impl Default for Neighbours {
    fn default() -> Self {
        Self { table: Mutex::new(rank::NEIGHBOURS, Table::default()) }
    }
}

impl Neighbours {
    /// The entry of an address, made if there is none; `None` when the table is full of entries in use.
    pub fn get(&self, address: IpAddr, now_ns: u64) -> Option<Arc<Neighbour>> {
        self.table.lock().entry(address, now_ns).map(|(entry, _)| Arc::clone(&entry.neighbour))
    }

    /// Sends what it can: when the neighbour is known, its link address comes back, and the caller sends. Otherwise `frames`, whose first bytes are to
    /// be the link address, wait, and the caller sends the question if there is one.
    pub fn use_or_queue(
        &self,
        neighbour: &Arc<Neighbour>,
        frames: &mut Vec<TransmitFrame>,
        now_ns: u64,
    ) -> Result<Mac, Option<Solicitation>> {
        let mut table = self.table.lock();
        let Some((entry, queued)) = table.entry(neighbour.address, now_ns) else {
            frames.clear();
            return Err(None);
        };
        // The entry may have been replaced since the caller got hold of it: the old one then says what the new one does.
        let (mac, state) = entry.neighbour.get();
        if let Some(mac) = mac {
            if state == NeighbourState::Stale {
                entry.change(mac, NeighbourState::Delay, now_ns, DELAY_NS);
            }
            neighbour.word.store(entry.neighbour.word.load(Ordering::Relaxed), Ordering::Release);
            return Ok(mac);
        }
        entry.enqueue(frames, queued);
        if state == NeighbourState::Incomplete {
            return Err(None);
        }
        entry.solicitations = 1;
        entry.change([0; 6], NeighbourState::Incomplete, now_ns, RETRANSMIT_NS);
        Err(Some(Solicitation { address: neighbour.address, mac: None }))
    }

    /// Notes a link address. Answers packets that waited for it, with their link address filled in. An address that is not in the table is entered if
    /// `may_create`.
    pub fn learn(
        &self,
        address: IpAddr,
        mac: Mac,
        evidence: Evidence,
        may_create: bool,
        now_ns: u64,
    ) -> Vec<TransmitFrame> {
        let mut table = self.table.lock();
        if !may_create && !table.entries.contains_key(&address) {
            return Vec::new();
        }
        let Some((entry, queued)) = table.entry(address, now_ns) else { return Vec::new() };
        let (known, state) = entry.neighbour.get();
        let (new, after_ns) = match (evidence, state) {
            (Evidence::Static, _) => (NeighbourState::Permanent, NEVER),
            (_, NeighbourState::Permanent) => return Vec::new(),
            (Evidence::Hint, _) if known.is_some_and(|known| known != mac) => {
                // Somebody else may have it, too: who we know is asked before it is used for long (RFC 4861, section 7.2.5).
                if state == NeighbourState::Reachable {
                    entry.change(known.unwrap_or(mac), NeighbourState::Stale, now_ns, NEVER);
                }
                return Vec::new();
            }
            (Evidence::Answer, _) => (NeighbourState::Reachable, REACHABLE_NS),
            _ if known == Some(mac) => return Vec::new(),
            _ => (NeighbourState::Stale, NEVER),
        };
        entry.solicitations = 0;
        // Packets that waited are a use of it.
        let is_used = new == NeighbourState::Stale && !entry.queue.is_empty();
        let (new, after_ns) = if is_used { (NeighbourState::Delay, DELAY_NS) } else { (new, after_ns) };
        entry.change(mac, new, now_ns, after_ns);
        let mut frames = core::mem::take(&mut entry.queue);
        *queued -= frames.len();
        for frame in &mut frames {
            set_destination(frame, mac);
        }
        frames
    }

    /// The upper layer has heard from a neighbour: it is reachable (RFC 4861, section 7.3.1). Costs nothing while that is known.
    pub fn confirm(&self, neighbour: &Neighbour, now_ns: u64) {
        let (Some(mac), state) = neighbour.get() else { return };
        if !matches!(state, NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe) {
            return;
        }
        if let Some(entry) = self.table.lock().entries.get_mut(&neighbour.address)
            && entry.neighbour.get().0 == Some(mac)
        {
            entry.solicitations = 0;
            entry.change(mac, NeighbourState::Reachable, now_ns, REACHABLE_NS);
        }
    }

    /// Moves entries on whose time has come.
    pub fn poll(&self, now_ns: u64) -> Due {
        let mut due = Due { deadline_ns: NEVER, ..Due::default() };
        let mut table = self.table.lock();
        table.entries.retain(|address, entry| {
            if entry.due_ns <= now_ns && !entry.expire(*address, now_ns, &mut due) {
                return false;
            }
            due.deadline_ns = due.deadline_ns.min(entry.due_ns);
            true
        });
        // Who does not answer has given back all that waited.
        table.queued -= due.given_back;
        due
    }

    /// The link address of a neighbour, if it can be sent to.
    #[must_use]
    pub fn known_mac(&self, address: IpAddr) -> Option<Mac> {
        self.table.lock().entries.get(&address).and_then(|entry| entry.neighbour.get().0)
    }

    /// Forgets an address. False: it was not known.
    pub fn remove(&self, address: IpAddr) -> bool {
        let Some(entry) = self.table.lock().remove(&address) else { return false };
        entry.neighbour.set([0; 6], NeighbourState::None);
        true
    }

    /// The entry of an address: its link address if known, and its state.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<(Option<Mac>, NeighbourState)> {
        let known = self.table.lock().entries.get(&address)?.neighbour.get();
        Some(known).filter(|(_, state)| *state != NeighbourState::None)
    }

    /// All entries: address, link address if known, state. `ENOBUFS`.
    pub fn list(&self) -> Result<Vec<(IpAddr, Option<Mac>, NeighbourState)>, Errno> {
        let list = |(address, entry): (&IpAddr, &Entry)| {
            let (mac, state) = entry.neighbour.get();
            (*address, mac, state)
        };
        let table = self.table.lock();
        let mut entries = room::room_for(table.entries.len())?;
        entries.extend(table.entries.iter().map(list).filter(|(.., state)| *state != NeighbourState::None));
        Ok(entries)
    }
}

impl Entry {
    /// Keeps the latest of what waits and of `frames`, which are empty afterwards. `queued` are all that wait, in all entries.
    fn enqueue(&mut self, frames: &mut Vec<TransmitFrame>, queued: &mut usize) {
        let new = frames.len().min(QUEUE_MAX);
        let surplus = (self.queue.len() + new).saturating_sub(QUEUE_MAX);
        self.queue.drain(..surplus);
        *queued -= surplus;
        let room = QUEUED_MAX.saturating_sub(*queued);
        let count = new.min(room);
        // Without memory for the queue frames are lost, as without an answer.
        if self.queue.try_reserve(count).is_ok() {
            let before = self.queue.len();
            self.queue.extend(frames.drain(..).take(count));
            *queued += self.queue.len() - before;
        }
        frames.clear();
    }

    fn change(&mut self, mac: Mac, state: NeighbourState, now_ns: u64, after_ns: u64) {
        self.neighbour.set(mac, state);
        self.changed_ns = now_ns;
        self.due_ns = now_ns.saturating_add(after_ns);
    }

    /// False: the entry ends.
    fn expire(&mut self, address: IpAddr, now_ns: u64, due: &mut Due) -> bool {
        let mac = self.neighbour.mac();
        match self.neighbour.get().1 {
            NeighbourState::Reachable => self.change(mac, NeighbourState::Stale, now_ns, NEVER),
            NeighbourState::Incomplete if self.solicitations < SOLICITATIONS_MAX => {
                self.ask_again(address, None, now_ns, due)
            }
            NeighbourState::Delay => {
                self.solicitations = 0;
                self.change(mac, NeighbourState::Probe, now_ns, 0);
                self.ask_again(address, Some(mac), now_ns, due);
            }
            NeighbourState::Probe if self.solicitations < SOLICITATIONS_MAX => {
                self.ask_again(address, Some(mac), now_ns, due)
            }
            NeighbourState::Incomplete | NeighbourState::Probe => {
                due.take(&mut self.queue);
                self.change([0; 6], NeighbourState::Failed, now_ns, FAILED_NS);
            }
            NeighbourState::Failed | NeighbourState::None => {
                return Arc::strong_count(&self.neighbour) > 1 && self.sleep();
            }
            NeighbourState::Stale | NeighbourState::Permanent => self.due_ns = NEVER,
        }
        true
    }

    fn ask_again(&mut self, address: IpAddr, mac: Option<Mac>, now_ns: u64, due: &mut Due) {
        self.solicitations += 1;
        self.due_ns = now_ns.saturating_add(RETRANSMIT_NS);
        // Who is not asked for want of memory is asked next time.
        if due.solicitations.try_reserve(1).is_ok() {
            due.solicitations.push(Solicitation { address, mac });
        }
    }

    fn sleep(&mut self) -> bool {
        self.due_ns = NEVER;
        true
    }
}

/// Writes the link address in front of a frame.
fn set_destination(frame: &mut TransmitFrame, mac: Mac) {
    if let Some(field) = frame.head_mut().get_mut(..6) {
        field.copy_from_slice(&mac);
    }
}

impl Table {
    /// The entry of an address, made if need be, and how many packets wait in all; none if the table is full of entries in use.
    fn entry(&mut self, address: IpAddr, now_ns: u64) -> Option<(&mut Entry, &mut usize)> {
        if self.entries.len() >= NEIGHBOURS_MAX && !self.entries.contains_key(&address) {
            self.make_room();
            if self.entries.len() >= NEIGHBOURS_MAX {
                return None;
            }
        }
        let entry = self.entries.entry(address).or_insert_with(|| Entry {
            neighbour: Arc::new(Neighbour { address, word: AtomicU64::new(pack([0; 6], NeighbourState::None)) }),
            queue: Vec::new(),
            solicitations: 0,
            due_ns: NEVER,
            changed_ns: now_ns,
        });
        Some((entry, &mut self.queued))
    }

    /// Drops the oldest eighth of those that have not answered, so that a flood of forged senders does not have each search them all; or one that has.
    fn make_room(&mut self) {
        let is_unused = |entry: &Entry| {
            Arc::strong_count(&entry.neighbour) == 1 && entry.neighbour.get().1 != NeighbourState::Permanent
        };
        let is_silent = |entry: &Entry| is_unused(entry) && entry.neighbour.get().0.is_none();
        let ages = || self.entries.values().filter(|entry| is_silent(entry)).map(|entry| entry.changed_ns);
        if let (Some(first_ns), Some(last_ns)) = (ages().min(), ages().max()) {
            let limit_ns = first_ns + (last_ns - first_ns) / 8;
            let queued = &mut self.queued;
            self.entries.retain(|_, entry| {
                let is_kept = !is_silent(entry) || entry.changed_ns > limit_ns;
                *queued -= if is_kept { 0 } else { entry.queue.len() };
                is_kept
            });
            return;
        }
        let unused = self.entries.iter().filter(|(_, entry)| is_unused(entry));
        let first = unused.min_by_key(|(_, entry)| entry.changed_ns).map(|(address, _)| *address);
        drop(first.and_then(|address| self.remove(&address)));
    }

    fn remove(&mut self, address: &IpAddr) -> Option<Entry> {
        let entry = self.entries.remove(address)?;
        self.queued -= entry.queue.len();
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use testkit as _;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MAC: Mac = [2, 0, 0, 0, 0, 9];

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn link_addresses_that_nobody_has_to_look_after_are_fresh() {
        let neighbour = Neighbour { address: address(9), word: AtomicU64::new(0) };
        for bit in 0..8 {
            let state = NeighbourState::from_bits(1 << bit);
            neighbour.set([1, 2, 3, 4, 5, 6], state);
            let (mac, _) = neighbour.get();
            assert_eq!(neighbour.fresh(), mac.filter(|_| state != NeighbourState::Stale), "{state:?}");
        }
        neighbour.set([0; 6], NeighbourState::None);
        assert_eq!(neighbour.fresh(), None);
    }

    fn frames(count: u8) -> Vec<TransmitFrame> {
        (0..count)
            .map(|number| {
                let mut frame = TransmitFrame::new(8);
                frame.append(&[0, 0, 0, 0, 0, 0, number]);
                frame
            })
            .collect()
    }

    #[test]
    fn packets_wait_for_the_answer_and_get_its_address() {
        let table = Neighbours::default();
        let neighbour = table.get(address(1), 0).unwrap();
        let mut list = frames(2);
        let question = Solicitation { address: address(1), mac: None };
        assert_eq!(table.use_or_queue(&neighbour, &mut list, 0), Err(Some(question)));
        assert!(list.is_empty());
        assert_eq!(table.use_or_queue(&neighbour, &mut frames(1), 1), Err(None));
        let sent = table.learn(address(1), MAC, Evidence::Answer, false, 2);
        assert_eq!((sent.len(), sent[1].head()), (3, &[2, 0, 0, 0, 0, 9, 1][..]));
        assert_eq!(neighbour.get(), (Some(MAC), NeighbourState::Reachable));
    }

    #[test]
    fn nobody_answers_and_the_packets_come_back() {
        let table = Neighbours::default();
        let neighbour = table.get(address(1), 0).unwrap();
        let _ = table.use_or_queue(&neighbour, &mut frames(3), 0);
        for second in 1..3 {
            let due = table.poll(second * SECOND);
            assert_eq!((due.solicitations.len(), due.failed.len(), due.deadline_ns), (1, 0, (second + 1) * SECOND));
        }
        let due = table.poll(3 * SECOND);
        assert_eq!((due.solicitations.len(), due.failed.len()), (0, 3));
        assert_eq!(neighbour.get(), (None, NeighbourState::Failed));
        // The next packet asks again.
        assert!(matches!(table.use_or_queue(&neighbour, &mut frames(1), 4 * SECOND), Err(Some(_))));
    }

    #[test]
    fn an_old_entry_is_used_and_asked_after_a_while() {
        let table = Neighbours::default();
        table.learn(address(1), MAC, Evidence::Answer, true, 0);
        assert!(table.poll(30 * SECOND).solicitations.is_empty());
        let neighbour = table.get(address(1), 0).unwrap();
        assert_eq!(neighbour.get(), (Some(MAC), NeighbourState::Stale));
        assert_eq!(table.use_or_queue(&neighbour, &mut frames(1), 40 * SECOND), Ok(MAC));
        let due = table.poll(45 * SECOND);
        assert_eq!(due.solicitations, [Solicitation { address: address(1), mac: Some(MAC) }]);
        assert_eq!(neighbour.get().1, NeighbourState::Probe);
        table.confirm(&neighbour, 46 * SECOND);
        assert_eq!(neighbour.get().1, NeighbourState::Reachable);
    }

    #[test]
    fn a_hint_does_not_replace_and_a_claim_does() {
        let table = Neighbours::default();
        table.learn(address(1), MAC, Evidence::Answer, true, 0);
        table.learn(address(1), [4; 6], Evidence::Hint, true, 1);
        let neighbour = table.get(address(1), 1).unwrap();
        assert_eq!(neighbour.get(), (Some(MAC), NeighbourState::Stale));
        table.learn(address(1), [4; 6], Evidence::Claim, true, 2);
        assert_eq!(neighbour.get(), (Some([4; 6]), NeighbourState::Stale));
        assert!(table.learn(address(7), MAC, Evidence::Claim, false, 2).is_empty());
        assert_eq!(table.list().unwrap().len(), 1);
    }

    #[test]
    fn the_queue_and_the_table_are_bounded() {
        let table = Neighbours::default();
        let neighbour = table.get(address(1), 0).unwrap();
        for _ in 0..3 {
            let _ = table.use_or_queue(&neighbour, &mut frames(40), 0);
        }
        assert_eq!(table.learn(address(1), MAC, Evidence::Answer, false, 0).len(), QUEUE_MAX);
        for number in 0..2 * u32::try_from(NEIGHBOURS_MAX).unwrap() {
            let address = IpAddr::from(core::net::Ipv4Addr::from_bits(0x0b00_0000 + number));
            table.learn(address, MAC, Evidence::Claim, true, 1);
        }
        assert_eq!(table.list().unwrap().len(), NEIGHBOURS_MAX);
        assert_eq!(neighbour.get().0, Some(MAC));
        // Neither do many addresses with a few packets each take more than their share.
        let many = (0..600_u32).map(|number| IpAddr::from(core::net::Ipv4Addr::from_bits(0x0c00_0000 + number)));
        let kept: Vec<_> = many.map(|address| table.get(address, 2).unwrap()).collect();
        for neighbour in &kept {
            let _ = table.use_or_queue(neighbour, &mut frames(3), 2);
        }
        assert_eq!(table.table.lock().queued, QUEUED_MAX);
        let failed: usize = (1..4).map(|second| table.poll(2 + second * SECOND).failed.len()).sum();
        assert_eq!((failed, table.table.lock().queued), (QUEUED_MAX, 0));
    }

    #[test]
    fn those_who_do_not_answer_make_room_for_those_who_do() {
        let table = Neighbours::default();
        table.learn(address(1), MAC, Evidence::Answer, true, 0);
        for number in 0..3 * u32::try_from(NEIGHBOURS_MAX).unwrap() {
            let forged = IpAddr::from(core::net::Ipv4Addr::from_bits(0x0b00_0000 + number));
            let neighbour = table.get(forged, 1).unwrap();
            let _ = table.use_or_queue(&neighbour, &mut frames(1), 1);
        }
        assert_eq!(table.known_mac(address(1)), Some(MAC));
        // A new one finds room, too.
        table.learn(address(2), MAC, Evidence::Claim, true, 2);
        assert_eq!(table.known_mac(address(2)), Some(MAC));
        assert!(table.table.lock().queued <= QUEUED_MAX);
    }
}
