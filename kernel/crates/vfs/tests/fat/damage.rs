//! Uses of a volume that may be damaged: shared by the tests here and by the fuzz target. Any answer is right.

use abi::{OpenFlags, RenameFlags};
use block::{Disk, SECTOR_LEN, Volume};
use testkit::disk::{FakeDisk, Image};
use vfs::FileSystem;
use vfs::fs::fat::FatFs;

use crate::support::World;

/// How deep directories are walked, and how many files are touched: a damaged volume may show many.
const DEPTH_MAX: u32 = 6;
const FILES_MAX: u32 = 200;

/// Mounts a disk with these contents, reads and changes what is there. Whether it could be mounted.
pub(crate) fn use_all(bytes: &[u8]) -> bool {
    crate::support::machine();
    let disk = FakeDisk::new(Image::from_bytes(bytes), (bytes.len() / SECTOR_LEN) as u64);
    let disk = Disk::new("vda".to_owned(), 0xfe00, Box::new(disk));
    let Ok(fat) = FatFs::open(&Volume::whole(&disk), false, b"") else { return false };
    touch_all(&World::over(fat.clone()), "", DEPTH_MAX, &mut { FILES_MAX });
    let _ = fat.sync();
    let _ = fat.shut_down();
    drop(fat);
    vfs::settle_all();
    true
}

/// Walks some of a tree and touches what is there; circles of directories end by the depth.
pub(crate) fn touch_all(world: &World, directory: &str, depth: u32, left: &mut u32) {
    let Ok(names) = world.names(&format!("{directory}/")) else { return };
    for name in names {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let path = format!("{directory}/{name}");
        let Ok(status) = world.stat(&path) else { continue };
        if status.mode & 0o170_000 == 0o040_000 {
            if depth > 0 {
                touch_all(world, &path, depth - 1, left);
            }
            let _ = world.write_file(&format!("{path}/new file"), b"text");
            let _ = world.rmdir(&path);
        } else if let Ok(file) = world.open(&path, OpenFlags::RDWR) {
            let _ = file.pread(5000, 0);
            let _ = file.pwrite(&[5; 3000], 1000);
            let _ = file.truncate(100);
            let _ = file.file().sync(false);
            let _ = world.rename_with(&path, directory, RenameFlags::EXCHANGE);
            let _ = world.rename(&path, &format!("{path} moved to another name"));
            let _ = world.unlink(&path);
        }
    }
}
