//! [`Row`]: a fixed entry of a directory, in constant memory.
//!
//! The functions of a row get what the directory shows, its *subject*: the system, a process, a disk. They are called when the entry
//! is read, written or looked up, and hold nothing between calls.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use file::File;

use super::{Directory, Node};
use crate::{Credentials, FileKind, PathRef};

/// A fixed entry that shows something of a `T`.
pub struct Row<T: 'static> {
    name: &'static str,
    permissions: u32,
    shows: Shows<T>,
}

/// Makes what serves an open file, for whoever opens it.
type Serve<T> = fn(&T, &Credentials) -> Result<Arc<dyn File>, Errno>;

enum Shows<T: 'static> {
    Text(&'static str),
    Fixed(&'static str),
    File(fn(&T) -> Vec<u8>),
    Fallible(fn(&T) -> Result<Vec<u8>, Errno>),
    Setting(fn(&T) -> Result<Vec<u8>, Errno>, fn(&T, &[u8]) -> Result<(), Errno>),
    Served(Serve<T>),
    Directory(fn(&Arc<T>) -> Directory),
    Link(fn(&T, &Credentials) -> Result<Vec<u8>, Errno>),
    Place(fn(&T) -> Result<Vec<u8>, Errno>, fn(&T) -> Result<PathRef, Errno>),
}

impl<T: 'static> Row<T> {
    /// A file that everybody may read and whose contents cannot fail to be made.
    pub const fn file(name: &'static str, render: fn(&T) -> Vec<u8>) -> Self {
        Self { name, permissions: 0o444, shows: Shows::File(render) }
    }

    /// A file with fixed contents.
    pub const fn text(name: &'static str, text: &'static str) -> Self {
        Self { name, permissions: 0o444, shows: Shows::Text(text) }
    }

    /// A setting that can have no other value than this text, which ends in a newline: another one that is written is `EINVAL`.
    pub const fn fixed(name: &'static str, text: &'static str) -> Self {
        Self { name, permissions: 0o644, shows: Shows::Fixed(text) }
    }

    /// A file that is only read.
    pub const fn fallible(name: &'static str, permissions: u32, render: fn(&T) -> Result<Vec<u8>, Errno>) -> Self {
        Self { name, permissions, shows: Shows::Fallible(render) }
    }

    /// A file that is read and written.
    pub const fn setting(
        name: &'static str,
        permissions: u32,
        render: fn(&T) -> Result<Vec<u8>, Errno>,
        store: fn(&T, &[u8]) -> Result<(), Errno>,
    ) -> Self {
        Self { name, permissions, shows: Shows::Setting(render, store) }
    }

    /// A file that is served, once it is open, by what `open` makes.
    pub const fn served(name: &'static str, permissions: u32, open: Serve<T>) -> Self {
        Self { name, permissions, shows: Shows::Served(open) }
    }

    /// A directory, made when it is looked up.
    pub const fn directory(name: &'static str, permissions: u32, make: fn(&Arc<T>) -> Directory) -> Self {
        Self { name, permissions, shows: Shows::Directory(make) }
    }

    /// A symbolic link that is followed by its text.
    pub const fn link(name: &'static str, text: fn(&T, &Credentials) -> Result<Vec<u8>, Errno>) -> Self {
        Self { name, permissions: 0o777, shows: Shows::Link(text) }
    }

    /// A symbolic link that leads to a place; its text is only shown.
    pub const fn place(
        name: &'static str,
        text: fn(&T) -> Result<Vec<u8>, Errno>,
        place: fn(&T) -> Result<PathRef, Errno>,
    ) -> Self {
        Self { name, permissions: 0o777, shows: Shows::Place(text, place) }
    }

    /// The same entry with other permission bits.
    #[must_use]
    pub const fn with_permissions(mut self, permissions: u32) -> Self {
        self.permissions = permissions;
        self
    }

    fn kind(&self) -> FileKind {
        match self.shows {
            Shows::Text(_)
            | Shows::Fixed(_)
            | Shows::File(_)
            | Shows::Fallible(_)
            | Shows::Setting(..)
            | Shows::Served(_) => FileKind::Regular,
            Shows::Directory(_) => FileKind::Directory,
            Shows::Link(_) | Shows::Place(..) => FileKind::Symlink,
        }
    }
}

/// Whether what is written is what is there already, but for blanks and the end of the line.
fn accept_only(text: &str, written: &[u8]) -> Result<(), Errno> {
    let words = |text: &[u8]| -> Vec<Vec<u8>> {
        let parts = text.split(|byte| byte.is_ascii_whitespace() || *byte == 0);
        parts.filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
    };
    if words(text.as_bytes()) == words(written) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Rows and their subject.
pub(super) struct Table<T: 'static> {
    pub(super) rows: &'static [Row<T>],
    pub(super) subject: Arc<T>,
}

/// A [`Table`] of whatever subject.
pub(super) trait Entries: Send + Sync {
    /// Makes the node of a name.
    fn find(&self, name: &[u8]) -> Option<Node>;

    /// The name and kind of an entry.
    fn get(&self, index: usize) -> Option<(&'static str, FileKind)>;
}

impl<T: Send + Sync> Entries for Table<T> {
    fn find(&self, name: &[u8]) -> Option<Node> {
        let row = self.rows.iter().find(|row| row.name.as_bytes() == name)?;
        let subject = Arc::clone(&self.subject);
        Some(match row.shows {
            Shows::Text(text) => Node::file(row.permissions, move || Ok(text.as_bytes().to_vec())),
            Shows::Fixed(text) => {
                let render = move || Ok(text.as_bytes().to_vec());
                Node::writable_file(row.permissions, render, move |written| accept_only(text, written))
            }
            Shows::File(render) => Node::file(row.permissions, move || Ok(render(&subject))),
            Shows::Fallible(render) => Node::file(row.permissions, move || render(&subject)),
            Shows::Setting(render, store) => {
                let stored = Arc::clone(&subject);
                Node::writable_file(row.permissions, move || render(&subject), move |text| store(&stored, text))
            }
            Shows::Served(open) => Node::served(row.permissions, move |credentials| open(&subject, credentials)),
            Shows::Directory(make) => Node::directory(row.permissions, make(&subject)),
            Shows::Link(text) => Node::link(move |credentials| text(&subject, credentials)),
            Shows::Place(text, place) => {
                let followed = Arc::clone(&subject);
                Node::magic_link(row.permissions, move |_| text(&subject), move |_| place(&followed))
            }
        })
    }

    fn get(&self, index: usize) -> Option<(&'static str, FileKind)> {
        self.rows.get(index).map(|row| (row.name, row.kind()))
    }
}
