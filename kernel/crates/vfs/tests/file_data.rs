//! The contents of files in memory: holes, sizes, limits, allocation, mapped pages.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use abi::open::{SEEK_DATA, SEEK_HOLE};
use abi::{Errno, FallocateFlags, OpenFlags};
use support::{Handle, Random, World};

const PAGE: u64 = 4096;
const NEW: OpenFlags = OpenFlags::RDWR.union(OpenFlags::CREAT);

fn file(world: &World) -> Handle {
    world.open("/file", NEW).unwrap()
}

fn mapping(file: &Handle) -> std::sync::Arc<dyn mm::MappedObject> {
    file.file().mapping(&file.0).unwrap()
}

#[test]
fn holes_read_as_zeros_and_take_nothing() {
    let world = World::tmpfs();
    let file = file(&world);
    let far = 1 << 60;
    file.pwrite(b"far", far).unwrap();
    assert_eq!((file.stat().size, file.stat().blocks), (far + 3, 8));
    assert_eq!(file.pread(5, far - 2).unwrap(), b"\0\0far");
    assert_eq!(file.pread(10_000, 123).unwrap(), vec![0; 10_000]);
    assert_eq!(file.stat().blocks, 8);
    file.truncate(10).unwrap();
    assert_eq!((file.stat().size, file.stat().blocks), (10, 0));
    file.truncate(i64::MAX as u64).unwrap();
    assert_eq!(file.stat().blocks, 0);
    assert_eq!(file.truncate(1 << 63), Err(Errno::EFBIG));
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let world = World::tmpfs();
    let file = file(&world);
    file.pwrite(&[7; 10_000], 0).unwrap();
    file.truncate(5000).unwrap();
    file.truncate(10_000).unwrap();
    let mut expected = vec![7; 5000];
    expected.resize(10_000, 0);
    assert_eq!(file.pread(20_000, 0).unwrap(), expected);
    file.truncate(1).unwrap();
    file.pwrite(b"x", 4095).unwrap();
    assert_eq!(file.pread(3, 0).unwrap(), [7, 0, 0]);
}

#[test]
fn data_and_holes_are_found() {
    let world = World::tmpfs();
    let file = file(&world);
    file.pwrite(b"a", 2 * PAGE + 5).unwrap();
    file.pwrite(b"b", 5 * PAGE).unwrap();
    file.truncate(8 * PAGE + 1).unwrap();
    for (from, data, hole) in [
        (0, Ok(2 * PAGE), Ok(0)),
        (2 * PAGE, Ok(2 * PAGE), Ok(3 * PAGE)),
        (2 * PAGE + 9, Ok(2 * PAGE + 9), Ok(3 * PAGE)),
        (3 * PAGE, Ok(5 * PAGE), Ok(3 * PAGE)),
        (6 * PAGE, Err(Errno::ENXIO), Ok(6 * PAGE)),
        (8 * PAGE, Err(Errno::ENXIO), Ok(8 * PAGE)),
        (8 * PAGE + 1, Err(Errno::ENXIO), Err(Errno::ENXIO)),
    ] {
        let offset = i64::try_from(from).unwrap();
        assert_eq!(file.seek(offset, SEEK_DATA), data, "data from {from}");
        assert_eq!(file.seek(offset, SEEK_HOLE), hole, "hole from {from}");
    }
    file.pwrite(b"c", 8 * PAGE).unwrap();
    assert_eq!(file.seek(8 * PAGE as i64, SEEK_HOLE), Ok(8 * PAGE + 1), "the end is a hole");
    assert_eq!(file.seek(-1, SEEK_DATA), Err(Errno::ENXIO));
}

#[test]
fn space_ends_at_the_limit() {
    let world = World::small_tmpfs(4 * PAGE);
    let file = file(&world);
    assert_eq!(file.write(&[1; 10_000]), Ok(10_000));
    assert_eq!(file.write(&[1; 10_000]), Ok(4 * 4096 - 10_000), "as much as there is room for");
    assert_eq!(file.write(b"x"), Err(Errno::ENOSPC));
    assert_eq!(file.pwrite(b"y", 0), Ok(1), "what is there can be written");
    let statistics = vfs::statfs(&world.place("/").unwrap());
    assert_eq!((statistics.blocks, statistics.blocks_free), (4, 0));
    let other = world.open("/other", NEW).unwrap();
    assert_eq!(other.write(b"x"), Err(Errno::ENOSPC));
    assert_eq!(other.stat().size, 0);
    file.allocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, PAGE).unwrap();
    assert_eq!(other.write(b"x"), Ok(1));
    drop(file);
    world.unlink("/file").unwrap();
    assert_eq!(vfs::statfs(&world.place("/").unwrap()).blocks_free, 3);
    assert_eq!(other.allocate(FallocateFlags::empty(), 0, 5 * PAGE), Err(Errno::ENOSPC));
    assert_eq!((other.stat().size, other.stat().blocks), (1, 8), "nothing is left of the attempt");
    assert_eq!(other.allocate(FallocateFlags::empty(), 0, 4 * PAGE), Ok(()));
    assert_eq!((other.stat().size, other.stat().blocks), (4 * PAGE, 32));
}

#[test]
fn allocation_keeps_punches_and_zeroes() {
    let world = World::tmpfs();
    let file = file(&world);
    file.write(&[9; 100]).unwrap();
    file.allocate(FallocateFlags::KEEP_SIZE, 0, 3 * PAGE).unwrap();
    assert_eq!((file.stat().size, file.stat().blocks), (100, 24));
    file.allocate(FallocateFlags::empty(), PAGE, PAGE + 1).unwrap();
    assert_eq!(file.stat().size, 2 * PAGE + 1);
    assert_eq!(file.pread(101, 0).unwrap(), [vec![9; 100], vec![0]].concat());
    file.pwrite(&[8; 20_000], 0).unwrap();
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    file.allocate(punch, 4000, 8192).unwrap();
    let mut expected = vec![8; 20_000];
    expected[4000..12_192].fill(0);
    assert_eq!(file.pread(20_000, 0).unwrap(), expected);
    assert_eq!(file.stat().blocks, 32, "one whole page went");
    file.allocate(punch, 100, 50).unwrap();
    expected[100..150].fill(0);
    assert_eq!(file.allocate(FallocateFlags::ZERO_RANGE, 12_200, 10_000), Err(Errno::EOPNOTSUPP));
    file.allocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 12_200, 10_000).unwrap();
    file.allocate(FallocateFlags::empty(), 12_200, 10_000).unwrap();
    expected.resize(22_200, 0);
    expected[12_200..].fill(0);
    assert_eq!(file.pread(30_000, 0).unwrap(), expected);
    file.allocate(punch, 0, 1 << 40).unwrap();
    assert_eq!((file.stat().size, file.stat().blocks), (22_200, 0));
}

#[test]
fn mapped_pages_are_the_file() {
    let world = World::tmpfs();
    let file = file(&world);
    file.write(&[1; 5000]).unwrap();
    let map = mapping(&file);
    let page = map.page(1).unwrap();
    let mut byte = [0; 1];
    page.read(903, &mut byte);
    assert_eq!(byte, [1]);
    page.write(0, b"mapped");
    assert_eq!(file.pread(6, PAGE).unwrap(), b"mapped");
    file.pwrite(b"written", PAGE).unwrap();
    let mut bytes = [0; 7];
    page.read(0, &mut bytes);
    assert_eq!(&bytes, b"written");
    assert_eq!(map.page(2).err(), Some(Errno::EFAULT));
    file.truncate(3 * PAGE).unwrap();
    let hole = map.page_for_write(2).unwrap();
    assert!(hole.number() == map.page(2).unwrap().number(), "a hole that was mapped is a page");
    hole.write(0, b"!");
    assert_eq!(file.pread(1, 2 * PAGE).unwrap(), b"!");
    file.truncate(PAGE).unwrap();
    assert_eq!(map.page(1).err(), Some(Errno::EFAULT));
    // Whoever still has the page keeps it.
    page.read(0, &mut bytes);
    assert_eq!(&bytes, b"written");
    assert!(map.is_shared_memory() && map.is_resident(0) && !map.is_resident(1));
    assert_eq!(map.name(), b"/file");
    assert_eq!(map.remove_pages(0, 1), Ok(()));
    assert_eq!(file.pread(1, 0).unwrap(), [0]);
}

#[test]
fn only_regular_files_are_mapped() {
    let world = World::tmpfs();
    let directory = world.open("/", OpenFlags::DIRECTORY).unwrap();
    assert_eq!(directory.file().mapping(&directory.0).err(), Some(Errno::ENODEV));
}

#[test]
fn set_id_bits_do_not_survive_writing() {
    let world = World::tmpfs();
    world.write_file("/file", b"x").unwrap();
    let set = || world.chmod("/file", 0o6777).unwrap();
    let user = world.as_user(7, &[]);
    let mode = || world.stat("/file").unwrap().mode & 0o7777;
    set();
    user.open("/file", OpenFlags::WRONLY).unwrap().write(b"x").unwrap();
    assert_eq!(mode(), 0o777);
    set();
    user.truncate("/file", 0).unwrap();
    assert_eq!(mode(), 0o777);
    set();
    user.open("/file", OpenFlags::WRONLY).unwrap().write(b"").unwrap();
    assert_eq!(mode(), 0o6777, "nothing was written");
    world.open("/file", OpenFlags::WRONLY).unwrap().write(b"x").unwrap();
    assert_eq!(mode(), 0o6777, "root keeps them");
    world.chmod("/file", 0o2767).unwrap();
    user.truncate("/file", 9).unwrap();
    assert_eq!(mode(), 0o2767, "without group execution it is no set-group-id program");
    set();
    world.chown("/file", Some(3), Some(4)).unwrap();
    assert_eq!(mode(), 0o777, "a change of owner takes them from root as well");
}

#[test]
fn random_changes_follow_a_plain_buffer() {
    for seed in 1..9 {
        let (seed, mut random) = Random::seeded(seed);
        let world = World::tmpfs();
        let file = file(&world);
        let mut model: Vec<u8> = Vec::new();
        for _ in 0..1500 {
            let offset = random.below(60_000);
            let len = random.below(12_000) + 1;
            let start = usize::try_from(offset).unwrap();
            let end = usize::try_from(offset + len).unwrap();
            match random.below(7) {
                0 | 1 => {
                    let fill = random.next().to_le_bytes()[0];
                    file.pwrite(&vec![fill; end - start], offset).unwrap();
                    model.resize(model.len().max(end), 0);
                    model[start..end].fill(fill);
                }
                2 => {
                    file.truncate(offset).unwrap();
                    model.resize(start, 0);
                }
                3 => {
                    file.allocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len).unwrap();
                    let len = model.len();
                    model[start.min(len)..end.min(len)].fill(0);
                }
                4 => {
                    file.allocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len).unwrap();
                    file.allocate(FallocateFlags::empty(), offset, len).unwrap();
                    model.resize(model.len().max(end), 0);
                    model[start..end].fill(0);
                }
                5 => {
                    let size = model.len() as u64;
                    let data = file.seek(i64::try_from(offset).unwrap(), SEEK_DATA);
                    if let Ok(data) = data {
                        let skipped = &model[start..usize::try_from(data).unwrap()];
                        assert!(skipped.iter().all(|byte| *byte == 0), "data was skipped");
                        let hole = file.seek(i64::try_from(data).unwrap(), SEEK_HOLE).unwrap();
                        assert!(hole > data && hole <= size);
                    } else if start < model.len() {
                        assert!(model[start..].iter().all(|byte| *byte == 0), "data was not found");
                    }
                }
                _ => {
                    let expected = model.get(start..end.min(model.len())).unwrap_or_default();
                    assert!(file.pread(end - start, offset).unwrap() == expected, "seed {seed}");
                }
            }
            assert_eq!(file.stat().size, model.len() as u64);
        }
        assert!(file.pread(100_000, 0).unwrap() == model, "seed {seed}");
        file.truncate(0).unwrap();
        assert_eq!(vfs::statfs(&world.place("/").unwrap()).blocks_free, 1 << 15);
    }
}

/// Appenders in several threads lose nothing and do not mix.
#[test]
fn appends_are_whole() {
    let world = World::tmpfs();
    let (threads, each) = (4, 200);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let world = &world;
            scope.spawn(move || {
                let file = world.open("/log", NEW | OpenFlags::APPEND).unwrap();
                for _ in 0..each {
                    assert_eq!(file.write(&[b'a' + thread; 100]), Ok(100));
                }
            });
        }
    });
    let log = world.read_file("/log").unwrap();
    assert_eq!(log.len(), usize::from(threads) * each * 100);
    assert!(log.chunks(100).all(|record| record.iter().all(|byte| *byte == record[0])));
}

/// Pages mapped, written and cut off at the same time.
#[test]
fn faults_race_with_changes_of_size() {
    let world = World::tmpfs();
    let file = file(&world);
    let map = mapping(&file);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for step in 0..2000_u64 {
                file.truncate((step % 7) * PAGE / 2).unwrap();
                file.pwrite(&[1; 6000], 3000).unwrap();
            }
            is_over.store(true, Ordering::Release);
        });
        while !is_over.load(Ordering::Acquire) {
            for index in 0..3 {
                if let Ok(page) = map.page_for_write(index) {
                    page.write(0, &[1]);
                }
            }
        }
    });
    file.truncate(0).unwrap();
    let statistics = vfs::statfs(&world.place("/").unwrap());
    assert_eq!(statistics.blocks_free, statistics.blocks);
}
