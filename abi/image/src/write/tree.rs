//! The root file system while it is being collected: an arena of nodes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::Site;
use crate::archive::{LINK_SIZE_MAX, NAME_SIZE_MAX};

/// A node of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

/// What every file has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The permission bits, with set-user-id, set-group-id and sticky; a file type in it is ignored.
    pub permissions: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The time of the last change, in nanoseconds since 1970.
    pub modified_ns: i64,
}

impl Metadata {
    /// Root's, with these permissions.
    pub fn with_permissions(permissions: u32) -> Self {
        Self { permissions, ..Self::default() }
    }
}

/// The contents of a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// In memory.
    Bytes(Vec<u8>),
    /// In a file of the host, read when the payload is written.
    HostFile {
        /// Where it is.
        path: PathBuf,
        /// Its size; a file that has another one when it is read is an error.
        size: u64,
    },
    /// On the disk that is the root: only its sites are of interest here.
    Elsewhere {
        /// Its size.
        size: u64,
    },
}

impl Content {
    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => super::wide(bytes.len()),
            Self::HostFile { size, .. } | Self::Elsewhere { size } => *size,
        }
    }
}

/// A special file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialKind {
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
}

#[derive(Clone, Debug)]
pub(super) enum NodeKind {
    File { content: Content, sites: Vec<Site> },
    Directory(BTreeMap<Vec<u8>, NodeId>),
    Link(Vec<u8>),
    Special { kind: SpecialKind, device: u64 },
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) metadata: Metadata,
    pub(super) links: u32,
    pub(super) kind: NodeKind,
}

impl Node {
    pub(super) fn mode(&self) -> u32 {
        let kind = match &self.kind {
            NodeKind::File { .. } => 0o100_000,
            NodeKind::Directory(_) => 0o040_000,
            NodeKind::Link(_) => 0o120_000,
            NodeKind::Special { kind: SpecialKind::CharacterDevice, .. } => 0o020_000,
            NodeKind::Special { kind: SpecialKind::BlockDevice, .. } => 0o060_000,
            NodeKind::Special { kind: SpecialKind::Fifo, .. } => 0o010_000,
            NodeKind::Special { kind: SpecialKind::Socket, .. } => 0o140_000,
        };
        kind | (self.metadata.permissions & 0o7777)
    }
}

/// What a node is.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// A regular file.
    File {
        /// What is in it.
        content: &'a Content,
        /// Its sites.
        sites: &'a [Site],
    },
    /// A directory.
    Directory,
    /// A symbolic link with this target.
    Link(&'a [u8]),
    /// A special file.
    Special {
        /// Its kind.
        kind: SpecialKind,
        /// Its device number, as in `st_rdev`.
        device: u64,
    },
}

/// Why something could not be added to a [`Tree`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// The name is empty, too long, `.`, `..`, or has a slash or a zero in it.
    BadName(Vec<u8>),
    /// The name is taken.
    Exists(Vec<u8>),
    /// The parent is no directory.
    NotADirectory,
    /// A directory cannot have a second name.
    DirectoryLink,
    /// The target of a symbolic link is empty, too long or has a zero in it.
    BadTarget,
}

impl fmt::Display for TreeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName(name) => write!(formatter, "bad file name '{}'", String::from_utf8_lossy(name)),
            Self::Exists(name) => write!(formatter, "'{}' is there already", String::from_utf8_lossy(name)),
            Self::NotADirectory => formatter.write_str("not a directory"),
            Self::DirectoryLink => formatter.write_str("a directory cannot have a second name"),
            Self::BadTarget => formatter.write_str("bad target of a symbolic link"),
        }
    }
}

impl std::error::Error for TreeError {}

/// A file system to be written.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Default for Tree {
    fn default() -> Self {
        let kind = NodeKind::Directory(BTreeMap::new());
        Self { nodes: vec![Node { metadata: Metadata::with_permissions(0o755), links: 2, kind }] }
    }
}

impl Tree {
    /// A tree with an empty root directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// The root directory.
    pub fn root(&self) -> NodeId {
        NodeId(0)
    }

    /// Adds an empty directory.
    ///
    /// # Errors
    /// See [`TreeError`].
    pub fn add_directory(&mut self, parent: NodeId, name: &[u8], metadata: Metadata) -> Result<NodeId, TreeError> {
        let id = self.add(parent, name, Node { metadata, links: 2, kind: NodeKind::Directory(BTreeMap::new()) })?;
        if let Some(parent) = self.nodes.get_mut(parent.0) {
            parent.links = parent.links.saturating_add(1);
        }
        Ok(id)
    }

    /// Adds a regular file.
    ///
    /// # Errors
    /// See [`TreeError`].
    pub fn add_file(
        &mut self,
        parent: NodeId,
        name: &[u8],
        metadata: Metadata,
        content: Content,
    ) -> Result<NodeId, TreeError> {
        self.add(parent, name, Node { metadata, links: 1, kind: NodeKind::File { content, sites: Vec::new() } })
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// See [`TreeError`].
    pub fn add_link(
        &mut self,
        parent: NodeId,
        name: &[u8],
        metadata: Metadata,
        target: &[u8],
    ) -> Result<NodeId, TreeError> {
        if target.is_empty() || super::wide(target.len()) > LINK_SIZE_MAX || target.contains(&0) {
            return Err(TreeError::BadTarget);
        }
        self.add(parent, name, Node { metadata, links: 1, kind: NodeKind::Link(target.to_vec()) })
    }

    /// Adds a device, named pipe or socket.
    ///
    /// # Errors
    /// See [`TreeError`].
    pub fn add_special(
        &mut self,
        parent: NodeId,
        name: &[u8],
        metadata: Metadata,
        kind: SpecialKind,
        device: u64,
    ) -> Result<NodeId, TreeError> {
        self.add(parent, name, Node { metadata, links: 1, kind: NodeKind::Special { kind, device } })
    }

    /// Gives a node that is no directory one more name.
    ///
    /// # Errors
    /// See [`TreeError`].
    pub fn add_hard_link(&mut self, parent: NodeId, name: &[u8], target: NodeId) -> Result<(), TreeError> {
        if self.is_directory(target) {
            return Err(TreeError::DirectoryLink);
        }
        self.insert(parent, name, target)?;
        if let Some(node) = self.nodes.get_mut(target.0) {
            node.links = node.links.saturating_add(1);
        }
        Ok(())
    }

    /// Sets what a node's owner, permissions and time are.
    pub fn set_metadata(&mut self, id: NodeId, metadata: Metadata) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.metadata = metadata;
        }
    }

    /// Lists the instructions of a regular file that must not run as they are, sorted by offset.
    pub fn set_sites(&mut self, id: NodeId, list: Vec<Site>) {
        if let Some(Node { kind: NodeKind::File { sites, .. }, .. }) = self.nodes.get_mut(id.0) {
            *sites = list;
        }
    }

    /// The node of a name in a directory.
    pub fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        match &self.nodes.get(directory.0)?.kind {
            NodeKind::Directory(children) => children.get(name).copied(),
            _ => None,
        }
    }

    /// The node at a path from the root; symbolic links are not followed.
    pub fn find(&self, path: &[u8]) -> Option<NodeId> {
        let mut names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        names.try_fold(self.root(), |directory, name| self.child(directory, name))
    }

    /// Whether a node is a directory.
    pub fn is_directory(&self, id: NodeId) -> bool {
        matches!(self.nodes.get(id.0), Some(Node { kind: NodeKind::Directory(_), .. }))
    }

    /// The target, if a node is a symbolic link.
    pub fn link_target(&self, id: NodeId) -> Option<&[u8]> {
        match self.nodes.get(id.0)? {
            Node { kind: NodeKind::Link(target), .. } => Some(target),
            _ => None,
        }
    }

    /// Every regular file, once each.
    pub fn files(&self) -> impl Iterator<Item = (NodeId, &Content)> {
        self.nodes.iter().enumerate().filter_map(|(index, node)| match &node.kind {
            NodeKind::File { content, .. } => Some((NodeId(index), content)),
            _ => None,
        })
    }

    /// What a node is.
    pub fn view(&self, id: NodeId) -> View<'_> {
        let node = self.node(id);
        match &node.kind {
            NodeKind::File { content, sites } => View::File { content, sites },
            NodeKind::Directory(_) => View::Directory,
            NodeKind::Link(target) => View::Link(target),
            NodeKind::Special { kind, device } => View::Special { kind: *kind, device: *device },
        }
    }

    /// Owner, permissions and time of a node.
    pub fn metadata(&self, id: NodeId) -> Metadata {
        self.node(id).metadata
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        // An id of this tree always has its node: nodes are never removed.
        &self.nodes[id.0]
    }

    /// The names in a directory, in their order; none if it is no directory.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
        let children = match &self.node(id).kind {
            NodeKind::Directory(children) => Some(children),
            _ => None,
        };
        children.into_iter().flatten().map(|(name, &child)| (name.as_slice(), child))
    }

    fn add(&mut self, parent: NodeId, name: &[u8], node: Node) -> Result<NodeId, TreeError> {
        let id = NodeId(self.nodes.len());
        self.insert(parent, name, id)?;
        self.nodes.push(node);
        Ok(id)
    }

    fn insert(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> Result<(), TreeError> {
        let is_special = name.is_empty() || name == b"." || name == b"..";
        let is_long = name.len() > usize::from(NAME_SIZE_MAX);
        if is_special || is_long || name.iter().any(|&byte| byte == 0 || byte == b'/') {
            return Err(TreeError::BadName(name.to_vec()));
        }
        let Some(Node { kind: NodeKind::Directory(children), .. }) = self.nodes.get_mut(parent.0) else {
            return Err(TreeError::NotADirectory);
        };
        if children.contains_key(name) {
            return Err(TreeError::Exists(name.to_vec()));
        }
        children.insert(name.to_vec(), id);
        Ok(())
    }
}
