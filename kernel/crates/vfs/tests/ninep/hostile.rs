//! Uses of a server that answers anything: shared by the tests here and by the fuzz target. Any answer is right that
//! comes.

use std::sync::Arc;

use abi::{AccessRights, Errno, FallocateFlags, OpenFlags, RenameFlags};
use mm::{Backing, MapRequest, MappedObject, PAGE_SIZE, Rights, Sharing};
use testkit::Cpu;
use testkit::liar::Liar;
use vfs::fs::ninep::ServedFs;
use vfs::{FileSystem, Lookup, XattrChange, change_xattr, get_xattr, list_xattrs};

use crate::support::{Handle, Random, World};

/// What a program does.
const OPERATIONS: u64 = 60;
/// The most requests that a single operation may take: the longest path, each component asked for a few times, or a
/// directory.
const REQUESTS_MAX: u64 = 2000;
/// Entries of a directory that are looked at.
const ENTRIES_MAX: usize = 500;
/// Bytes of a file that are looked at in one call.
const READ_LEN: usize = 9000;
const PATHS: [&str; 12] = ["/", "/a", "/b", "/c", "/d", "/d/b", "/d/d/e", "/d/c", "/f", "/g", "/h", "/d/a/d/a/b"];
const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);

/// Uses a server that follows a script. Whether it could be mounted.
pub(crate) fn use_all(script: &[u8], random: &mut Random) -> bool {
    crate::support::machine();
    testkit::clock::tick(1_000_000_000, 7000);
    // A server that does not answer is waited for without a wait.
    testkit::clock::skip_waits(true);
    let server = Liar::new(script);
    let Ok(file_system) = ServedFs::connect(server.transport()) else { return false };
    let world = World::over(file_system.clone());
    let mut program = Program { world, cpu: Cpu::new(), files: Vec::new(), mapped: Vec::new() };
    for _ in 0..OPERATIONS {
        let before = server.requests();
        // Any answer is right.
        let _ = program.operate(random);
        let asked = server.requests() - before;
        assert!(asked <= REQUESTS_MAX, "an operation that asks {asked} times");
    }
    let _ = file_system.sync();
    let _ = file_system.statistics();
    true
}

struct Program {
    world: World,
    cpu: Cpu,
    files: Vec<Handle>,
    mapped: Vec<(usize, usize)>,
}

impl Program {
    fn operate(&mut self, random: &mut Random) -> Result<(), Errno> {
        let (path, other) = (*random.pick(&PATHS), *random.pick(&PATHS));
        let world = &self.world;
        match random.below(24) {
            0 | 1 => {
                let flags = *random.pick(&[
                    OpenFlags::RDWR,
                    OpenFlags::RDWR | OpenFlags::CREAT,
                    OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::EXCL,
                    OpenFlags::RDWR | OpenFlags::TRUNC,
                    OpenFlags::RDWR | OpenFlags::APPEND,
                    OpenFlags::DIRECTORY,
                ]);
                let file = world.open(path, flags | OpenFlags::NONBLOCK)?;
                self.files.push(file);
            }
            2 => {
                world.stat(path)?;
            }
            3 => {
                world.lstat(path)?;
            }
            4 => {
                let file = world.open(path, OpenFlags::DIRECTORY)?;
                file.entries(ENTRIES_MAX)?;
            }
            5 => drop(world.readlink_bytes(path)?),
            6 => world.mkdir(path)?,
            7 => world.mknod(path, *random.pick(&[0o010_600, 0o100_600, 0o020_600]), random.below(1 << 40))?,
            8 => world.symlink(other, path)?,
            9 => world.link(path, other)?,
            10 => world.unlink(path)?,
            11 => world.rmdir(path)?,
            12 => {
                let flags = [RenameFlags::empty(), RenameFlags::NOREPLACE, RenameFlags::EXCHANGE];
                world.rename_with(path, other, *random.pick(&flags))?;
            }
            13 => world.chmod(path, 0o640)?,
            14 => world.chown(path, Some(1), None)?,
            15 => world.truncate(path, random.below(20_000))?,
            16 => world.access(path, AccessRights::R_OK)?,
            17 => {
                let place = world.place(path)?;
                let names = list_xattrs(&world.credentials, &place)?.into_bytes()?;
                let name = names.split(|byte| *byte == 0).next().unwrap_or(b"user.a");
                get_xattr(&world.credentials, &place, name)?;
            }
            18 => {
                let change = *random.pick(&[XattrChange::Set(b"value"), XattrChange::Remove]);
                change_xattr(&world.credentials, &world.place(path)?, b"user.a", change)?;
            }
            19 => drop(vfs::statfs(&world.resolve(path, Lookup::FOLLOW)?)),
            20 => self.touch(random)?,
            _ => self.use_file(random)?,
        }
        Ok(())
    }

    fn use_file(&mut self, random: &mut Random) -> Result<(), Errno> {
        if self.files.is_empty() {
            return Ok(());
        }
        let number = random.index(self.files.len() as u64);
        let file = self.files[number].clone();
        if !file.is_regular() {
            let _ = file.names(3);
            return Ok(());
        }
        let position = *random.pick(&[0, 1, 4000, 5999, 1 << 30, i64::MAX as u64 - 1, 1 << 63]);
        match random.below(9) {
            0 => {
                assert!(file.pread(READ_LEN, position)?.len() <= READ_LEN);
            }
            1 => {
                assert!(file.pwrite(&[7; READ_LEN], position)? <= READ_LEN);
            }
            2 => {
                assert!(file.write(&[7; 10])? <= 10);
            }
            3 => {
                let whence = *random.pick(&[abi::open::SEEK_END, abi::open::SEEK_DATA, abi::open::SEEK_HOLE]);
                let at = file.seek(i64::try_from(random.below(9000)).unwrap_or(0), whence)?;
                assert!(i64::try_from(at).is_ok(), "a position is negative");
            }
            4 => file.truncate(random.below(9000))?,
            5 => file.file().sync(random.below(2) == 0)?,
            6 => {
                let size = file.stat().size;
                assert!(i64::try_from(size).is_ok(), "a size is negative: {size}");
            }
            7 => file.allocate(FallocateFlags::empty(), 0, random.below(9000) + 1)?,
            _ => {
                self.map(&file)?;
                self.files.swap_remove(number);
            }
        }
        Ok(())
    }

    fn map(&mut self, file: &Handle) -> Result<(), Errno> {
        let object: Arc<dyn MappedObject> = file.file().mapping(&file.0)?;
        let backing = Backing::File { object, offset: 0, access: READ_WRITE };
        let len = 3 * PAGE_SIZE;
        let request = MapRequest { sharing: Sharing::Shared, backing, ..MapRequest::anonymous(len, READ_WRITE) };
        let at = self.cpu.space.map(request)?;
        self.mapped.push((at, len));
        Ok(())
    }

    /// Uses mapped memory, and lets it go sometimes.
    fn touch(&mut self, random: &mut Random) -> Result<(), Errno> {
        let Some(&(at, len)) = self.mapped.last() else { return Ok(()) };
        let place = at + random.index(len as u64);
        if random.below(2) == 0 {
            let _ = self.cpu.load(place);
        } else {
            let _ = self.cpu.store(place, 9);
        }
        if random.below(4) == 0 {
            self.mapped.pop();
            self.cpu.space.unmap(at, len)?;
        }
        Ok(())
    }
}

/// Scripts of all kinds: few lies, many, and silence.
#[test]
fn any_server_is_survived() {
    let (seed, mut random) = Random::seeded(1);
    let rounds = std::env::var("NACRE_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(150);
    let mut mounted_count = 0;
    for round in 0..rounds {
        println!("round {round} of seed {seed}");
        let honest_in = *random.pick(&[2, 5, 20, 100]);
        let script: Vec<u8> = (0..3000).map(|_| if random.below(honest_in) == 0 { random.byte() } else { 0 }).collect();
        mounted_count += u32::from(use_all(&script, &mut random));
    }
    assert!(mounted_count > rounds / 3, "{mounted_count} of {rounds} could be mounted");
}
