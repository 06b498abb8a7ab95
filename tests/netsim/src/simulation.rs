//! [`Simulation`]: two ends of one connection and the links between them, in simulated time.
//!
//! Each end is given a [`Transfer`]: what it writes, and how it reads. What arrives is compared with what was written. The run ends when
//! both ends say that all is over, when one fails, or at a deadline.

use crate::{Link, LinkCounters, LinkSettings, NEVER, Pattern, Received, TcpEnd};

/// Bytes that are written or read at once.
const CHUNK_LEN: usize = 64 << 10;
/// Rounds at one moment before time is pushed on: an end that wants to be polled now and does nothing shall not stop the world.
const ROUNDS_MAX: usize = 10_000;

/// What an end does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Transfer {
    /// Bytes to write; then it finishes. `u64::MAX`: it writes as long as the run lasts.
    pub len: u64,
    /// Bytes that it reads at once; 0: as many as there are.
    pub read_len: usize,
    /// How long it waits after each read.
    pub read_pause_ns: u64,
    /// It does not finish when all is written.
    pub stays_open: bool,
}

impl Transfer {
    /// Writes `len` bytes and reads as fast as it can.
    #[must_use]
    pub const fn of(len: u64) -> Self {
        Self { len, read_len: 0, read_pause_ns: 0, stays_open: false }
    }
}

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Everything was written, arrived intact and was acknowledged, and both ends are done.
    pub is_over: bool,
    /// What went wrong.
    pub failure: Option<String>,
    /// How long it took.
    pub elapsed_ns: u64,
    /// Bytes that each end has read.
    pub read_len: [u64; 2],
    /// The links, from each end.
    pub links: [LinkCounters; 2],
}

impl Outcome {
    /// What the end `reader` has read, in bits per second.
    #[must_use]
    pub fn bits_per_second(&self, reader: usize) -> u64 {
        let bits = u128::from(self.read_len[reader]) * 8_000_000_000;
        u64::try_from(bits / u128::from(self.elapsed_ns.max(1))).unwrap_or(u64::MAX)
    }
}

struct Side<'a> {
    end: &'a mut dyn TcpEnd,
    transfer: Transfer,
    written_len: u64,
    has_finished: bool,
    own: Pattern,
    others: Pattern,
    read_len: u64,
    has_seen_end: bool,
    may_read_at_ns: u64,
}

/// Two ends and the links between them.
pub struct Simulation<'a> {
    sides: [Side<'a>; 2],
    links: [Link; 2],
    now_ns: u64,
    buffer: Vec<u8>,
}

impl<'a> Simulation<'a> {
    /// A connection between `ends`. `links` are the ways from each end to the other.
    #[must_use]
    pub fn new(ends: [&'a mut dyn TcpEnd; 2], transfers: [Transfer; 2], links: [LinkSettings; 2], seed: u64) -> Self {
        let patterns = [Pattern::new(seed ^ 0x0a), Pattern::new(seed ^ 0x0b)];
        let [first, second] = ends;
        let side = |end, transfer, own: usize| Side {
            end,
            transfer,
            written_len: 0,
            has_finished: false,
            own: patterns[own],
            others: patterns[1 - own],
            read_len: 0,
            has_seen_end: false,
            may_read_at_ns: 0,
        };
        let sides = [side(first, transfers[0], 0), side(second, transfers[1], 1)];
        let links = [Link::new(links[0], seed.wrapping_mul(2)), Link::new(links[1], seed.wrapping_mul(2) + 1)];
        Self { sides, links, now_ns: 0, buffer: vec![0; CHUNK_LEN] }
    }

    /// Runs until all is over, or until `deadline_ns`.
    pub fn run(&mut self, deadline_ns: u64) -> Outcome {
        let mut rounds = 0;
        let failure = loop {
            let is_busy = match self.step() {
                Ok(is_busy) => is_busy,
                Err(failure) => break Some(failure),
            };
            if self.is_over() || self.now_ns >= deadline_ns {
                break None;
            }
            let next_ns = self.next_at();
            if next_ns == NEVER && !is_busy {
                break Some("both ends wait for each other".to_owned());
            }
            if is_busy || next_ns <= self.now_ns {
                rounds += 1;
                if rounds < ROUNDS_MAX {
                    continue;
                }
                self.now_ns += 1000;
            } else {
                self.now_ns = next_ns.min(deadline_ns);
            }
            rounds = 0;
        };
        Outcome {
            is_over: failure.is_none() && self.is_over(),
            failure,
            elapsed_ns: self.now_ns,
            read_len: [self.sides[0].read_len, self.sides[1].read_len],
            links: [self.links[0].counters(), self.links[1].counters()],
        }
    }

    /// Everything that can be done at this moment, once. True: something was.
    fn step(&mut self) -> Result<bool, String> {
        let mut is_busy = false;
        for place in 0..2 {
            while let Some(packet) = self.links[1 - place].take(self.now_ns) {
                self.sides[place].end.receive(self.now_ns, packet);
                is_busy = true;
            }
            let side = &mut self.sides[place];
            is_busy |= side.write(&mut self.buffer);
            is_busy |= side.read(self.now_ns, &mut self.buffer)?;
            let (link, now_ns) = (&mut self.links[place], self.now_ns);
            side.end.poll(now_ns, &mut |packet| {
                link.send(now_ns, packet);
                is_busy = true;
            });
            if let Some(failure) = side.end.failure() {
                return Err(format!("{}: {failure}", side.end.name()));
            }
        }
        Ok(is_busy)
    }

    fn next_at(&mut self) -> u64 {
        let now_ns = self.now_ns;
        let ends = self.sides.iter_mut().map(|side| side.end.poll_at(now_ns).min(side.reads_at(now_ns))).min();
        let links = self.links.iter().map(Link::next_at).min();
        ends.into_iter().chain(links).min().unwrap_or(NEVER)
    }

    fn is_over(&self) -> bool {
        let is_all_there = |place: usize| self.sides[place].read_len == self.sides[1 - place].transfer.len;
        self.sides.iter().all(|side| side.has_finished && side.has_seen_end && side.end.is_over())
            && is_all_there(0)
            && is_all_there(1)
    }
}

impl Side<'_> {
    fn write(&mut self, buffer: &mut [u8]) -> bool {
        let mut is_busy = false;
        while self.written_len < self.transfer.len {
            let len = usize::try_from(self.transfer.len - self.written_len).unwrap_or(usize::MAX).min(buffer.len());
            self.own.fill(self.written_len, &mut buffer[..len]);
            let taken = self.end.write(&buffer[..len]);
            self.written_len += taken as u64;
            is_busy |= taken > 0;
            if taken < len {
                return is_busy;
            }
        }
        if !self.has_finished && !self.transfer.stays_open && self.end.is_open() {
            self.end.finish_writing();
            self.has_finished = true;
            is_busy = true;
        }
        is_busy
    }

    fn read(&mut self, now_ns: u64, buffer: &mut [u8]) -> Result<bool, String> {
        let len = if self.transfer.read_len == 0 { buffer.len() } else { self.transfer.read_len.min(buffer.len()) };
        let mut is_busy = false;
        while !self.has_seen_end && self.may_read_at_ns <= now_ns {
            match self.end.read(&mut buffer[..len]) {
                Received::Nothing => break,
                Received::End => self.has_seen_end = true,
                Received::Bytes(len) => {
                    if let Some(place) = self.others.find_difference(self.read_len, &buffer[..len]) {
                        return Err(format!("{}: byte {place} is wrong", self.end.name()));
                    }
                    self.read_len += len as u64;
                    if self.transfer.read_pause_ns > 0 {
                        self.may_read_at_ns = now_ns + self.transfer.read_pause_ns;
                    }
                }
            }
            is_busy = true;
        }
        Ok(is_busy)
    }

    /// When a reader that pauses reads again.
    fn reads_at(&self, now_ns: u64) -> u64 {
        if !self.has_seen_end && self.may_read_at_ns > now_ns { self.may_read_at_ns } else { NEVER }
    }
}
