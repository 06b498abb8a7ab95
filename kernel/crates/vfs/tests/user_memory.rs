//! Files and program memory: buffers that are not there, buffers that are mappings of the very file, and mappings that follow
//! what happens to their file. Debug builds check on the way that no lock a page fault needs is held while memory is touched.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;

use abi::{Errno, FallocateFlags, OpenFlags};
use file::Progress;
use mm::{Access, Backing, FaultError, MapRequest, MappedObject, PAGE_SIZE, Rights, Sharing, UserReader, UserWriter};
use support::{ArchiveBuilder, Handle, World};
use testkit::Cpu;
use testkit::user::Arena;

const NEW: OpenFlags = OpenFlags::RDWR.union(OpenFlags::CREAT);
const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);

fn write(file: &Handle, address: usize, len: usize, position: u64) -> Result<usize, Errno> {
    let mut from = UserReader::new(address, len)?;
    file.file().write(&file.0, &mut from, Some(position)).map(done)
}

fn read(file: &Handle, address: usize, len: usize, position: u64) -> Result<usize, Errno> {
    let mut to = UserWriter::new(address, len)?;
    file.file().read(&file.0, &mut to, Some(position)).map(done)
}

fn done(progress: Progress) -> usize {
    match progress {
        Progress::Done(count) => count,
        Progress::WouldBlock => panic!("files of these tests do not block"),
    }
}

fn object(file: &Handle) -> Arc<dyn MappedObject> {
    file.file().mapping(&file.0).unwrap()
}

/// Maps a whole file.
fn map(cpu: &Cpu, file: &Handle, sharing: Sharing, rights: Rights) -> usize {
    let length = usize::try_from(file.stat().size).unwrap();
    let backing = Backing::File { object: object(file), offset: 0, access: READ_WRITE | Rights::EXECUTE };
    cpu.space.map(MapRequest { rights, sharing, backing, ..MapRequest::anonymous(length, rights) }).unwrap()
}

fn load(cpu: &Cpu, address: usize, len: usize) -> Vec<u8> {
    (address..address + len).map(|address| cpu.load(address).unwrap()).collect()
}

#[test]
fn buffers_are_paged_in() {
    let world = World::tmpfs();
    let file = world.open("/f", NEW).unwrap();
    let arena = Arena::install(4);
    let contents: Vec<u8> = (0..4 * PAGE_SIZE).map(|at| (at / 7).to_le_bytes()[0]).collect();
    arena.write(0, &contents);
    arena.drop_pages();
    assert_eq!(write(&file, Arena::BASE + 100, 10_000, 50), Ok(10_000));
    assert_eq!(file.pread(10_000, 50).unwrap(), contents[100..10_100]);
    arena.write(0, &[0; 4 * PAGE_SIZE]);
    arena.drop_pages();
    assert_eq!(read(&file, Arena::BASE + 10, 9000, 60), Ok(9000));
    assert_eq!(arena.read(10, 9000), contents[110..9110]);
    // Holes and directories too.
    file.truncate(100_000).unwrap();
    arena.drop_pages();
    assert_eq!(read(&file, Arena::BASE, 5000, 50_000), Ok(5000));
    assert_eq!(arena.read(0, 5000), [0; 5000]);
}

#[test]
fn bad_buffers_end_a_transfer() {
    let world = World::tmpfs();
    let file = world.open("/f", NEW).unwrap();
    let arena = Arena::install(2);
    arena.write(0, &[7; 2 * PAGE_SIZE]);
    arena.drop_pages();
    // What can be copied is; a transfer that cannot even begin fails and changes nothing.
    assert_eq!(write(&file, arena.end() - 5000, 9000, 0), Ok(5000));
    assert_eq!(file.stat().size, 5000);
    assert_eq!(file.pread(9000, 0).unwrap(), [7; 5000]);
    assert_eq!(write(&file, arena.end(), 10, 100_000), Err(Errno::EFAULT));
    assert_eq!((file.stat().size, file.stat().blocks), (5000, 16));
    assert_eq!(read(&file, arena.end() - 100, 5000, 0), Ok(100));
    assert_eq!(read(&file, arena.end(), 5000, 0), Err(Errno::EFAULT));
    // The rest of a page that was begun is zero.
    assert_eq!(write(&file, arena.end() - 10, 100, 8192), Ok(10));
    file.truncate(8300).unwrap();
    assert_eq!(file.pread(100, 8200).unwrap(), [&[7; 2][..], &[0; 98]].concat());
}

#[test]
fn a_file_is_written_from_a_mapping_of_itself() {
    let world = World::tmpfs();
    let cpu = Cpu::new();
    cpu.make_current();
    let file = world.open("/f", NEW).unwrap();
    file.write(&[b'a'; 3 * PAGE_SIZE]).unwrap();
    file.truncate(6 * PAGE_SIZE as u64).unwrap();
    let address = map(&cpu, &file, Sharing::Shared, READ_WRITE);
    // The very page, the next one, and from a hole: each faults while the file is being written.
    assert_eq!(write(&file, address, PAGE_SIZE, 0), Ok(PAGE_SIZE));
    assert_eq!(write(&file, address + 2 * PAGE_SIZE, 100, PAGE_SIZE as u64), Ok(100));
    assert_eq!(write(&file, address + 4 * PAGE_SIZE, 2 * PAGE_SIZE, 4 * PAGE_SIZE as u64), Ok(2 * PAGE_SIZE));
    cpu.store(address + 10, b'x').unwrap();
    assert_eq!(read(&file, address + 3 * PAGE_SIZE, PAGE_SIZE, 0), Ok(PAGE_SIZE));
    assert_eq!(file.pread(1, 3 * PAGE_SIZE as u64 + 10).unwrap(), b"x");
    // Behind the end there is nothing to read from.
    file.truncate(PAGE_SIZE as u64).unwrap();
    assert_eq!(write(&file, address + PAGE_SIZE, 10, 0), Err(Errno::EFAULT));
}

#[test]
fn cutting_a_file_takes_its_pages_from_mappings() {
    let world = World::tmpfs();
    let cpu = Cpu::new();
    let file = world.open("/f", NEW).unwrap();
    file.write(&[1; 2 * PAGE_SIZE]).unwrap();
    let address = map(&cpu, &file, Sharing::Shared, READ_WRITE);
    cpu.store(address + PAGE_SIZE, 9).unwrap();
    file.truncate(100).unwrap();
    assert_eq!(cpu.load(address + PAGE_SIZE), Err(FaultError::BeyondEnd));
    assert_eq!(load(&cpu, address + 98, 4), [1, 1, 0, 0], "zeros behind the end in its page");
    file.truncate(2 * PAGE_SIZE as u64).unwrap();
    assert_eq!(cpu.load(address + PAGE_SIZE), Ok(0), "what was cut off does not come back");
    file.allocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, PAGE_SIZE as u64).unwrap();
    assert_eq!(cpu.load(address + 98), Ok(0));
}

fn archive() -> ArchiveBuilder {
    let text: Vec<u8> = (0..3 * PAGE_SIZE).map(|at| if at % 1000 == 0 { 0xf4 } else { 0x90 }).collect();
    ArchiveBuilder::new()
        .file("program", &text)
        .sites("program", &[(0, 0xf4), (4000, 0xf4), (5000, 0xf4)])
        .file("data", &vec![b'd'; 2 * PAGE_SIZE + 10])
        .file("small", b"small")
}

#[test]
fn mappings_of_an_archive_see_later_writes() {
    let world = World::overlay(&archive());
    let cpu = Cpu::new();
    cpu.make_current();
    let file = world.open("/data", OpenFlags::RDWR).unwrap();
    let shared = map(&cpu, &file, Sharing::Shared, READ_WRITE);
    let private = map(&cpu, &file, Sharing::Private, READ_WRITE);
    let frames = testkit::frames::used();
    assert_eq!(load(&cpu, shared, 3), b"ddd");
    assert_eq!(load(&cpu, private + PAGE_SIZE, 3), b"ddd");
    assert_eq!(testkit::frames::used(), frames, "mapped where it lies");
    file.pwrite(b"new", 0).unwrap();
    assert_eq!(load(&cpu, shared, 4), b"newd", "the page was taken away and asked for again");
    assert_eq!(load(&cpu, private, 4), b"newd");
    cpu.store(shared + PAGE_SIZE + 1, b'!').unwrap();
    assert_eq!(file.pread(3, PAGE_SIZE as u64).unwrap(), b"d!d");
    cpu.store(private + 2 * PAGE_SIZE, b'?').unwrap();
    assert_eq!(file.pread(1, 2 * PAGE_SIZE as u64).unwrap(), b"d", "private changes stay private");
    assert_eq!(world.read_file("/data").unwrap()[..4], *b"newd");
    // Written from a mapping of its own archive page.
    let other = world.open("/small", OpenFlags::RDWR).unwrap();
    let address = map(&cpu, &other, Sharing::Shared, READ_WRITE);
    assert_eq!(write(&other, address + 1, 3, 0), Ok(3));
    assert_eq!(load(&cpu, address, 5), b"malll");
}

#[test]
fn code_is_made_harmless_where_it_lies_in_the_archive() {
    let world = World::overlay(&archive());
    let cpu = Cpu::new();
    let file = world.open("/program", OpenFlags::RDWR).unwrap();
    let address = map(&cpu, &file, Sharing::Private, Rights::READ | Rights::EXECUTE);
    let executed = |offset: usize| cpu.execute(address + offset).unwrap();
    assert_eq!([executed(0), executed(4000), executed(1000), executed(1)], [0x06, 0x06, 0xf4, 0x90]);
    assert_eq!(executed(5000), 0x06, "in the second page");
    assert_eq!(cpu.space.code_site_at(address + 5000).map(|site| site.original), Some(0xf4));
    assert_eq!(file.pread(1, 4000).unwrap(), [0xf4], "the file is as it was");
    assert_eq!(object(&file).code_sites(2), Some(Vec::new()));
    // A page the program has written is its own.
    file.pwrite(&[0x90], 4001).unwrap();
    assert_eq!(object(&file).code_sites(0), None);
    assert!(object(&file).code_sites(1).is_some_and(|sites| sites.len() == 1 && sites[0].offset_in_page == 904));
    let copy = world.open("/copy", NEW).unwrap();
    copy.write(&file.pread(3 * PAGE_SIZE, 0).unwrap()).unwrap();
    assert_eq!(object(&copy).code_sites(0), None);
}

#[test]
fn a_mapping_keeps_its_file() {
    let world = World::tmpfs();
    let cpu = Cpu::new();
    let file = world.open("/f", NEW).unwrap();
    file.write(b"still here").unwrap();
    let address = map(&cpu, &file, Sharing::Shared, READ_WRITE);
    drop(file);
    world.unlink("/f").unwrap();
    assert_eq!(load(&cpu, address, 10), b"still here");
    assert_eq!(cpu.space.areas()[0].name, b"/f (deleted)");
    let blocks_used = || {
        let statistics = vfs::statfs(&world.place("/").unwrap());
        statistics.blocks - statistics.blocks_free
    };
    assert_eq!(blocks_used(), 1);
    cpu.space.unmap(address, PAGE_SIZE).unwrap();
    assert_eq!(blocks_used(), 0);
    assert_eq!(cpu.space.fault(address, Access::Read), Err(FaultError::Unmapped));
}

#[test]
fn shared_zeros() {
    let world = World::over(vfs::fs::dev::new().unwrap());
    let cpu = Cpu::new();
    let zero = world.open("/zero", OpenFlags::RDWR).unwrap();
    let backing = Backing::File { object: object(&zero), offset: 0, access: READ_WRITE };
    let request = MapRequest { sharing: Sharing::Shared, backing, ..MapRequest::anonymous(2 * PAGE_SIZE, READ_WRITE) };
    let first = cpu.space.map(request.clone()).unwrap();
    let second = cpu.space.map(request).unwrap();
    assert_eq!([cpu.load(first).unwrap(), cpu.load(second).unwrap()], [0, 0]);
    cpu.store(first, 5).unwrap();
    assert_eq!(cpu.load(second), Ok(5), "one object, two mappings");
}

#[test]
fn memory_files_have_no_name() {
    let world = World::tmpfs();
    let open = vfs::memory_file(&vfs::Credentials::root(), b"buffer", vfs::MemoryFileSeals::None).unwrap();
    assert_eq!(world.path_name(&vfs::path_of(&open)), "/memfd:buffer (deleted)");
    let file = Handle(open);
    assert_eq!(file.write(b"in memory"), Ok(9));
    assert_eq!((file.stat().links, file.stat().size), (0, 9));
    assert_eq!(file.pread(9, 0).unwrap(), b"in memory");
}
