//! What is discarded: clusters that nothing leads to, in memory and on the disk.

use abi::Errno;
use testkit::disk::crashed;
use vfs::{FileSystem, TrimRange};

use crate::images::{Medium, SHAPES, check, repair};
use crate::support::World;

const ALL: TrimRange = TrimRange { start: 0, len: u64::MAX, len_min: 0 };

#[test]
fn all_that_is_free_is_discarded_and_nothing_else() {
    for shape in SHAPES {
        let medium = Medium::new(&shape.make());
        let fat = medium.open().unwrap();
        let world = World::over(fat.clone());
        let trim = |range| {
            let mut range = range;
            fat.trim(&mut range).map(|()| range.len)
        };
        for number in 0..12_u8 {
            world.write_file(&format!("/file {number}"), &vec![number; 9000]).unwrap();
        }
        fat.sync().unwrap();
        for number in (0..12).step_by(2) {
            world.unlink(&format!("/file {number}")).unwrap();
        }
        fat.sync().unwrap();
        let statistics = fat.statistics();
        let cluster = statistics.block_size;
        assert_eq!(trim(ALL), Ok(statistics.blocks_free * cluster), "{shape:?}");
        let long = trim(TrimRange { len_min: 9001_u64.next_multiple_of(cluster) + cluster, ..ALL }).unwrap();
        assert!(long < statistics.blocks_free * cluster, "{shape:?}: {long}");
        let parts = [(0, 30 * cluster), (30 * cluster, u64::MAX)].map(|(start, len)| {
            // Two are counted that are none.
            trim(TrimRange { start, len: if start == 0 { len - 2 * cluster } else { len }, len_min: 0 }).unwrap()
        });
        assert_eq!(parts.iter().sum::<u64>(), statistics.blocks_free * cluster, "{shape:?}");
        let end = (statistics.blocks + 2) * cluster;
        for (start, len) in [(0, cluster - 1), (end, cluster)] {
            assert_eq!(trim(TrimRange { start, len, len_min: 0 }), Err(Errno::EINVAL), "{shape:?}");
        }
        for number in (1..12_u8).step_by(2) {
            assert_eq!(world.read_file(&format!("/file {number}")).unwrap(), vec![number; 9000], "{shape:?}");
        }
        world.write_file("/new", &[9; 9000]).unwrap();
        drop(world);
        fat.shut_down().unwrap();
        check(&medium.bytes());
        medium.with(|world| assert_eq!(world.read_file("/new").unwrap(), [9; 9000]));
    }
}

/// A file that was removed and is on the disk again after a crash has what it had.
#[test]
fn what_a_crash_brings_back_is_there() {
    let medium = Medium::new(&SHAPES[2].make());
    let before = medium.disk.image();
    let fat = medium.open().unwrap();
    let world = World::over(fat.clone());
    let contents = |number: u8| vec![number + 1; 5000];
    (0..10).for_each(|number| world.write_file(&format!("/{number}"), &contents(number)).unwrap());
    fat.sync().unwrap();
    let start = medium.disk.steps();
    for number in 0..10 {
        world.unlink(&format!("/{number}")).unwrap();
        fat.trim(&mut ALL.clone()).unwrap();
        if number % 3 == 2 {
            fat.sync().unwrap();
            fat.trim(&mut ALL.clone()).unwrap();
        }
    }
    let log = medium.disk.log();
    for steps in start..=log.len() {
        let image = crashed(&before, &log, steps, &mut testkit::Random::new(steps as u64));
        let (bytes, _) = repair(&image.to_bytes(medium.sectors()));
        Medium::new(&bytes).with(|world| {
            for number in 0..10 {
                match world.read_file(&format!("/{number}")) {
                    Ok(found) => assert!(found == contents(number), "{number} after {steps}"),
                    Err(errno) => assert_eq!(errno, Errno::ENOENT),
                }
            }
        });
    }
}
