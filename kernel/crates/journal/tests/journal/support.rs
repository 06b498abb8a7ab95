//! File systems made by `mke2fs`, and the programs that change and check them.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use block::{BufferCache, Disk, SECTOR_LEN, Segment, Volume};
use journal::{Journal, Log, Needs, replay};
use mm::Frame;
use testkit::disk::{FakeDisk, Image};
use testkit::frames;

/// Bytes in a block of the file systems.
pub(crate) const BLOCK: usize = 1024;
/// Blocks of the file systems.
pub(crate) const BLOCKS: u64 = 4096;
/// The first of the blocks that tests write to: nothing of the file system is there.
pub(crate) const FREE: u64 = 3000;

/// A file for the programs; gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(bytes: &[u8]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{number}", std::process::id()));
        fs::write(&path, bytes).unwrap();
        Self(path)
    }

    /// The image; a program that follows a wild number makes its file longer than memory.
    fn read(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        File::open(&self.0).unwrap().take(BLOCKS * BLOCK as u64).read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs a program of e2fsprogs; what it says, and its status.
fn run(program: &str, arguments: &[&str]) -> (i32, String) {
    let path = format!("{}:/sbin:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}: install e2fsprogs"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

/// A new file system with a journal of 1 MiB.
pub(crate) fn make() -> Vec<u8> {
    let scratch = Scratch::new(&[]);
    let (status, text) = run("mke2fs", &["-q", "-F", "-t", "ext4", "-b", "1024", "-J", "size=1", scratch.path(), "4M"]);
    assert_eq!(status, 0, "{text}");
    scratch.read()
}

/// Does the commands of `debugfs` to an image. Each of `files` stands for its `{number}` in the commands.
pub(crate) fn debugfs(image: &[u8], commands: &str, files: &[Vec<u8>]) -> Vec<u8> {
    let scratch = Scratch::new(image);
    let files: Vec<Scratch> = files.iter().map(|bytes| Scratch::new(bytes)).collect();
    let mut commands = commands.to_owned();
    for (number, file) in files.iter().enumerate() {
        commands = commands.replace(&format!("{{{number}}}"), file.path());
    }
    let script = Scratch::new(commands.as_bytes());
    let (status, text) = run("debugfs", &["-w", "-f", script.path(), scratch.path()]);
    assert!(status == 0 && !text.contains("while"), "{text}");
    scratch.read()
}

/// Replays the journal of an image and checks it; the image, and the status and output of `e2fsck`.
pub(crate) fn e2fsck(image: &[u8]) -> (Vec<u8>, i32, String) {
    let scratch = Scratch::new(image);
    let (status, text) = run("e2fsck", &["-fy", scratch.path()]);
    (scratch.read(), status, text)
}

/// The blocks of the journal of an image, in their order.
pub(crate) fn journal_blocks(image: &[u8]) -> Vec<u64> {
    let scratch = Scratch::new(image);
    let (_, text) = run("debugfs", &["-R", "blocks <8>", scratch.path()]);
    text.split_whitespace().filter_map(|word| word.parse().ok()).take(1024).collect()
}

/// A disk with an image.
pub(crate) fn disk(image: Image) -> (FakeDisk, Arc<BufferCache>) {
    frames::install();
    let fake = FakeDisk::new(image, BLOCKS * (BLOCK / SECTOR_LEN) as u64);
    let disk = Disk::new("vda".to_owned(), 0xfc00, Box::new(fake.clone()));
    (fake, Arc::new(BufferCache::new(Volume::whole(&disk), BLOCK).unwrap()))
}

/// A log in these blocks.
pub(crate) fn log(cache: &BufferCache, blocks: &[u64]) -> Log {
    let place = |at: u32| {
        let rest = &blocks[at as usize..];
        let count = rest.iter().zip(rest[0]..).take_while(|(block, expected)| *block == expected).count();
        Ok((rest[0], count.try_into().unwrap()))
    };
    Log::new(cache.volume().clone(), BLOCK, blocks.len().try_into().unwrap(), place).unwrap()
}

/// The blocks in which two images differ, but for those of the superblocks and the journal.
pub(crate) fn differences(one: &[u8], other: &[u8], journal: &[u64]) -> Vec<u64> {
    let blocks = (0..).zip(one.chunks(BLOCK).zip(other.chunks(BLOCK)));
    let differing = blocks.filter(|(_, (one, other))| one != other).map(|(number, _)| number);
    differing.filter(|number| *number != 1 && !journal.contains(number)).collect()
}

/// Blocks of a small log.
pub(crate) const SMALL: u32 = 80;
/// The first block of the log on a disk that is [`blank`].
const SMALL_FIRST: u64 = 100;

/// A disk with nothing but an empty journal of [`SMALL`] blocks.
pub(crate) fn blank() -> Image {
    let mut superblock = vec![0; BLOCK];
    for (offset, value) in [(0, 0xc03b_3998), (4, 4), (0x0c, 1024), (0x10, SMALL), (0x14, 1), (0x18, 1)] {
        superblock[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
    }
    let mut image = Image::default();
    for (sector, part) in (SMALL_FIRST * 2..).zip(superblock.chunks(SECTOR_LEN)) {
        image.set(sector, part.try_into().unwrap());
    }
    image
}

/// Opens the journal of a disk that was [`blank`] once.
pub(crate) fn open_small(image: Image) -> (FakeDisk, Arc<Journal>) {
    let (fake, cache) = disk(image);
    let blocks: Vec<u64> = (SMALL_FIRST..SMALL_FIRST + u64::from(SMALL)).collect();
    let log = log(&cache, &blocks);
    replay(&cache, &log).unwrap();
    let journal = Journal::open(cache, log, Needs { has_checksums: true, is_64_bit: false }).unwrap();
    (fake, Arc::new(journal))
}

/// A block of an image.
pub(crate) fn block_of(image: &Image, number: u64) -> Vec<u8> {
    (number * 2..number * 2 + 2).flat_map(|sector| image.get(sector)).collect()
}

/// Writes a block as the data of a file is written: past all buffers.
pub(crate) fn write_data(cache: &BufferCache, number: u64, bytes: &[u8]) {
    let frame = Frame::allocate().unwrap();
    frame.write(0, bytes);
    cache.volume().write(number * 2, vec![Segment::new(frame, 0, BLOCK).unwrap()]).unwrap();
}
