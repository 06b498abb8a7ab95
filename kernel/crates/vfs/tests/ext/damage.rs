//! Uses of a disk that may be damaged: shared by the tests here and by the fuzz target. Any answer is right.

use abi::xattr::{XATTR_NAME_POSIX_ACL_ACCESS, XATTR_NAME_POSIX_ACL_DEFAULT};
use abi::{AccessRights, FallocateFlags, OpenFlags};
use block::{Disk, SECTOR_LEN, Volume};
use testkit::disk::{FakeDisk, Image};
use vfs::fs::ext::{ExtFileSystem, ExtOptions};
use vfs::{XattrChange, XattrList, change_xattr, get_xattr, list_xattrs};

use crate::support::{Random, World};

/// Operations that change.
const OPERATIONS: u64 = 60;
/// Paths that are looked at: a damaged directory may show many.
const PATHS_MAX: usize = 300;

/// Mounts a disk with these contents, reads everything and changes much. Whether it could be mounted.
pub(crate) fn use_all(bytes: &[u8], random: &mut Random) -> bool {
    crate::support::machine();
    let disk = FakeDisk::new(Image::from_bytes(bytes), (bytes.len() / SECTOR_LEN) as u64);
    let volume = Volume::whole(&Disk::new("vda".into(), 0xfe00, Box::new(disk)));
    let options = ExtOptions { on_error: Some(1), ..ExtOptions::default() };
    let Ok(file_system) = ExtFileSystem::open(volume, "ext4", options) else { return false };
    let world = World::over(file_system.clone());
    let paths = walk(&world);
    change(&world, &paths, random);
    let _ = file_system.write_back();
    walk(&world);
    let _ = file_system.shut_down();
    drop((world, file_system));
    vfs::settle_all();
    true
}

/// All paths that can be reached, up to a limit; everything is read.
fn walk(world: &World) -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut at = 0;
    while at < paths.len() && paths.len() < PATHS_MAX {
        let path = paths[at].clone();
        at += 1;
        let Ok(attributes) = world.lstat(&format!("{path}/.")).or_else(|_| world.lstat(&path)) else { continue };
        read_attributes(world, &path);
        match attributes.mode & 0o170_000 {
            0o040_000 => {
                let entries =
                    world.open(&format!("{path}/"), OpenFlags::DIRECTORY).and_then(|file| file.names(PATHS_MAX));
                let names = entries.unwrap_or_default().into_iter().filter(|name| name != "." && name != "..");
                paths.extend(names.map(|name| format!("{path}/{name}")));
            }
            0o100_000 => {
                if let Ok(file) = world.open(&path, OpenFlags::empty()) {
                    for position in [0, 5000, 1 << 20, attributes.size.saturating_sub(3)] {
                        let _ = file.pread(20_000, position);
                    }
                    let _ = file.seek(0, abi::open::SEEK_DATA);
                    let _ = file.seek(0, abi::open::SEEK_HOLE);
                }
            }
            _ => {
                let place = world.resolve(&path, vfs::Lookup::empty());
                let _ = place.and_then(|place| vfs::readlink(&world.credentials, &place));
            }
        }
    }
    paths
}

/// Reads the extended attributes of a file.
fn read_attributes(world: &World, path: &str) {
    let Ok(place) = world.resolve(path, vfs::Lookup::EMPTY) else { return };
    let names = list_xattrs(&world.credentials, &place).and_then(XattrList::into_bytes).unwrap_or_default();
    for name in names.split(|byte| *byte == 0) {
        let _ = get_xattr(&world.credentials, &place, name);
    }
    let _ = world.as_user(5, &[]).access(path, AccessRights::R_OK);
    let _ = place.inode().extents(0, u64::MAX, &mut |_| true);
}

fn change_attribute(world: &World, path: &str, random: &mut Random) -> Result<(), abi::Errno> {
    let value = vec![7; usize::try_from(random.below(700)).unwrap_or(0)];
    let wanted = *random.pick(&[XattrChange::Set(&value), XattrChange::Remove]);
    let name = *random.pick(&["user.a", "user.b", "trusted.c"]);
    if random.below(3) == 0 {
        // An access control list, for the file or for what is made in it.
        let list = b"\x02\0\0\0\x01\0\x07\0\0\0\0\0\x02\0\x07\0\x05\0\0\0\x04\0\x05\0\0\0\0\0\
            \x10\0\x07\0\0\0\0\0\x20\0\x05\0\0\0\0\0";
        let name = *random.pick(&[XATTR_NAME_POSIX_ACL_ACCESS, XATTR_NAME_POSIX_ACL_DEFAULT]);
        return change_xattr(&world.credentials, &world.place(path)?, name, XattrChange::Set(list));
    }
    change_xattr(&world.credentials, &world.place(path)?, name.as_bytes(), wanted)
}

fn change(world: &World, paths: &[String], random: &mut Random) {
    for _ in 0..OPERATIONS {
        let (path, other) = (random.pick(paths).clone(), random.pick(paths).clone());
        let new = format!("{path}/new {}", random.below(5));
        let offset = random.below(4_000_000);
        // Any answer is right.
        let _ = match random.below(12) {
            0 => world.unlink(&path),
            1 => world.rmdir(&path),
            2 => world.rename(&path, &other),
            3 => world.mkdir(&new),
            4 | 5 => {
                let path = if random.below(2) == 0 { &new } else { &path };
                let file = world.open(path, OpenFlags::RDWR | OpenFlags::CREAT);
                file.and_then(|file| file.pwrite(&[1; 9000], offset)).map(drop)
            }
            6 => world.truncate(&path, offset),
            7 => world.truncate(&path, 0),
            8 => world.link(&path, &new),
            9 => world.symlink(&"t".repeat(90), &new),
            10 => change_attribute(world, &path, random),
            _ => {
                let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                let modes = [punch, FallocateFlags::COLLAPSE_RANGE, FallocateFlags::INSERT_RANGE];
                let (mode, offset) = (*random.pick(&modes), offset / 4096 / random.below(200).max(1) * 4096);
                world.open(&path, OpenFlags::RDWR).and_then(|file| file.allocate(mode, offset, 102_400))
            }
        };
    }
}
