//! Generated trees: files made when they are read, entries that come and go, links that lead to places.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use abi::{Errno, OpenFlags};
use file::pipe;
use support::World;
use vfs::fs::generated::{Directory, GeneratedFs, ListedNode, Node};
use vfs::{FileKind, MountFlags};

type Processes = Arc<Mutex<BTreeMap<u32, String>>>;

/// A small `/proc` over a table of processes.
fn world() -> (World, Processes) {
    let processes: Processes = Arc::new(Mutex::new(BTreeMap::from([(1, "init".into()), (12, "app".into())])));
    let count = Arc::new(Mutex::new(0));
    let value = Arc::new(Mutex::new(b"60\n".to_vec()));
    let stored = value.clone();
    let world = World::tmpfs();
    let target = world.place("/").unwrap();
    world.write_file("/program", b"the program").unwrap();
    let program = world.place("/program").unwrap();
    let (listed, found) = (processes.clone(), processes.clone());
    let vm = Directory::new().with(
        "swappiness",
        Node::writable_file(
            0o644,
            move || Ok(value.lock().unwrap().clone()),
            move |text| match text {
                b"bad\n" => Err(Errno::EINVAL),
                text => {
                    *stored.lock().unwrap() = text.to_vec();
                    Ok(())
                }
            },
        ),
    );
    let root = Directory::new()
        .with(
            "counter",
            Node::file(0o444, move || {
                let mut count = count.lock().unwrap();
                *count += 1;
                Ok(format!("read {count} times\n").repeat(3).into_bytes())
            }),
        )
        .with("self", Node::link(|credentials| Ok(credentials.process.to_string().into_bytes())))
        .with("sys", Node::directory(0o555, Directory::new().with("vm", Node::directory(0o555, vm))))
        .changing(
            move |name, _| {
                let number = std::str::from_utf8(name).ok()?.parse().ok()?;
                let name = found.lock().unwrap().get(&number)?.clone();
                let (program, root) = (program.clone(), target.clone());
                let directory = Directory::new()
                    .with("comm", Node::file(0o444, move || Ok(format!("{name}\n").into_bytes())))
                    .with("exe", Node::magic_link(0o777, |_| Ok(b"/program".to_vec()), move |_| Ok(program.clone())))
                    .with("root", Node::magic_link(0o777, |_| Ok(b"/".to_vec()), move |_| Ok(root.clone())));
                Some(Node::directory(0o555, directory).owned_by(number, number))
            },
            move |give| {
                for number in listed.lock().unwrap().keys() {
                    let name = number.to_string();
                    give(ListedNode { name: name.as_bytes(), order: *number, kind: FileKind::Directory });
                }
            },
        );
    world.mkdir("/proc").unwrap();
    world.mount("/proc", GeneratedFs::new("proc", 0x9fa0, 0, root), MountFlags::empty()).unwrap();
    (world, processes)
}

#[test]
fn files_are_made_when_they_are_read() {
    let (world, _) = world();
    assert_eq!(world.stat("/proc/counter").unwrap().size, 0);
    let file = world.open("/proc/counter", OpenFlags::empty()).unwrap();
    let text = file.read_all().unwrap();
    assert_eq!(text, b"read 1 times\nread 1 times\nread 1 times\n", "one text for a reader that goes on");
    assert_eq!(file.pread(13, 13).unwrap(), b"read 1 times\n");
    file.seek(0, abi::open::SEEK_SET).unwrap();
    assert_eq!(file.read(6).unwrap(), b"read 2", "from the start it is made anew");
    assert_eq!(file.seek(0, abi::open::SEEK_END), Err(Errno::EINVAL));
    assert_eq!(file.write(b"x"), Err(Errno::EINVAL));
}

#[test]
fn files_take_what_is_written() {
    let (world, _) = world();
    world.write_file("/proc/sys/vm/swappiness", b"10\n").unwrap();
    assert_eq!(world.read_file("/proc/sys/vm/swappiness").unwrap(), b"10\n");
    let file = world.open("/proc/sys/vm/swappiness", OpenFlags::WRONLY).unwrap();
    assert_eq!(file.write(b"bad\n"), Err(Errno::EINVAL));
    let user = world.as_user(7, &[]);
    assert_eq!(user.open("/proc/sys/vm/swappiness", OpenFlags::WRONLY).err(), Some(Errno::EACCES));
}

#[test]
fn entries_come_and_go() {
    let (world, processes) = world();
    assert_eq!(world.names("/proc").unwrap(), ["1", "12", "counter", "self", "sys"]);
    assert_eq!(world.read_file("/proc/12/comm").unwrap(), b"app\n");
    assert_eq!(world.stat("/proc/12").unwrap().uid, 12);
    assert_eq!(world.stat("/proc/13").err(), Some(Errno::ENOENT));
    processes.lock().unwrap().insert(13, "new".into());
    assert_eq!(world.read_file("/proc/13/comm").unwrap(), b"new\n");
    let file = world.open("/proc/12/comm", OpenFlags::empty()).unwrap();
    processes.lock().unwrap().remove(&12);
    assert_eq!(world.stat("/proc/12/comm").err(), Some(Errno::ENOENT));
    assert_eq!(file.read_all().unwrap(), b"app\n");
    assert_eq!(world.stat("/proc/1").unwrap().inode, world.stat("/proc/1").unwrap().inode);
}

#[test]
fn listing_goes_on_while_entries_change() {
    let (world, processes) = world();
    processes.lock().unwrap().extend((20..30).map(|number| (number, String::new())));
    let directory = world.open("/proc", OpenFlags::DIRECTORY).unwrap();
    let mut names = Vec::new();
    loop {
        let entries = directory.entries(2).unwrap();
        if entries.is_empty() {
            break;
        }
        for (name, inode, kind, _) in entries {
            if name.starts_with('2') {
                processes.lock().unwrap().remove(&name.parse().unwrap());
            } else if name != "." && name != ".." {
                let attributes = world.lstat(&format!("/proc/{name}")).unwrap();
                assert_eq!((attributes.inode, attributes.mode >> 12), (inode, u32::from(kind)));
            }
            names.push(name);
        }
    }
    assert_eq!(names.len(), 2 + 3 + 2 + 10);
}

#[test]
fn links_follow_who_asks() {
    let (mut world, _) = world();
    assert_eq!(world.readlink("/proc/self").unwrap(), "1");
    assert_eq!(world.read_file("/proc/self/comm").unwrap(), b"init\n");
    world.credentials.process = 12;
    assert_eq!(world.read_file("/proc/self/comm").unwrap(), b"app\n");
    assert_eq!(world.readlink("/proc/self/exe").unwrap(), "/program");
    assert_eq!(world.read_file("/proc/self/exe").unwrap(), b"the program");
    world.rename("/program", "/moved").unwrap();
    assert_eq!(world.read_file("/proc/self/exe").unwrap(), b"the program", "the place, not the path");
    assert_eq!(world.path_name(&world.place("/proc/self/exe").unwrap()), "/moved");
    assert_eq!(world.read_file("/proc/self/root/moved").unwrap(), b"the program");
    let no_magic = abi::ResolveFlags::NO_MAGICLINKS;
    assert_eq!(world.open_with("/proc/self/exe", OpenFlags::PATH, 0, no_magic).err(), Some(Errno::ELOOP));
    assert_eq!(world.open("/proc/self/exe", OpenFlags::PATH | OpenFlags::NOFOLLOW).unwrap().stat().mode, 0o120_777);
}

#[test]
fn nothing_is_made_there() {
    let (world, _) = world();
    assert_eq!(world.mkdir("/proc/new"), Err(Errno::ENOENT));
    assert_eq!(world.write_file("/proc/new", b""), Err(Errno::ENOENT));
    assert_eq!(world.unlink("/proc/counter"), Err(Errno::EPERM));
    assert_eq!(world.rmdir("/proc/sys"), Err(Errno::EPERM));
    assert_eq!(world.rename("/proc/counter", "/proc/sys/counter"), Err(Errno::ENOENT));
    assert_eq!(world.rename("/proc/counter", "/proc/sys"), Err(Errno::EISDIR));
    let mut inside = world;
    inside.chdir("/proc/sys/vm").unwrap();
    assert_eq!(inside.cwd(), "/proc/sys/vm");
    inside.chdir("/proc/12").unwrap();
    assert_eq!(inside.cwd(), "/proc/12");
    inside.chdir("..").unwrap();
    assert_eq!(inside.cwd(), "/proc");
}

#[test]
fn places_of_files_without_a_path() {
    let (reader, writer) = pipe::pipe();
    let reader = file::OpenFile::new(reader, OpenFlags::empty());
    let writer = file::OpenFile::new(writer, OpenFlags::WRONLY);
    let world = World::tmpfs();
    let place = vfs::path_of(&reader);
    assert!(world.path_name(&place).starts_with("pipe:["));
    assert_eq!(vfs::stat(&place).mode & 0o170_000, 0o010_000);
    // Opened again through /dev/fd it is the same pipe, at the end that is asked for.
    let again = vfs::open_path(&world.credentials, place, OpenFlags::empty()).map(support::Handle).unwrap();
    writer.file().write(&writer, &mut mm::UserReader::from_kernel(b"through"), None).unwrap();
    assert_eq!(again.read(10).unwrap(), b"through");
}
