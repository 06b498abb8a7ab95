//! Disks that go away: programs are told once, nothing is kept for ever, and unmounting works.

use std::sync::Arc;

use abi::{Errno, OpenFlags};
use block::Device;
use vfs::FileSystem;

use crate::images::{Medium, SHAPES};
use crate::support::World;

#[test]
fn a_disk_that_is_removed() {
    for shape in [SHAPES[1], SHAPES[4]] {
        let medium = Medium::new(&shape.make());
        let fat = medium.open().unwrap();
        let world = World::over(fat.clone());
        world.write_file("/kept", b"in memory").unwrap();
        world.mkdir("/folder").unwrap();
        let file = world.open("/kept", OpenFlags::RDWR).unwrap();
        let other = world.open("/kept", OpenFlags::RDWR).unwrap();
        let inode = Arc::downgrade(world.place("/kept").unwrap().inode());
        medium.disk.stop();
        assert_eq!(fat.write_back(), Ok(()), "nothing is old");
        assert_eq!(fat.write_back(), Err(Errno::EIO));
        assert_eq!(fat.write_back(), Ok(()), "nothing is left to be written");
        assert_eq!(fat.sync(), Err(Errno::EIO));
        assert!(fat.is_read_only());
        assert_eq!(file.pread(20, 0).unwrap(), b"in memory");
        assert_eq!(file.file().sync(false), Err(Errno::EIO));
        assert_eq!(other.file().sync(true), Err(Errno::EIO));
        assert_eq!(file.pwrite(b"x", 0), Err(Errno::EROFS));
        assert_eq!(world.mkdir("/new").unwrap_err(), Errno::EROFS);
        assert_eq!(fat.reconfigure(false, b""), Err(Errno::EROFS), "it is not mounted for writing again");
        drop((file, other, world));
        assert_eq!(fat.shut_down(), Err(Errno::EIO));
        let volume = Arc::downgrade(&fat);
        drop(fat);
        vfs::settle_all();
        assert!(volume.upgrade().is_none() && inode.upgrade().is_none(), "{shape:?}: nothing stays in memory");
    }
}

#[test]
fn damage_keeps_nothing_in_memory() {
    let shape = SHAPES[2];
    let medium = Medium::new(&shape.make());
    medium.with(|world| world.write_file("/broken", &[1; 5000]).unwrap());
    let mut bytes = medium.bytes();
    // In both FATs the file's second cluster leads out of the volume. (One reserved sector in front, 16 bits each.)
    let fat_len = 512 * usize::from(u16::from_le_bytes([bytes[22], bytes[23]]));
    let reserved = 512 * usize::from(u16::from_le_bytes([bytes[14], bytes[15]]));
    for fat in 0..2 {
        let at = reserved + fat * fat_len + 3 * 2;
        bytes[at..at + 2].copy_from_slice(&0xffee_u16.to_le_bytes());
    }
    let medium = Medium::new(&bytes);
    let fat = medium.open().unwrap();
    let world = World::over(fat.clone());
    let file = world.open("/good", OpenFlags::RDWR | OpenFlags::CREAT).unwrap();
    file.pwrite(b"lost", 0).unwrap();
    let inode = Arc::downgrade(world.place("/good").unwrap().inode());
    assert_eq!(world.read_file("/broken"), Err(Errno::EUCLEAN));
    assert_eq!(file.file().sync(false), Err(Errno::EIO));
    drop((file, world));
    assert_eq!(fat.shut_down(), Err(Errno::EIO));
    drop(fat);
    vfs::settle_all();
    assert!(inode.upgrade().is_none());
}
