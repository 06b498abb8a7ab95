//! Threads that share a file system and its journal: each has a directory of its own, and finds there what it put there, also after the
//! power was cut, as far as it was synchronized.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use abi::OpenFlags;
use block::SECTOR_LEN;
use testkit::disk::{FakeDisk, Image, crashed};
use testkit::threads;
use vfs::fs::ext::{ExtFileSystem, ExtOptions};

use crate::images::{Mounted, Scratch, check, disk_of, make_of, mount};
use crate::support::{Random, World};

const LEN: u64 = 16 << 20;
const THREADS: u64 = 4;
const OPERATIONS: u32 = 250;
/// Files in the directory of a thread.
const FILES: usize = 6;

/// What a thread synchronized: after how many steps of the disk, which file, and how long it was then. Files only grow.
type Synchronized = Arc<Mutex<Vec<(usize, String, usize)>>>;

/// Appends to files, replaces some by renames, and synchronizes now and then; the lengths at the end.
fn work(own: u64, seed: u64, disk: &FakeDisk, world: &World, synchronized: &Synchronized) -> BTreeMap<String, usize> {
    let mut random = testkit::Random::new(seed * 1000 + own);
    let mut lengths = BTreeMap::new();
    world.mkdir(&format!("/{own}")).unwrap();
    for number in 0..OPERATIONS {
        let path = format!("/{own}/{}", random.below(FILES));
        let length = lengths.get(&path).copied().unwrap_or(0);
        let more = 1 + random.below(3000);
        let value = u8::try_from(own + 1).unwrap();
        let mut target = path.clone();
        if random.below(4) == 0 {
            // As editors do: a new file takes the place of the old one.
            target = format!("/{own}/new");
            world.write_file(&target, &vec![value; length]).unwrap();
        }
        let file = world.open(&target, OpenFlags::RDWR | OpenFlags::CREAT).unwrap();
        file.pwrite(&vec![value; more], length as u64).unwrap();
        lengths.insert(path.clone(), length + more);
        if target != path || random.below(5) == 0 {
            file.file().sync(false).unwrap();
        }
        if target != path {
            world.rename(&target, &path).unwrap();
        } else if number % 5 == 0 {
            file.file().sync(false).unwrap();
            synchronized.lock().unwrap().push((disk.steps(), path, length + more));
        }
    }
    lengths
}

fn check_cut(image: Image, steps: usize, synchronized: &[(usize, String, usize)], what: &str) {
    let disk = FakeDisk::new(image, LEN / SECTOR_LEN as u64);
    let mounted = mount(&disk, ExtOptions::default()).unwrap_or_else(|errno| panic!("{what}: {errno:?}"));
    for (_, path, length) in synchronized.iter().filter(|(at, ..)| *at <= steps) {
        let found = mounted.world.stat(path).map(|attributes| attributes.size);
        assert!(found.is_ok_and(|size| size >= *length as u64), "{what}: {path} is {found:?}, not {length}");
    }
}

fn world_of(file_system: &Arc<ExtFileSystem>) -> World {
    World::over(file_system.clone())
}

fn run(seed: u64) {
    let scratch = Scratch::new();
    let image = make_of(&scratch, &["-t", "ext4", "-b", "1024", "-J", "size=1"], LEN);
    let bytes = fs::read(&image).unwrap();
    let Mounted { disk, file_system, world } = mount(&disk_of(&bytes), ExtOptions::default()).unwrap();
    let synchronized = Synchronized::default();
    let workers: Vec<_> = (0..THREADS)
        .map(|own| {
            let (disk, synchronized) = (disk.clone(), synchronized.clone());
            let world = world_of(&file_system);
            threads::spawn(move || work(own, seed, &disk, &world, &synchronized))
        })
        .collect();
    while !workers.iter().all(|worker| worker.is_finished()) {
        file_system.write_back().unwrap();
        std::thread::yield_now();
    }
    for worker in workers {
        for (path, length) in worker.join().unwrap() {
            assert_eq!(world.stat(&path).unwrap().size, length as u64, "{path}");
        }
    }
    drop(world);
    file_system.shut_down().unwrap();
    let after = disk.image().to_bytes(LEN / SECTOR_LEN as u64);
    fs::write(&image, &after).unwrap();
    check(&image, &format!("seed {seed}"));
    let (before, log) = (Image::from_bytes(&bytes), disk.log());
    let synchronized = synchronized.lock().unwrap();
    let mut random = testkit::Random::new(seed);
    for cut in 0..20 {
        let steps = log.len() * cut / 20 + random.below(log.len() / 20);
        let image = crashed(&before, &log, steps, &mut random);
        check_cut(image, steps, &synchronized, &format!("seed {seed}, after {steps} of {} steps", log.len()));
    }
}

#[test]
fn threads_share_a_journal() {
    let (seed, _) = Random::seeded(1);
    run(seed);
}
