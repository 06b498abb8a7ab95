//! [`FsContext`]: how a process sees the tree.

use alloc::sync::Arc;

use abi::Errno;

use crate::{Namespace, PathRef};

/// Root, working directory and umask of a process, and the mounts it sees.
#[derive(Clone)]
pub struct FsContext {
    /// Where `/` leads.
    pub root: PathRef,
    /// Where relative paths begin.
    pub cwd: PathRef,
    /// Permission bits taken from new files.
    pub umask: u32,
    /// The mounts.
    pub namespace: Arc<Namespace>,
}

impl FsContext {
    /// At the root of a namespace, with Linux's umask for the first process.
    pub fn new(namespace: Arc<Namespace>) -> Self {
        let root = namespace.root();
        Self { root: root.clone(), cwd: root, umask: 0o022, namespace }
    }

    /// Sets the working directory to a directory found before; the caller has checked search permission with [`crate::access`].
    pub fn set_cwd(&mut self, directory: PathRef) -> Result<(), Errno> {
        if !directory.inode().metadata().is_directory() {
            return Err(Errno::ENOTDIR);
        }
        self.cwd = directory;
        Ok(())
    }

    /// Sets the root directory; otherwise as [`FsContext::set_cwd`].
    pub fn set_root(&mut self, directory: PathRef) -> Result<(), Errno> {
        if !directory.inode().metadata().is_directory() {
            return Err(Errno::ENOTDIR);
        }
        self.root = directory;
        Ok(())
    }

    /// Goes from one root to another, with the root directory and the working directory, where they are that root.
    pub fn move_root(&mut self, from: &PathRef, to: &PathRef) {
        for place in [&mut self.root, &mut self.cwd] {
            if place.is_same(from) {
                *place = to.clone();
            }
        }
    }
}
