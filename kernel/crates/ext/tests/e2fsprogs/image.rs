//! Images made and looked at by e2fsprogs, and directories in them.
//!
//! A directory that is to be changed begins as a file of many blocks, made by mke2fs: what the directory takes of these blocks, one after the
//! other, stands for allocation. At the end debugfs cuts off the rest and makes a directory of the file, and e2fsck judges the whole.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, id};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use abi::Errno;
use block::{Buffer, BufferCache, Disk, SECTOR_LEN, Volume};
use ext::checksum::inode_seed;
use ext::directory::Target;
use ext::{Change, Compatible, DirectoryBlocks, DirectoryFormat, Incompatible, Superblock};
use testkit::Random;
use testkit::disk::{FakeDisk, Image};

/// The flag of an inode whose directory has an index, and that of one with extents.
const INDEX_FLAG: u32 = 0x1000;
const EXTENTS_FLAG: u32 = 0x80000;

struct Printer;

impl log::Log for Printer {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        println!("{}", record.args());
    }

    fn flush(&self) {}
}

/// Makes this thread a machine whose log is printed with the test.
pub(crate) fn install() {
    testkit::frames::install();
    let _ = log::set_logger(&Printer);
    log::set_max_level(log::LevelFilter::Info);
}

/// A folder that goes at the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("nacre-ext-{}-{number}", id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a program of e2fsprogs: the status and what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> (i32, Vec<u8>) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| {
        panic!("{program}: {error}; scripts/setup.sh installs it");
    });
    let mut printed = output.stdout;
    if !output.status.success() {
        printed.extend(output.stderr);
    }
    (output.status.code().unwrap_or(-1), printed)
}

/// Runs one that must succeed.
pub(crate) fn must(program: &str, arguments: &[&str]) -> Vec<u8> {
    let (status, printed) = run(program, arguments);
    assert_eq!(status, 0, "{program} {arguments:?}: {}", String::from_utf8_lossy(&printed));
    printed
}

/// An image in a file.
pub(crate) struct ImageFile(PathBuf);

impl ImageFile {
    /// Makes one of a tree on the host.
    pub(crate) fn make(path: PathBuf, arguments: &[&str], tree: &Path, size: &str) -> Self {
        let image = Self(path);
        let (tree, path) = (tree.to_str().unwrap(), image.name().to_owned());
        let uuid = ["-q", "-F", "-U", "01234567-89ab-cdef-fedc-ba9876543210", "-E", "lazy_itable_init=0"];
        let arguments: Vec<&str> =
            uuid.into_iter().chain(arguments.iter().copied()).chain(["-d", tree, &path, size]).collect();
        must("mke2fs", &arguments);
        image
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// What debugfs prints.
    pub(crate) fn ask(&self, request: &str) -> Vec<u8> {
        must("debugfs", &["-R", request, self.name()])
    }

    /// Lets debugfs do several things.
    pub(crate) fn change(&self, requests: &str) {
        let script = self.0.with_extension("script");
        fs::write(&script, requests).unwrap();
        let printed = must("debugfs", &["-w", "-f", script.to_str().unwrap(), self.name()]);
        let printed = String::from_utf8_lossy(&printed).into_owned();
        let complaint = printed.lines().find(|line| !line.starts_with("debugfs:") && !line.starts_with("Checksum set"));
        assert_eq!(complaint, None, "{requests}");
    }

    /// Runs tune2fs.
    pub(crate) fn tune(&self, arguments: &[&str]) {
        must("tune2fs", &[arguments, &[self.name()]].concat());
    }

    /// Lets e2fsck make an index for every directory.
    pub(crate) fn make_indexes(&self) {
        let (status, printed) = run("e2fsck", &["-fyD", self.name()]);
        assert!(status <= 1, "{}", String::from_utf8_lossy(&printed));
    }

    /// Lets e2fsck judge.
    pub(crate) fn check(&self, context: &str) {
        let (status, printed) = run("e2fsck", &["-fn", self.name()]);
        assert_eq!(status, 0, "{context}: {}", String::from_utf8_lossy(&printed));
    }

    /// Brings it into memory.
    pub(crate) fn load(&self) -> Loaded {
        let bytes = fs::read(&self.0).unwrap();
        let superblock = Superblock::parse(&bytes[1024..2048], bytes.len() as u64).unwrap();
        let sectors = (bytes.len() / SECTOR_LEN) as u64;
        Loaded { fake: FakeDisk::new(Image::from_bytes(&bytes), sectors), sectors, superblock }
    }

    /// Writes what is in memory back.
    pub(crate) fn store(&self, loaded: &Loaded) {
        fs::write(&self.0, loaded.fake.image().to_bytes(loaded.sectors)).unwrap();
    }

    /// What debugfs says of a path in `stat`.
    pub(crate) fn stat(&self, path: &str) -> Stat {
        let printed = String::from_utf8_lossy(&self.ask(&format!("stat {path}"))).into_owned();
        let field = |name: &str| {
            let text = printed.split(name).nth(1).and_then(|rest| rest.split_whitespace().next());
            text.unwrap_or_else(|| panic!("no {name} in {printed}")).to_owned()
        };
        let flags = field("Flags: ");
        Stat {
            number: field("Inode: ").parse().unwrap(),
            generation: field("Generation: ").parse().unwrap(),
            size: field("Size: ").parse().unwrap(),
            flags: u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap(),
        }
    }

    /// The blocks of a file, without those of its map.
    fn blocks(&self, path: &str) -> Vec<u64> {
        let printed = String::from_utf8_lossy(&self.ask(&format!("stat {path}"))).into_owned();
        let list = printed.split("EXTENTS:").nth(1).or_else(|| printed.split("BLOCKS:").nth(1)).unwrap();
        let mut blocks = BTreeMap::new();
        for item in list.lines().flat_map(|line| line.split(", ")).map(str::trim) {
            // `(first-last):first-last` or `(index):block`; everything else is a block of the map.
            let Some((indexes, places)) = item.strip_prefix('(').and_then(|item| item.split_once("):")) else {
                continue;
            };
            let first = |range: &str| range.split('-').next().unwrap().parse::<u64>();
            let last = |range: &str| range.split('-').next_back().unwrap().parse::<u64>();
            let (Ok(index), Ok(end), Ok(place)) = (first(indexes), last(indexes), first(places)) else { continue };
            blocks.extend((index..=end).map(|number| (number, place + number - index)));
        }
        blocks.into_values().collect()
    }

    /// The names of a directory as debugfs lists them, with the inodes and the types of their modes.
    pub(crate) fn listed(&self, path: &str) -> BTreeMap<Vec<u8>, Target> {
        let printed = self.ask(&format!("ls -p {path}"));
        let fields: Vec<&[u8]> = printed.split(|byte| *byte == b'/').collect();
        let mut names = BTreeMap::new();
        // In front of each entry of six fields is the end of the line before.
        for entry in fields.chunks_exact(7) {
            let text = |field: usize| std::str::from_utf8(entry[field]).unwrap();
            let (inode, mode) = (text(1).parse().unwrap(), u32::from_str_radix(text(2), 8).unwrap());
            // The checksum of a block looks like a free record.
            if inode != 0 && !matches!(entry[5], b"." | b"..") {
                names.insert(entry[5].to_vec(), Target { inode, kind: (mode >> 12) as u8 });
            }
        }
        names
    }

    /// Makes a directory of a file in the root whose blocks hold one.
    pub(crate) fn make_directory(&self, path: &str, directory: &TestDirectory, links: &BTreeMap<u32, u32>) {
        let stat = self.stat(path);
        let size = u64::from(directory.count()) * directory.format.block_len as u64;
        let flags = stat.flags & EXTENTS_FLAG | if directory.has_index() { INDEX_FLAG } else { 0 };
        let mut requests = format!(
            "punch {path} {} 100000000\nsif {path} mode 040755\nsif {path} size {size}\nsif {path} flags {flags:#x}\n\
             sif {path} links_count 2\nunlink {path}\nlink <{number}> {path}\nsif / links_count 4\n\
             set_bg 0 used_dirs_count 3\nset_bg 0 checksum calc\n",
            directory.count(),
            number = stat.number,
        );
        for (inode, count) in links {
            requests += &format!("sif <{inode}> links_count {count}\n");
        }
        self.change(&requests);
    }
}

/// What debugfs says of an inode.
pub(crate) struct Stat {
    pub(crate) number: u32,
    generation: u32,
    size: u64,
    flags: u32,
}

/// An image in memory.
pub(crate) struct Loaded {
    pub(crate) fake: FakeDisk,
    sectors: u64,
    superblock: Superblock,
}

/// A directory, or a file whose blocks will be one.
pub(crate) struct TestDirectory {
    pub(crate) cache: BufferCache,
    pub(crate) format: DirectoryFormat,
    number: u32,
    map: Vec<u64>,
    count: Cell<u32>,
    has_index: Cell<bool>,
    /// How many blocks may still be added.
    pub(crate) room: Cell<u32>,
}

impl TestDirectory {
    /// The directory with this path.
    pub(crate) fn open(file: &ImageFile, loaded: &Loaded, path: &str) -> Self {
        let stat = file.stat(path);
        let superblock = &loaded.superblock;
        let seed = inode_seed(superblock.checksum_seed, stat.number, stat.generation);
        let format = DirectoryFormat {
            block_len: superblock.block_len,
            checksum_seed: superblock.has_checksums().then_some(seed),
            has_file_types: superblock.incompatible.contains(Incompatible::FILE_TYPE),
            may_have_index: superblock.compatible.contains(Compatible::DIRECTORY_INDEX),
            is_large: superblock.incompatible.contains(Incompatible::LARGE_DIRECTORIES),
            hash_version: superblock.hash_version,
            hash_is_unsigned: superblock.hash_is_unsigned,
            hash_seed: superblock.hash_seed,
        };
        let disk = Disk::new("vda".to_owned(), 0xfc00, Box::new(loaded.fake.clone()));
        let cache = BufferCache::new(Volume::whole(&disk), format.block_len).unwrap();
        Self {
            cache,
            number: stat.number,
            map: file.blocks(path),
            count: Cell::new((stat.size / format.block_len as u64) as u32),
            has_index: Cell::new(stat.flags & INDEX_FLAG != 0),
            room: Cell::new(u32::MAX),
            format,
        }
    }

    /// A directory without blocks, in the blocks of a file.
    pub(crate) fn new(file: &ImageFile, loaded: &Loaded, path: &str) -> Self {
        let directory = Self::open(file, loaded, path);
        directory.count.set(0);
        directory
    }

    pub(crate) fn change(&self) -> Change<'_> {
        Change::direct(&self.cache)
    }
}

impl DirectoryBlocks for TestDirectory {
    fn format(&self) -> &DirectoryFormat {
        &self.format
    }

    fn number(&self) -> u32 {
        self.number
    }

    fn count(&self) -> u32 {
        self.count.get()
    }

    fn get(&self, index: u32) -> Result<Arc<Buffer>, Errno> {
        if index >= self.count.get() {
            return Err(Errno::EUCLEAN);
        }
        self.cache.get(self.map[index as usize]).map_err(|_| Errno::EIO)
    }

    fn append(&self, change: &Change<'_>) -> Result<(u32, Arc<Buffer>), Errno> {
        let index = self.count.get();
        let place = self.map.get(index as usize).ok_or(Errno::ENOSPC)?;
        self.room.set(self.room.get().checked_sub(1).ok_or(Errno::ENOSPC)?);
        let buffer = change.create(*place)?;
        self.count.set(index + 1);
        Ok((index, buffer))
    }

    fn has_index(&self) -> bool {
        self.has_index.get()
    }

    fn set_has_index(&self, _: &Change<'_>, has_index: bool) -> Result<(), Errno> {
        self.has_index.set(has_index);
        Ok(())
    }
}

/// A name of any bytes that a name may have.
pub(crate) fn any_name(random: &mut Random) -> Vec<u8> {
    let len = if random.one_in(3) { 1 + random.below(255) } else { 1 + random.below(24) };
    loop {
        let mut name = vec![0; len];
        random.fill(&mut name);
        name.iter_mut().filter(|byte| matches!(**byte, 0 | b'/')).for_each(|byte| *byte = b'_');
        if !matches!(name.as_slice(), b"." | b"..") {
            return name;
        }
    }
}
