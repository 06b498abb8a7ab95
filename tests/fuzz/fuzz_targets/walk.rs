//! Arbitrary paths and targets of links in a small tree: `cargo +nightly fuzz run --fuzz-dir tests/fuzz walk`.
//!
//! A walk that leads somewhere does so again, and the path that is shown for the place leads there too.
#![no_main]

use abi::OpenFlags;
use file::OpenFile;
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
use vfs::{Credentials, FsContext, Lookup, MountFlags, Namespace, OpenRequest, PathRef};

struct World {
    context: FsContext,
    credentials: Credentials,
}

impl World {
    fn new() -> Self {
        testkit::frames::install();
        let namespace = Namespace::new(tmpfs(), b"none", MountFlags::empty());
        Self { context: FsContext::new(namespace), credentials: Credentials::root() }
    }

    fn resolve(&self, path: &[u8], lookup: Lookup) -> Result<PathRef, abi::Errno> {
        vfs::resolve(&self.context, &self.credentials, None, path, lookup)
    }

    fn make_directory(&self, path: &[u8]) {
        vfs::mkdir(&self.context, &self.credentials, None, path, 0o777).expect("there is room");
    }

    fn open(&self, path: &[u8], flags: OpenFlags) -> Result<Arc<OpenFile>, abi::Errno> {
        let request = OpenRequest { flags, mode: 0o666, resolve: abi::ResolveFlags::empty() };
        vfs::open(&self.context, &self.credentials, None, path, &request)
    }
}

fn tmpfs() -> Arc<Tmpfs> {
    Tmpfs::new(TmpfsOptions { mode: 0o755, ..TmpfsOptions::default() })
}

fuzz_target!(|input: (u32, [&[u8]; 3], &[u8])| {
    let (flags, links, path) = input;
    let world = World::new();
    for directory in [&b"/a"[..], b"/a/b", b"/a/b/c", b"/m"] {
        world.make_directory(directory);
    }
    let place = world.resolve(b"/m", Lookup::FOLLOW).expect("it was made");
    let mounted = world.context.namespace.mount(&world.credentials, &place, tmpfs(), b"none", MountFlags::empty());
    mounted.expect("it is a directory");
    world.open(b"/a/file", OpenFlags::WRONLY | OpenFlags::CREAT).expect("there is room");
    for (name, target) in [&b"/a/l"[..], b"/l", b"/m/l"].into_iter().zip(links) {
        // Some targets cannot be.
        let _ = vfs::symlink(&world.context, &world.credentials, target, None, name);
    }
    let lookup = Lookup::from_bits_truncate(flags);
    let found = world.resolve(path, lookup).map(|place| place.inode().metadata().number());
    let again = world.resolve(path, lookup).map(|place| place.inode().metadata().number());
    assert_eq!(found, again);
    if let Ok(place) = world.resolve(path, lookup) {
        let shown = vfs::path_name(Some(&world.context), &place);
        let there = world.resolve(&shown, Lookup::empty()).expect("a shown path leads somewhere");
        assert!(Arc::ptr_eq(there.inode(), place.inode()));
    }
    // It may be made, as a file or a directory, and is there then.
    if world.open(path, OpenFlags::WRONLY | OpenFlags::CREAT).is_ok() {
        assert!(world.resolve(path, Lookup::FOLLOW).is_ok());
    }
    if vfs::mkdir(&world.context, &world.credentials, None, path, 0o777).is_ok() {
        assert!(world.resolve(path, Lookup::DIRECTORY).is_ok());
    }
});
