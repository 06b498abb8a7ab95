//! What is written back, and when.

use abi::OpenFlags;

use crate::images::{Medium, SHAPES, check};
use crate::support::World;

#[test]
fn what_was_dirty_before_is_written_and_nothing_else() {
    for shape in SHAPES {
        let medium = Medium::new(&shape.make());
        let fat = medium.open().unwrap();
        let world = World::over(fat.clone());
        let steps = || medium.disk.steps();
        let file = world.open("/file", OpenFlags::RDWR | OpenFlags::CREAT).unwrap();
        let mut before = steps();
        for round in 0..3 {
            file.pwrite(&[round; 3000], 0).unwrap();
            fat.write_back().unwrap();
            assert_eq!(steps(), before, "{shape:?}, {round}: it is young");
            // Changed again it is no younger.
            file.pwrite(&[round; 10], 10).unwrap();
            fat.write_back().unwrap();
            assert!(steps() > before, "{shape:?}, {round}: it is old");
            before = steps();
            fat.write_back().unwrap();
            fat.write_back().unwrap();
            assert_eq!(steps(), before, "{shape:?}, {round}: nothing is dirty");
        }
        world.unlink("/file").unwrap();
        drop(file);
        fat.write_back().unwrap();
        assert_eq!(steps(), before, "{shape:?}: the name is young");
        fat.write_back().unwrap();
        assert!(steps() > before, "{shape:?}: the name is gone");
        drop(world);
        vfs::FileSystem::shut_down(&*fat).unwrap();
        check(&medium.bytes());
    }
}
