//! Images: made by `mke2fs`, mounted, checked by `e2fsck`, and compared with trees of the host.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use block::{Disk, SECTOR_LEN, Volume};
use testkit::disk::{FakeDisk, Image};
use vfs::fs::ext::{ExtFileSystem, ExtOptions};

use crate::support::{Answer, World};

/// Feature sets: a name, and what `mke2fs` is told.
pub(crate) const KINDS: &[(&str, &[&str])] = &[
    ("ext2 1024", &["-t", "ext2", "-b", "1024"]),
    ("ext2 128", &["-t", "ext2", "-b", "4096", "-I", "128"]),
    ("ext2 first revision", &["-t", "ext2", "-r", "0", "-b", "1024"]),
    ("ext3 2048", &["-t", "ext3", "-b", "2048"]),
    ("ext4", &["-t", "ext4", "-b", "4096"]),
    ("ext4 without journal", &["-t", "ext4", "-O", "^has_journal", "-b", "4096", "-g", "1024"]),
    ("ext4 1024", &["-t", "ext4", "-b", "1024", "-O", "^64bit"]),
    ("ext4 sums of descriptors", &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg"]),
    ("ext4 no sums", &["-t", "ext4", "-b", "2048", "-O", "^metadata_csum,^uninit_bg,^flex_bg"]),
    ("ext4 meta groups", &["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode", "-g", "512"]),
    ("ext4 128", &["-t", "ext4", "-b", "1024", "-I", "128", "-O", "^extra_isize"]),
    ("ext4 two backups", &["-t", "ext4", "-b", "1024", "-O", "sparse_super2"]),
];

/// Bytes of an image.
pub(crate) const LEN: u64 = 24 << 20;

/// A directory that goes with its value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nacre-ext-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
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

/// Makes an image of a tree, or an empty one.
pub(crate) fn make(scratch: &Scratch, options: &[&str], tree: Option<&Path>) -> PathBuf {
    make_image(scratch, options, tree, LEN)
}

/// Makes an empty image of so many bytes.
pub(crate) fn make_of(scratch: &Scratch, options: &[&str], len: u64) -> PathBuf {
    make_image(scratch, options, None, len)
}

/// As [`make`], of so many bytes.
pub(crate) fn make_image(scratch: &Scratch, options: &[&str], tree: Option<&Path>, len: u64) -> PathBuf {
    let image = scratch.path("image");
    let file = fs::File::create(&image).unwrap();
    file.set_len(len).unwrap();
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1"]);
    command.args(options);
    if let Some(tree) = tree {
        command.arg("-d").arg(tree);
    }
    let output = command.arg(&image).output().expect("mke2fs runs; make setup installs e2fsprogs");
    assert!(output.status.success(), "mke2fs {options:?}: {}", String::from_utf8_lossy(&output.stderr));
    image
}

/// A mounted image.
pub(crate) struct Mounted {
    pub(crate) disk: FakeDisk,
    pub(crate) file_system: Arc<ExtFileSystem>,
    pub(crate) world: World,
}

/// A disk with these contents.
pub(crate) fn disk_of(bytes: &[u8]) -> FakeDisk {
    FakeDisk::new(Image::from_bytes(bytes), (bytes.len() / SECTOR_LEN) as u64)
}

/// Mounts what a disk holds.
pub(crate) fn mount(disk: &FakeDisk, options: ExtOptions) -> Answer<Mounted> {
    crate::support::machine();
    let volume = Volume::whole(&Disk::new("vda".into(), 0xfe00, Box::new(disk.clone())));
    let file_system = ExtFileSystem::open(volume, "ext4", options)?;
    let world = World::over(file_system.clone());
    Ok(Mounted { disk: disk.clone(), file_system, world })
}

impl Mounted {
    /// Unmounts it; the bytes of the disk.
    pub(crate) fn unmount(self) -> Vec<u8> {
        let Self { disk, file_system, world } = self;
        drop(world);
        file_system.shut_down().unwrap();
        disk.image().to_bytes(LEN / SECTOR_LEN as u64)
    }
}

/// Checks an image with `e2fsck`, which must find nothing.
pub(crate) fn check(image: &Path, what: &str) {
    let output = Command::new("e2fsck").args(["-f", "-n"]).arg(image).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: e2fsck says\n{text}");
}

/// A node of a tree, as both sides see it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Node {
    mode: u32,
    links: u64,
    uid: u32,
    size: u64,
    modified: i64,
    represents: u64,
    contents: Vec<u8>,
}

impl Node {
    pub(crate) fn forget_time(&mut self) {
        self.modified = 0;
    }
}

/// Files longer than this are compared in their last bytes only.
const LEN_COMPARED_MAX: u64 = 4 << 20;
const END_LEN: u64 = 20_000;

/// The tree of the host below a directory, by path.
pub(crate) fn host_tree(root: &Path) -> BTreeMap<String, Node> {
    let mut tree = BTreeMap::new();
    let mut left = vec![(root.to_path_buf(), String::new())];
    while let Some((directory, path)) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if path.is_empty() && name == "lost+found" {
                continue;
            }
            let path = format!("{path}/{name}");
            let metadata = fs::symlink_metadata(entry.path()).unwrap();
            let kind = metadata.file_type();
            let contents = if kind.is_file() {
                let mut bytes = Vec::new();
                let mut file = fs::File::open(entry.path()).unwrap();
                if metadata.len() > LEN_COMPARED_MAX {
                    file.seek(SeekFrom::Start(metadata.len() - END_LEN)).unwrap();
                }
                file.read_to_end(&mut bytes).unwrap();
                bytes
            } else if kind.is_symlink() {
                fs::read_link(entry.path()).unwrap().into_os_string().into_encoded_bytes()
            } else {
                Vec::new()
            };
            if kind.is_dir() {
                left.push((entry.path(), path.clone()));
            }
            let is_device = kind.is_char_device() || kind.is_block_device();
            let node = Node {
                mode: metadata.mode(),
                links: metadata.nlink(),
                uid: metadata.uid(),
                size: if kind.is_dir() { 0 } else { metadata.size() },
                modified: metadata.mtime(),
                represents: if is_device { metadata.rdev() } else { 0 },
                contents,
            };
            tree.insert(path, node);
        }
    }
    tree
}

/// The tree of a mounted file system, by path.
pub(crate) fn tree(world: &World) -> Answer<BTreeMap<String, Node>> {
    let mut tree = BTreeMap::new();
    let mut left = vec![String::new()];
    while let Some(directory) = left.pop() {
        for name in world.names(&format!("{directory}/"))? {
            if directory.is_empty() && name == "lost+found" {
                continue;
            }
            let path = format!("{directory}/{name}");
            let attributes = world.lstat(&path)?;
            let contents = match attributes.mode & 0o170_000 {
                0o100_000 if attributes.size > LEN_COMPARED_MAX => {
                    let file = world.open(&path, abi::OpenFlags::empty())?;
                    file.pread(usize::try_from(END_LEN).unwrap(), attributes.size - END_LEN)?
                }
                0o100_000 => world.read_file(&path)?,
                0o120_000 => world.readlink(&path)?.into_bytes(),
                0o040_000 => {
                    left.push(path.clone());
                    Vec::new()
                }
                _ => Vec::new(),
            };
            let is_directory = attributes.mode & 0o170_000 == 0o040_000;
            let node = Node {
                mode: attributes.mode,
                links: attributes.links.into(),
                uid: attributes.uid,
                size: if is_directory { 0 } else { attributes.size },
                modified: attributes.modified.tv_sec,
                represents: attributes.represents,
                contents,
            };
            tree.insert(path, node);
        }
    }
    Ok(tree)
}

/// Compares trees without drowning in the contents of files.
pub(crate) fn compare(found: &BTreeMap<String, Node>, expected: &BTreeMap<String, Node>, what: &str) {
    let names = |tree: &BTreeMap<String, Node>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{what}");
    for (path, node) in expected {
        let other = &found[path];
        let short = |node: &Node| {
            (node.mode, node.links, node.uid, node.size, node.modified, node.represents, node.contents.len())
        };
        assert_eq!(short(other), short(node), "{what}: {path}");
        let differs = other.contents.iter().zip(&node.contents).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{what}: {path} differs at this byte");
    }
}
