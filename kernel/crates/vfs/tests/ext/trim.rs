//! What is discarded: all that is free, and nothing that a crash may bring back. The disk of the tests fills what it is
//! told that nobody needs.

use std::fs;

use abi::{Errno, FallocateFlags, OpenFlags};
use block::SECTOR_LEN;
use testkit::disk::{FakeDisk, Image, Step, crashed};
use vfs::fs::ext::ExtOptions;
use vfs::{FileSystem, TrimRange};

use crate::images::{KINDS, LEN, Mounted, Scratch, check, disk_of, make, make_of, mount};
use crate::support::Random;

const ALL: TrimRange = TrimRange { start: 0, len: u64::MAX, len_min: 0 };
/// What a discarded byte reads as.
const DISCARDED: u8 = 0xdd;

fn trim(mounted: &Mounted, range: TrimRange) -> Result<u64, Errno> {
    let mut range = range;
    mounted.file_system.trim(&mut range).map(|()| range.len)
}

fn bytes(mounted: &Mounted) -> Vec<u8> {
    mounted.disk.image().to_bytes(LEN / SECTOR_LEN as u64)
}

/// How many blocks of an image were discarded.
fn discarded(bytes: &[u8], block_len: u64) -> u64 {
    let block_len = usize::try_from(block_len).unwrap();
    bytes.chunks_exact(block_len).filter(|block| block.iter().all(|byte| *byte == DISCARDED)).count() as u64
}

#[test]
fn all_that_is_free_is_discarded_and_nothing_else() {
    let scratch = Scratch::new();
    for (kind, options) in KINDS {
        let image = make(&scratch, options, None);
        let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
        let world = &mounted.world;
        let block_len = mounted.file_system.statistics().block_size;
        for number in 0..40_u8 {
            world.write_file(&format!("/{number}"), &vec![number; 20_000 + 1000 * usize::from(number)]).unwrap();
        }
        mounted.file_system.sync().unwrap();
        for number in (0..40).filter(|number| number % 3 != 0) {
            world.unlink(&format!("/{number}")).unwrap();
        }
        mounted.file_system.sync().unwrap();
        let free = mounted.file_system.statistics().blocks_free;
        assert_eq!(trim(&mounted, ALL), Ok(free * block_len), "{kind}");
        assert_eq!(discarded(&bytes(&mounted), block_len), free, "{kind}");
        // What is dirty and has no block, and what has one, goes on as it would have.
        world.write_file("/new", &[1; 50_000]).unwrap();
        trim(&mounted, ALL).unwrap();
        let room = world.open("/room", OpenFlags::RDWR | OpenFlags::CREAT).unwrap();
        let _ = room.allocate(FallocateFlags::KEEP_SIZE, 0, 100_000);
        trim(&mounted, ALL).unwrap();
        drop(room);
        let after = mounted.unmount();
        fs::write(&image, &after).unwrap();
        check(&image, kind);
        let mounted = mount(&disk_of(&after), ExtOptions::default()).unwrap();
        for number in (0..40_u8).step_by(3) {
            let contents = mounted.world.read_file(&format!("/{number}")).unwrap();
            assert_eq!(contents, vec![number; 20_000 + 1000 * usize::from(number)], "{kind}: {number}");
        }
        assert_eq!(mounted.world.read_file("/new").unwrap(), [1; 50_000], "{kind}");
    }
}

#[test]
fn ranges_and_lengths_are_those_of_linux() {
    let scratch = Scratch::new();
    let image = make(&scratch, &["-t", "ext4", "-b", "1024"], None);
    let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
    let of = |start, len, len_min| trim(&mounted, TrimRange { start, len, len_min });
    assert_eq!(
        (of(0, 1023, 0), of(LEN, 1 << 20, 0), of(0, LEN, 8194 << 10)),
        (Err(Errno::EINVAL), Err(Errno::EINVAL), Err(Errno::EINVAL))
    );
    let all = of(0, u64::MAX, 0).unwrap();
    let parts: u64 = (0..LEN >> 20).map(|number| of(number << 20, 1 << 20, 0).unwrap()).sum();
    assert_eq!(parts, all);
    let half = of(0, LEN / 2, 0).unwrap() + of(LEN / 2, LEN, 0).unwrap();
    assert_eq!(half, all);
    // Holes of one block between files of one are too short.
    let names: Vec<_> = (0..200).map(|number| format!("/{number}")).collect();
    for name in &names {
        mounted.world.write_file(name, &[7; 1000]).unwrap();
        mounted.world.open(name, OpenFlags::empty()).unwrap().file().sync(false).unwrap();
    }
    names.iter().step_by(2).for_each(|name| mounted.world.unlink(name).unwrap());
    mounted.file_system.sync().unwrap();
    let (long, every) = (of(0, u64::MAX, 8 << 10).unwrap(), of(0, u64::MAX, 0).unwrap());
    assert!(long + (80 << 10) <= every, "{long} of {every}");
    assert_eq!(every, mounted.file_system.statistics().blocks_free * 1024);
    mounted.file_system.reconfigure(true, b"").unwrap();
    assert_eq!(of(0, u64::MAX, 0), Err(Errno::EROFS));
}

/// Blocks that a transaction freed which is not on the disk are not free after a crash.
#[test]
fn what_a_crash_brings_back_is_there() {
    const FILES: u8 = 20;
    const LEN: u64 = 8 << 20;
    let (seed, mut random) = Random::seeded(8);
    let scratch = Scratch::new();
    for options in [["-t", "ext4", "-b", "1024", "-J", "size=1"], ["-t", "ext3", "-b", "2048", "-J", "size=2"]] {
        let image = fs::read(make_of(&scratch, &options, LEN)).unwrap();
        let before = Image::from_bytes(&image);
        let mounted = mount(&disk_of(&image), ExtOptions::default()).unwrap();
        let contents = |number: u8| vec![number + 1; 30_000];
        let path = |number: u8| format!("/directory of {}/{number}", number % 4);
        (0..4).for_each(|number| mounted.world.mkdir(&format!("/directory of {number}")).unwrap());
        (0..FILES).for_each(|number| mounted.world.write_file(&path(number), &contents(number)).unwrap());
        mounted.file_system.sync().unwrap();
        let start = mounted.disk.steps();
        // Each may be there or not, whole if it is.
        for number in 0..FILES {
            mounted.world.unlink(&path(number)).unwrap();
            if random.below(5) == 0 {
                mounted.file_system.sync().unwrap();
            }
            if random.below(2) == 0 {
                trim(&mounted, ALL).unwrap();
            }
        }
        let log = mounted.disk.log();
        let trims = log.iter().filter(|step| is_discard(step)).count();
        assert!(trims > 10, "{options:?}: {trims}");
        for cut in 0..40 {
            let steps = start + (log.len() - start) * cut / 39;
            let what = format!("{options:?}, seed {seed}, after {steps} of {} steps", log.len());
            let image = crashed(&before, &log, steps, &mut testkit::Random::new(seed + cut as u64));
            let disk = FakeDisk::new(image, LEN / SECTOR_LEN as u64);
            let again = mount(&disk, ExtOptions::default()).unwrap_or_else(|errno| panic!("{what}: {errno:?}"));
            for number in 0..FILES {
                match again.world.read_file(&path(number)) {
                    Ok(found) => assert!(found == contents(number), "{what}: {number}"),
                    Err(errno) => assert_eq!(errno, Errno::ENOENT, "{what}: {number}"),
                }
            }
            if cut % 10 == 0 {
                drop(again.world);
                again.file_system.shut_down().unwrap();
                let path = scratch.path("crashed");
                fs::write(&path, disk.image().to_bytes(LEN / SECTOR_LEN as u64)).unwrap();
                check(&path, &what);
            }
        }
    }
}

fn is_discard(step: &Step) -> bool {
    matches!(step, Step::Write { data, .. } if data.iter().flatten().all(|byte| *byte == DISCARDED))
}
