//! Ranges that are taken out of files and put into them: what they read as, what is refused, and what a loss of power
//! leaves.

use std::fs;
use std::os::unix::fs::FileExt;

use abi::{Errno, FallocateFlags, OpenFlags};
use block::SECTOR_LEN;
use testkit::disk::{FakeDisk, Image, crashed};
use vfs::FileSystem;
use vfs::fs::ext::ExtOptions;

use crate::crash::check_by_e2fsck;
use crate::images::{KINDS, Mounted, Scratch, check, disk_of, make, make_image, make_of, mount};
use crate::support::{Handle, Random, World};

const COLLAPSE: FallocateFlags = FallocateFlags::COLLAPSE_RANGE;
const INSERT: FallocateFlags = FallocateFlags::INSERT_RANGE;
const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);

/// A file and what it must read as.
struct Pair {
    file: Handle,
    bytes: Vec<u8>,
    block_len: u64,
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

impl Pair {
    fn new(world: &World, path: &str, block_len: u64) -> Self {
        let file = world.open(path, OpenFlags::RDWR | OpenFlags::CREAT).unwrap();
        Self { file, bytes: Vec::new(), block_len }
    }

    fn write(&mut self, offset: u64, len: usize, value: u8) {
        self.file.pwrite(&vec![value; len], offset).unwrap();
        let end = index(offset) + len;
        self.bytes.resize(self.bytes.len().max(end), 0);
        self.bytes[index(offset)..end].fill(value);
    }

    fn collapse(&mut self, first: u64, count: u64) {
        let (offset, end) = (first * self.block_len, (first + count) * self.block_len);
        let answer = self.file.allocate(COLLAPSE, offset, end - offset);
        if end >= self.bytes.len() as u64 {
            return assert_eq!(answer, Err(Errno::EINVAL));
        }
        assert_eq!(answer, Ok(()));
        self.bytes.drain(index(offset)..index(end));
    }

    fn insert(&mut self, first: u64, count: u64) {
        let (offset, len) = (first * self.block_len, count * self.block_len);
        let answer = self.file.allocate(INSERT, offset, len);
        if offset >= self.bytes.len() as u64 {
            return assert_eq!(answer, Err(Errno::EINVAL));
        }
        assert_eq!(answer, Ok(()));
        let behind = self.bytes.split_off(index(offset));
        self.bytes.resize(self.bytes.len() + index(len), 0);
        self.bytes.extend(behind);
    }

    fn step(&mut self, random: &mut Random) {
        let blocks = self.bytes.len() as u64 / self.block_len + 2;
        let (first, count) = (random.below(blocks), 1 + random.below(6));
        match random.below(10) {
            0..=3 => {
                let offset = random.below(self.bytes.len() as u64 + 9000);
                let len = 1 + index(random.below(3000));
                self.write(offset, len, random.byte());
            }
            4..=5 => self.collapse(first, count),
            6..=7 => self.insert(first, count),
            8 => {
                let (offset, end) = (first * self.block_len, (first + count) * self.block_len);
                self.file.allocate(PUNCH, offset, end - offset).unwrap();
                let end = index(end).min(self.bytes.len());
                if let Some(hole) = self.bytes.get_mut(index(offset)..end) {
                    hole.fill(0);
                }
            }
            _ => {
                // Room behind the end moves as well.
                let _ = self.file.allocate(FallocateFlags::KEEP_SIZE, first * self.block_len, 5000);
                self.file.file().sync(false).unwrap();
            }
        }
    }

    fn check(&self, what: &str) {
        let found = self.file.pread(self.bytes.len() + 1, 0).unwrap();
        let differs = found.iter().zip(&self.bytes).position(|(found, expected)| found != expected);
        assert!(found.len() == self.bytes.len() && differs.is_none(), "{what}: at {differs:?}, {}", found.len());
    }
}

fn kinds() -> impl Iterator<Item = &'static (&'static str, &'static [&'static str])> {
    KINDS.iter().filter(|(name, _)| name.starts_with("ext4"))
}

fn block_len(mounted: &Mounted) -> u64 {
    mounted.file_system.statistics().block_size
}

#[test]
fn files_read_as_they_must() {
    let (seed, _) = Random::seeded(3);
    let scratch = Scratch::new();
    for (number, (kind, options)) in (0..).zip(kinds()) {
        println!("{kind}");
        let mut random = Random::new(seed * 100 + number);
        let image = make(&scratch, options, None);
        let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
        let mut pair = Pair::new(&mounted.world, "/file", block_len(&mounted));
        for step in 0..400 {
            pair.step(&mut random);
            if step % 16 == 15 {
                pair.check(&format!("{kind}, seed {seed}, step {step}"));
            }
            if step % 50 == 49 {
                mounted.file_system.write_back().unwrap();
            }
        }
        let Pair { file, bytes, .. } = pair;
        drop(file);
        let image_bytes = mounted.unmount();
        fs::write(&image, &image_bytes).unwrap();
        check(&image, kind);
        let mounted = mount(&disk_of(&image_bytes), ExtOptions::default()).unwrap();
        assert!(mounted.world.read_file("/file").unwrap() == bytes, "{kind}, seed {seed}");
    }
}

/// So many extents that the tree has nodes below nodes.
#[test]
fn deep_trees_are_moved() {
    let scratch = Scratch::new();
    let image = make(&scratch, &["-t", "ext4", "-b", "1024", "-J", "size=2"], None);
    let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
    let mut pair = Pair::new(&mounted.world, "/file", 1024);
    for block in 0..2500_u32 {
        pair.write(u64::from(block) * 3072, 700, block.to_le_bytes()[0] | 1);
    }
    pair.file.file().sync(false).unwrap();
    // In an extent, in a hole, at both ends, over many, and back.
    for (first, count) in [(3000, 1), (3001, 1), (0, 3), (1, 1), (7000, 300), (5, 2000)] {
        pair.insert(first, count);
        pair.check(&format!("{count} put in at {first}"));
        pair.collapse(first, count + 2);
        pair.check(&format!("{count} taken out at {first}"));
    }
    drop(pair.file);
    fs::write(&image, mounted.unmount()).unwrap();
    check(&image, "deep");
}

/// More extents than a change can move: the range that was to go is as it was.
#[test]
fn what_is_too_much_for_a_change_leaves_all() {
    const EXTENTS: u64 = 30_000;
    const BLOCK: u64 = 1024;
    let scratch = Scratch::new();
    let tree = scratch.path("tree");
    fs::create_dir(&tree).unwrap();
    let source = fs::File::create(tree.join("file")).unwrap();
    // A hole on the host is at least a page.
    for number in 0..EXTENTS {
        FileExt::write_all_at(&source, &number.to_le_bytes(), number * 8 * BLOCK).unwrap();
    }
    let image = make_image(&scratch, &["-t", "ext4", "-b", "1024", "-J", "size=1"], Some(&tree), 160 << 20);
    let disk = disk_of(&fs::read(&image).unwrap());
    disk.forget_log();
    let mounted = mount(&disk, ExtOptions::default()).unwrap();
    let file = mounted.world.open("/file", OpenFlags::RDWR).unwrap();
    let is_whole =
        || (0..EXTENTS).step_by(97).all(|number| file.pread(8, number * 8 * BLOCK).unwrap() == number.to_le_bytes());
    let before = file.stat();
    for (offset, len) in [(0, 8), (800, 1), (803, 2), (8000, 80)] {
        for mode in [COLLAPSE, INSERT] {
            assert_eq!(file.allocate(mode, offset * BLOCK, len * BLOCK), Err(Errno::ENOSPC), "{offset}");
        }
        assert!(is_whole(), "{offset}");
    }
    assert_eq!((file.stat().size, file.stat().blocks), (before.size, before.blocks));
    // Near the end there is less to move.
    file.allocate(COLLAPSE, (EXTENTS - 50) * 8 * BLOCK, 8 * BLOCK).unwrap();
    assert_eq!(file.pread(8, (EXTENTS - 50) * 8 * BLOCK).unwrap(), (EXTENTS - 49).to_le_bytes());
    drop((file, mounted.world));
    mounted.file_system.shut_down().unwrap();
    fs::write(&image, disk.image().to_bytes((160 << 20) / SECTOR_LEN as u64)).unwrap();
    check(&image, "too much");
}

/// An extent is cut where there is no block for the node that this takes.
#[test]
fn a_full_disk_leaves_all() {
    let scratch = Scratch::new();
    let image = make(&scratch, &["-t", "ext4", "-b", "1024", "-m", "0"], None);
    let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
    // As many extents as the record has room for.
    let mut pair = Pair::new(&mounted.world, "/file", 1024);
    for number in 0..4_u8 {
        pair.write(u64::from(number) * 40_960, 20_480, number + 1);
    }
    mounted.file_system.sync().unwrap();
    let filler = mounted.world.open("/filler", OpenFlags::RDWR | OpenFlags::CREAT).unwrap();
    let mut at = 0;
    while filler.pwrite(&[1; 4096], at).is_ok() {
        at += 4096;
    }
    mounted.file_system.sync().unwrap();
    // What was claimed for the filler and not needed.
    let refused = (0..100).find_map(|number| mounted.world.mkdir(&format!("/{number}")).err());
    assert_eq!(refused, Some(Errno::ENOSPC));
    let refused = Err(Errno::ENOSPC);
    for mode in [COLLAPSE, INSERT] {
        // Only where one more extent comes of it.
        assert_eq!(pair.file.allocate(mode, 45 * 1024, 2 * 1024), refused, "{mode:?}");
        pair.check(&format!("{mode:?}"));
    }
    pair.insert(25, 20);
    pair.check("into a hole");
    pair.collapse(25, 20);
    pair.collapse(45, 40);
    pair.check("from one to another");
    // A whole extent goes, and so one can be cut.
    pair.collapse(0, 20);
    pair.collapse(25, 2);
    pair.check("with room");
    drop((pair.file, filler));
    fs::write(&image, mounted.unmount()).unwrap();
    check(&image, "full");
}

#[test]
fn what_does_not_fit_is_refused() {
    let scratch = Scratch::new();
    for (kind, options) in [&KINDS[0], &KINDS[4]] {
        let image = make(&scratch, options, None);
        let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
        let mut pair = Pair::new(&mounted.world, "/file", block_len(&mounted));
        pair.write(0, 40_000, 1);
        let len = pair.block_len;
        let answers = |mode, offset, len| pair.file.allocate(mode, offset, len);
        if !kind.starts_with("ext4") {
            assert_eq!(
                (answers(COLLAPSE, 0, len), answers(INSERT, 7, 9)),
                (Err(Errno::EOPNOTSUPP), Err(Errno::EOPNOTSUPP))
            );
            continue;
        }
        for mode in [COLLAPSE, INSERT] {
            assert_eq!((answers(mode, 1, len), answers(mode, 0, len + 1)), (Err(Errno::EINVAL), Err(Errno::EINVAL)));
            assert_eq!(answers(mode, 10 * len, len), Err(Errno::EINVAL), "at the end");
        }
        assert_eq!(answers(COLLAPSE, 8 * len, 2 * len), Err(Errno::EINVAL), "over the end");
        assert_eq!(answers(INSERT, 0, 1 << 44), Err(Errno::EFBIG));
        pair.file.allocate(FallocateFlags::KEEP_SIZE, (1 << 32) * len - 2 * len, len).unwrap();
        assert_eq!(pair.file.allocate(INSERT, 0, 2 * len), Err(Errno::EFBIG), "room would lie behind all there can be");
        pair.check("refused");
        drop(pair.file);
        fs::write(&image, mounted.unmount()).unwrap();
        check(&image, kind);
    }
}

/// The file at each step, and what a cut in a step may leave.
#[test]
fn a_loss_of_power_leaves_no_file_half_moved() {
    const LEN: u64 = 16 << 20;
    let (seed, mut random) = Random::seeded(4);
    for kind in [&["-t", "ext4", "-b", "1024", "-J", "size=1"], &["-t", "ext4", "-b", "4096", "-J", "size=4"]] {
        let scratch = Scratch::new();
        let image = fs::read(make_of(&scratch, kind, LEN)).unwrap();
        let before = Image::from_bytes(&image);
        let mounted = mount(&disk_of(&image), ExtOptions::default()).unwrap();
        let mut pair = Pair::new(&mounted.world, "/file", block_len(&mounted));
        for block in 0..120 {
            pair.write(block * 2 * pair.block_len, index(pair.block_len), u8::try_from(block + 1).unwrap());
        }
        mounted.file_system.sync().unwrap();
        // Every state the file may be found in, and the step from which on the ones before it are gone.
        let mut states = vec![(mounted.disk.steps(), pair.bytes.clone())];
        for round in 0..24 {
            let (first, count) = (random.below(100), 1 + random.below(9));
            if round % 2 == 0 {
                let mut zeroed = pair.bytes.clone();
                zeroed[index(first * pair.block_len)..index((first + count) * pair.block_len)].fill(0);
                states.push((usize::MAX, zeroed));
                pair.collapse(first, count);
            } else {
                pair.insert(first, count);
            }
            states.push((usize::MAX, pair.bytes.clone()));
            pair.file.file().sync(false).unwrap();
            states.last_mut().unwrap().0 = mounted.disk.steps();
        }
        let log = mounted.disk.log();
        let start = states[0].0;
        for cut in 0..80 {
            let steps = start + (log.len() - start) * cut / 80;
            let what = format!("{kind:?}, seed {seed}, after {steps} of {} steps", log.len());
            let image = crashed(&before, &log, steps, &mut testkit::Random::new(seed + cut as u64));
            let disk = FakeDisk::new(image.clone(), LEN / SECTOR_LEN as u64);
            let again = mount(&disk, ExtOptions::default()).unwrap_or_else(|errno| panic!("{what}: {errno:?}"));
            let found = again.world.read_file("/file").unwrap();
            let due = states.iter().rposition(|(at, _)| *at <= steps).unwrap();
            let is_known = states[due..].iter().any(|(_, bytes)| *bytes == found);
            assert!(is_known, "{what}: the file is none of what it was, {} bytes", found.len());
            if cut % 8 == 0 {
                drop(again.world);
                again.file_system.shut_down().unwrap();
                check_by_e2fsck(&scratch, &disk.image(), &what);
            }
        }
    }
}

/// What is said of where contents are: the disk has them there.
#[test]
fn extents_are_where_they_are_said_to_be() {
    const DELAYED: u32 = 0x4 | 0x2;
    const UNWRITTEN: u32 = 0x800;
    let scratch = Scratch::new();
    for (kind, options) in [&KINDS[0], &KINDS[4], &KINDS[6]] {
        let image = make(&scratch, options, None);
        let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
        let len = block_len(&mounted);
        let page = 4096;
        let mut pair = Pair::new(&mounted.world, "/file", len);
        pair.write(0, 3 * 4096, 1);
        pair.write(5 * page, 4096, 2);
        let inode = mounted.world.place("/file").unwrap().inode().clone();
        let extents = |start, end| {
            let mut all = Vec::new();
            inode.extents(start, end, &mut |extent| {
                all.push((extent.start, extent.len, extent.on_disk, extent.flags));
                true
            })?;
            Ok(all)
        };
        let waiting = [(0, 3 * page, 0, DELAYED), (5 * page, page, 0, DELAYED)];
        assert_eq!(extents(0, u64::MAX), Ok(waiting.to_vec()), "{kind}");
        pair.file.file().sync(false).unwrap();
        let is_extents = kind.starts_with("ext4");
        if is_extents {
            pair.file.allocate(FallocateFlags::KEEP_SIZE, 8 * page, page).unwrap();
        }
        let all = extents(0, u64::MAX).unwrap();
        let covered: u64 = all.iter().map(|(_, len, ..)| len).sum();
        assert_eq!(covered, if is_extents { 5 * page } else { 4 * page }, "{kind}: {all:?}");
        let unwritten: Vec<_> = all.iter().filter(|(.., flags)| *flags == UNWRITTEN).map(|extent| extent.0).collect();
        assert_eq!(unwritten, if is_extents { vec![8 * page] } else { vec![] }, "{kind}");
        let disk = mounted.disk.image().to_bytes(crate::images::LEN / SECTOR_LEN as u64);
        for (start, len, on_disk, flags) in &all {
            if *flags == 0 {
                let there = &disk[index(*on_disk)..index(on_disk + len)];
                assert!(there == &pair.bytes[index(*start)..index(start + len)], "{kind}: {start}");
            }
        }
        // In whole blocks, of what is asked for.
        let part = extents(5 * page + 1, 5 * page + 2).unwrap();
        assert_eq!(part.iter().map(|extent| (extent.0, extent.1)).collect::<Vec<_>>(), [(5 * page, len)], "{kind}");
        assert_eq!(
            (extents(3 * page, 5 * page), extents(1 << 62, u64::MAX)),
            (Ok(vec![]), Err(Errno::EFBIG)),
            "{kind}"
        );
    }
}
