//! Volumes on disks in memory, and the programs that make, check and read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use block::{Disk, Volume};
use testkit::disk::{FakeDisk, Image};
use vfs::FileSystem;
use vfs::fs::fat::FatFs;

use crate::support::World;

/// A file of the host that is removed with this.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let path = std::env::temp_dir().join(format!("nacre-fat-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.join("image");
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A kind of volume: bits of the FAT, sectors in a cluster, bytes in a sector, kibibytes in all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape(pub(crate) u32, pub(crate) u32, pub(crate) u32, pub(crate) u32);

/// Volumes of each kind.
pub(crate) const SHAPES: [Shape; 6] = [
    Shape(12, 1, 512, 720),
    Shape(12, 8, 512, 4096),
    Shape(16, 1, 512, 4096),
    Shape(16, 8, 512, 20_000),
    Shape(32, 1, 512, 34_000),
    Shape(16, 2, 2048, 20_000),
];

impl Shape {
    /// The bytes of an empty volume.
    pub(crate) fn make(self) -> Vec<u8> {
        let Self(bits, cluster, sector, kibibytes) = self;
        let scratch = Scratch::new();
        let path = scratch.0.join("image");
        let mut command = Command::new("mkfs.fat");
        command.args([
            "-F",
            &bits.to_string(),
            "-s",
            &cluster.to_string(),
            "-S",
            &sector.to_string(),
            "-i",
            "1234abcd",
        ]);
        let output = command.arg("-C").arg(&path).arg(kibibytes.to_string()).output();
        let output = output.expect("mkfs.fat runs; make setup installs dosfstools and mtools");
        assert!(output.status.success(), "{self:?}: {output:?}");
        fs::read(&path).unwrap()
    }
}

/// A volume on a disk in memory.
pub(crate) struct Medium {
    pub(crate) disk: FakeDisk,
    sectors: u64,
}

impl Medium {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self::of(Image::from_bytes(bytes), bytes.len() as u64 / 512)
    }

    pub(crate) fn of(image: Image, sectors: u64) -> Self {
        Self { disk: FakeDisk::new(image, sectors), sectors }
    }

    /// Mounts it.
    pub(crate) fn open(&self) -> Result<Arc<FatFs>, abi::Errno> {
        crate::support::machine();
        let disk = Disk::new("vda".to_owned(), 0xfe00, Box::new(self.disk.clone()));
        FatFs::open(&Volume::whole(&disk), false, b"")
    }

    /// Mounts it, and does something with it; then unmounts it.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&World) -> R) -> R {
        let fat = self.open().unwrap();
        let result = {
            let world = World::over(fat.clone());
            act(&world)
        };
        fat.shut_down().unwrap();
        result
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.disk.image().to_bytes(self.sectors)
    }

    pub(crate) fn sectors(&self) -> u64 {
        self.sectors
    }
}

fn fsck(image: &Path, how: &str) -> (bool, String) {
    let output = Command::new("fsck.fat").arg(how).arg(image).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether `fsck.fat` has nothing to say.
pub(crate) fn check(bytes: &[u8]) {
    let scratch = Scratch::new();
    let (is_clean, text) = fsck(&scratch.file(bytes), "-n");
    assert!(is_clean, "{text}");
}

/// What `fsck.fat` makes of a volume, and what it said. Afterwards it has nothing to say.
pub(crate) fn repair(bytes: &[u8]) -> (Vec<u8>, String) {
    let scratch = Scratch::new();
    let path = scratch.file(bytes);
    let (_, text) = fsck(&path, "-a");
    let (is_clean, rest) = fsck(&path, "-n");
    assert!(is_clean, "{text}\nand then\n{rest}");
    (fs::read(path).unwrap(), text)
}

/// All files as `mtools` reads them: path and contents; directories end in a slash.
pub(crate) fn read_by_mtools(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let scratch = Scratch::new();
    let image = scratch.file(bytes);
    let out = scratch.0.join("out");
    fs::create_dir(&out).unwrap();
    let mut command = Command::new("mcopy");
    let output = command.args(["-s", "-n", "-m", "-i"]).arg(&image).arg("::").arg(&out).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut files = Vec::new();
    gather(&out, "", &mut files);
    files.sort();
    files
}

fn gather(directory: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files.push((format!("{name}/"), Vec::new()));
            gather(&entry.path(), &name, files);
        } else {
            files.push((name, fs::read(entry.path()).unwrap()));
        }
    }
}

/// All files as this kernel reads them.
pub(crate) fn read_all(world: &World) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        for name in world.names(&format!("{directory}/")).unwrap() {
            let path = format!("{directory}/{name}");
            if world.stat(&path).unwrap().mode & 0o170_000 == 0o040_000 {
                files.push((format!("{path}/"), Vec::new()));
                directories.push(path);
            } else {
                files.push((path.clone(), world.read_file(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}
