//! Damaged volumes: errors, and an end.

use abi::OpenFlags;
use vfs::FileSystem;

use crate::images::{Medium, SHAPES, Shape, repair};
use crate::support::{Random, World};

/// Walks some of a tree and touches what is there; circles of directories end by the depth.
fn touch_all(world: &World, directory: &str, depth: u32, left: &mut u32) {
    let Ok(names) = world.names(&format!("{directory}/")) else { return };
    for name in names {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let path = format!("{directory}/{name}");
        let Ok(status) = world.stat(&path) else { continue };
        if status.mode & 0o170_000 == 0o040_000 {
            if depth > 0 {
                touch_all(world, &path, depth - 1, left);
            }
            let _ = world.write_file(&format!("{path}/new file"), b"text");
            let _ = world.rmdir(&path);
        } else if let Ok(file) = world.open(&path, OpenFlags::RDWR) {
            let _ = file.pread(5000, 0);
            let _ = file.pwrite(&[5; 3000], 1000);
            let _ = file.truncate(100);
            let _ = file.file().sync(false);
            let _ = world.rename(&path, &format!("{path} moved to another name"));
            let _ = world.unlink(&path);
        }
    }
}

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
        let medium = Medium::new(&bytes);
        println!("seed {seed}, round {round}");
        let Ok(fat) = medium.open() else { continue };
        {
            let world = World::over(fat.clone());
            touch_all(&world, "", 6, &mut 200);
        }
        let _ = fat.sync();
        let _ = fat.shut_down();
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
