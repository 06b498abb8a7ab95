//! Loss of power at steps of the disk, in the middle of random operations: the journal is replayed, what was synchronized is there, and
//! `e2fsck` finds nothing but what a journal leaves to be done.
//!
//! Without a journal any metadata may be on the disk and any other not: there `e2fsck` repairs what it finds, on a disk that does not
//! tear blocks, and what was synchronized must be there then.
//!
//! Every file has bytes of one value of its own, so what is another's shows. A file that was synchronized, or that was there when all
//! was, is *durable* until an operation touches it or a directory above it.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use abi::{FallocateFlags, OpenFlags, RenameFlags};
use block::SECTOR_LEN;
use testkit::disk::{FakeDisk, Image, Step, crashed, crashed_by_blocks};
use vfs::fs::ext::ExtOptions;

use crate::images::{Mounted, Scratch, check, disk_of, make_of, mount};
use crate::support::{Answer, Random, World};

/// Bytes of the images.
const LEN: u64 = 16 << 20;
/// Where the superblock is, in sectors.
const SUPERBLOCK: u64 = 2;

/// The kinds: with and without a journal, checksums, extents, large blocks.
const KINDS: &[(&str, &[&str])] = &[
    ("ext4 1024", &["-t", "ext4", "-b", "1024", "-J", "size=1"]),
    ("ext3 1024", &["-t", "ext3", "-b", "1024", "-J", "size=1"]),
    ("ext4 4096", &["-t", "ext4", "-b", "4096", "-J", "size=4", "-N", "256"]),
    ("ext2 1024", &["-t", "ext2", "-b", "1024"]),
    ("ext4 4096 without journal", &["-t", "ext4", "-b", "4096", "-O", "^has_journal", "-N", "256"]),
];

/// Whether a kind has a journal, and the sectors of its blocks.
fn traits_of(kind: &(&str, &[&str])) -> (bool, u64) {
    let has_journal = kind.1.contains(&"-J");
    (has_journal, if kind.1.contains(&"1024") { 2 } else { 8 })
}

/// A file of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File(Vec<u8>),
    Link(String),
    /// What a rename left.
    Whiteout,
}

/// Something that must be there after a crash between two steps of the disk.
struct Durable {
    path: String,
    node: Node,
    from: usize,
    /// Exclusive; none while it still is.
    to: Option<usize>,
}

/// A disk under random operations.
struct Run {
    disk: FakeDisk,
    world: World,
    model: BTreeMap<String, Node>,
    durable: Vec<Durable>,
    /// After how many steps everything was synchronized.
    whole: Vec<(usize, BTreeMap<String, Node>)>,
    /// What was moved since then: to synchronize a file below does not synchronize its path, nor do its data alone.
    moved: Vec<String>,
    last_value: u8,
    random: Random,
}

fn is_below(path: &str, directory: &str) -> bool {
    path == directory || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

impl Run {
    fn steps(&self) -> usize {
        self.disk.steps()
    }

    fn path(&mut self) -> String {
        let depth = self.random.below(3);
        (0..=depth).map(|_| format!("/{}", self.random.below(7))).collect()
    }

    /// An operation is about to touch a path: what is there is not durable any more.
    fn touch(&mut self, path: &str) {
        let steps = self.steps();
        for durable in &mut self.durable {
            if durable.to.is_none() && is_below(&durable.path, path) {
                durable.to = Some(steps);
            }
        }
    }

    fn value_of(&mut self, path: &str) -> u8 {
        if let Some(Node::File(bytes)) = self.model.get(path)
            && let Some(value) = bytes.iter().find(|byte| **byte != 0)
        {
            return *value;
        }
        self.last_value = self.last_value % 255 + 1;
        self.last_value
    }

    fn write(&mut self, path: &str) {
        let value = self.value_of(path);
        let offset = usize::try_from(self.random.below(3) * self.random.below(20_000)).unwrap();
        let len = usize::try_from(1 + self.random.below(3) * self.random.below(9_000)).unwrap();
        let written: Answer<usize> = (|| {
            let file = self.world.open(path, OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::NOFOLLOW)?;
            file.pwrite(&vec![value; len], offset as u64)
        })();
        if written.is_ok() {
            let node = self.model.entry(path.to_owned()).or_insert_with(|| Node::File(Vec::new()));
            let Node::File(bytes) = node else { return };
            bytes.resize(bytes.len().max(offset + len), 0);
            bytes[offset..offset + len].fill(value);
        }
    }

    fn truncate(&mut self, path: &str) {
        let len = usize::try_from(self.random.below(30_000)).unwrap();
        if let Some(Node::File(bytes)) = self.model.get_mut(path) {
            self.world.truncate(path, len as u64).unwrap();
            bytes.resize(len, 0);
        }
    }

    fn punch(&mut self, path: &str) {
        let (offset, len) = (self.random.below(20_000), 1 + self.random.below(20_000));
        if let Some(Node::File(bytes)) = self.model.get_mut(path) {
            let file = self.world.open(path, OpenFlags::RDWR).unwrap();
            file.allocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len).unwrap();
            let end = usize::try_from(offset + len).unwrap().min(bytes.len());
            if let Some(hole) = bytes.get_mut(usize::try_from(offset).unwrap()..end) {
                hole.fill(0);
            }
        }
    }

    fn remove(&mut self, path: &str) {
        let is_removed = match self.model.get(path) {
            Some(Node::Directory) => self.world.rmdir(path).is_ok(),
            Some(_) => self.world.unlink(path).is_ok(),
            None => false,
        };
        if is_removed {
            self.model.remove(path);
        }
    }

    fn rename(&mut self, old: &str, new: &str) {
        self.touch(new);
        let leaves_whiteout = self.random.below(4) == 0;
        let flags = if leaves_whiteout { RenameFlags::WHITEOUT } else { RenameFlags::empty() };
        if self.world.rename_with(old, new, flags).is_ok() && old != new {
            self.moved.push(new.to_owned());
            self.model.remove(new);
            let moved: Vec<String> = self.model.keys().filter(|path| is_below(path, old)).cloned().collect();
            for path in moved {
                let node = self.model.remove(&path).unwrap();
                self.model.insert(format!("{new}{}", &path[old.len()..]), node);
            }
            if leaves_whiteout {
                self.model.insert(old.to_owned(), Node::Whiteout);
            }
        }
    }

    fn synchronize_file(&mut self, path: &str) {
        let Some(node @ Node::File(_)) = self.model.get(path).cloned() else { return };
        let file = self.world.open(path, OpenFlags::RDWR).unwrap();
        let data_only = self.random.below(2) == 0;
        file.file().sync(data_only).unwrap();
        let is_moved = |moved: &String| is_below(path, moved) && (data_only || path != moved);
        if !self.moved.iter().any(is_moved) {
            self.durable.push(Durable { path: path.to_owned(), node, from: self.steps(), to: None });
        }
    }

    fn synchronize_all(&mut self) {
        self.world.context.root.mount.file_system().sync().unwrap();
        self.moved.clear();
        let steps = self.steps();
        let nodes = self.model.iter().map(|(path, node)| (path.clone(), node.clone()));
        self.durable.extend(nodes.map(|(path, node)| Durable { path, node, from: steps, to: None }));
        self.whole.push((steps, self.model.clone()));
    }

    fn step(&mut self) {
        let (path, other) = (self.path(), self.path());
        let kind = self.random.below(22);
        if kind < 17 {
            self.touch(&path);
        }
        match kind {
            0..=5 => self.write(&path),
            6 => self.truncate(&path),
            7 => self.punch(&path),
            8..=10 => {
                if self.world.mkdir(&path).is_ok() {
                    self.model.insert(path, Node::Directory);
                }
            }
            11..=13 => self.remove(&path),
            14..=15 => self.rename(&path, &other),
            16 => {
                let target = "t".repeat(1 + usize::try_from(self.random.below(200)).unwrap());
                if self.world.symlink(&target, &path).is_ok() {
                    self.model.insert(path, Node::Link(target));
                }
            }
            17..=19 => self.synchronize_file(&path),
            _ => self.synchronize_all(),
        }
    }

    /// Compares what is there after a crash with what must be.
    fn check(&self, found: &BTreeMap<String, Node>, steps: usize, has_journal: bool) -> Result<(), String> {
        for durable in &self.durable {
            let is_due = durable.from <= steps && durable.to.is_none_or(|to| steps <= to);
            if is_due && found.get(&durable.path) != Some(&durable.node) {
                let found = found.get(&durable.path).map(brief);
                return Err(format!("{} must be {}, and is {found:?}", durable.path, brief(&durable.node)));
            }
        }
        for (_, tree) in self.whole.iter().filter(|(at, _)| *at == steps) {
            if let Some(difference) = difference(found, tree) {
                return Err(format!("the tree is not the one that was synchronized: {difference}"));
            }
        }
        // Without a journal a file may be found with blocks that another has written by now.
        for (path, node) in found.iter().filter(|_| has_journal) {
            let Node::File(bytes) = node else { continue };
            let mut own = bytes.iter().filter(|byte| **byte != 0);
            let value = own.next();
            if own.any(|byte| Some(byte) != value) {
                return Err(format!("{path} has bytes of another file"));
            }
        }
        Ok(())
    }
}

/// A node without its contents.
fn brief(node: &Node) -> String {
    match node {
        Node::File(bytes) => format!("a file of {} bytes {:?}", bytes.len(), bytes.iter().find(|byte| **byte != 0)),
        other => format!("{other:?}"),
    }
}

/// The first path at which two trees differ.
fn difference(found: &BTreeMap<String, Node>, expected: &BTreeMap<String, Node>) -> Option<String> {
    let mut paths = found.keys().chain(expected.keys());
    let path = paths.find(|path| found.get(*path) != expected.get(*path))?;
    let [found, expected] = [found, expected].map(|tree| tree.get(path).map(brief));
    Some(format!("{path} is {found:?}, not {expected:?}"))
}

/// The tree of a world.
fn tree(world: &World) -> Answer<BTreeMap<String, Node>> {
    let mut tree = BTreeMap::new();
    let mut left = vec![String::new()];
    while let Some(directory) = left.pop() {
        for name in world.names(&format!("{directory}/"))? {
            if name == "lost+found" {
                continue;
            }
            let path = format!("{directory}/{name}");
            let node = match world.lstat(&path)?.mode & 0o170_000 {
                0o040_000 => {
                    left.push(path.clone());
                    Node::Directory
                }
                0o020_000 => Node::Whiteout,
                0o120_000 => Node::Link(world.readlink(&path)?),
                _ => Node::File(world.read_file(&path)?),
            };
            tree.insert(path, node);
        }
    }
    Ok(tree)
}

/// A superblock that is torn between its sectors is beyond `e2fsck` without a backup: this makes it one.
fn mend_superblock(image: &mut Image) {
    let mut bytes: Vec<u8> = [SUPERBLOCK, SUPERBLOCK + 1].iter().flat_map(|sector| image.get(*sector)).collect();
    let has_checksum = bytes[0x65] & 4 != 0;
    if has_checksum {
        let sum = ext::checksum::crc32c(ext::checksum::CRC32C_START, &bytes[..1020]);
        bytes[1020..].copy_from_slice(&sum.to_le_bytes());
    }
    for (sector, part) in (SUPERBLOCK..).zip(bytes.chunks(SECTOR_LEN)) {
        image.set(sector, part.try_into().unwrap());
    }
}

/// What `e2fsck` may say of a file system whose power was cut.
const EXPECTED: &[&str] = &[
    "e2fsck ",
    "recovering journal",
    "Clearing orphaned inode",
    "Truncating orphaned inode",
    // The sums in the superblock, as on Linux; those of the groups must be right.
    "Free blocks count wrong (",
    "Free inodes count wrong (",
    "Fix? yes",
    "Pass ",
    "FILE SYSTEM WAS MODIFIED",
    " files (",
];

/// Has `e2fsck` replay and check an image, which must find nothing else.
pub(crate) fn check_by_e2fsck(scratch: &Scratch, image: &Image, what: &str) {
    let path = scratch.path("crashed");
    fs::write(&path, image.to_bytes(LEN / SECTOR_LEN as u64)).unwrap();
    let output = Command::new("e2fsck").args(["-f", "-y"]).arg(&path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let is_expected = |line: &str| line.trim().is_empty() || EXPECTED.iter().any(|expected| line.contains(expected));
    let is_fine = text.lines().all(is_expected) && output.status.code().is_some_and(|code| code <= 1);
    assert!(is_fine, "{what}: e2fsck says\n{text}");
}

/// Has `e2fsck` repair an image, whatever it finds; the result, in which it finds nothing more.
fn repaired_by_e2fsck(scratch: &Scratch, image: &Image, what: &str) -> Image {
    let path = scratch.path("crashed");
    fs::write(&path, image.to_bytes(LEN / SECTOR_LEN as u64)).unwrap();
    let repaired = Command::new("e2fsck").args(["-f", "-y"]).arg(&path).output().unwrap();
    let text = String::from_utf8_lossy(&repaired.stdout);
    assert!(repaired.status.code().is_some_and(|code| code <= 1), "{what}: e2fsck says\n{text}");
    check(&path, what);
    Image::from_bytes(&fs::read(&path).unwrap())
}

/// Runs random operations on an image, and cuts the power at some of the steps.
fn run(kind: &(&str, &[&str]), seed: u64, cuts: usize) {
    let scratch = Scratch::new();
    let (has_journal, block_sectors) = traits_of(kind);
    let bytes = fs::read(make_of(&scratch, kind.1, LEN)).unwrap();
    let before = Image::from_bytes(&bytes);
    let Mounted { disk, file_system, world } = mount(&disk_of(&bytes), ExtOptions::default()).unwrap();
    let mut run = Run {
        disk,
        world,
        model: BTreeMap::new(),
        durable: Vec::new(),
        whole: Vec::new(),
        moved: Vec::new(),
        last_value: 0,
        random: Random::new(seed),
    };
    run.synchronize_all();
    for number in 0..1200 {
        run.step();
        if number % 50 == 49 {
            file_system.write_back().unwrap();
        }
    }
    assert_eq!(difference(&tree(&run.world).unwrap(), &run.model), None);
    let log: Vec<Step> = run.disk.log();
    let mut random = testkit::Random::new(seed);
    for cut in 0..cuts {
        let steps = match cut % 4 {
            3 => run.whole[random.below(run.whole.len())].0,
            _ => log.len() * cut / cuts + random.below(log.len() / cuts),
        };
        let what = format!("{}, seed {seed}, after {steps} of {} steps", kind.0, log.len());
        let mut image = if has_journal {
            crashed(&before, &log, steps, &mut random)
        } else {
            let image = crashed_by_blocks(&before, &log, steps, &mut random, block_sectors);
            repaired_by_e2fsck(&scratch, &image, &what)
        };
        if steps < run.whole[0].0 {
            // The superblock is written by itself while it is mounted, and nobody has another.
            mend_superblock(&mut image);
        }
        let disk = FakeDisk::new(image.clone(), LEN / SECTOR_LEN as u64);
        let mounted = mount(&disk, ExtOptions::default()).unwrap_or_else(|errno| panic!("{what}: {errno:?}"));
        let found = tree(&mounted.world).unwrap_or_else(|errno| panic!("{what}: {errno:?}"));
        if let Err(text) = run.check(&found, steps, has_journal) {
            panic!("{what}: {text}");
        }
        if cut % 4 == 0 && has_journal {
            drop(mounted.world);
            mounted.file_system.shut_down().unwrap();
            check_by_e2fsck(&scratch, &disk.image(), &format!("{what}, unmounted"));
            mend_superblock(&mut image);
            check_by_e2fsck(&scratch, &image, &what);
        }
    }
}

#[test]
fn what_was_synchronized_survives_a_loss_of_power() {
    let (seed, _) = Random::seeded(1);
    for (number, kind) in (0..).zip(KINDS) {
        println!("{}", kind.0);
        run(kind, seed * 100 + number, 40);
    }
}
