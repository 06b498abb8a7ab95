//! Trees of mounts that are in no namespace: what `fsmount` and `open_tree` make, to be put somewhere by `move_mount`.
//!
//! Such a tree belongs to an open file, which refers to its root. When the last reference to that is gone and nobody
//! has put the tree into the namespace, it is taken apart: the mounts of a tree keep each other.

use alloc::sync::Arc;

use abi::{Errno, OpenFlags};
use file::{Attributes, File, OpenFile};

use crate::{Credentials, Mount, MountFlags, Namespace, PathRef, Superblock, VnodeFile};

/// Keeps a tree that is nowhere.
struct DetachedTree {
    namespace: Arc<Namespace>,
    mount: Arc<Mount>,
}

impl File for DetachedTree {
    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(self.mount.root().inode().attributes())
    }
}

impl Drop for DetachedTree {
    fn drop(&mut self) {
        self.namespace.dissolve(&self.mount);
    }
}

/// A mount of a file system that is nowhere yet.
pub fn new_mount(superblock: Arc<Superblock>, source: &[u8], flags: MountFlags) -> Arc<Mount> {
    let root = superblock.file_system().root().clone();
    Mount::new(superblock, root, source, flags)
}

/// An open file (`O_PATH`) that refers to the root of a tree that is nowhere, and keeps it.
pub fn open_detached(namespace: &Arc<Namespace>, mount: Arc<Mount>, credentials: &Credentials) -> Arc<OpenFile> {
    let root = PathRef { dentry: mount.root().clone(), mount: mount.clone() };
    let mut file = VnodeFile::path_only(root, credentials);
    file.serve_through(Arc::new(DetachedTree { namespace: namespace.clone(), mount }));
    OpenFile::new(Arc::new(file), OpenFlags::PATH)
}

/// An open file (`O_PATH`) that refers to a place.
pub fn open_place_only(place: PathRef, credentials: &Credentials) -> Arc<OpenFile> {
    OpenFile::new(Arc::new(VnodeFile::path_only(place, credentials)), OpenFlags::PATH)
}
