//! Damaged volumes: errors, and an end.

use vfs::FileSystem;

use crate::damage::{touch_all, use_all};
use crate::images::{Medium, SHAPES, Shape, repair};
use crate::support::{Random, World};

/// A volume with some files.
fn filled(shape: Shape) -> Vec<u8> {
    let medium = Medium::new(&shape.make());
    medium.with(|world| {
        for index in 0..6 {
            world.mkdir(&format!("/folder {index}")).unwrap();
            for inner in 0..5 {
                world.write_file(&format!("/folder {index}/file {inner}"), &[index; 3000]).unwrap();
            }
        }
    });
    medium.bytes()
}

fn run(shape: Shape, seed: u64, rounds: u64) {
    let (seed, mut random) = Random::seeded(seed);
    let good = filled(shape);
    for round in 0..rounds {
        let mut bytes = good.clone();
        // Most of what matters is at the beginning.
        for _ in 0..=random.below(20) {
            let end = if random.below(3) == 0 { 512 } else { 60_000.min(bytes.len() as u64) };
            let at = usize::try_from(random.below(end)).unwrap();
            bytes[at] = match random.below(4) {
                0 => 0,
                1 => 0xff,
                2 => bytes[at] ^ 1 << random.below(8),
                _ => random.byte(),
            };
        }
        println!("seed {seed}, round {round}");
        use_all(&bytes);
    }
}

#[test]
fn damage_is_an_error() {
    run(SHAPES[0], 11, 60);
    run(SHAPES[2], 12, 30);
    run(SHAPES[4], 13, 6);
}

#[test]
fn a_boot_sector_is_checked() {
    let (seed, mut random) = Random::seeded(14);
    let good = SHAPES[1].make();
    for round in 0..600 {
        let mut bytes = good.clone();
        for _ in 0..=random.below(8) {
            bytes[random.index(64)] = random.byte();
        }
        println!("seed {seed}, round {round}");
        if let Ok(fat) = Medium::new(&bytes[..256 * 1024]).open() {
            let world = World::over(fat);
            let _ = world.names("/");
            let _ = world.write_file("/f", &[1; 600]);
        }
    }
}

#[test]
fn a_disk_that_fails_is_an_error() {
    let good = filled(SHAPES[2]);
    for writes in (0..400).step_by(9) {
        let medium = Medium::new(&good);
        let fat = medium.open().unwrap();
        medium.disk.fail_writes_after(Some(writes));
        {
            let world = World::over(fat.clone());
            touch_all(&world, "", 2, &mut 40);
        }
        let is_whole = fat.shut_down().is_ok();
        let bytes = medium.bytes();
        assert!(is_whole || bytes[0x25] & 1 == 1, "{writes} writes: marked as complete");
        repair(&bytes);
    }
}
