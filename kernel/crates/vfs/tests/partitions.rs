//! Partitions that come and go: which nodes there are, and who keeps a table from being read again.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use abi::{Errno, OpenFlags};
use block::{Disk, SECTOR_LEN};
use support::{Handle, World};
use testkit::disk::{FakeDisk, Image};
use vfs::fs::{dev, disk, partitions};

const BLKRRPART: u32 = 0x125f;
const SECTORS: u64 = 4096;

/// A table of primary partitions: number, first sector, how many.
fn table(parts: &[(usize, u32, u32)]) -> [u8; SECTOR_LEN] {
    let mut sector = [0; SECTOR_LEN];
    for (number, first, sectors) in parts {
        let entry = &mut sector[446 + (number - 1) * 16..];
        entry[4] = 0x83;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..16].copy_from_slice(&sectors.to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

fn reread(file: &Handle) -> Result<usize, Errno> {
    file.file().ioctl(&file.0, BLKRRPART, 0)
}

/// The names of the disk and its parts, with their sectors.
fn parts(world: &World) -> Vec<(String, u64)> {
    let mut names = world.names("/").unwrap();
    names.retain(|name| name.starts_with("vda"));
    // A node need not be one of a volume.
    let volume = |name: &String| disk::volume_of(world.stat(&format!("/{name}")).unwrap().represents);
    let sectors = |name: &String| volume(name).map_or(0, |volume| volume.sectors());
    names.into_iter().map(|name| (name.clone(), sectors(&name))).collect()
}

#[test]
fn partitions_follow_the_table() {
    support::machine();
    let fake = FakeDisk::new(Image::from_bytes(&table(&[(1, 8, 64), (2, 128, 256)])), SECTORS);
    let dev = dev::new().unwrap();
    partitions::add_disk(&dev, &Disk::new("vda".into(), 0xfe00, Box::new(fake.clone())));
    let world = World::over(dev);
    let named = |names: &[(&str, u64)]| names.iter().map(|(name, len)| (String::from(*name), *len)).collect::<Vec<_>>();
    let before = named(&[("vda", SECTORS), ("vda1", 64), ("vda2", 256)]);
    assert_eq!(parts(&world), before);
    assert_eq!(world.stat("/vda3").err(), Some(Errno::ENOENT));

    let whole = world.open("/vda", OpenFlags::RDWR).unwrap();
    // What was written to a partition is on the disk when that is gone.
    world.open("/vda1", OpenFlags::RDWR).unwrap().pwrite(&[7; 512], 512).unwrap();
    whole.pwrite(&table(&[(1, 8, 64), (3, 1000, 24)]), 0).unwrap();
    let part = world.open("/vda2", OpenFlags::empty()).unwrap();
    assert_eq!(reread(&part), Err(Errno::EINVAL));
    assert_eq!((reread(&whole), parts(&world)), (Err(Errno::EBUSY), before.clone()), "one is open");
    let mapping = part.file().mapping(&part.0).unwrap();
    drop(part);
    assert_eq!(reread(&whole), Err(Errno::EBUSY), "one is mapped");
    drop(mapping);
    let claimed = world.open("/vda", OpenFlags::EXCL).unwrap();
    assert_eq!((reread(&whole), parts(&world)), (Err(Errno::EBUSY), before), "the disk is somebody's");
    assert_eq!(reread(&claimed), Ok(0), "his own");
    drop(claimed);
    assert_eq!(parts(&world), named(&[("vda", SECTORS), ("vda1", 64), ("vda3", 24)]));
    assert_eq!(world.open("/vda2", OpenFlags::empty()).err(), Some(Errno::ENOENT));
    assert_eq!(fake.image().get(9), [7; 512]);
    assert_eq!(world.open("/vda3", OpenFlags::empty()).unwrap().read_all().unwrap().len(), 24 * 512);

    // A node that a program made, and one that it removed, are let alone and made again.
    world.unlink("/vda1").unwrap();
    world.mknod("/vda2", 0o060_600, 0xfe01).unwrap();
    let volumes: Vec<_> = disk::volumes().iter().map(block::Volume::number).collect();
    assert_eq!(volumes, [0xfe00, 0xfe01, 0xfe03]);
    whole.pwrite(&table(&[(1, 16, 8), (2, 64, 8)]), 0).unwrap();
    assert_eq!(reread(&whole), Ok(0));
    assert_eq!(parts(&world), named(&[("vda", SECTORS), ("vda1", 8), ("vda2", 8)]));
    assert_eq!(world.stat("/vda2").unwrap().represents, 0xfe01, "what a program named so");
    // A node whose partition is gone.
    world.mknod("/old", 0o060_600, 0xfe03).unwrap();
    assert_eq!(world.open("/old", OpenFlags::empty()).err(), Some(Errno::ENXIO));

    // No table, and none that can be read.
    whole.pwrite(&[0; 512], 0).unwrap();
    assert_eq!((reread(&whole), parts(&world).len()), (Ok(0), 2), "only what a program named");
    whole.pwrite(&table(&[(4, 16, 8)]), 0).unwrap();
    whole.file().sync(false).unwrap();
    fake.spoil(0);
    assert_eq!((reread(&whole), parts(&world).len()), (Err(Errno::EIO), 2));
}
