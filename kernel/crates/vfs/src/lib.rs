//! Files by name: path walk, the dentry cache, mounts, permission checks, `open` and the file systems that live in memory.
//!
//! The layer above calls plain functions with three things: an [`FsContext`] (root, working directory and umask of the
//! process), [`Credentials`] (who asks), and for relative paths an optional start directory.
//!
//! - By name: [`resolve`], [`open`], [`mkdir`], [`mknod`], [`symlink`], [`link`], [`unlink`], [`rmdir`], [`rename`].
//! - On a place already found, a [`PathRef`]: [`stat`], [`readlink`], [`access`], [`chmod`], [`chown`], [`utimens`],
//!   [`truncate`], [`statfs`], [`path_name`], [`get_xattr`], [`change_xattr`], [`list_xattrs`].
//! - Mounts: [`Namespace`].
//!
//! # How it fits together
//!
//! An [`Inode`] is a file or directory of a file system; its [`Metadata`] belongs to this crate, so that `stat`, permission
//! checks and `chmod` are the same code for all of them. A [`Dentry`] is a name in the tree of one file system and caches the
//! inode behind it; the names that are cached are found without locks. A [`Superblock`] is a file system in use, a
//! [`Mount`] puts its tree at a place; a [`PathRef`] is a dentry seen through a mount.
//!
//! # Locks
//!
//! There is no lock for a whole file system but the one that rename of directories needs. In this order:
//!
//! 1. The file systems in use ([`Superblock`]), then [`Namespace`]: changes of the mount tree.
//! 2. The rename lock of a file system: a rename between two directories. It keeps the shape of the tree fixed.
//! 3. The lock of an inode ([`Metadata::lock`]). Directories: an ancestor before its descendants; two directories of which neither
//!    is above the other in order of their address; then the directory that is removed or replaced; then files.
//!    It is held while names of a directory change, and while a file is written or its size changes.
//! 4. A file system's own locks: the table of a directory, the page map of a file.
//! 5. The cached names of a dentry, then the place of a dentry. Nothing else is taken under these. A walk takes none of
//!    them for what is cached.
//!
//! Inode locks may be held while program memory is copied and paged in, as in Linux: no page fault takes one. Locks of
//! levels 4 and 5 are never held then; page faults take the page map's.
//!
//! # What it does not do
//!
//! It knows no processes and no descriptors: `/proc` is made of closures that others register with [`fs::generated`].
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
// The machine that unit tests run on.
#[cfg(test)]
extern crate testkit;

mod acl;
mod anonymous;
mod attributes;
mod cached_walk;
mod context;
mod create;
mod credentials;
mod dentry;
mod detached;
pub mod device;
mod file_flags;
mod file_mapping;
mod file_system;
mod file_time;
pub mod fs;
mod inode;
mod inode_count;
mod metadata;
mod mount;
mod mount_options;
mod name;
mod names;
mod namespace;
pub mod notify;
mod open;
mod page_cache;
mod page_copy;
mod path_name;
mod propagation;
mod protection;
mod remove;
mod rename;
mod seals;
mod shared_pages;
mod sparse_map;
mod superblock;
mod used;
mod vnode_file;
mod walk;
pub mod write_back;
mod xattr;

pub use anonymous::{MemoryFileSeals, anonymous_path, memory_file, path_of};
pub use attributes::{
    AttributeChange, SetTime, access, chmod, chown, inode_flags, readlink, set_inode_flags, stat, statfs, truncate,
    utimens,
};
pub use cached_walk::{CachedPlace, find_cached};
pub use context::FsContext;
pub use create::{link, mkdir, mknod, symlink};
pub use credentials::{Capabilities, Credentials};
pub use dentry::{Dentry, DentryCounts, RootDentry};
pub use detached::{new_mount, open_detached, open_place_only};
pub use file_mapping::{mapped_open, mapped_place};
pub use file_system::{FileSystem, FileSystemStatistics, TrimRange};
pub use file_time::FileTime;
pub use inode::{FileExtent, Inode, LinkTarget, NewAcls, NewInode, Opened, Renaming};
pub use inode_count::inode_count;
pub use metadata::{FileKind, Metadata, NewMetadata, Permissions};
pub use mount::{Mount, MountFlags, PathRef, UNIQUE_ID_BASE};
pub use mount_options::MountOptions;
pub use name::{HashedName, Name};
pub use namespace::{FlagChange, MOUNTS_MAX, MountSnapshot, Namespace, Unmount};
pub use open::{OpenRequest, lookup_of_existing, open, open_path};
pub use page_cache::{
    CacheCounts, PageCache, PageStore, cached_pages, dirtied_pages, dirty_pages, pages_on_the_way, written_pages,
};
pub use path_name::{path_below_root, path_name};
pub use propagation::{Propagation, nearest_master};
pub use protection::{PROTECTION, Protection};
pub use remove::{rmdir, unlink};
pub use rename::rename;
pub use seals::{SealFlags, Seals};
pub use superblock::{
    Superblock, SuperblockFlags, dentry_counts, drop_caches, settle, settle_all, settle_device, shut_down, sync_all,
};
pub use vnode_file::{DIRECT_ALIGNMENT, VnodeFile};
pub use walk::{Lookup, resolve};
pub use xattr::{XattrChange, XattrList, change_xattr, get_xattr, list_xattrs};

/// The longest path, with its closing zero.
pub const PATH_LEN_MAX: usize = 4096;
/// The longest name in a directory.
pub const NAME_LEN_MAX: usize = 255;
/// The most symbolic links one walk follows.
pub const LINKS_FOLLOWED_MAX: usize = 40;
