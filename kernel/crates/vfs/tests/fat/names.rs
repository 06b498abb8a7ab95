//! Names, attributes and what FAT does not have.

use abi::{Errno, OpenFlags};
use vfs::FileSystem;

use crate::images::{Medium, SHAPES, check, read_by_mtools};

#[test]
fn a_name_is_found_however_it_is_written() {
    for shape in SHAPES {
        let medium = Medium::new(&shape.make());
        medium.with(|world| {
            world.write_file("/Some long Name.text", b"one").unwrap();
            world.write_file("/PLAIN.TXT", b"two").unwrap();
            world.write_file("/häß", b"three").unwrap();
            for path in ["/some LONG name.TEXT", "/SOMELO~1.TEX", "/somelo~1.tex", "/Some long Name.text.."] {
                assert_eq!(world.read_file(path).unwrap(), b"one", "{path}");
                assert_eq!(world.path_name(&world.place(path).unwrap()), "/Some long Name.text");
                assert_eq!(world.open(path, OpenFlags::CREAT | OpenFlags::EXCL).err(), Some(Errno::EEXIST));
                assert_eq!(world.mkdir(path), Err(Errno::EEXIST));
            }
            assert_eq!(world.read_file("/plain.txt").unwrap(), b"two");
            assert_eq!(world.read_file("/HäSS").unwrap_err(), Errno::ENOENT);
            world.mkdir("/Folder").unwrap();
            world.write_file("/FOLDER/a", b"").unwrap();
            world.write_file("/folder/B", b"").unwrap();
            assert_eq!(world.names("/Folder").unwrap(), ["B", "a"]);
            assert_eq!(world.write_file("/FOLDER/b", b"again"), Ok(()));
            assert_eq!(world.names("/Folder").unwrap(), ["B", "a"]);
            assert_eq!(world.rmdir("/fOLDER"), Err(Errno::ENOTEMPTY));
            // What was not there is, once it is made under another name.
            assert_eq!(world.stat("/NEW").err(), Some(Errno::ENOENT));
            world.write_file("/new", b"").unwrap();
            assert!(world.stat("/NEW").is_ok());
            world.unlink("/nEw").unwrap();
            assert_eq!(world.stat("/new").err(), Some(Errno::ENOENT));
            world.rename("/some long name.text", "/Another Name").unwrap();
            assert_eq!(world.read_file("/ANOTHER NAME").unwrap(), b"one");
            assert_eq!(world.stat("/somelo~1.tex").err(), Some(Errno::ENOENT));
            world.rename("/plain.txt", "/another name").unwrap();
            assert_eq!(world.read_file("/Another Name").unwrap(), b"two");
            for name in ["/a:b", "/a?", "/ab ", "/\u{1}"] {
                assert_eq!(world.write_file(name, b"").err(), Some(Errno::EINVAL), "{name:?}");
            }
            assert_eq!(world.mkdir("/folder/inner"), Ok(()));
            assert_eq!(world.rename("/folder", "/FOLDER/INNER/x"), Err(Errno::EINVAL));
        });
        check(&medium.bytes());
        let files = read_by_mtools(&medium.bytes());
        let names: Vec<&str> = files.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["/Folder/", "/Folder/B", "/Folder/a", "/Folder/inner/", "/another name", "/häß"]);
    }
}

#[test]
fn what_fat_does_not_have() {
    let medium = Medium::new(&SHAPES[2].make());
    medium.with(|world| {
        world.write_file("/f", b"text").unwrap();
        assert_eq!(world.symlink("f", "/l"), Err(Errno::EPERM));
        assert_eq!(world.link("/f", "/l"), Err(Errno::EPERM));
        assert_eq!(world.mknod("/p", 0o010_666, 0), Err(Errno::EPERM));
        assert_eq!(world.chown("/f", Some(5), None), Err(Errno::EPERM));
        assert_eq!(world.chown("/f", Some(0), Some(0)), Ok(()));
        let mode = || world.stat("/f").unwrap().mode;
        assert_eq!(mode(), 0o100_755);
        world.chmod("/f", 0o555).unwrap();
        assert_eq!(mode(), 0o100_555);
        // What cannot be held is ignored.
        world.chmod("/f", 0o640).unwrap();
        assert_eq!(mode(), 0o100_555);
        let statistics = vfs::statfs(&world.place("/").unwrap());
        assert_eq!((statistics.magic, statistics.block_size, statistics.name_len_max), (0x4d44, 512, 255));
    });
    medium.with(|world| {
        assert_eq!(world.stat("/f").unwrap().mode, 0o100_555);
        world.chmod("/f", 0o777).unwrap();
        assert_eq!(world.stat("/f").unwrap().mode, 0o100_755);
        let file = world.open("/f", OpenFlags::RDWR).unwrap();
        world.unlink("/f").unwrap();
        assert_eq!(file.read(9).unwrap(), b"text");
        assert_eq!(file.pwrite(b"more", 2000), Ok(4));
        assert_eq!(file.stat().links, 0);
    });
    check(&medium.bytes());
}

#[test]
fn times_are_kept_as_they_show() {
    let medium = Medium::new(&SHAPES[2].make());
    let before = medium.with(|world| {
        world.write_file("/f", b"text").unwrap();
        let at = world.place("/f").unwrap();
        let time = |tv_sec| vfs::SetTime::To(abi::Timespec { tv_sec, tv_nsec: 5 });
        vfs::utimens(&world.credentials, &at, time(1_600_000_001), time(1_500_000_001)).unwrap();
        world.stat("/f").unwrap()
    });
    let after = medium.with(|world| world.stat("/f").unwrap());
    assert_eq!((before.accessed, before.modified), (after.accessed, after.modified));
    assert_eq!(after.modified.tv_sec, 1_500_000_000);
    assert_eq!(before.created, after.created);
}

#[test]
fn a_volume_that_is_full_says_so_and_recovers() {
    for shape in [SHAPES[0], SHAPES[4]] {
        let medium = Medium::new(&shape.make());
        medium.with(|world| {
            let block = vec![7; 1 << 20];
            let free = || vfs::statfs(&world.place("/").unwrap()).blocks_free;
            let all = free();
            let file = world.open("/big", OpenFlags::CREAT | OpenFlags::RDWR).unwrap();
            let errno = loop {
                if let Err(errno) = file.write(&block) {
                    break errno;
                }
            };
            assert_eq!((errno, free()), (Errno::ENOSPC, 0));
            assert_eq!(file.stat().size, all * 512);
            assert_eq!(world.mkdir("/d"), Err(Errno::ENOSPC));
            world.write_file("/empty", b"").unwrap();
            assert_eq!(world.open("/empty", OpenFlags::WRONLY).unwrap().write(b"x"), Err(Errno::ENOSPC));
            file.truncate(all * 512 - 1000).unwrap();
            world.write_file("/small", &[1; 512]).unwrap();
        });
        check(&medium.bytes());
    }
}

#[test]
fn the_root_of_a_small_volume_has_an_end() {
    let medium = Medium::new(&SHAPES[0].make());
    medium.with(|world| {
        let mut made = 0;
        let errno = loop {
            match world.write_file(&format!("/a rather long name of a file {made}"), b"") {
                Ok(()) => made += 1,
                Err(errno) => break errno,
            }
        };
        assert_eq!(errno, Errno::ENOSPC);
        assert!(made > 20, "{made}");
        world.mkdir("/a rather long name of a file 0/x").unwrap_err();
        world.unlink("/a rather long name of a file 0").unwrap();
        world.mkdir("/another rather long name here").unwrap();
        for index in 0..300 {
            world.write_file(&format!("/another rather long name here/{index} of many"), b"").unwrap();
        }
        assert_eq!(world.names("/another rather long name here").unwrap().len(), 300);
    });
    check(&medium.bytes());
}

#[test]
fn a_volume_in_use_says_so() {
    let medium = Medium::new(&SHAPES[3].make());
    assert_eq!(medium.bytes()[0x25] & 1, 0);
    let fat = medium.open().unwrap();
    assert_eq!(medium.bytes()[0x25] & 1, 1);
    fat.reconfigure(true, b"").unwrap();
    assert_eq!(medium.bytes()[0x25] & 1, 0);
    fat.reconfigure(false, b"").unwrap();
    assert_eq!(medium.bytes()[0x25] & 1, 1);
    fat.shut_down().unwrap();
    assert_eq!(medium.bytes()[0x25] & 1, 0);
}
