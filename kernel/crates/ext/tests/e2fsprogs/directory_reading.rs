//! Directories that mke2fs and e2fsck made: every name is found, and the list is the one of debugfs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use ext::DirectoryBlocks;
use ext::directory::{self, Entries, HashVersion, NameHasher, Target};
use testkit::Random;

use crate::image::{self, ImageFile, Loaded, Scratch, TestDirectory, any_name, must};

/// Names in the directory: in blocks of 1 KiB the index has two levels.
const NAMES: usize = 2500;
/// A seed of the hashes, as debugfs takes it.
const SEED: &str = "-s 89abcdef-0123-4567-0011-223344556677";

/// Makes a folder with names of any bytes; they are links to two files, and symbolic links.
fn make_tree(folder: &Path, count: usize, seed: u64) {
    println!("seed {seed}");
    let mut random = Random::new(seed);
    fs::create_dir_all(folder.join("d")).unwrap();
    fs::create_dir(folder.join("empty")).unwrap();
    fs::create_dir(folder.join("few")).unwrap();
    fs::write(folder.join("few/one"), b"").unwrap();
    fs::create_dir(folder.join("few/two")).unwrap();
    fs::write(folder.join("file"), b"").unwrap();
    symlink("target", folder.join("link")).unwrap();
    let mut names = BTreeSet::new();
    while names.len() < count {
        names.insert(any_name(&mut random));
    }
    for name in names {
        let source = if random.one_in(4) { "link" } else { "file" };
        fs::hard_link(folder.join(source), folder.join("d").join(std::ffi::OsStr::from_bytes(&name))).unwrap();
    }
}

/// Everything that is listed from the beginning on, and checks positions on the way.
pub(crate) fn list_all(directory: &TestDirectory) -> BTreeMap<Vec<u8>, Target> {
    let mut all = BTreeMap::new();
    let mut entries = Entries::default();
    let mut position = 0;
    loop {
        directory::list(directory, position, &mut entries).unwrap();
        if entries.is_empty() {
            return all;
        }
        for (name, entry) in entries.iter() {
            assert!(entry.next > position, "positions rise");
            position = entry.next;
            assert_eq!(all.insert(name.to_vec(), entry.target), None, "{name:?} twice");
        }
    }
}

/// Compares a directory with what debugfs lists.
fn compare(file: &ImageFile, loaded: &Loaded, path: &str) -> TestDirectory {
    let directory = TestDirectory::open(file, loaded, path);
    let mut expected = file.listed(path);
    if !directory.format.has_file_types {
        expected.values_mut().for_each(|target| target.kind = 0);
    }
    // Without an index each name costs the whole directory.
    let every = if directory.has_index() { 1 } else { 1 + expected.len() / 100 };
    for (name, target) in expected.iter().step_by(every) {
        assert_eq!(directory::find(&directory, name), Ok(Some(*target)), "{name:?}");
    }
    let mut random = Random::new(7);
    for _ in 0..100 {
        let name = any_name(&mut random);
        assert_eq!(directory::find(&directory, &name), Ok(expected.get(&name).copied()), "{name:?}");
    }
    assert_eq!(list_all(&directory), expected);
    assert_eq!(directory::is_empty(&directory), Ok(expected.is_empty()));
    let root = if path == "/" { 2 } else { file.stat(&format!("{path}/..")).number };
    assert_eq!(directory::parent(&directory), Ok(root));
    directory
}

#[test]
fn trees_of_mke2fs() {
    image::install();
    let scratch = Scratch::new();
    let tree = scratch.path("tree");
    make_tree(&tree, NAMES, 1);
    for arguments in [
        &["-t", "ext4", "-b", "1024", "-O", "^has_journal"][..],
        &["-t", "ext4", "-b", "4096", "-O", "^has_journal,metadata_csum_seed"],
        &["-t", "ext3", "-b", "1024", "-O", "^has_journal"],
        &["-t", "ext2", "-b", "2048", "-O", "^dir_index,^filetype"],
        &["-t", "ext2", "-b", "1024", "-I", "128", "-O", "none"],
    ] {
        println!("{arguments:?}");
        let file = ImageFile::make(scratch.path("image"), arguments, &tree, "8M");
        let loaded = file.load();
        for path in ["/", "/d", "/empty", "/few", "/lost+found"] {
            let directory = compare(&file, &loaded, path);
            // mke2fs makes no index.
            assert!(!directory.has_index());
        }
        file.make_indexes();
        let loaded = file.load();
        for path in ["/", "/d", "/empty", "/few", "/lost+found"] {
            let directory = compare(&file, &loaded, path);
            assert_eq!(directory.has_index(), directory.format.may_have_index && path == "/d");
        }
    }
}

#[test]
fn indexes_of_all_hashes() {
    image::install();
    let scratch = Scratch::new();
    let tree = scratch.path("tree");
    make_tree(&tree, NAMES, 2);
    let arguments = ["-t", "ext4", "-b", "1024", "-O", "^has_journal"];
    let file = ImageFile::make(scratch.path("image"), &arguments, &tree, "8M");
    for (version, name) in (0..).zip(["legacy", "half_md4", "tea"]) {
        for flags in [1, 2] {
            file.tune(&["-E", &format!("hash_alg={name}")]);
            file.change(&format!("ssv flags {flags}\n"));
            file.make_indexes();
            let directory = compare(&file, &file.load(), "/d");
            assert!(directory.has_index());
            assert_eq!((directory.format.hash_version, directory.format.hash_is_unsigned), (version, flags == 2));
            let dump = String::from_utf8_lossy(&file.ask("htree_dump /d")).into_owned();
            assert!(dump.contains(&format!("Hash Version: {version}")) && dump.contains("Indirect levels: 1"));
        }
    }
}

/// Names of debugfs's own choice of characters, hashed by it and by us.
#[test]
fn hashes_of_debugfs() {
    let mut random = Random::new(3);
    let names: Vec<String> = (0..300)
        .map(|_| (0..1 + random.below(100)).map(|_| *random.pick(&['a', 'b', 'Z', '_', '7', '.', 'x'])).collect())
        .collect();
    let scratch = Scratch::new();
    let script = scratch.path("script");
    for (version, algorithm) in (0..).zip(["legacy", "half_md4", "tea"]) {
        let version = HashVersion::from_raw(version).unwrap();
        let seeds = [([0; 4], ""), ([0xefcd_ab89, 0x6745_2301, 0x3322_1100, 0x7766_5544], SEED)];
        for (seed, option) in seeds {
            let requests: String =
                names.iter().map(|name| format!("dx_hash -h {algorithm} {option} {name}\n")).collect();
            fs::write(&script, requests).unwrap();
            let printed = must("debugfs", &["-f", script.to_str().unwrap()]);
            let printed = String::from_utf8(printed).unwrap();
            let hashes: Vec<&str> = printed.lines().filter(|line| line.starts_with("Hash of ")).collect();
            let hasher = NameHasher { version, is_unsigned: false, seed };
            assert_eq!(hashes.len(), names.len());
            for (name, line) in names.iter().zip(hashes) {
                let hash = hasher.hash(name.as_bytes());
                // The legacy function has no minor hash of its own.
                let minor = if version == HashVersion::Legacy { 0 } else { hash.minor };
                assert_eq!(line, format!("Hash of {name} is {:#x} (minor {minor:#x})", hash.major));
            }
        }
    }
}
