//! Trees whose files are made when they are read: the mechanism of `/proc` and `/sys`.
//!
//! Whoever knows something registers a [`Node`] that shows it; this crate knows nothing of what is shown.
//!
//! - [`Node::file`] renders its contents when it is read from the start; a reader that goes on sees the same text. It may take
//!   what is written to it, too. [`Node::served`] is a file whose reads and writes somebody else serves.
//! - [`Node::directory`] has fixed entries ([`Directory`]) and may have others that come and go ([`Directory::changing`]), found
//!   and listed by closures. Names in a directory with such entries, or of something that may go ([`Directory::existing_while`]), are
//!   not cached.
//! - Most fixed entries are [rows](Row) of tables in constant memory, whose functions get what they show as an argument
//!   ([`Directory::of`]). A row becomes a node when its name is looked up: a tree that nobody reads takes no memory.
//! - [`Node::link`] has a text that is made when it is followed; [`Node::magic_link`] leads to a place whatever its text says.
//!
//! Of what is below something that may go nobody can change the permission bits. What is below a
//! [strict](Directory::strict) directory is as Linux has it below `/proc/sys`: its permission bits count for everybody
//! and cannot be changed, and what is written counts from the start of a file only.
//!
//! Closures are called without any lock of this crate, so they may take whatever they need.
//!
//! An inode number is a hash of the path, so a node found twice is the same file to a program.

mod open;
mod table;

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Errno, OpenFlags};
use file::{DirectorySink, File};
use sync::{Mutex, rank};

use crate::attributes::AttributeChange;
use crate::file_system::anonymous_device;
use crate::{
    Credentials, Dentry, FileKind, FileSystem, FileSystemStatistics, FileTime, HashedName, Inode, LinkTarget, Metadata,
    NAME_LEN_MAX, NewMetadata, Opened, PathRef, RootDentry,
};

pub use table::Row;

use open::GeneratedFile;
use table::{Entries, Table};

/// Positions of changing entries begin here; those of fixed ones are below.
const CHANGING_BASE: u64 = 1 << 32;

/// Makes the contents of a file.
pub type Render = Arc<dyn Fn() -> Result<Vec<u8>, Errno> + Send + Sync>;
/// Takes what was written to a file.
pub type Store = Arc<dyn Fn(&[u8]) -> Result<(), Errno> + Send + Sync>;
/// Makes what serves an open file, for whoever opens it.
pub type Open = Arc<dyn Fn(&Credentials) -> Result<Arc<dyn File>, Errno> + Send + Sync>;
/// Makes the text of a link, for whoever asks.
pub type Text = Arc<dyn Fn(&Credentials) -> Result<Vec<u8>, Errno> + Send + Sync>;
/// Finds the place a link leads to.
pub type Place = Arc<dyn Fn(&Credentials) -> Result<PathRef, Errno> + Send + Sync>;
/// Finds an entry by name.
pub type Find = Arc<dyn Fn(&[u8], &Credentials) -> Option<Node> + Send + Sync>;
/// Whether what a directory shows is still there.
pub type Exists = Arc<dyn Fn() -> bool + Send + Sync>;
/// Gives all entries in ascending order.
pub type List = Arc<dyn Fn(&mut dyn FnMut(ListedNode<'_>)) + Send + Sync>;

/// A changing entry as [`List`] gives it.
#[derive(Clone, Copy, Debug)]
pub struct ListedNode<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// A number below 2^32 that stays with the entry, such as the process number; entries come in its order.
    pub order: u32,
    /// What it is.
    pub kind: FileKind,
}

/// A file, directory or link to be shown. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    kind: NodeKind,
    permissions: u32,
    uid: u32,
    gid: u32,
    is_strict: bool,
    /// Nobody can change its permission bits.
    keeps_mode: bool,
}

#[derive(Clone)]
enum NodeKind {
    File { render: Render, store: Option<Store> },
    Served(Open),
    Directory(Arc<Directory>),
    Link { text: Text, place: Option<Place> },
}

impl Node {
    fn new(kind: NodeKind, permissions: u32) -> Self {
        Self { kind, permissions, uid: 0, gid: 0, is_strict: false, keeps_mode: false }
    }

    /// A file that is only read.
    pub fn file(permissions: u32, render: impl Fn() -> Result<Vec<u8>, Errno> + Send + Sync + 'static) -> Self {
        Self::new(NodeKind::File { render: Arc::new(render), store: None }, permissions)
    }

    /// A file that is read and written.
    pub fn writable_file(
        permissions: u32,
        render: impl Fn() -> Result<Vec<u8>, Errno> + Send + Sync + 'static,
        store: impl Fn(&[u8]) -> Result<(), Errno> + Send + Sync + 'static,
    ) -> Self {
        Self::new(NodeKind::File { render: Arc::new(render), store: Some(Arc::new(store)) }, permissions)
    }

    /// A file that is served, once it is open, by what `open` makes.
    pub fn served(
        permissions: u32,
        open: impl Fn(&Credentials) -> Result<Arc<dyn File>, Errno> + Send + Sync + 'static,
    ) -> Self {
        Self::new(NodeKind::Served(Arc::new(open)), permissions)
    }

    /// A directory.
    pub fn directory(permissions: u32, directory: Directory) -> Self {
        let is_strict = directory.is_strict;
        Self { is_strict, ..Self::new(NodeKind::Directory(Arc::new(directory)), permissions) }
    }

    /// A symbolic link that is followed by its text.
    pub fn link(text: impl Fn(&Credentials) -> Result<Vec<u8>, Errno> + Send + Sync + 'static) -> Self {
        Self::new(NodeKind::Link { text: Arc::new(text), place: None }, 0o777)
    }

    /// A symbolic link that leads to a place; its text is only shown.
    pub fn magic_link(
        permissions: u32,
        text: impl Fn(&Credentials) -> Result<Vec<u8>, Errno> + Send + Sync + 'static,
        place: impl Fn(&Credentials) -> Result<PathRef, Errno> + Send + Sync + 'static,
    ) -> Self {
        Self::new(NodeKind::Link { text: Arc::new(text), place: Some(Arc::new(place)) }, permissions)
    }

    /// The same node with an owner other than root.
    #[must_use]
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    fn file_kind(&self) -> FileKind {
        match self.kind {
            NodeKind::File { .. } | NodeKind::Served(_) => FileKind::Regular,
            NodeKind::Directory(_) => FileKind::Directory,
            NodeKind::Link { .. } => FileKind::Symlink,
        }
    }
}

/// The entries of a directory.
#[derive(Default)]
pub struct Directory {
    tables: Vec<Box<dyn Entries>>,
    fixed: BTreeMap<Vec<u8>, Node>,
    changing: Option<(Find, List)>,
    exists: Option<Exists>,
    /// Whose the entries are, if they are not all root's.
    owner: Option<(u32, u32)>,
    is_strict: bool,
}

impl Directory {
    /// No entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entries of a table, which show something of `subject`.
    pub fn of<T: Send + Sync + 'static>(rows: &'static [Row<T>], subject: &Arc<T>) -> Self {
        Self::new().and(rows, subject)
    }

    /// Adds the entries of another table.
    #[must_use]
    pub fn and<T: Send + Sync + 'static>(mut self, rows: &'static [Row<T>], subject: &Arc<T>) -> Self {
        self.tables.push(Box::new(Table { rows, subject: Arc::clone(subject) }));
        self
    }

    /// Gives all entries an owner other than root.
    #[must_use]
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        self.owner = Some((uid, gid));
        self
    }

    /// Makes everything below strict.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.is_strict = true;
        self
    }

    /// Adds a fixed entry, in the place of one of the same name.
    #[must_use]
    pub fn with(mut self, name: &str, node: Node) -> Self {
        self.fixed.insert(name.as_bytes().to_owned(), node);
        self
    }

    /// Adds entries that come and go.
    #[must_use]
    pub fn changing(
        mut self,
        find: impl Fn(&[u8], &Credentials) -> Option<Node> + Send + Sync + 'static,
        list: impl Fn(&mut dyn FnMut(ListedNode<'_>)) + Send + Sync + 'static,
    ) -> Self {
        self.changing = Some((Arc::new(find), Arc::new(list)));
        self
    }

    /// Makes it a directory of something that may go: then it has no entries, even for who has it open.
    #[must_use]
    pub fn existing_while(mut self, exists: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.exists = Some(Arc::new(exists));
        self
    }

    fn is_gone(&self) -> bool {
        self.exists.as_ref().is_some_and(|exists| !exists())
    }

    fn find(&self, name: &[u8], credentials: &Credentials) -> Option<Node> {
        if self.is_gone() {
            return None;
        }
        let in_tables = || self.tables.iter().find_map(|table| table.find(name));
        let changing = || self.changing.as_ref().and_then(|(find, _)| find(name, credentials));
        let node = self.fixed.get(name).cloned().or_else(in_tables).or_else(changing)?;
        Some(match self.owner {
            Some((uid, gid)) => node.owned_by(uid, gid),
            None => node,
        })
    }

    /// The fixed entries: their names and kinds.
    fn fixed(&self) -> impl Iterator<Item = (&[u8], FileKind)> {
        let single = self.fixed.iter().map(|(name, node)| (name.as_slice(), node.file_kind()));
        let in_tables = self.tables.iter().flat_map(|table| (0..).map_while(|index| table.get(index)));
        single.chain(in_tables.map(|(name, kind)| (name.as_bytes(), kind)))
    }
}

/// A generated tree as a file system.
pub struct GeneratedFs {
    type_name: &'static str,
    magic: u64,
    device: u64,
    root: RootDentry,
    rename_lock: Mutex<()>,
}

impl GeneratedFs {
    /// A file system of this type name and `statfs` magic number, with this directory at its root. `file_len` is what `stat` says
    /// of the length of files, which nobody knows before they are read.
    pub fn new(type_name: &'static str, magic: u64, file_len: u64, root: Directory) -> Arc<Self> {
        let device = anonymous_device();
        let inode = GeneratedInode::new(Node::directory(0o555, root), ROOT_NUMBER, device, file_len);
        let rename_lock = Mutex::new(rank::RENAME, ());
        Arc::new(Self { type_name, magic, device, root: RootDentry::new(inode), rename_lock })
    }
}

impl FileSystem for GeneratedFs {
    fn type_name(&self) -> &'static str {
        self.type_name
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
            magic: self.magic,
            block_size: 4096,
            name_len_max: NAME_LEN_MAX as u64,
            id: self.device,
            ..FileSystemStatistics::default()
        }
    }
}

/// The inode number of the root.
const ROOT_NUMBER: u64 = 1;

/// The inode number of an entry: FNV-1a over the directory's number and the name, kept positive and away from the small ones.
fn number_of(directory: u64, name: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in directory.to_le_bytes().iter().chain(name) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash >> 1 | 1 << 32
}

struct GeneratedInode {
    metadata: Metadata,
    node: Node,
    file_len: u64,
}

impl GeneratedInode {
    fn new(node: Node, number: u64, device: u64, file_len: u64) -> Arc<Self> {
        let kind = node.file_kind();
        let metadata = Metadata::new(NewMetadata {
            number,
            device,
            mode: kind.mode_bits() | node.permissions,
            uid: node.uid,
            gid: node.gid,
            links: if kind == FileKind::Directory { 2 } else { 1 },
            represents: 0,
            size: if kind == FileKind::Regular { file_len } else { 0 },
            time: FileTime::now(),
        });
        let metadata = if node.is_strict { metadata.strict() } else { metadata };
        Arc::new(Self { metadata, node, file_len })
    }

    fn directory(&self) -> Result<&Arc<Directory>, Errno> {
        match &self.node.kind {
            NodeKind::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }
}

impl Inode for GeneratedInode {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn caches_names(&self) -> bool {
        self.directory().is_ok_and(|directory| directory.changing.is_none() && directory.exists.is_none())
    }

    fn lookup(&self, name: HashedName<'_>, credentials: &Credentials) -> Result<Arc<dyn Inode>, Errno> {
        let directory = self.directory()?;
        let mut node = directory.find(name.bytes(), credentials).ok_or(Errno::ENOENT)?;
        node.is_strict |= self.node.is_strict;
        node.keeps_mode |= self.node.keeps_mode || directory.exists.is_some();
        let number = number_of(self.metadata.number(), name.bytes());
        Ok(Self::new(node, number, self.metadata.device(), self.file_len))
    }

    fn set_attributes(&self, change: &AttributeChange) -> Result<(), Errno> {
        let Node { is_strict, keeps_mode, .. } = self.node;
        let is_owner_changed = change.uid.is_some() || change.gid.is_some();
        let is_forbidden = change.mode.is_some() && (is_strict || keeps_mode) || is_owner_changed && is_strict;
        if is_forbidden { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// What Linux says in `/proc`, where a name that is not there cannot even be made.
    fn check_takes_names(&self) -> Result<(), Errno> {
        Err(Errno::ENOENT)
    }

    fn read_directory(&self, position: u64, sink: &mut dyn DirectorySink) -> Result<(), Errno> {
        let directory = self.directory()?;
        if directory.is_gone() {
            return Err(Errno::ENOENT);
        }
        let own_number = self.metadata.number();
        let skipped = usize::try_from(position).unwrap_or(usize::MAX);
        for ((name, kind), next) in directory.fixed().zip(1..).skip(skipped) {
            if !sink.entry(name, number_of(own_number, name), kind.entry_kind(), next) {
                return Ok(());
            }
        }
        let Some((_, list)) = &directory.changing else { return Ok(()) };
        let mut entries = Vec::new();
        list(&mut |node| {
            let next = CHANGING_BASE + u64::from(node.order) + 1;
            if next > position {
                entries.push((node.name.to_owned(), node.kind, next));
            }
        });
        for (name, kind, next) in entries {
            if !sink.entry(&name, number_of(own_number, &name), kind.entry_kind(), next) {
                break;
            }
        }
        Ok(())
    }

    fn link_target(&self, credentials: &Credentials) -> Result<LinkTarget, Errno> {
        match &self.node.kind {
            NodeKind::Link { place: Some(place), .. } => place(credentials).map(LinkTarget::Place),
            NodeKind::Link { text, .. } => text(credentials).map(|text| LinkTarget::Path(Arc::from(text))),
            _ => Err(Errno::EINVAL),
        }
    }

    fn link_text(&self, credentials: &Credentials) -> Result<Vec<u8>, Errno> {
        match &self.node.kind {
            NodeKind::Link { text, .. } => text(credentials),
            _ => Err(Errno::EINVAL),
        }
    }

    fn open(&self, _path: &PathRef, _flags: OpenFlags, credentials: &Credentials) -> Result<Opened, Errno> {
        Ok(match &self.node.kind {
            NodeKind::File { .. } => Opened::Through(Arc::new(GeneratedFile::new(self.node.clone()))),
            NodeKind::Served(open) => Opened::Through(open(credentials)?),
            _ => Opened::Inode,
        })
    }

    fn set_len(&self, _len: u64) -> Result<(), Errno> {
        // A shell cuts what it writes to.
        Ok(())
    }
}
