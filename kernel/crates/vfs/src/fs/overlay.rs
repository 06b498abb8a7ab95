//! An archive that can be written: its changes are kept in memory.
//!
//! The upper layer is a [`Tmpfs`] whose nodes may lie over nodes of the layer below. This differs from Linux's overlayfs in
//! where the border runs. There, two trees are merged by name, and a file is copied up, whole, into the same place of
//! the upper tree. Here, the border runs through each node: a node that lies over another shows its attributes, its pages and
//! its names until it has its own.
//!
//! - Copy-up is by page, and needs no directories above it. Attributes are copied when the node is met; a node is kept from
//!   its first change on.
//! - A removed name that is there below is hidden by an entry (a whiteout); a directory made in its place has nothing below it
//!   (it is opaque).
//! - Entries lead to nodes, not to names. So renaming a file or a directory of the layer below needs neither a
//!   redirect nor `EXDEV`, hard links stay linked when they are changed, and the inode number stays for life.
//! - Memory mapped shared from a page of the layer below shows a later write, because the page is taken away from its
//!   mappings when it is replaced.
//!
//! What it does not do: keep changes when the machine ends, or lie over a tree that changes.

use alloc::sync::Arc;

use crate::FileSystem;

use super::tmpfs::Tmpfs;

/// A writable file system over `lower`, of which nothing may change any more and whose inode numbers are below 2^32.
pub fn new(lower: &dyn FileSystem) -> Arc<Tmpfs> {
    debug_assert!(lower.is_read_only(), "the layer below changes");
    Tmpfs::over(lower.root().inode())
}
