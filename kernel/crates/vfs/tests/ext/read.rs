//! Trees that `mke2fs` put on a disk, read by this kernel.

use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use abi::Errno;
use vfs::FileSystem;
use vfs::fs::ext::ExtOptions;

use crate::images::{KINDS, Scratch, check, compare, disk_of, host_tree, make, mount, tree};

/// A tree with everything in it.
fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("a/b/c/d")).unwrap();
    fs::create_dir(root.join("many")).unwrap();
    for number in 0..300 {
        fs::write(root.join(format!("many/file with a longer name {number}")), format!("{number}")).unwrap();
    }
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("a/small"), "small").unwrap();
    let pattern: Vec<u8> = (0..600_000_u32).map(|number| ((number * 7) >> 4).to_le_bytes()[0]).collect();
    fs::write(root.join("a/b/large"), &pattern).unwrap();
    let sparse = fs::File::create(root.join("a/sparse")).unwrap();
    for (offset, text) in [(0, "one"), (50_000, "two"), (3_000_000, "three"), (80 << 20, "four")] {
        sparse.write_all_at(text.as_bytes(), offset).unwrap();
    }
    sparse.set_len((80 << 20) + 12_345).unwrap();
    symlink("a/small", root.join("short link")).unwrap();
    symlink("x".repeat(59), root.join("link of 59")).unwrap();
    symlink("y".repeat(60), root.join("link of 60")).unwrap();
    symlink("z/".repeat(400), root.join("long link")).unwrap();
    fs::hard_link(root.join("a/small"), root.join("a/b/same")).unwrap();
    fs::write(root.join("n".repeat(255)), "long name").unwrap();
}

#[test]
fn trees_are_read() {
    let scratch = Scratch::new();
    let source = scratch.path("tree");
    make_tree(&source);
    let expected = host_tree(&source);
    for (name, options) in KINDS {
        println!("{name}");
        let image = make(&scratch, options, Some(&source));
        let bytes = fs::read(&image).unwrap();
        let mounted = mount(&disk_of(&bytes), ExtOptions { is_read_only: true, ..ExtOptions::default() }).unwrap();
        compare(&tree(&mounted.world).unwrap(), &expected, name);
        assert_eq!(mounted.world.write_file("/new", b"x"), Err(Errno::EROFS));
        assert_eq!(mounted.disk.steps(), 0, "{name}: nothing is written");
        // The same again with an index in the directory.
        let _ = std::process::Command::new("e2fsck").args(["-f", "-y", "-D"]).arg(&image).output().unwrap();
        check(&image, name);
        let mounted =
            mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions { is_read_only: true, ..ExtOptions::default() });
        compare(&tree(&mounted.unwrap().world).unwrap(), &expected, name);
    }
}

#[test]
fn what_is_not_supported_is_refused() {
    let scratch = Scratch::new();
    for features in ["inline_data", "bigalloc"] {
        let image = make(&scratch, &["-t", "ext4", "-O", features], None);
        let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default());
        assert_eq!(mounted.err(), Some(Errno::EINVAL), "{features}");
    }
}

#[test]
fn what_can_only_be_read_is_mounted_read_only_or_not_at_all() {
    let scratch = Scratch::new();
    for features in ["quota", "project", "verity", "mmp", "casefold", "ea_inode", "encrypt"] {
        let image = make(&scratch, &["-t", "ext4", "-O", features], None);
        let disk = disk_of(&fs::read(&image).unwrap());
        assert_eq!(mount(&disk, ExtOptions::default()).err(), Some(Errno::EINVAL), "{features}");
        assert_eq!(disk.steps(), 0, "{features}");
        let mounted = mount(&disk, ExtOptions { is_read_only: true, ..ExtOptions::default() }).unwrap();
        assert!(mounted.world.names("/").is_ok(), "{features}");
        assert_eq!(mounted.file_system.reconfigure(false, b""), Err(Errno::EROFS), "{features}");
    }
}

#[test]
fn one_that_says_it_is_read_only_is() {
    let scratch = Scratch::new();
    let image = make(&scratch, &["-t", "ext4"], None);
    let status = std::process::Command::new("tune2fs").args(["-O", "read-only"]).arg(&image).output().unwrap().status;
    assert!(status.success());
    let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
    assert_eq!(mounted.world.write_file("/new", b"x"), Err(Errno::EROFS));
}
