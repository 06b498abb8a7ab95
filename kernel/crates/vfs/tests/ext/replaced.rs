//! Files that are replaced without being synchronized: when the power goes, what was there is there, or what came.
//!
//! One file is replaced by renames, another is cut and written anew; other files are synchronized in between, which commits
//! whatever was done before. Contents say their number in each of their bytes, so each of them is told from all others.

use std::fs;

use abi::OpenFlags;
use block::SECTOR_LEN;
use testkit::disk::{FakeDisk, Image, Step, crashed};
use vfs::FileSystem;
use vfs::fs::ext::ExtOptions;

use crate::crash::check_by_e2fsck;
use crate::images::{Mounted, Scratch, disk_of, make_of, mount};
use crate::support::{Random, World};

/// Bytes of the images.
const LEN: u64 = 16 << 20;
/// How often each file is replaced.
const ROUNDS: u32 = 120;
/// Where the power goes, in each run.
const CUTS: usize = 60;

const KINDS: &[(&str, &[&str])] = &[
    ("ext4 1024", &["-t", "ext4", "-b", "1024", "-J", "size=1"]),
    ("ext4 4096", &["-t", "ext4", "-b", "4096", "-J", "size=4", "-N", "256"]),
    ("ext3 1024", &["-t", "ext3", "-b", "1024", "-J", "size=1"]),
];

/// The contents with this number: words that say it.
fn contents(number: u32) -> Vec<u8> {
    number.to_le_bytes().repeat(1 + usize::try_from(number * 7919 % 6000).unwrap())
}

/// The number of contents that are whole.
fn number_of(contents_found: &[u8]) -> Option<u32> {
    let number = u32::from_le_bytes(*contents_found.first_chunk()?);
    (contents_found == contents(number)).then_some(number)
}

/// A number that counts from a step of the disk on.
struct Since {
    steps: usize,
    number: u32,
}

fn at(all: &[Since], steps: usize) -> u32 {
    all.iter().take_while(|since| since.steps <= steps).last().map_or(0, |since| since.number)
}

struct Run {
    disk: FakeDisk,
    world: World,
    /// What was replaced last when other files were synchronized.
    committed: Vec<Since>,
    random: Random,
}

impl Run {
    fn replace(&mut self, number: u32) {
        let world = &self.world;
        world.write_file("/renamed.new", &contents(number)).unwrap();
        world.rename("/renamed.new", "/renamed").unwrap();
        world.write_file("/cut", &contents(number)).unwrap();
        match self.random.below(4) {
            0 => world.context.root.mount.file_system().sync().unwrap(),
            1 | 2 => {
                world.write_file("/other", &contents(number)).unwrap();
                world.open("/other", OpenFlags::RDWR).unwrap().file().sync(false).unwrap();
            }
            _ => return,
        }
        self.committed.push(Since { steps: self.disk.steps(), number });
    }
}

fn run(kind: &(&str, &[&str]), seed: u64) {
    let scratch = Scratch::new();
    let bytes = fs::read(make_of(&scratch, kind.1, LEN)).unwrap();
    let before = Image::from_bytes(&bytes);
    let Mounted { disk, file_system, world } = mount(&disk_of(&bytes), ExtOptions::default()).unwrap();
    let mut run = Run { disk, world, committed: Vec::new(), random: Random::new(seed) };
    for name in ["/renamed", "/cut"] {
        run.world.write_file(name, &contents(0)).unwrap();
    }
    file_system.write_back().unwrap();
    run.world.context.root.mount.file_system().sync().unwrap();
    let start = run.disk.steps();
    for number in 1..=ROUNDS {
        run.replace(number);
        if number % 9 == 0 {
            file_system.write_back().unwrap();
        }
    }
    let log: Vec<Step> = run.disk.log();
    let mut random = testkit::Random::new(seed);
    for cut in 0..CUTS {
        let steps = start + random.below(log.len() - start + 1);
        let image = crashed(&before, &log, steps, &mut random);
        let what = format!("{}, seed {seed}, after {steps} of {} steps", kind.0, log.len());
        let disk = FakeDisk::new(image.clone(), LEN / SECTOR_LEN as u64);
        let mounted = mount(&disk, ExtOptions::default()).unwrap_or_else(|errno| panic!("{what}: {errno:?}"));
        let committed = at(&run.committed, steps);
        let [renamed, cut_file] = ["/renamed", "/cut"].map(|name| mounted.world.read_file(name).unwrap());
        let found = number_of(&renamed);
        assert!(found.is_some_and(|found| found >= committed), "{what}: {found:?}, {} bytes", renamed.len());
        // It may be empty, where it was cut after what was committed last.
        let found = number_of(&cut_file);
        let is_right = if cut_file.is_empty() { true } else { found.is_some_and(|found| found >= committed) };
        assert!(is_right, "{what}: cut, {found:?}, {} bytes", cut_file.len());
        if run.committed.iter().any(|since| since.steps == steps) {
            assert!(!cut_file.is_empty(), "{what}: the file was closed, and then all was committed");
        }
        if cut % 10 == 0 {
            check_by_e2fsck(&scratch, &image, &what);
        }
    }
}

#[test]
fn what_replaces_other_contents_is_written_before() {
    let (seed, _) = Random::seeded(1);
    for (number, kind) in (0..).zip(KINDS) {
        run(kind, seed * 100 + number);
    }
}

#[test]
fn writing_it_before_can_be_switched_off() {
    for writes_replacements in [false, true] {
        let scratch = Scratch::new();
        let bytes = fs::read(make_of(&scratch, KINDS[0].1, LEN)).unwrap();
        let options = ExtOptions { writes_replacements: Some(writes_replacements), ..ExtOptions::default() };
        let mounted = mount(&disk_of(&bytes), options).unwrap();
        let world = &mounted.world;
        world.write_file("/file", &contents(5)).unwrap();
        world.write_file("/new", &contents(6)).unwrap();
        let steps = mounted.disk.steps();
        world.rename("/new", "/file").unwrap();
        assert_eq!(mounted.disk.steps() > steps, writes_replacements);
        let steps = mounted.disk.steps();
        world.write_file("/file", &contents(7)).unwrap();
        assert_eq!(mounted.disk.steps() > steps, writes_replacements);
        let said: &[u8] = if writes_replacements { b"" } else { b",noauto_da_alloc" };
        assert_eq!(mounted.file_system.options(), said);
    }
}
