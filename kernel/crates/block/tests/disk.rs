//! Disks, plugs, volumes and buffers on a fake device.

use std::sync::Arc;

use block::{BlockError, BufferCache, Completion, Disk, Operation, Plug, SECTOR_LEN, Seal, Segment, Volume};
use mm::{Frame, PAGE_SIZE};
use testkit::disk::{FakeDisk, Image, Step};
use testkit::{frames, threads};

const SECTORS: u64 = 4096;
const WRITE: Operation = Operation::Write { is_forced: false };

fn disk() -> (FakeDisk, Arc<Disk>) {
    disk_of(SECTORS)
}

fn disk_of(sectors: u64) -> (FakeDisk, Arc<Disk>) {
    frames::install();
    let fake = FakeDisk::new(Image::default(), sectors);
    let disk = Disk::new("vda".to_owned(), 0xfc00, Box::new(fake.clone()));
    (fake, disk)
}

fn page_of(byte: u8) -> Segment {
    let frame = Frame::allocate().expect("no budget is set");
    frame.write(0, &[byte; PAGE_SIZE]);
    Segment::page(frame)
}

#[test]
fn what_is_written_is_read_again() {
    let (fake, disk) = disk();
    let volume = Volume::whole(&disk);
    volume.write(8, (1..=40).map(page_of).collect()).unwrap();
    // 40 pages at 16 segments each.
    assert_eq!(fake.steps(), 3);
    let pages: Vec<Frame> = (0..40).map(|_| Frame::allocate().unwrap()).collect();
    volume.read(8, pages.iter().cloned().map(Segment::page).collect()).unwrap();
    for (byte, page) in (1..).zip(&pages) {
        let mut bytes = [0; PAGE_SIZE];
        page.read(0, &mut bytes);
        assert_eq!(bytes, [byte; PAGE_SIZE]);
        assert!(page.is_exclusive(), "nobody else holds it when the transfer is over");
    }
    let (reads, writes) = (disk.statistics().reads(), disk.statistics().writes());
    assert_eq!((reads.requests, reads.sectors, writes.requests, writes.sectors), (3, 320, 3, 320));
    assert_eq!(disk.statistics().under_way(), 0);
}

#[test]
fn a_plug_sorts_and_merges() {
    let (fake, disk) = disk();
    let volume = Volume::whole(&disk);
    let completion = Completion::new();
    let mut plug = Plug::new(&disk);
    for page in [3, 1, 2, 9, 0] {
        volume.start(&mut plug, WRITE, page * 8, vec![page_of(7)], || completion.add()).unwrap();
    }
    fake.hold(usize::MAX);
    drop(plug);
    assert_eq!(fake.held(), [(WRITE, 0, 32), (WRITE, 72, 8)]);
    let held = fake.clone();
    threads::spawn(move || {
        held.release(1);
        held.release(0);
    })
    .join()
    .unwrap();
    assert_eq!(disk.wait(&completion), Ok(()));
    assert_eq!(disk.statistics().writes().merges, 3);
}

#[test]
fn a_full_device_is_waited_for() {
    let (fake, disk) = disk();
    fake.hold(1);
    let writers: Vec<_> = (0..8_u8)
        .map(|index| {
            let volume = Volume::whole(&disk);
            threads::spawn(move || volume.write(u64::from(index) * 8, vec![page_of(index + 1)]))
        })
        .collect();
    let mut released = 0;
    while released < 8 {
        if fake.held().is_empty() {
            std::thread::yield_now();
        } else {
            fake.release(0);
            released += 1;
        }
    }
    for writer in writers {
        assert_eq!(writer.join().unwrap(), Ok(()));
    }
    for index in 0..8_u8 {
        assert_eq!(fake.image().get(u64::from(index) * 8), [index + 1; SECTOR_LEN]);
    }
}

#[test]
fn a_stopped_device_fails_what_is_under_way() {
    let (fake, disk) = disk();
    fake.hold(1);
    let volume = Volume::whole(&disk);
    let [first, second] = [0, 8].map(|sector| {
        let volume = volume.clone();
        threads::spawn(move || volume.write(sector, vec![page_of(1)]))
    });
    while fake.held().is_empty() {
        std::thread::yield_now();
    }
    disk.stop();
    assert_eq!(first.join().unwrap(), Err(BlockError::Dead));
    assert_eq!(second.join().unwrap(), Err(BlockError::Dead));
    assert_eq!(volume.read(0, vec![page_of(0)]), Err(BlockError::Dead));
    assert_eq!(volume.flush(), Err(BlockError::Dead));
    assert_eq!(frames::used(), 0);
}

#[test]
fn nothing_leaves_the_volume() {
    let (fake, disk) = disk();
    let volume = Volume::whole(&disk).part(100, 64, 1).unwrap();
    assert!(volume.part(60, 5, 2).is_none());
    assert!(volume.part(u64::MAX, 5, 2).is_none());
    for sector in [57, 64, u64::MAX - 3] {
        assert_eq!(volume.write(sector, vec![page_of(1)]), Err(BlockError::OutOfRange));
        assert_eq!(volume.write_zeroes(sector, 8), Err(BlockError::OutOfRange));
    }
    assert_eq!(volume.clone().read_only().write(0, vec![page_of(1)]), Err(BlockError::ReadOnly));
    assert_eq!(fake.steps(), 0);
    volume.write(56, vec![page_of(9)]).unwrap();
    assert_eq!(fake.image().get(156), [9; SECTOR_LEN]);
}

#[test]
fn forced_writes_and_flushes_reach_the_log() {
    let (fake, disk) = disk();
    let volume = Volume::whole(&disk);
    volume.write_forced(0, vec![page_of(1)]).unwrap();
    volume.flush().unwrap();
    volume.write_zeroes(0, 8).unwrap();
    let log = fake.log();
    assert!(matches!(log[..], [Step::Write { is_forced: true, .. }, Step::Flush, Step::Write { .. }]), "{log:?}");
    assert_eq!(fake.image(), Image::default());
}

#[test]
fn buffers_are_read_once_and_written_when_dirty() {
    let (fake, disk) = disk();
    let cache = BufferCache::new(Volume::whole(&disk), 1024).unwrap();
    let buffer = cache.get(5).unwrap();
    assert_eq!(buffer.read(|bytes| bytes.len()), 1024);
    assert!(Arc::ptr_eq(&buffer, &cache.get(5).unwrap()));
    assert_eq!(fake.reads(), 1);
    buffer.hold();
    buffer.change(|bytes| bytes[0] = 42);
    buffer.mark_dirty();
    cache.write_back().unwrap();
    assert_eq!(fake.steps(), 0, "it is held");
    buffer.let_go();
    cache.write_back().unwrap();
    cache.write_back().unwrap();
    assert_eq!(fake.steps(), 1);
    assert_eq!(fake.image().get(10)[0], 42);
    cache.get_zeroed(6).mark_dirty();
    cache.forget(6);
    cache.write_back().unwrap();
    assert_eq!(fake.steps(), 1, "it was freed");
}

#[test]
fn buffers_are_sealed_when_they_are_written() {
    let (fake, disk) = disk();
    let cache = BufferCache::new(Volume::whole(&disk), 512).unwrap();
    let buffer = cache.get_zeroed(3);
    // Says which parts were changed, and how often it was called.
    let apply = |bytes: &mut [u8], seal: &Seal| {
        bytes[0] = u8::try_from(seal.parts).unwrap();
        bytes[1] += 1;
    };
    let seal = |context, parts| Seal { apply, context: [context, 0, 0], parts };
    buffer.change_unsealed(seal(1, 1), |bytes| bytes[5] = 50);
    buffer.change_unsealed(seal(1, 4), |bytes| bytes[6] = 60);
    assert_eq!(buffer.read(|bytes| bytes[..7].to_vec()), [0, 0, 0, 0, 0, 50, 60]);
    buffer.mark_dirty();
    cache.write_back().unwrap();
    assert_eq!(fake.image().get(3)[..7], [5, 1, 0, 0, 0, 50, 60]);
    assert_eq!(buffer.read_sealed(|bytes| bytes[1]), 1, "it is sealed already");
    buffer.change_unsealed(seal(1, 1), |_| ());
    buffer.change_unsealed(seal(2, 2), |_| ());
    assert_eq!(
        buffer.read_sealed(|bytes| bytes[..2].to_vec()),
        [2, 2],
        "what was sealed otherwise before is not remembered"
    );
    buffer.change_unsealed(seal(1, 1), |_| ());
    buffer.change(|bytes| bytes.fill(9));
    assert_eq!(
        buffer.read_sealed(|bytes| bytes[..2].to_vec()),
        [9, 9],
        "a change without a seal is as it is to be written"
    );
    buffer.change_unsealed(seal(1, 1), |_| ());
    cache.get_zeroed(3);
    assert_eq!(buffer.read_sealed(|bytes| bytes[..2].to_vec()), [0, 0]);
}

#[test]
fn a_failed_write_leaves_the_buffer_dirty() {
    let (fake, disk) = disk();
    let cache = BufferCache::new(Volume::whole(&disk), 4096).unwrap();
    for number in 0..3 {
        let buffer = cache.get_zeroed(number);
        buffer.change(|bytes| bytes.fill(3));
        buffer.mark_dirty();
    }
    fake.fail_writes_after(Some(0));
    assert_eq!(cache.write_back(), Err(BlockError::Io));
    fake.fail_writes_after(None);
    cache.write_back().unwrap();
    assert_eq!(fake.image().get(17), [3; SECTOR_LEN]);
    fake.spoil(80);
    assert!(matches!(cache.get(10), Err(BlockError::Io)));
    assert!(cache.find(10).is_none());
}

#[test]
fn buffers_that_must_stay_are_not_looked_through_for_each_new_one() {
    const BUFFERS: usize = 20_000;
    // One that is not used any more goes with the second look.
    const CANARY: u64 = BUFFERS as u64;
    let disk = disk_of(2 * CANARY).1;
    let cache = BufferCache::new(Volume::whole(&disk), 512).unwrap();
    cache.set_limit(64);
    let mut looked_at = 0;
    for number in 0..CANARY {
        cache.get_zeroed(number).mark_dirty();
        if cache.find(CANARY).is_none() {
            looked_at += 2 * cache.count();
            cache.get_zeroed(CANARY);
        }
    }
    assert!(looked_at <= 16 * BUFFERS, "{looked_at}");
    cache.write_back().unwrap();
    // When they need not stay any more, they go.
    (CANARY + 1..2 * CANARY).for_each(|number| drop(cache.get_zeroed(number)));
    assert!(cache.count() <= 64);
}

#[test]
fn the_cache_is_bounded() {
    let (_, disk) = disk();
    let cache = BufferCache::new(Volume::whole(&disk), 512).unwrap();
    cache.set_limit(64);
    let kept = cache.get(0).unwrap();
    let dirty = cache.get(1).unwrap();
    dirty.mark_dirty();
    drop(dirty);
    for number in 2..1000 {
        cache.get(number).unwrap();
    }
    assert!(cache.count() <= 130, "{}", cache.count());
    assert!(Arc::ptr_eq(&kept, &cache.get(0).unwrap()));
    assert!(cache.find(1).is_some_and(|buffer| buffer.is_dirty()));
    cache.shrink();
    assert_eq!(cache.count(), 2);
}
