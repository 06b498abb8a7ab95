//! `/dev`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;

use abi::{Errno, OpenFlags};
use support::World;
use vfs::fs::dev;
use vfs::{FileKind, device};

const RDWR: OpenFlags = OpenFlags::RDWR;

fn world() -> World {
    support::machine();
    World::over(dev::new().unwrap())
}

#[test]
fn memory_devices() {
    let world = world();
    let null = world.open("/null", RDWR).unwrap();
    assert_eq!((null.write(b"gone").unwrap(), null.read(9).unwrap()), (4, vec![]));
    assert_eq!((null.stat().mode, null.stat().represents), (0o020_666, 0x103));
    let zero = world.open("/zero", RDWR).unwrap();
    assert_eq!(zero.read(5000).unwrap(), vec![0; 5000]);
    assert_eq!(zero.pread(3, 77).unwrap(), [0; 3]);
    assert_eq!(zero.write(&[1; 99]), Ok(99));
    let full = world.open("/full", RDWR).unwrap();
    assert_eq!((full.read(2).unwrap(), full.write(b"x")), (vec![0, 0], Err(Errno::ENOSPC)));
    for name in ["/random", "/urandom"] {
        let random = world.open(name, RDWR).unwrap();
        assert_eq!(random.read(1000).unwrap().len(), 1000);
        assert_eq!(random.write(b"seed"), Ok(4));
    }
    assert_eq!(null.seek(100, abi::open::SEEK_SET), Ok(0));
    assert_eq!(null.truncate(0), Err(Errno::EINVAL));
    // Cutting at open is for regular files.
    assert!(world.open("/null", OpenFlags::WRONLY | OpenFlags::TRUNC | OpenFlags::CREAT).is_ok());
}

#[test]
fn mapped_zeros() {
    let world = world();
    let zero = world.open("/zero", RDWR).unwrap();
    let map = zero.file().mapping(&zero.0).unwrap();
    let mut bytes = [1; 4];
    map.page(7).unwrap().read(0, &mut bytes);
    assert_eq!(bytes, [0; 4]);
    let page = map.page_for_write(7).unwrap();
    page.write(0, b"mine");
    map.page(7).unwrap().read(0, &mut bytes);
    assert_eq!(&bytes, b"mine");
    let other = zero.file().mapping(&zero.0).unwrap();
    other.page(7).unwrap().read(0, &mut bytes);
    assert_eq!(bytes, [0; 4], "every mapping has its own zeros");
    let null = world.open("/null", RDWR).unwrap();
    assert_eq!(null.file().mapping(&null.0).err(), Some(Errno::ENODEV));
}

#[test]
fn nodes_and_links() {
    let world = world();
    let expected = [
        "console", "fd", "full", "kmsg", "null", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom",
        "vsock", "zero",
    ];
    assert_eq!(world.names("/").unwrap(), expected);
    assert_eq!(world.readlink("/stdin").unwrap(), "/proc/self/fd/0");
    assert_eq!(world.stat("/shm").unwrap().mode, 0o041_777);
    assert_eq!(world.context.root.mount.file_system().type_name(), "devtmpfs");
}

#[test]
fn drivers_register() {
    let world = world();
    assert_eq!(world.open("/console", RDWR).err(), Some(Errno::ENXIO));
    let zero = world.open("/zero", RDWR).unwrap();
    let driver = file::eventfd::EventFd::new(3, false);
    let opened: Arc<dyn file::File> = driver;
    device::register(FileKind::CharacterDevice, 0x4242, Arc::new(move |_, _| Ok(opened.clone()))).unwrap();
    world.mknod("/mine", 0o020_600, 0x4242).unwrap();
    let mine = world.open("/mine", RDWR).unwrap();
    assert_eq!(mine.read(8).unwrap(), 3_u64.to_le_bytes());
    assert_eq!(mine.stat().represents, 0x4242, "attributes are the node's");
    drop(zero);
    let user = world.as_user(7, &[]);
    assert_eq!(user.mknod("/theirs", 0o020_600, 0x4242), Err(Errno::EACCES));
    world.chmod("/shm", 0o1777).unwrap();
    assert_eq!(user.mknod("/shm/theirs", 0o020_600, 0x4242), Err(Errno::EPERM));
    assert_eq!(user.mknod("/shm/fifo", 0o010_600, 0), Ok(()));
}

#[test]
fn fifos_join_two_ends() {
    let world = World::tmpfs();
    world.mknod("/fifo", 0o010_666, 0).unwrap();
    let nonblocking = OpenFlags::NONBLOCK;
    assert_eq!(world.open("/fifo", OpenFlags::WRONLY | nonblocking).err(), Some(Errno::ENXIO));
    let reader = world.open("/fifo", nonblocking).unwrap();
    let writer = world.open("/fifo", OpenFlags::WRONLY | nonblocking).unwrap();
    assert_eq!(writer.write(b"hello"), Ok(5));
    assert_eq!(reader.read(9).unwrap(), b"hello");
    assert_eq!(reader.pread(1, 0), Err(Errno::ESPIPE));
    assert_eq!(reader.seek(0, 0), Err(Errno::ESPIPE));
    drop(writer);
    assert_eq!(reader.read(9).unwrap(), b"");
    assert_eq!(world.stat("/fifo").unwrap().size, 0);
}
