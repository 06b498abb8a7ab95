//! This kernel's file system, on the host.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use abi::{Errno, OpenFlags, ResolveFlags};
use block::{Disk, Volume};
use file::{DirectorySink, OpenFile, Progress};
use mm::user::UserWriter;
use testkit::disk::{FakeDisk, Image};
use vfs::fs::ext::{ExtFileSystem, ExtOptions};
use vfs::{Credentials, FileKind, FsContext, MountFlags, Namespace, OpenRequest};

/// Folders within folders.
const DEPTH_MAX: usize = 8;
/// Bytes read at once.
const PART_LEN: usize = 64 << 10;
const SECTOR_LEN: u64 = 512;

/// Mounts the partition, copies everything there is into a folder of the host, unmounts; what the partition holds then.
///
/// # Errors
/// Says what could not be read.
pub(crate) fn mount_and_copy(partition: &[u8], files: &Path) -> Result<Vec<u8>, String> {
    testkit::frames::install();
    let sectors = partition.len() as u64 / SECTOR_LEN;
    let device = FakeDisk::new(Image::from_bytes(partition), sectors);
    let disk = Disk::new("vda".to_owned(), 0xfe00, Box::new(device.clone()));
    let file_system = ExtFileSystem::open(Volume::whole(&disk), "ext4", ExtOptions::default())
        .map_err(|errno| format!("it cannot be mounted: {errno:?}"))?;
    let namespace = Namespace::new(file_system.clone(), b"/dev/vda", MountFlags::empty());
    let reader = Reader { context: FsContext::new(namespace), credentials: Credentials::root() };
    reader.copy_directory("/", files, DEPTH_MAX)?;
    drop(reader);
    file_system.shut_down().map_err(|errno| format!("it cannot be unmounted: {errno:?}"))?;
    Ok(device.image().to_bytes(sectors))
}

struct Reader {
    context: FsContext,
    credentials: Credentials,
}

impl Reader {
    fn open(&self, path: &str, flags: OpenFlags) -> Result<std::sync::Arc<OpenFile>, Errno> {
        let request = OpenRequest { flags, mode: 0, resolve: ResolveFlags::empty() };
        vfs::open(&self.context, &self.credentials, None, path.as_bytes(), &request)
    }

    fn copy_directory(&self, path: &str, to: &Path, depth: usize) -> Result<(), String> {
        let failed = |errno: Errno| format!("{path}: {errno:?}");
        let open = self.open(path, OpenFlags::DIRECTORY).map_err(failed)?;
        let mut names = Names(Vec::new());
        open.file().read_directory(&open, &mut names).map_err(failed)?;
        for (name, kind) in names.0 {
            let inner = format!("{path}{name}");
            let target = to.join(OsStr::from_bytes(name.as_bytes()));
            if kind == FileKind::Directory.entry_kind() {
                let depth = depth.checked_sub(1).ok_or_else(|| format!("{inner}: too deep"))?;
                fs::create_dir(&target).map_err(|error| format!("{}: {error}", target.display()))?;
                self.copy_directory(&format!("{inner}/"), &target, depth)?;
            } else {
                let bytes = self.read(&inner).map_err(|errno| format!("{inner}: {errno:?}"))?;
                fs::write(&target, bytes).map_err(|error| format!("{}: {error}", target.display()))?;
            }
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Errno> {
        let open = self.open(path, OpenFlags::empty())?;
        let (mut all, mut part) = (Vec::new(), vec![0; PART_LEN]);
        loop {
            match open.file().read(&open, &mut UserWriter::to_kernel(&mut part), None)? {
                Progress::Done(0) => return Ok(all),
                Progress::Done(len) => all.extend_from_slice(&part[..len]),
                Progress::WouldBlock => return Err(Errno::EAGAIN),
            }
        }
    }
}

/// Names in a directory, and what they stand for.
struct Names(Vec<(String, u8)>);

impl DirectorySink for Names {
    fn entry(&mut self, name: &[u8], _inode: u64, kind: u8, _next: u64) -> bool {
        if name != b"." && name != b".." {
            self.0.push((String::from_utf8_lossy(name).into_owned(), kind));
        }
        true
    }
}
