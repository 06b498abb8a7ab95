//! Writing back where there is no memory left: that is how it becomes free.

use std::fs;

use vfs::FileSystem;
use vfs::fs::ext::ExtOptions;

use testkit::frames;

use crate::images::{KINDS, Scratch, check, disk_of, make, mount};

const FILES: usize = 60;
/// Frames of the kernel's reserve that writing back may have at a time.
const RESERVE: u64 = 2;

fn contents_of(number: usize) -> Vec<u8> {
    vec![u8::try_from(number).unwrap(); 1 + number * 700]
}

#[test]
fn what_is_dirty_is_written_without_memory() {
    for (name, options) in KINDS {
        let scratch = Scratch::new();
        let path = make(&scratch, options, None);
        let mounted = mount(&disk_of(&fs::read(&path).unwrap()), ExtOptions::default()).unwrap();
        for number in 0..FILES {
            mounted.world.write_file(&format!("/{number}"), &contents_of(number)).unwrap();
        }
        // Nothing is known by heart of where things are.
        mounted.file_system.drop_caches();
        // Nor does anybody have frames that a grace period keeps.
        sync::rcu::flush();
        frames::set_budget(Some(0));
        frames::set_reserve(RESERVE);
        let before = frames::used();
        let written = mounted.file_system.sync();
        frames::set_budget(None);
        written.unwrap_or_else(|errno| panic!("{name}: {errno:?}"));
        assert!(frames::used() <= before, "{name}: {} frames, {before} before: some are kept", frames::used());
        fs::write(&path, mounted.unmount()).unwrap();
        check(&path, name);
        let mounted = mount(&disk_of(&fs::read(&path).unwrap()), ExtOptions::default()).unwrap();
        for number in 0..FILES {
            assert_eq!(
                mounted.world.read_file(&format!("/{number}")).unwrap(),
                contents_of(number),
                "{name}: {number}"
            );
        }
    }
}
