//! The power goes at every step: `fsck.fat` can repair what is left, and everything that was made stable is there.

use std::collections::BTreeMap;

use abi::{Errno, OpenFlags, RenameFlags};
use testkit::disk::crashed;
use vfs::FileSystem;

use crate::images::{Medium, SHAPES, Shape, check, repair};
use crate::support::{Random, World};

/// What was stable after so many steps of the log: files with their contents.
type Stable = (usize, BTreeMap<String, Vec<u8>>);

/// How often each point is tried.
const TRIES: u64 = 2;

fn sync(world: &World, path: &str) {
    world.open(path, OpenFlags::empty()).unwrap().file().sync(false).unwrap();
}

/// Files come, grow, are cut and go, some of them stable, others not.
fn act(world: &World, medium: &Medium, random: &mut Random) -> Vec<Stable> {
    let mut stable: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut history = vec![(0, stable.clone())];
    world.mkdir("/folder of files").unwrap();
    for round in 0..40 {
        let name = format!("/folder of files/file {}", random.below(8));
        let bytes = vec![round; random.index(6000) + 1];
        match random.below(6) {
            // Whatever is not stable may have any contents from here on.
            0 => {
                let _ = world.unlink(&name);
                stable.remove(&name);
                history.push((medium.disk.steps(), stable.clone()));
            }
            1 | 2 => {
                // Replaced as a whole, as editors do it.
                let new = format!("/{round}.new");
                world.write_file(&new, &bytes).unwrap();
                sync(world, &new);
                stable.remove(&name);
                history.push((medium.disk.steps(), stable.clone()));
                world.rename(&new, &name).unwrap();
            }
            _ => {
                stable.remove(&name);
                history.push((medium.disk.steps(), stable.clone()));
                let file = world.open(&name, OpenFlags::CREAT | OpenFlags::RDWR).unwrap();
                file.truncate(random.below(3000)).unwrap();
                file.pwrite(&bytes, random.below(3000)).unwrap();
            }
        }
        if random.below(2) == 0 && world.stat(&name).is_ok() {
            sync(world, &name);
            stable.insert(name.clone(), world.read_file(&name).unwrap());
            history.push((medium.disk.steps(), stable.clone()));
        }
    }
    history
}

fn run(shape: Shape, seed: u64, stride: usize) {
    let (seed, mut random) = Random::seeded(seed);
    let medium = Medium::new(&shape.make());
    let before = medium.disk.image();
    let history = medium.with(|world| act(world, &medium, &mut random));
    let log = medium.disk.log();
    println!("{shape:?}, seed {seed}: {} steps", log.len());
    let mut chance = testkit::Random::new(seed);
    for steps in (0..=log.len()).step_by(stride) {
        for _ in 0..TRIES {
            let image = crashed(&before, &log, steps, &mut chance);
            let (bytes, said) = repair(&image.to_bytes(medium.sectors()));
            let (_, stable) = history.iter().rev().find(|(at, _)| *at <= steps).unwrap();
            // What is on its way out at this point may be gone.
            let (_, next) = history.iter().find(|(at, _)| *at > steps).unwrap_or(history.last().unwrap());
            Medium::new(&bytes).with(|world| {
                for (name, contents) in stable.iter().filter(|(name, contents)| next.get(*name) == Some(contents)) {
                    let found = world.read_file(name);
                    assert!(
                        found.as_ref() == Ok(contents),
                        "{shape:?}, seed {seed}, step {steps}: {name}: {:?}\n{said}",
                        found.map(|f| f.len())
                    );
                }
            });
        }
    }
}

#[test]
fn what_is_stable_survives_a_crash_at_any_step() {
    run(SHAPES[0], 1, 3);
    run(SHAPES[2], 2, 10);
    run(SHAPES[4], 3, 80);
}

/// Crashes at every step of `act`, which comes after `before`, and looks at what is there.
fn at_every_step(shape: Shape, before: impl Fn(&World), act: impl Fn(&World), look: impl Fn(&World)) {
    let medium = Medium::new(&shape.make());
    let image = medium.disk.image();
    let mut begin = 0;
    medium.with(|world| {
        before(world);
        begin = medium.disk.steps();
        act(world);
    });
    let log = medium.disk.log();
    let mut chance = testkit::Random::new(7);
    for steps in begin..=log.len() {
        for _ in 0..4 {
            let image = crashed(&image, &log, steps, &mut chance);
            let (bytes, _) = repair(&image.to_bytes(medium.sectors()));
            Medium::new(&bytes).with(&look);
        }
    }
}

#[test]
fn a_replaced_file_is_the_old_or_the_new() {
    let (old, new) = (vec![1; 3000], vec![2; 5000]);
    let before = |world: &World| {
        for (name, contents) in [("/Some name", &old), ("/Some name.new", &new)] {
            world.write_file(name, contents).unwrap();
            sync(world, name);
        }
    };
    let act = |world: &World| {
        world.rename("/Some name.new", "/Some name").unwrap();
        sync(world, "/");
        // What the old one had is taken by another.
        world.write_file("/other", &[3; 20_000]).unwrap();
        sync(world, "/other");
    };
    for shape in [SHAPES[0], SHAPES[2]] {
        at_every_step(shape, before, act, |world| {
            let found = world.read_file("/Some name").unwrap();
            assert!(found == old || found == new, "{shape:?}");
            assert!(found == new || world.read_file("/Some name.new").as_ref() == Ok(&new), "{shape:?}");
        });
    }
}

#[test]
fn a_file_on_its_way_is_in_one_of_two_places() {
    let contents = vec![2; 5000];
    let before = |world: &World| {
        world.mkdir("/from").unwrap();
        world.mkdir("/to").unwrap();
        world.write_file("/from/a file", &contents).unwrap();
        sync(world, "/from/a file");
    };
    let act = |world: &World| {
        world.rename("/from/a file", "/to/another").unwrap();
        sync(world, "/to");
    };
    at_every_step(SHAPES[2], before, act, |world| {
        let found = [world.read_file("/from/a file"), world.read_file("/to/another")];
        assert!(found.iter().any(|found| found.as_ref() == Ok(&contents)));
    });
}

#[test]
fn an_exchange_in_a_block_happens_at_once_and_elsewhere_loses_nothing() {
    let (first, second) = (vec![1; 3000], vec![2; 5000]);
    for (from, to) in [("/one of two", "/the other of the two"), ("/folder/one of two", "/elsewhere/other")] {
        let before = |world: &World| {
            for folder in ["/folder", "/elsewhere"] {
                world.mkdir(folder).unwrap();
            }
            for (name, contents) in [(from, &first), (to, &second)] {
                world.write_file(name, contents).unwrap();
                sync(world, name);
            }
        };
        let act = |world: &World| {
            world.rename_with(from, to, RenameFlags::EXCHANGE).unwrap();
            sync(world, from);
            world.write_file("/third", &[3; 20_000]).unwrap();
            sync(world, "/third");
        };
        at_every_step(SHAPES[2], before, act, |world| {
            let aside = to.rsplit_once('/').map(|(folder, _)| format!("{folder}/EXCHANGE.000")).unwrap();
            let found = [from, to, &aside].map(|name| world.read_file(name).ok());
            let is_whole = [&first, &second].into_iter().all(|contents| found.iter().flatten().any(|f| f == contents));
            assert!(is_whole, "{from}: {:?}", found.map(|found| found.map(|found| found.len())));
            let has_both = found[0].is_some() && found[1].is_some() && found[0] != found[1];
            assert!(has_both || from.starts_with("/folder"), "{from}");
        });
    }
}

/// Writes fail from some moment on, in the middle of an exchange: the names mean what they did, or have been exchanged.
#[test]
fn an_exchange_that_fails_is_undone() {
    let (first, second) = (vec![1; 3000], vec![2; 5000]);
    let (from, to) = ("/folder/one of two", "/elsewhere/other");
    let mut undone = 0;
    for writes in 0..12 {
        let medium = Medium::new(&SHAPES[2].make());
        let fat = medium.open().unwrap();
        let world = World::over(fat.clone());
        for folder in ["/folder", "/elsewhere", "/elsewhere/inner", "/folder/moved"] {
            world.mkdir(folder).unwrap();
        }
        for (name, contents) in [(from, &first), (to, &second), ("/folder/moved/file", &second)] {
            world.write_file(name, contents).unwrap();
        }
        fat.sync().unwrap();
        medium.disk.fail_writes_after(Some(writes));
        let exchanged = world.rename_with(from, to, RenameFlags::EXCHANGE);
        let moved = world.rename_with("/folder/moved", "/elsewhere/inner", RenameFlags::EXCHANGE);
        medium.disk.fail_writes_after(None);
        undone += u32::from(exchanged == Err(Errno::EIO));
        let expected = if exchanged.is_ok() { [&second, &first] } else { [&first, &second] };
        let look = |world: &World| {
            assert_eq!([from, to].map(|name| world.read_file(name).unwrap()), expected.map(Vec::clone), "{writes}");
            let file = if moved.is_ok() { "/elsewhere/inner/file" } else { "/folder/moved/file" };
            assert_eq!(world.read_file(file).unwrap(), second, "{writes}");
            let names = ["/folder", "/elsewhere"].map(|folder| world.names(folder).unwrap().len());
            assert_eq!(names, [2, 2], "{writes}");
        };
        look(&world);
        drop(world);
        fat.shut_down().unwrap();
        check(&medium.bytes());
        look(&World::over(medium.open().unwrap()));
    }
    assert!(undone >= 2, "{undone}");
}
