//! Large directories: names are found, made and removed as in small ones.

use std::collections::BTreeSet;

use abi::Errno;

use crate::images::{Medium, SHAPES, check};
use crate::support::Random;

/// A name with a number: short ones, and long ones of several lengths, many of which have the same beginning.
fn name_of(number: u64) -> String {
    match number % 4 {
        0 => format!("F{number}.TXT"),
        1 => format!("a longer name {number}"),
        2 => format!("A name that takes the room of several entries, with the number {number}"),
        _ => format!("mixed{number}.Case"),
    }
}

#[test]
fn a_large_directory_is_the_set_of_its_names() {
    let (seed, mut random) = Random::seeded(40);
    println!("seed {seed}");
    for shape in [SHAPES[3], SHAPES[4]] {
        let medium = Medium::new(&shape.make());
        let mut model = BTreeSet::new();
        for round in 0..3 {
            medium.with(|world| {
                let _ = world.mkdir("/folder");
                for _ in 0..1500 {
                    let number = random.below(700);
                    let path = format!("/folder/{}", name_of(number));
                    let is_there = model.contains(&number);
                    match random.below(5) {
                        0 | 1 => {
                            let made = world.mknod(&path, 0o100_644, 0);
                            assert_eq!(made.err(), is_there.then_some(Errno::EEXIST), "{round}: {path}");
                            model.insert(number);
                        }
                        2 => {
                            assert_eq!(world.unlink(&path).is_ok(), is_there, "{round}: {path}");
                            model.remove(&number);
                        }
                        3 => {
                            let other = random.below(700);
                            let moved = world.rename(&path, &format!("/folder/{}", name_of(other)));
                            assert_eq!(moved.is_ok(), is_there, "{round}: {path} to {other}");
                            if is_there && number != other {
                                model.remove(&number);
                                model.insert(other);
                            }
                        }
                        _ => {
                            let upper = format!("/folder/{}", name_of(number).to_ascii_uppercase());
                            assert_eq!(world.stat(&upper).is_ok(), is_there, "{round}: {upper}");
                        }
                    }
                }
                let mut names: Vec<String> = model.iter().map(|number| name_of(*number)).collect();
                names.sort();
                assert_eq!(world.names("/folder").unwrap(), names, "{shape:?}, {round}");
            });
            check(&medium.bytes());
        }
    }
}

#[test]
fn a_full_directory_says_so() {
    // Nineteen entries of a long name, and the file's own.
    let path_of = |number: u64| format!("/folder/{}{number:04}", "a long name ".repeat(20));
    let medium = Medium::new(&SHAPES[3].make());
    medium.with(|world| {
        world.mkdir("/folder").unwrap();
        let mut made = 0;
        let last = loop {
            match world.mknod(&path_of(made), 0o100_644, 0) {
                Ok(()) => made += 1,
                Err(errno) => break errno,
            }
        };
        // Two of the slots are `.` and `..`.
        assert_eq!((last, made), (Errno::ENOSPC, (65_536 - 2) / 20));
        world.unlink(&path_of(77)).unwrap();
        world.mknod(&path_of(9999), 0o100_644, 0).unwrap();
        assert!(world.stat(&path_of(3000).to_ascii_uppercase().replace("/FOLDER", "/folder")).is_ok());
        assert_eq!(world.stat(&path_of(77)).err(), Some(Errno::ENOENT));
    });
    check(&medium.bytes());
}
