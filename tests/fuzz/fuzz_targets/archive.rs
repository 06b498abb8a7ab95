//! Arbitrary bytes as the payload of an image, all of whose archive is read: `cargo +nightly fuzz run --fuzz-dir tests/fuzz archive`.
#![no_main]

use image_format::{Archive, Image, InodeIndex, Kind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(image) = Image::parse(bytes) else { return };
    let archive = image.archive();
    for number in 0..u32::try_from(archive.inode_count()).expect("inodes have numbers of 32 bits") {
        let index = archive.index(number).expect("it was counted");
        let _ = (archive.inode(index), archive.data(index), archive.link_target(index), archive.page(index, 0));
        image.sites(index).into_iter().flatten().for_each(drop);
        read_entries(&archive, number, index);
    }
});

/// No walk goes in a circle. Names need not be in order in what nobody made, and then they are not found.
fn read_entries(archive: &Archive<'_>, number: u32, directory: InodeIndex) {
    for entry in archive.entries(directory).flatten() {
        let _ = archive.lookup(directory, entry.name);
        let is_above = (0..=number).any(|above| archive.index(above) == Some(entry.inode));
        assert!(entry.kind != Kind::Directory || !is_above);
    }
}
