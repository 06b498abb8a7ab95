//! Random sequences of mapping calls, loads, stores, forks and truncations against a model that knows nothing of
//! areas, frames or page tables: a map from page to what is there.
//!
//! After every call the answer, the areas and some bytes are compared; at the end every frame must be back. The seed
//! of a failure is printed; `MM_SEED` runs one seed, `MM_RUNS` that many.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::{FakeFile, Observe};
use abi::{Errno, MremapFlags, ProtFlags, mman};
use mm::{Backing, FaultError, MapOptions, MapRequest, PAGE_SIZE, Rights, Sharing};
use testkit::{Cpu, MMAP_BASE, Random, frames};

const STEPS: usize = 400;
const ARENA_PAGES: usize = 48;
const ARENA: usize = MMAP_BASE - ARENA_PAGES * PAGE_SIZE;
const FILE_PAGES: u8 = 24;
const PROCESSES_MAX: usize = 3;

/// An object and the index of a page of it.
type Origin = (usize, u64);

#[derive(Clone, Debug, PartialEq)]
struct Page {
    rights: Rights,
    rights_max: Rights,
    is_shared: bool,
    origin: Option<Origin>,
    /// The value of a private page that was stored to.
    own: Option<u8>,
}

/// What all processes share: the values of objects. A missing page of an object is beyond its end.
#[derive(Default)]
struct Objects(BTreeMap<Origin, u8>);

#[derive(Clone, Default)]
struct Model {
    pages: BTreeMap<usize, Page>,
}

impl Model {
    fn is_free(&self, start: usize, len: usize) -> bool {
        self.pages.range(start..start + len).next().is_none()
    }

    /// Highest free range below the base.
    fn find_room(&self, len: usize) -> usize {
        let mut start = MMAP_BASE - len;
        while !self.is_free(start, len) {
            start -= PAGE_SIZE;
        }
        start
    }

    /// One past the last page of the run of like pages that `address` is in.
    fn run_end(&self, address: usize) -> usize {
        let mut at = address;
        loop {
            let page = &self.pages[&at];
            let next = self.pages.get(&(at + PAGE_SIZE));
            at += PAGE_SIZE;
            if !next.is_some_and(|next| continues(page, next)) {
                return at;
            }
        }
    }

    fn runs(&self) -> Vec<(usize, usize)> {
        let mut runs = Vec::new();
        let mut next = 0;
        while let Some((start, _)) = self.pages.range(next..).next() {
            next = self.run_end(*start);
            runs.push((*start, next));
        }
        runs
    }

    fn load(&self, objects: &Objects, address: usize) -> Result<u8, FaultError> {
        let page = self.pages.get(&address).ok_or(FaultError::Unmapped)?;
        if page.rights.is_empty() {
            return Err(FaultError::Rights);
        }
        match (page.own, page.origin) {
            (Some(value), _) => Ok(value),
            (None, None) => Ok(0),
            (None, Some(origin)) => objects.0.get(&origin).copied().ok_or(FaultError::BeyondEnd),
        }
    }

    fn store(&mut self, objects: &mut Objects, address: usize, value: u8) -> Result<(), FaultError> {
        let page = self.pages.get_mut(&address).ok_or(FaultError::Unmapped)?;
        if !page.rights.contains(Rights::WRITE) {
            return Err(FaultError::Rights);
        }
        if page.own.is_none() && page.origin.is_some_and(|origin| !objects.0.contains_key(&origin)) {
            return Err(FaultError::BeyondEnd);
        }
        match page.origin {
            Some(origin) if page.is_shared => {
                objects.0.insert(origin, value);
            }
            _ => page.own = Some(value),
        }
        Ok(())
    }
}

fn continues(page: &Page, next: &Page) -> bool {
    let origins = match (page.origin, next.origin) {
        (None, None) => true,
        (Some((object, index)), Some((other, next))) => object == other && index + 1 == next,
        _ => false,
    };
    origins && page.rights == next.rights && page.rights_max == next.rights_max && page.is_shared == next.is_shared
}

struct Process {
    cpu: Cpu,
    model: Model,
}

struct World {
    random: Random,
    processes: Vec<Process>,
    objects: Objects,
    files: Vec<Arc<FakeFile>>,
    objects_made: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let files = vec![FakeFile::new(FILE_PAGES), FakeFile::new(FILE_PAGES)];
        let mut objects = Objects::default();
        for object in 0..files.len() {
            for index in 0..FILE_PAGES {
                objects.0.insert((object, u64::from(index)), index + 1);
            }
        }
        let processes = vec![Process { cpu: Cpu::new(), model: Model::default() }];
        Self { random: Random::new(seed), processes, objects, objects_made: files.len(), files }
    }

    fn address(&mut self) -> usize {
        ARENA + self.random.below(ARENA_PAGES) * PAGE_SIZE
    }

    fn len(&mut self) -> usize {
        (1 + self.random.below(8)) * PAGE_SIZE
    }

    fn rights(&mut self) -> Rights {
        match self.random.below(7) {
            0 => Rights::empty(),
            1 => Rights::READ,
            3 => Rights::WRITE,
            2 => Rights::READ | Rights::EXECUTE,
            _ => Rights::READ | Rights::WRITE,
        }
    }

    fn step(&mut self, process: usize) {
        match self.random.below(20) {
            0..=4 => self.map(process),
            5..=6 => self.unmap(process),
            7..=9 => self.protect(process),
            10..=12 => self.remap(process),
            13 => self.drop_pages(process),
            14 => self.fork_or_exit(process),
            15 if self.random.one_in(8) => self.truncate(),
            _ => self.store(process),
        }
    }

    fn map(&mut self, process: usize) {
        let (address, len, rights) = (self.address(), self.len(), self.rights());
        let is_shared = self.random.one_in(2);
        let file = self.random.below(4);
        let offset = self.random.below(usize::from(FILE_PAGES));
        let access = if self.random.one_in(3) { Rights::READ } else { Rights::all() };
        let options = [MapOptions::empty(), MapOptions::FIXED, MapOptions::FIXED_NOREPLACE, MapOptions::POPULATE];
        let options = options[self.random.below(4)];
        let (backing, first, rights_max) = if let Some(object) = self.files.get(file) {
            let object = object.clone();
            let backing = Backing::File { object, offset: (offset * PAGE_SIZE) as u64, access };
            (backing, Some((file, offset as u64)), if is_shared { access } else { access | Rights::WRITE })
        } else {
            self.objects_made += usize::from(is_shared);
            (Backing::Anonymous, is_shared.then_some((self.objects_made, 0)), Rights::all())
        };
        let model = &mut self.processes[process].model;
        let is_fixed = options.intersects(MapOptions::FIXED | MapOptions::FIXED_NOREPLACE);
        let start = if is_fixed || model.is_free(address, len) { address } else { model.find_room(len) };
        let expected = if options.contains(MapOptions::FIXED_NOREPLACE) && !model.is_free(start, len) {
            Err(Errno::EEXIST)
        } else if matches!(backing, Backing::File { .. }) && !access.contains(rights) {
            let is_denied = is_shared && rights.contains(Rights::WRITE);
            if is_denied {
                Err(Errno::EACCES)
            } else if rights.contains(Rights::EXECUTE) {
                Err(Errno::EPERM)
            } else {
                Ok(start)
            }
        } else {
            Ok(start)
        };
        let sharing = if is_shared { Sharing::Shared } else { Sharing::Private };
        let is_anonymous = matches!(backing, Backing::Anonymous);
        let request = MapRequest { address, length: len, rights, sharing, options, backing };
        assert_eq!(self.processes[process].cpu.space.map(request), expected, "map");
        if expected.is_err() {
            return;
        }
        for index in 0..(len / PAGE_SIZE) as u64 {
            let origin = first.map(|(object, first)| (object, first + index));
            if let Some(origin) = origin.filter(|_| is_anonymous) {
                self.objects.0.insert(origin, 0);
            }
            let page = Page { rights, rights_max, is_shared, origin, own: None };
            let at = start + usize::try_from(index).unwrap() * PAGE_SIZE;
            self.processes[process].model.pages.insert(at, page);
        }
        if options.contains(MapOptions::POPULATE) && !is_shared && rights.contains(Rights::WRITE) {
            // As by a store: from now on the pages are the mapping's own. The end of the file ends it.
            let model = &mut self.processes[process].model;
            for at in (start..start + len).step_by(PAGE_SIZE) {
                let Ok(value) = model.load(&self.objects, at) else { break };
                model.store(&mut self.objects, at, value).unwrap();
            }
        }
    }

    fn unmap(&mut self, process: usize) {
        let (address, len) = (self.address(), self.len());
        let Process { cpu, model } = &mut self.processes[process];
        assert_eq!(cpu.space.unmap(address, len), Ok(()));
        model.pages.retain(|page, _| !(address..address + len).contains(page));
    }

    fn protect(&mut self, process: usize) {
        let (address, len, rights) = (self.address(), self.len(), self.rights());
        let mut protection = ProtFlags::empty();
        protection.set(ProtFlags::READ, rights.contains(Rights::READ));
        protection.set(ProtFlags::WRITE, rights.contains(Rights::WRITE));
        protection.set(ProtFlags::EXEC, rights.contains(Rights::EXECUTE));
        let Process { cpu, model } = &mut self.processes[process];
        let mut expected = Ok(());
        for at in (address..address + len).step_by(PAGE_SIZE) {
            let Some(page) = model.pages.get_mut(&at) else {
                expected = Err(Errno::ENOMEM);
                break;
            };
            if !page.rights_max.contains(rights) {
                expected = Err(Errno::EACCES);
                break;
            }
            page.rights = rights;
        }
        assert_eq!(cpu.space.protect(address, len, protection), expected, "protect");
    }

    fn remap(&mut self, process: usize) {
        let (old, new_address) = (self.address(), self.address());
        let old_len = if self.random.one_in(10) { 0 } else { self.len() };
        let keeps = self.random.one_in(6);
        let new_len = if keeps { old_len } else { self.len() };
        let mut flags = MremapFlags::empty();
        flags.set(MremapFlags::MAYMOVE, keeps || !self.random.one_in(4));
        flags.set(MremapFlags::DONTUNMAP, keeps);
        flags.set(MremapFlags::FIXED, flags.contains(MremapFlags::MAYMOVE) && self.random.one_in(2));
        let Process { cpu, model } = &mut self.processes[process];
        let expected = remap_model(model, old, old_len, new_len, flags, new_address);
        let what = format!("remap {old:#x} {old_len:#x} -> {new_len:#x} {flags:?} {new_address:#x}");
        assert_eq!(cpu.space.remap(old, old_len, new_len, flags, new_address), expected, "{what}");
    }

    fn drop_pages(&mut self, process: usize) {
        let (address, len) = (self.address(), self.len());
        let Process { cpu, model } = &mut self.processes[process];
        let expected = if (address..address + len).step_by(PAGE_SIZE).all(|at| model.pages.contains_key(&at)) {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        };
        assert_eq!(cpu.space.advise(address, len, mman::MADV_DONTNEED), expected);
        for (_, page) in model.pages.range_mut(address..address + len) {
            page.own = None;
        }
    }

    fn fork_or_exit(&mut self, process: usize) {
        if self.processes.len() < PROCESSES_MAX {
            let Process { cpu, model } = &self.processes[process];
            let child = Process { cpu: cpu.fork().unwrap(), model: model.clone() };
            self.processes.push(child);
        } else {
            self.processes.remove(process);
        }
    }

    /// Cuts a file short: its pages go, private copies as well.
    fn truncate(&mut self) {
        let file = self.random.below(self.files.len());
        let pages = self.random.below(usize::from(FILE_PAGES));
        self.files[file].truncate(pages);
        let is_cut = |origin: &Origin| origin.0 == file && origin.1 >= pages as u64;
        self.objects.0.retain(|origin, _| !is_cut(origin));
        for process in &mut self.processes {
            for page in process.model.pages.values_mut() {
                if page.origin.as_ref().is_some_and(is_cut) {
                    page.own = None;
                }
            }
        }
    }

    fn store(&mut self, process: usize) {
        let address = self.address();
        let value = u8::try_from(self.random.below(256)).unwrap();
        let Process { cpu, model } = &mut self.processes[process];
        let expected = model.store(&mut self.objects, address, value);
        assert_eq!(cpu.store(address, value), expected, "store");
    }

    fn check(&mut self) {
        for index in 0..self.processes.len() {
            for _ in 0..4 {
                let address = self.address();
                let Process { cpu, model } = &self.processes[index];
                assert_eq!(cpu.load(address), model.load(&self.objects, address), "load at {address:#x}");
            }
            let Process { cpu, model } = &self.processes[index];
            cpu.check_invariants();
            let areas = cpu.space.areas();
            let ranges: Vec<_> = areas.iter().map(|area| (area.range.start(), area.range.end())).collect();
            assert_eq!(ranges, model.runs(), "areas");
            for area in areas {
                let page = &model.pages[&area.range.start()];
                assert_eq!((area.rights, area.is_shared), (page.rights, page.is_shared));
                let offset = page.origin.map_or(0, |(_, index)| index * PAGE_SIZE as u64);
                assert_eq!(area.offset, offset, "offset of {:#x}", area.range.start());
            }
        }
    }
}

/// mremap on the model. Changes it even when it fails, where Linux does.
fn remap_model(
    model: &mut Model,
    old: usize,
    old_len: usize,
    new_len: usize,
    flags: MremapFlags,
    new_address: usize,
) -> Result<usize, Errno> {
    if new_len == 0 {
        return Err(Errno::EINVAL);
    }
    let is_overlapping = old + old_len > new_address && new_address + new_len > old;
    if flags.intersects(MremapFlags::FIXED | MremapFlags::DONTUNMAP) && is_overlapping {
        return Err(Errno::EINVAL);
    }
    if !model.pages.contains_key(&old) {
        return Err(Errno::EFAULT);
    }
    let remove = |model: &mut Model, start: usize, end: usize| {
        model.pages.retain(|page, _| !(start..end).contains(page));
    };
    let is_fixed = flags.contains(MremapFlags::FIXED);
    let keeps = flags.contains(MremapFlags::DONTUNMAP);
    let is_placed = is_fixed || keeps;
    if !is_placed && old_len >= new_len {
        remove(model, old + new_len, old + old_len);
        return Ok(old);
    }
    let tail = (old + new_len.min(old_len), old + old_len);
    let old_len = old_len.min(new_len);
    let page = model.pages[&old].clone();
    if old_len == 0 && !page.is_shared {
        return Err(Errno::EINVAL);
    }
    let end = model.run_end(old);
    if old_len > end - old {
        return Err(Errno::EFAULT);
    }
    if is_fixed {
        remove(model, new_address, new_address + new_len);
    }
    remove(model, tail.0, tail.1);
    if !model.pages.contains_key(&old) {
        // With an old length of 0 the target may have covered it.
        return Err(Errno::EFAULT);
    }
    let page_at = |index: usize| {
        let origin = page.origin.map(|(object, first)| (object, first + index as u64));
        Page { origin, own: None, ..page.clone() }
    };
    let count = |len: usize| len / PAGE_SIZE;
    if !is_placed {
        if old + old_len == end && model.is_free(end, new_len - old_len) {
            for index in count(old_len)..count(new_len) {
                model.pages.insert(old + index * PAGE_SIZE, page_at(index));
            }
            return Ok(old);
        }
        if !flags.contains(MremapFlags::MAYMOVE) {
            return Err(Errno::ENOMEM);
        }
    }
    let new =
        if is_fixed || (keeps && model.is_free(new_address, new_len)) { new_address } else { model.find_room(new_len) };
    for index in 0..count(new_len) {
        let mut moved = page_at(index);
        if index < count(old_len) {
            let at = old + index * PAGE_SIZE;
            moved.own = model.pages.get_mut(&at).unwrap().own.take();
            if !keeps {
                model.pages.remove(&at);
            }
        }
        model.pages.insert(new + index * PAGE_SIZE, moved);
    }
    Ok(new)
}

fn run(seed: u64) {
    let before = frames::used();
    {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            let process = world.random.below(world.processes.len());
            world.step(process);
            if world.processes.is_empty() {
                return;
            }
            world.check();
        }
    }
    assert_eq!(frames::used(), before, "frames leak");
}

#[test]
fn random_calls_agree_with_the_model() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("MM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MM_RUNS").unwrap_or(60),
    };
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("failed with MM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
