//! Seeded operations, compared with a model in memory, with `fsck.fat` and with what `mtools` reads.

use std::collections::BTreeMap;

use abi::{Errno, OpenFlags, RenameFlags};

use crate::images::{Medium, SHAPES, Shape, check, read_all, read_by_mtools};
use crate::support::{Random, World};

/// Names that mean few files, in several ways to write them.
const NAMES: [&str; 9] =
    ["a", "A", "Long name with blanks", "long NAME with blanks", "UPPER.TXT", "upper.txt", "x.y.z", "ünï", "~1"];

/// The files by what their path folds to: the path as it is stored, and the contents; none for directories.
type Model = BTreeMap<String, (String, Option<Vec<u8>>)>;

fn fold(path: &str) -> String {
    path.to_ascii_lowercase()
}

fn pick_directory(model: &Model, random: &mut Random) -> String {
    let mut directories = vec![String::new()];
    directories.extend(model.values().filter(|(_, contents)| contents.is_none()).map(|(path, _)| path.clone()));
    random.pick(&directories).clone()
}

fn pick_path(model: &Model, random: &mut Random) -> String {
    let directory = pick_directory(model, random);
    format!("{directory}/{}", random.pick(&NAMES))
}

/// Moves everything below a path in the model.
fn move_model(model: &mut Model, from: &str, to: &str) {
    let from = fold(from);
    let moved: Vec<String> =
        model.keys().filter(|key| **key == from || key.starts_with(&format!("{from}/"))).cloned().collect();
    for key in moved {
        let (path, contents) = model.remove(&key).unwrap();
        let path = format!("{to}{}", &path[from.len()..]);
        model.insert(fold(&path), (path, contents));
    }
}

fn write_somewhere(world: &World, model: &mut Model, path: &str, random: &mut Random) {
    let key = fold(path);
    let is_directory = matches!(model.get(&key), Some((_, None)));
    let opened = world.open(path, OpenFlags::CREAT | OpenFlags::RDWR);
    if is_directory {
        assert_eq!(opened.err(), Some(Errno::EISDIR));
        return;
    }
    let Ok(file) = opened else { return };
    let (_, contents) = model.entry(key).or_insert_with(|| (path.to_owned(), Some(Vec::new())));
    let contents = contents.as_mut().unwrap();
    match random.below(4) {
        0 => {
            let len = random.below(20_000);
            if file.truncate(len).is_ok() {
                contents.resize(usize::try_from(len).unwrap(), 0);
            }
        }
        kind => {
            let position = if kind == 1 { contents.len() as u64 } else { random.below(16_000) };
            let bytes = vec![random.byte(); random.index(9000)];
            let written = file.pwrite(&bytes, position).unwrap_or(0);
            if written > 0 {
                let start = usize::try_from(position).unwrap();
                if contents.len() < start + written {
                    contents.resize(start + written, 0);
                }
                contents[start..start + written].copy_from_slice(&bytes[..written]);
            }
        }
    }
    if random.below(6) == 0 {
        file.file().sync(random.below(2) == 0).unwrap();
    }
}

fn step(world: &World, model: &mut Model, random: &mut Random) {
    let path = pick_path(model, random);
    let key = fold(&path);
    let has_children = |model: &Model, key: &str| model.keys().any(|other| other.starts_with(&format!("{key}/")));
    match random.below(12) {
        0..5 => write_somewhere(world, model, &path, random),
        5 if path.matches('/').count() < 4 => {
            if world.mkdir(&path).is_ok() {
                assert!(model.insert(key, (path, None)).is_none());
            }
        }
        6 => {
            let is_file = matches!(model.get(&key), Some((_, Some(_))));
            assert_eq!(world.unlink(&path).is_ok(), is_file, "unlink {path}");
            if is_file {
                model.remove(&key);
            }
        }
        7 => {
            let is_empty = matches!(model.get(&key), Some((_, None))) && !has_children(model, &key);
            assert_eq!(world.rmdir(&path).is_ok(), is_empty, "rmdir {path}");
            if is_empty {
                model.remove(&key);
            }
        }
        8 if random.below(2) == 0 => exchange(world, model, &path, &pick_path(model, random)),
        8 | 9 => {
            let to = pick_path(model, random);
            let is_same = fold(&to) == key;
            if world.rename(&path, &to).is_ok() && !is_same {
                model.remove(&fold(&to));
                move_model(model, &path, &to);
            }
        }
        _ => {
            let found = world.read_file(&path);
            match model.get(&key) {
                Some((_, Some(contents))) => assert!(found.unwrap() == *contents, "{path}"),
                Some((_, None)) => assert_eq!(found, Err(Errno::EISDIR)),
                None => assert_eq!(found, Err(Errno::ENOENT)),
            }
        }
    }
}

fn exchange(world: &World, model: &mut Model, path: &str, to: &str) {
    let (key, other) = (fold(path), fold(to));
    let is_done = world.rename_with(path, to, RenameFlags::EXCHANGE).is_ok();
    let is_possible = model.contains_key(&key) && model.contains_key(&other);
    let is_nested = key.starts_with(&format!("{other}/")) || other.starts_with(&format!("{key}/"));
    assert_eq!(is_done, is_possible && !is_nested, "exchange {path} {to}");
    if is_done && key != other {
        // Each gets the name as the other has it.
        let [first, second] = [&key, &other].map(|key| model[key].0.clone());
        move_model(model, &first, "/*");
        move_model(model, &second, &first);
        move_model(model, "/*", &second);
    }
}

fn as_list(model: &Model) -> Vec<(String, Vec<u8>)> {
    let entry = |(path, contents): &(String, Option<Vec<u8>>)| match contents {
        Some(contents) => (path.clone(), contents.clone()),
        None => (format!("{path}/"), Vec::new()),
    };
    let mut list: Vec<_> = model.values().map(entry).collect();
    list.sort();
    list
}

fn run(shape: Shape, seed: u64, steps: usize) {
    let (seed, mut random) = Random::seeded(seed);
    let medium = Medium::new(&shape.make());
    let mut model = Model::new();
    for round in 0..3 {
        medium.with(|world| {
            for _ in 0..steps {
                step(world, &mut model, &mut random);
            }
            assert!(read_all(world) == as_list(&model), "{shape:?}, seed {seed}, round {round}");
        });
        check(&medium.bytes());
    }
    assert!(read_by_mtools(&medium.bytes()) == as_list(&model), "{shape:?}, seed {seed}: mtools");
    medium.with(|world| assert!(read_all(world) == as_list(&model)));
}

#[test]
fn operations_are_those_of_the_model() {
    for (number, shape) in (0..).zip(SHAPES) {
        run(shape, 100 + number, 120);
    }
}
