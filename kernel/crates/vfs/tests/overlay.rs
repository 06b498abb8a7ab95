//! The writable archive: what changes take over, what they hide, and what stays in place.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use abi::{Errno, FallocateFlags, OpenFlags, RenameFlags};
use support::{ARCHIVE_TIME_NS, ArchiveBuilder, Handle, World};
use vfs::FileSystem;
use vfs::fs::overlay;

const PAGE: usize = 4096;

fn contents(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) >> 3).to_le_bytes()[0]).collect()
}

fn archive() -> ArchiveBuilder {
    ArchiveBuilder::new()
        .directory("d")
        .directory("d/sub")
        .file("d/sub/deep", b"deep")
        .file("big", &contents(5 * PAGE + 100))
        .file("small", b"small")
        .hard_link("d/small", "small")
        .link("link", "d/sub")
}

fn world() -> World {
    World::overlay(&archive())
}

fn used_pages(world: &World) -> u64 {
    let statistics = vfs::statfs(&world.place("/").unwrap());
    statistics.blocks - statistics.blocks_free
}

fn map(file: &Handle) -> std::sync::Arc<dyn mm::MappedObject> {
    file.file().mapping(&file.0).unwrap()
}

#[test]
fn an_archive_is_seen_as_it_is() {
    let world = world();
    assert_eq!(world.read_file("/big").unwrap(), contents(5 * PAGE + 100));
    assert_eq!(world.read_file("/link/deep").unwrap(), b"deep");
    assert_eq!(world.names("/").unwrap(), ["big", "d", "link", "small"]);
    let attributes = world.stat("/small").unwrap();
    assert_eq!((attributes.links, attributes.size, attributes.mode), (2, 5, 0o100_644));
    assert_eq!(attributes.modified.tv_sec, ARCHIVE_TIME_NS / 1_000_000_000);
    assert_eq!(world.stat("/d/small").unwrap().inode, attributes.inode);
    assert_eq!(used_pages(&world), 0);
    let root = archive().build();
    assert!(root.is_read_only());
    let read_only = World::over(root);
    assert_eq!(read_only.read_file("/small").unwrap(), b"small");
    assert_eq!(read_only.open("/small", OpenFlags::WRONLY).err(), Some(Errno::EROFS));
    assert_eq!(read_only.mkdir("/new"), Err(Errno::EROFS));
    assert_eq!(read_only.chmod("/small", 0), Err(Errno::EROFS));
}

#[test]
fn a_write_takes_over_the_page_it_changes() {
    let world = world();
    let inode = world.stat("/big").unwrap().inode;
    let file = world.open("/big", OpenFlags::RDWR).unwrap();
    assert_eq!(used_pages(&world), 0, "opening takes nothing over");
    file.pwrite(b"changed", 2 * PAGE as u64 + 10).unwrap();
    assert_eq!(used_pages(&world), 1);
    let mut expected = contents(5 * PAGE + 100);
    expected[2 * PAGE + 10..2 * PAGE + 17].copy_from_slice(b"changed");
    assert_eq!(world.read_file("/big").unwrap(), expected);
    file.pwrite(b"longer", 5 * PAGE as u64 + 98).unwrap();
    expected.truncate(5 * PAGE + 98);
    expected.extend(b"longer");
    drop(file);
    assert_eq!(world.read_file("/big").unwrap(), expected);
    assert_eq!(world.stat("/big").unwrap().inode, inode);
    assert_eq!(world.stat("/big").unwrap().blocks, 48);
}

#[test]
fn changes_survive_the_cache() {
    let world = world();
    world.chmod("/small", 0o600).unwrap();
    world.truncate("/big", 3).unwrap();
    world.write_file("/d/sub/new", b"new").unwrap();
    world.unlink("/d/sub/deep").unwrap();
    world.context.root.mount.file_system().root().drop_unused();
    assert_eq!(world.stat("/d/small").unwrap().mode, 0o100_600, "both names of the file show it");
    assert_eq!(world.read_file("/big").unwrap(), contents(3));
    assert_eq!(world.names("/d/sub").unwrap(), ["new"]);
}

#[test]
fn cutting_and_growing_shows_nothing_of_the_archive() {
    let world = world();
    let file = world.open("/big", OpenFlags::RDWR).unwrap();
    file.truncate(PAGE as u64 + 7).unwrap();
    file.truncate(4 * PAGE as u64).unwrap();
    let mut expected = contents(PAGE + 7);
    expected.resize(4 * PAGE, 0);
    assert_eq!(file.pread(10 * PAGE, 0).unwrap(), expected);
    file.truncate(0).unwrap();
    assert_eq!(used_pages(&world), 0);
    file.truncate(10).unwrap();
    assert_eq!(file.pread(20, 0).unwrap(), [0; 10]);
    // Growing without cutting keeps what is there.
    let small = world.open("/small", OpenFlags::RDWR).unwrap();
    small.truncate(8).unwrap();
    assert_eq!(small.pread(20, 0).unwrap(), b"small\0\0\0");
}

#[test]
fn holes_in_the_archive_file() {
    let world = world();
    let file = world.open("/big", OpenFlags::RDWR).unwrap();
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    file.allocate(punch, 1000, 2 * PAGE as u64).unwrap();
    let mut expected = contents(5 * PAGE + 100);
    expected[1000..1000 + 2 * PAGE].fill(0);
    assert_eq!(file.pread(10 * PAGE, 0).unwrap(), expected);
    let before = used_pages(&world);
    file.allocate(punch, 3 * PAGE as u64, 100 * PAGE as u64).unwrap();
    expected[3 * PAGE..].fill(0);
    assert_eq!(file.pread(10 * PAGE, 0).unwrap(), expected);
    assert_eq!(used_pages(&world), before, "a hole to the end takes no pages");
    assert_eq!(file.seek(2 * PAGE as i64, abi::open::SEEK_HOLE), Ok(3 * PAGE as u64));
}

#[test]
fn mapped_pages_lie_in_the_archive_until_written() {
    let world = world();
    let file = world.open("/big", OpenFlags::RDWR).unwrap();
    let map = map(&file);
    let page = map.page(1).unwrap();
    assert!(!page.is_exclusive(), "a page of the image");
    assert_eq!(
        page.number(),
        world.open("/big", OpenFlags::empty()).map(|file| self::map(&file)).unwrap().page(1).unwrap().number()
    );
    assert_eq!(used_pages(&world), 0);
    assert!(!map.is_shared_memory(), "a store to it needs notice");
    let own = map.page_for_write(1).unwrap();
    assert_ne!(own.number(), page.number());
    own.write(0, b"mapped");
    assert_eq!(file.pread(6, PAGE as u64).unwrap(), b"mapped");
    assert_eq!(map.page(1).unwrap().number(), own.number());
    assert_eq!(used_pages(&world), 1);
    assert_eq!(map.page(6).err(), Some(Errno::EFAULT));
    let mut tail = [1; 8];
    map.page(5).unwrap().read(100, &mut tail);
    assert_eq!(tail, [0; 8], "zeros behind the end");
}

#[test]
fn whiteouts_hide_and_new_directories_are_opaque() {
    let world = world();
    world.unlink("/d/sub/deep").unwrap();
    assert_eq!(world.stat("/d/sub/deep").err(), Some(Errno::ENOENT));
    world.rmdir("/d/sub").unwrap();
    assert_eq!(world.stat("/link").err(), Some(Errno::ENOENT));
    world.mkdir("/d/sub").unwrap();
    assert_eq!(world.names("/d/sub").unwrap(), Vec::<String>::new());
    assert_eq!(world.stat("/link/deep").err(), Some(Errno::ENOENT));
    world.write_file("/d/sub/deep", b"new").unwrap();
    assert_eq!(world.read_file("/link/deep").unwrap(), b"new");
    world.unlink("/d/small").unwrap();
    assert_eq!(world.stat("/small").unwrap().links, 1);
    world.unlink("/small").unwrap();
    assert_eq!(world.names("/").unwrap(), ["big", "d", "link"]);
    world.symlink("big", "/small").unwrap();
    assert_eq!(world.read_file("/small").unwrap().len(), 5 * PAGE + 100);
}

#[test]
fn directories_of_the_archive_move_with_all_they_hold() {
    let world = world();
    let (directory, deep) = (world.stat("/d").unwrap().inode, world.stat("/d/sub/deep").unwrap().inode);
    world.rename("/d", "/moved").unwrap();
    assert_eq!(world.stat("/d").err(), Some(Errno::ENOENT));
    assert_eq!(world.stat("/moved").unwrap().inode, directory);
    assert_eq!(world.read_file("/moved/sub/deep").unwrap(), b"deep");
    world.rename("/moved/sub", "/sub").unwrap();
    assert_eq!(world.stat("/sub/deep").unwrap().inode, deep);
    assert_eq!(world.stat("/moved").unwrap().links, 2);
    world.mkdir("/d").unwrap();
    assert_eq!(world.names("/d").unwrap(), Vec::<String>::new(), "opaque");
    world.rename("/sub", "/d").unwrap();
    assert_eq!(world.names("/d").unwrap(), ["deep"]);
    world.rename_with("/big", "/small", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(world.read_file("/big").unwrap(), b"small");
    assert_eq!(world.read_file("/small").unwrap().len(), 5 * PAGE + 100);
    assert_eq!(world.rename("/d", "/moved"), Err(Errno::ENOTEMPTY));
    world.unlink("/moved/small").unwrap();
    world.rename("/d", "/moved").unwrap();
    assert_eq!(world.names("/").unwrap(), ["big", "link", "moved", "small"]);
}

#[test]
fn hard_links_stay_one_file() {
    let world = world();
    world.write_file("/small", b"changed by one name").unwrap();
    assert_eq!(world.read_file("/d/small").unwrap(), b"changed by one name");
    world.link("/small", "/d/sub/third").unwrap();
    assert_eq!(world.stat("/d/small").unwrap().links, 3);
    world.rename("/small", "/d/small").unwrap();
    assert_eq!(world.stat("/small").unwrap().links, 3, "two names of one file");
    let open = world.open("/small", OpenFlags::empty()).unwrap();
    for name in ["/small", "/d/small", "/d/sub/third"] {
        world.unlink(name).unwrap();
    }
    assert_eq!(open.stat().links, 0);
    assert_eq!(open.read_all().unwrap(), b"changed by one name");
}

#[test]
fn reading_a_directory_gives_every_name_once() {
    let world = world();
    world.write_file("/new", b"").unwrap();
    world.write_file("/big", b"replaced contents, same file").unwrap();
    world.unlink("/link").unwrap();
    world.write_file("/link", b"").unwrap();
    for count in [1, 2, 3, 100] {
        let directory = world.open("/", OpenFlags::DIRECTORY).unwrap();
        let mut names = Vec::new();
        loop {
            let entries = directory.entries(count).unwrap();
            if entries.is_empty() {
                break;
            }
            for (name, inode, kind, _) in entries {
                let attributes = world.lstat(&format!("/{name}")).unwrap();
                assert_eq!((attributes.inode, u32::from(kind)), (inode, attributes.mode >> 12), "{name}");
                names.push(name);
            }
        }
        names.sort();
        assert_eq!(names, [".", "..", "big", "d", "link", "new", "small"], "{count} at a time");
    }
}

#[test]
fn the_mount_table_says_what_it_is() {
    let world = world();
    let file_system = world.context.root.mount.file_system();
    assert_eq!(file_system.type_name(), "overlay");
    assert_eq!(vfs::statfs(&world.context.root).magic, 0x794c_7630);
    assert_eq!(world.stat("/big").unwrap().device, file_system.device());
    assert_eq!(world.stat("/").unwrap().inode, 1);
}

#[test]
fn packed_files_are_unpacked_where_they_are_read() {
    let contents: Vec<u8> = (0..200_000).map(|at: usize| (at / 100 % 11).to_le_bytes()[0]).collect();
    let archive = ArchiveBuilder::new().packed().file("f", &contents).file("small", b"as it is");
    let world = World::overlay(&archive);
    let file = world.open("/f", OpenFlags::RDWR).unwrap();
    assert!(file.pread(1_000_000, 0).unwrap() == contents);
    assert!(file.pread(70_000, 65_000).unwrap() == contents[65_000..135_000]);
    assert_eq!(world.read_file("/small").unwrap(), b"as it is");
    let mut byte = [0];
    map(&file).page(40).unwrap().read(7, &mut byte);
    assert_eq!(byte[0], contents[40 * 4096 + 7]);
    // A page is had once.
    assert_eq!(map(&file).page(3).unwrap().number(), map(&file).page(3).unwrap().number());
    assert_eq!(map(&file).page(49).err(), Some(Errno::EFAULT));
    file.pwrite(b"written", 65_530).unwrap();
    assert_eq!(
        file.pread(9, 65_529).unwrap(),
        [&contents[65_529..65_530], b"written", &contents[65_537..65_538]].concat()
    );
}

#[test]
fn a_damaged_archive_is_an_error_where_it_is_damaged() {
    let contents: Vec<u8> = (0..200_000).map(|at: usize| (at / 100 % 11).to_le_bytes()[0]).collect();
    let builder = ArchiveBuilder::new().packed().file("f", &contents).file("other", b"sound");
    let (_, mut random) = support::Random::seeded(3);
    let mut failed = 0;
    for _ in 0..50 {
        let file_system = builder.build_changed(|bytes| {
            for _ in 0..3 {
                // Tables and contents; the header and what follows it are looked at when the machine starts.
                let at = 600 + usize::try_from(random.below(2000)).unwrap();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        });
        let Some(file_system) = file_system else { continue };
        let world = World::over(overlay::new(&*file_system));
        for path in ["/f", "/other"] {
            match world.read_file(path) {
                Ok(read) => assert!(read.len() <= 1 << 20),
                Err(errno) => {
                    assert!(
                        matches!(
                            errno,
                            Errno::EIO | Errno::ENOENT | Errno::EISDIR | Errno::ENXIO | Errno::EINVAL | Errno::ELOOP
                        ),
                        "{errno}"
                    );
                    failed += 1;
                }
            }
        }
        let _ = world.names("/");
    }
    assert!(failed > 5, "only {failed} reads failed");
}
