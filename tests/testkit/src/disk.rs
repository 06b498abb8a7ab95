//! A disk in memory, with a volatile cache, a memory of all that was done to it, and failures on demand.
//!
//! [`FakeDisk`] is a [`Device`] whose requests are done at once, or, when it is [held](FakeDisk::hold), when the test says so, in the
//! order the test says. [`FakeDisk::log`] is the record of everything that reached the device; [`crashed`] makes from a part of
//! it what a disk may hold after the power went.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use block::{BlockError, Device, Features, Limits, Operation, Request, SECTOR_LEN};
use sync::WaitQueue;

use crate::Random;
use crate::machine::lock;

/// The contents of one sector.
pub type Sector = [u8; SECTOR_LEN];

/// Something that was done to a disk.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sectors were written from here on.
    Write {
        /// The first.
        sector: u64,
        /// What was written.
        data: Vec<Sector>,
        /// Whether it is stable.
        is_forced: bool,
    },
    /// All before became stable.
    Flush,
}

/// Contents of a disk. Sectors that are not there are zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image(BTreeMap<u64, Sector>);

impl Image {
    /// A disk with these contents.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut image = Self::default();
        for (number, bytes) in (0..).zip(bytes.chunks(SECTOR_LEN)) {
            let mut sector = [0; SECTOR_LEN];
            sector[..bytes.len()].copy_from_slice(bytes);
            image.set(number, sector);
        }
        image
    }

    /// The contents of the first `sectors` sectors.
    #[must_use]
    pub fn to_bytes(&self, sectors: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(sectors).unwrap_or(0) * SECTOR_LEN];
        for (sector, data) in self.0.range(..sectors) {
            let start = usize::try_from(*sector).unwrap_or(0) * SECTOR_LEN;
            bytes[start..start + SECTOR_LEN].copy_from_slice(data);
        }
        bytes
    }

    /// All sectors that are not zero.
    pub fn sectors(&self) -> impl Iterator<Item = (u64, &Sector)> {
        self.0.iter().map(|(number, sector)| (*number, sector))
    }

    /// One sector.
    #[must_use]
    pub fn get(&self, sector: u64) -> Sector {
        self.0.get(&sector).copied().unwrap_or([0; SECTOR_LEN])
    }

    /// Sets one sector.
    pub fn set(&mut self, sector: u64, data: Sector) {
        if data == [0; SECTOR_LEN] {
            self.0.remove(&sector);
        } else {
            self.0.insert(sector, data);
        }
    }

    /// Does a step.
    pub fn apply(&mut self, step: &Step) {
        if let Step::Write { sector, data, .. } = step {
            for (number, data) in (*sector..).zip(data) {
                self.set(number, *data);
            }
        }
    }
}

/// What may be on a disk when the power goes after the first `steps` steps of a log: everything before the last flush, what was
/// forced, and of the rest any part, down to single sectors.
#[must_use]
pub fn crashed(before: &Image, log: &[Step], steps: usize, random: &mut Random) -> Image {
    crashed_by_blocks(before, log, steps, random, 1)
}

/// As [`crashed`], on a disk that never tears a block of so many sectors.
#[must_use]
pub fn crashed_by_blocks(before: &Image, log: &[Step], steps: usize, random: &mut Random, block_sectors: u64) -> Image {
    let log = &log[..steps];
    let stable = log.iter().rposition(|step| matches!(step, Step::Flush)).map_or(0, |last| last + 1);
    let mut image = before.clone();
    for (index, step) in log.iter().enumerate() {
        match step {
            Step::Write { is_forced: false, sector, data } if index >= stable => {
                // All, nothing, or some of its blocks.
                let fate = random.below(4);
                let mut is_written = fate == 0;
                for (number, data) in (*sector..).zip(data) {
                    if fate == 1 && (number == *sector || number % block_sectors == 0) {
                        is_written = random.one_in(2);
                    }
                    if is_written {
                        image.set(number, *data);
                    }
                }
            }
            step => image.apply(step),
        }
    }
    image
}

struct State {
    image: Image,
    log: Vec<Step>,
    has_log: bool,
    is_held: bool,
    held: Vec<Request>,
    room: usize,
    is_stopped: bool,
    /// Sectors that cannot be read or written.
    bad: Vec<u64>,
    /// How many writes succeed before all fail.
    writes_left: Option<u64>,
    reads: u64,
}

/// The disk.
#[derive(Clone)]
pub struct FakeDisk(Arc<Shared>);

struct Shared {
    limits: Limits,
    features: Features,
    state: Mutex<State>,
    room: WaitQueue,
}

impl FakeDisk {
    /// A disk with these contents and so many sectors, a volatile cache, and everything a device can do.
    #[must_use]
    pub fn new(image: Image, sectors: u64) -> Self {
        let limits = Limits {
            sectors,
            logical_block_len: SECTOR_LEN,
            physical_block_len: SECTOR_LEN,
            segments_max: 16,
            data_sectors_max: 128,
            range_sectors_max: 1 << 20,
        };
        let features = Features {
            is_read_only: false,
            has_volatile_cache: true,
            can_force: true,
            can_discard: true,
            can_write_zeroes: true,
        };
        Self::with(image, limits, features)
    }

    /// A disk with other limits and features.
    #[must_use]
    pub fn with(image: Image, limits: Limits, features: Features) -> Self {
        let state = State {
            image,
            log: Vec::new(),
            has_log: true,
            is_held: false,
            held: Vec::new(),
            room: usize::MAX,
            is_stopped: false,
            bad: Vec::new(),
            writes_left: None,
            reads: 0,
        };
        Self(Arc::new(Shared { limits, features, state: Mutex::new(state), room: WaitQueue::new() }))
    }

    /// What is on it, cache included.
    #[must_use]
    pub fn image(&self) -> Image {
        lock(&self.0.state).image.clone()
    }

    /// What was done to it so far.
    #[must_use]
    pub fn log(&self) -> Vec<Step> {
        lock(&self.0.state).log.clone()
    }

    /// How many steps the log has.
    #[must_use]
    pub fn steps(&self) -> usize {
        lock(&self.0.state).log.len()
    }

    /// How many reads were asked for.
    #[must_use]
    pub fn reads(&self) -> u64 {
        lock(&self.0.state).reads
    }

    /// Remembers nothing of what is done from now on, where that is too much.
    pub fn forget_log(&self) {
        let mut state = lock(&self.0.state);
        state.log = Vec::new();
        state.has_log = false;
    }

    /// Makes a sector bad.
    pub fn spoil(&self, sector: u64) {
        lock(&self.0.state).bad.push(sector);
    }

    /// Lets `writes` more writes succeed; `None` is no limit.
    pub fn fail_writes_after(&self, writes: Option<u64>) {
        lock(&self.0.state).writes_left = writes;
    }

    /// Holds requests back, at most `room` at once, until [`FakeDisk::release`].
    pub fn hold(&self, room: usize) {
        let mut state = lock(&self.0.state);
        state.is_held = true;
        state.room = room;
    }

    /// Does what is held back, and holds nothing back from now on.
    pub fn hold_no_more(&self) {
        let held = {
            let mut state = lock(&self.0.state);
            state.is_held = false;
            std::mem::take(&mut state.held)
        };
        held.into_iter().for_each(|request| self.perform(request));
        self.0.room.wake_all();
    }

    /// What is held back, as operations with their first sector and their length.
    #[must_use]
    pub fn held(&self) -> Vec<(Operation, u64, u64)> {
        let state = lock(&self.0.state);
        state.held.iter().map(|request| (request.operation(), request.sector(), request.sectors())).collect()
    }

    /// Does the held request with this number.
    pub fn release(&self, number: usize) {
        let request = lock(&self.0.state).held.remove(number);
        self.perform(request);
        self.0.room.wake(u32::MAX);
    }

    fn perform(&self, request: Request) {
        let result = lock(&self.0.state).perform(&request);
        request.complete(result);
    }
}

impl State {
    fn perform(&mut self, request: &Request) -> Result<(), BlockError> {
        let (first, end) = (request.sector(), request.end());
        if self.is_stopped {
            return Err(BlockError::Dead);
        }
        if self.bad.iter().any(|sector| (first..end).contains(sector)) {
            return Err(BlockError::Io);
        }
        if request.operation().is_write()
            && let Some(left) = &mut self.writes_left
        {
            *left = left.checked_sub(1).ok_or(BlockError::Io)?;
        }
        let step = match request.operation() {
            Operation::Read => {
                self.reads += 1;
                self.read(request);
                return Ok(());
            }
            Operation::Write { is_forced } => Step::Write { sector: first, data: written(request), is_forced },
            Operation::Flush => Step::Flush,
            // What a discard leaves is undefined; nobody may rely on it.
            Operation::Discard => Step::Write { sector: first, data: sectors(first, end, 0xdd), is_forced: false },
            Operation::WriteZeroes { .. } => {
                Step::Write { sector: first, data: sectors(first, end, 0), is_forced: false }
            }
        };
        self.image.apply(&step);
        if self.has_log {
            self.log.push(step);
        }
        Ok(())
    }

    fn read(&self, request: &Request) {
        let mut sector = request.sector();
        for segment in request.segments() {
            for part in 0..segment.sectors() {
                let offset = segment.offset() + usize::try_from(part).unwrap_or(0) * SECTOR_LEN;
                segment.frame().write(offset, &self.image.get(sector));
                sector += 1;
            }
        }
    }
}

fn sectors(first: u64, end: u64, byte: u8) -> Vec<Sector> {
    (first..end).map(|_| [byte; SECTOR_LEN]).collect()
}

fn written(request: &Request) -> Vec<Sector> {
    let mut data = Vec::new();
    for segment in request.segments() {
        for offset in (segment.offset()..segment.offset() + segment.len()).step_by(SECTOR_LEN) {
            let mut sector = [0; SECTOR_LEN];
            segment.frame().read(offset, &mut sector);
            data.push(sector);
        }
    }
    data
}

impl Device for FakeDisk {
    fn limits(&self) -> &Limits {
        &self.0.limits
    }

    fn features(&self) -> Features {
        self.0.features
    }

    fn submit(&self, request: Request) -> Result<(), Request> {
        let limits = &self.0.limits;
        assert!(request.end() <= limits.sectors, "a request outside of the disk");
        assert!(request.segment_count() <= limits.segments_max, "a request of too many segments");
        assert!(request.sectors() <= limits.sectors_max(request.operation()), "a request that is too long");
        {
            let mut state = lock(&self.0.state);
            if state.is_held && !state.is_stopped {
                if state.held.len() >= state.room {
                    return Err(request);
                }
                state.held.push(request);
                return Ok(());
            }
        }
        self.perform(request);
        Ok(())
    }

    fn room(&self) -> &WaitQueue {
        &self.0.room
    }

    fn stop(&self) {
        let held = {
            let mut state = lock(&self.0.state);
            state.is_stopped = true;
            std::mem::take(&mut state.held)
        };
        for request in held {
            request.complete(Err(BlockError::Dead));
        }
        self.0.room.wake_all();
    }
}
