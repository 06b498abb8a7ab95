//! Places for files that no path leads to: pipes, terminals of the machine, sockets.
//!
//! `/proc/self/fd/N` leads to whatever is open. For such a file that is a dentry outside every tree, whose inode stands for the
//! file: opening it gives the file itself.

use alloc::sync::Arc;
use core::any::Any;

use abi::stat::ANON_INODE_FS_MAGIC;
use abi::{Errno, OpenFlags};
use file::{Attributes, File, OpenFile};
use sync::{Mutex, Once, rank};

use crate::file_system::anonymous_device;
use crate::fs::tmpfs::{Tmpfs, TmpfsOptions};
use crate::used::Used;
use crate::{
    Credentials, Dentry, FileSystem, FileSystemStatistics, Inode, Metadata, Mount, NewMetadata, Opened, PathRef,
    RootDentry, SealFlags, VnodeFile,
};

/// A place for a file that has none. `name` is what `readlink` of `/proc/self/fd/N` shows.
pub fn anonymous_path(file: Arc<dyn File>, name: &[u8]) -> PathRef {
    let attributes = file.attributes().unwrap_or_default();
    let metadata = Metadata::new(NewMetadata {
        number: attributes.inode,
        device: attributes.device,
        mode: attributes.mode,
        uid: attributes.uid,
        gid: attributes.gid,
        links: attributes.links,
        represents: attributes.represents,
        size: attributes.size,
        time: attributes.modified.into(),
    });
    let dentry = Dentry::root(Arc::new(AnonymousInode { metadata, file }), name);
    PathRef { mount: mount().clone(), dentry }
}

/// The place an open file was found at, or an anonymous one.
pub fn path_of(open: &OpenFile) -> PathRef {
    let file = open.file();
    match (&**file as &dyn Any).downcast_ref::<VnodeFile>() {
        Some(file) => file.path().clone(),
        None => anonymous_path(file.clone(), &file.anonymous_name().unwrap_or_else(|| b"anon_inode:[file]".to_vec())),
    }
}

/// How a new file in memory can be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryFileSeals {
    /// Not at all.
    Closed,
    /// In any way.
    None,
    /// It cannot be executed and that is sealed; otherwise in any way.
    NotExecutable,
}

/// A new file in memory that no path leads to, for `memfd_create`, open for reading and writing. As on Linux it does
/// not count as open for writing: the file may be executed as long as only this is.
pub fn memory_file(credentials: &Credentials, name: &[u8], seals: MemoryFileSeals) -> Result<Arc<OpenFile>, Errno> {
    static MOUNT: Once<(Arc<Tmpfs>, Arc<Mount>)> = Once::new();
    let (file_system, mount) = MOUNT.call_once(|| {
        // Only memory itself is the limit.
        let options = TmpfsOptions { size_max: Some(0), inodes_max: Some(0), ..TmpfsOptions::default() };
        let file_system = Tmpfs::new(options);
        (file_system.clone(), Mount::detached(file_system))
    });
    let mode = if seals == MemoryFileSeals::NotExecutable { 0o666 } else { 0o777 };
    let inode = file_system.unnamed_file(credentials, mode)?;
    if let Some(own) = inode.seals() {
        own.set(match seals {
            MemoryFileSeals::Closed => SealFlags::SEAL,
            MemoryFileSeals::None => SealFlags::empty(),
            MemoryFileSeals::NotExecutable => SealFlags::EXEC,
        });
    }
    let shown = [b"/memfd:", name, b" (deleted)"].concat();
    let place = PathRef { mount: mount.clone(), dentry: Dentry::root(inode, &shown) };
    let file = VnodeFile::new(Used::uncounted(place), credentials);
    Ok(OpenFile::new(Arc::new(file), OpenFlags::RDWR | OpenFlags::LARGEFILE))
}

/// The mount all anonymous places are seen through.
fn mount() -> &'static Arc<Mount> {
    static MOUNT: Once<Arc<Mount>> = Once::new();
    MOUNT.call_once(|| {
        let metadata = Metadata::new(NewMetadata { mode: 0o040_555, links: 2, ..NewMetadata::default() });
        let root = RootDentry::new(Arc::new(AnonymousRoot { metadata }));
        let device = anonymous_device();
        Mount::detached(Arc::new(AnonymousFileSystem { root, device, rename_lock: Mutex::new(rank::RENAME, ()) }))
    })
}

struct AnonymousInode {
    metadata: Metadata,
    file: Arc<dyn File>,
}

impl Inode for AnonymousInode {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn attributes(&self) -> Attributes {
        self.file.attributes().unwrap_or_else(|_| self.metadata.attributes())
    }

    fn prepare_change(&self) -> Result<(), Errno> {
        self.file.set_ownership(None)
    }

    fn attributes_changed(&self) {
        // That it can was asked before.
        let _ = self.file.set_ownership(Some(&self.metadata.attributes()));
    }

    fn open(&self, _path: &PathRef, flags: OpenFlags, _credentials: &Credentials) -> Result<Opened, Errno> {
        // A pipe is opened anew, at the end that is asked for.
        if let Some(end) = (&*self.file as &dyn Any).downcast_ref::<file::pipe::PipeEnd>() {
            return end.pipe().open(flags).map(|end| Opened::Replaced(end));
        }
        Ok(Opened::Replaced(self.file.clone()))
    }
}

struct AnonymousRoot {
    metadata: Metadata,
}

impl Inode for AnonymousRoot {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

struct AnonymousFileSystem {
    root: RootDentry,
    device: u64,
    rename_lock: Mutex<()>,
}

impl FileSystem for AnonymousFileSystem {
    fn type_name(&self) -> &'static str {
        "anon_inodefs"
    }

    fn root(&self) -> &Arc<Dentry> {
        self.root.get()
    }

    fn device(&self) -> u64 {
        self.device
    }

    fn rename_lock(&self) -> &Mutex<()> {
        &self.rename_lock
    }

    fn statistics(&self) -> FileSystemStatistics {
        FileSystemStatistics {
            magic: ANON_INODE_FS_MAGIC.unsigned_abs(),
            block_size: 4096,
            name_len_max: 255,
            ..FileSystemStatistics::default()
        }
    }
}
