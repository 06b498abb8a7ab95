//! The path walk.
//!
//! A walk goes from a directory along the components of a path. Links met on the way put the rest of the path on a stack and
//! walk the link's text first. It stops before the last component, because what happens there depends on who walks:
//! [`resolve`] looks it up, `open` may create it, `unlink` removes it.
//!
//! Nothing is copied of the path; the text of a link is shared with its inode. A walk holds no lock between components,
//! and takes none for what the cache knows: it first goes as far as [`cached_walk`](crate::cached_walk) gets, and on
//! with locks where that stops, back there behind each component.
//!
//! # Rules, as on Linux
//!
//! - Search permission is needed in every directory a component is looked up in, `.` and `..` included.
//! - A trailing slash means that a directory is wanted, and that a link there is followed.
//! - `..` at the root of the process stays there; at the root of a mount it leaves the mount first.
//! - At most [`LINKS_FOLLOWED_MAX`](crate::LINKS_FOLLOWED_MAX) links are followed in one walk (`ELOOP`).

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Errno, ResolveFlags};
use bitflags::bitflags;

use crate::cached_walk::{self, Manner, Until};
use crate::name::HashedName;
use crate::names::Cached;
use crate::{
    Capabilities, Credentials, Dentry, FileKind, FsContext, LINKS_FOLLOWED_MAX, LinkTarget, MountFlags, PATH_LEN_MAX,
    PathRef, Permissions, protection,
};

bitflags! {
    /// How a path is walked.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Lookup: u32 {
        /// A link at the end is followed.
        const FOLLOW = 0x1;
        /// The end must be a directory (`ENOTDIR`).
        const DIRECTORY = 0x2;
        /// An empty path means the start itself (`AT_EMPTY_PATH`).
        const EMPTY = 0x4;
        /// Mounts that are walked into do not count as used (`MNT_EXPIRE`).
        const UNNOTICED = 0x8;
        /// `RESOLVE_NO_XDEV`.
        const NO_MOUNTS = 0x10;
        /// `RESOLVE_NO_MAGICLINKS`.
        const NO_MAGIC_LINKS = 0x20;
        /// `RESOLVE_NO_SYMLINKS`.
        const NO_LINKS = 0x40;
        /// `RESOLVE_BENEATH`.
        const BENEATH = 0x80;
        /// `RESOLVE_IN_ROOT`.
        const IN_ROOT = 0x100;
        /// `RESOLVE_CACHED`: `EAGAIN` where a file system would be asked for a name.
        const CACHED = 0x200;
    }
}

impl From<ResolveFlags> for Lookup {
    fn from(flags: ResolveFlags) -> Self {
        let map = [
            (ResolveFlags::NO_XDEV, Self::NO_MOUNTS),
            (ResolveFlags::NO_MAGICLINKS, Self::NO_MAGIC_LINKS),
            (ResolveFlags::NO_SYMLINKS, Self::NO_LINKS),
            (ResolveFlags::BENEATH, Self::BENEATH),
            (ResolveFlags::IN_ROOT, Self::IN_ROOT),
            (ResolveFlags::CACHED, Self::CACHED),
        ];
        map.into_iter().filter(|(from, _)| flags.contains(*from)).fold(Self::empty(), |all, (_, to)| all | to)
    }
}

/// Finds the place a path leads to, from `start` (or the working directory) when it is relative.
pub fn resolve(
    context: &FsContext,
    credentials: &Credentials,
    start: Option<&PathRef>,
    path: &[u8],
    flags: Lookup,
) -> Result<PathRef, Errno> {
    let (mut walk, is_end) = Walk::begin(context, credentials, start, path, flags, Until::End)?;
    if is_end {
        return walk.finish();
    }
    loop {
        let last = walk.walk_to_last()?;
        if walk.enter(&last, flags.contains(Lookup::FOLLOW))? {
            return walk.finish();
        }
    }
}

/// What the last component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastKind {
    /// There is none: the walk is where the path leads.
    Nothing,
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// A name.
    Name,
}

/// A component of a path.
pub(crate) struct Last<'a> {
    pub(crate) kind: LastKind,
    /// Whether slashes follow it.
    pub(crate) has_slash: bool,
    name: LastName<'a>,
}

/// Where the name of a component stands.
enum LastName<'a> {
    Path(HashedName<'a>),
    Link { text: Arc<[u8]>, start: usize },
}

impl Last<'_> {
    /// The name, hashed.
    #[inline]
    pub(crate) fn name(&self) -> HashedName<'_> {
        match &self.name {
            LastName::Path(name) => *name,
            LastName::Link { text, start } => HashedName::component(text.get(*start..).unwrap_or_default()),
        }
    }
}

/// A walk under way.
pub(crate) struct Walk<'a> {
    credentials: &'a Credentials,
    /// Where absolute paths begin and `..` stays.
    root: &'a PathRef,
    flags: Lookup,
    /// The directory reached, or at the end the place.
    pub(crate) at: PathRef,
    /// What is left of the path, without a slash in front.
    path: &'a [u8],
    /// The texts of links that are walked before the path, the last one first, and how far each is.
    links: Vec<(Arc<[u8]>, usize)>,
    /// Search permission is never missing.
    searches_all: bool,
    links_followed: usize,
    /// A slash follows the path, or the text of a link at its end: links there are followed, to a directory.
    has_slash: bool,
}

impl<'a> Walk<'a> {
    /// Begins a walk to the directory of the last component.
    pub(crate) fn new(
        context: &'a FsContext,
        credentials: &'a Credentials,
        start: Option<&'a PathRef>,
        path: &'a [u8],
        flags: Lookup,
    ) -> Result<Self, Errno> {
        Self::begin(context, credentials, start, path, flags, Until::Directory).map(|(walk, _)| walk)
    }

    /// Begins a walk, and says whether it is at its end already.
    #[inline]
    pub(crate) fn begin(
        context: &'a FsContext,
        credentials: &'a Credentials,
        start: Option<&'a PathRef>,
        path: &'a [u8],
        flags: Lookup,
        until: Until,
    ) -> Result<(Self, bool), Errno> {
        if path.len() >= PATH_LEN_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if path.is_empty() && !flags.contains(Lookup::EMPTY) {
            return Err(Errno::ENOENT);
        }
        let start = start.unwrap_or(&context.cwd);
        let is_scoped = flags.intersects(Lookup::BENEATH | Lookup::IN_ROOT);
        let root = if is_scoped { start } else { &context.root };
        let is_absolute = path.first() == Some(&b'/');
        if is_absolute && flags.contains(Lookup::BENEATH) {
            return Err(Errno::EXDEV);
        }
        let start = if is_absolute { root } else { start };
        let mut path = skip_slashes(path);
        let searches_all = credentials.has(Capabilities::DAC_OVERRIDE);
        let reached = cached_walk::walk(start, &mut path, Manner { until, flags, searches_all })?;
        let walk = Self {
            credentials,
            root,
            flags,
            at: reached.place.unwrap_or_else(|| start.clone()),
            path,
            links: Vec::new(),
            searches_all,
            links_followed: 0,
            has_slash: false,
        };
        Ok((walk, reached.is_end))
    }

    /// Goes on along names that are in the cache, up to the last component.
    fn walk_cached(&mut self) -> Result<(), Errno> {
        while let Some((text, position)) = self.links.pop() {
            let mut rest = text.get(position..).unwrap_or_default();
            if rest.is_empty() {
                continue;
            }
            let until = if self.is_at_end() { Until::Directory } else { Until::Present };
            let is_end = self.walk_cached_along(&mut rest, until)?;
            if !is_end {
                let position = text.len() - rest.len();
                self.links.push((text, position));
                return Ok(());
            }
        }
        let mut path = self.path;
        self.walk_cached_along(&mut path, Until::Directory)?;
        self.path = path;
        Ok(())
    }

    /// Whether it came to the end.
    fn walk_cached_along(&mut self, path: &mut &[u8], until: Until) -> Result<bool, Errno> {
        let manner = Manner { until, flags: self.flags, searches_all: self.searches_all };
        let reached = cached_walk::walk(&self.at, path, manner)?;
        if let Some(place) = reached.place {
            self.at = place;
        }
        Ok(reached.is_end)
    }

    /// Walks to the directory of the last component.
    #[inline]
    pub(crate) fn walk_to_last(&mut self) -> Result<Last<'a>, Errno> {
        loop {
            let last = self.next_component();
            if last.kind == LastKind::Nothing {
                return Ok(last);
            }
            self.check_search()?;
            if self.is_at_end() {
                self.has_slash |= last.has_slash;
                return Ok(last);
            }
            self.enter(&last, true)?;
            self.walk_cached()?;
        }
    }

    /// Whether a name may be looked up where the walk is.
    #[inline]
    fn check_search(&self) -> Result<(), Errno> {
        if self.at.dentry.kind() != FileKind::Directory {
            // As on Linux, which says so only behind a walk with locks.
            return Err(if self.flags.contains(Lookup::CACHED) { Errno::EAGAIN } else { Errno::ENOTDIR });
        }
        if self.searches_all {
            return Ok(());
        }
        self.at.inode().check_permission(self.credentials, Permissions::EXECUTE)
    }

    /// Goes to what the component names. False: it was a link that is followed, and the walk goes on.
    #[inline]
    pub(crate) fn enter(&mut self, last: &Last<'a>, follows: bool) -> Result<bool, Errno> {
        match last.kind {
            LastKind::Nothing | LastKind::Dot => Ok(true),
            LastKind::DotDot => self.go_up().map(|()| true),
            LastKind::Name => {
                let child = self.child(last.name())?.ok_or(Errno::ENOENT)?;
                self.enter_child(child, follows || self.has_slash)
            }
        }
    }

    /// What a name stands for here; None when there is nothing. `EAGAIN` when the cache does not know and is not to be
    /// left.
    pub(crate) fn child(&self, name: HashedName<'_>) -> Result<Option<Arc<Dentry>>, Errno> {
        if self.flags.contains(Lookup::CACHED) && matches!(self.at.dentry.cached(name), Cached::Unknown) {
            return Err(Errno::EAGAIN);
        }
        self.at.dentry.child(name, self.credentials)
    }

    /// Goes to a child of the directory. False: as for [`Walk::enter`].
    #[inline]
    pub(crate) fn enter_child(&mut self, child: Arc<Dentry>, follows: bool) -> Result<bool, Errno> {
        if child.is_mount_point() && self.enter_mount(&child)? {
            return Ok(true);
        }
        if follows && child.kind() == FileKind::Symlink {
            return self.follow(&child).map(|()| false);
        }
        self.at.dentry = child;
        Ok(true)
    }

    /// Goes to the root of what is mounted on a dentry; false when that is nothing here.
    #[inline(always)]
    fn enter_mount(&mut self, mount_point: &Arc<Dentry>) -> Result<bool, Errno> {
        let Some(mount) = self.at.mount.mounted_on(mount_point) else { return Ok(false) };
        if self.flags.contains(Lookup::NO_MOUNTS) {
            return Err(Errno::EXDEV);
        }
        if !self.flags.contains(Lookup::UNNOTICED) {
            mount.note_use();
        }
        self.at = PathRef { dentry: mount.root().clone(), mount };
        Ok(true)
    }

    /// The place reached; `ENOTDIR` when a directory is wanted and it is none.
    #[inline(always)]
    pub(crate) fn finish(self) -> Result<PathRef, Errno> {
        let wants_directory = self.has_slash || self.flags.contains(Lookup::DIRECTORY);
        if wants_directory && self.at.dentry.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok(self.at)
    }

    /// The next component.
    #[inline]
    fn next_component(&mut self) -> Last<'a> {
        while let Some((text, position)) = self.links.last_mut() {
            let found = Found::at(text.get(*position..).unwrap_or_default());
            if found.kind() != LastKind::Nothing {
                let name = LastName::Link { text: text.clone(), start: *position };
                let last = found.last(name);
                *position = text.len() - found.rest.len();
                return last;
            }
            self.links.pop();
        }
        let found = Found::at(self.path);
        self.path = found.rest;
        found.last(LastName::Path(found.name))
    }

    /// Whether no components are left.
    #[inline]
    fn is_at_end(&self) -> bool {
        self.path.is_empty() && self.links.iter().all(|(text, position)| *position == text.len())
    }

    /// Goes on with the text, or the place, of a link in this directory.
    #[cold]
    fn follow(&mut self, link: &Dentry) -> Result<(), Errno> {
        self.links_followed += 1;
        let is_barred = self.flags.contains(Lookup::NO_LINKS) || self.at.mount.flags().contains(MountFlags::NO_LINKS);
        if self.links_followed > LINKS_FOLLOWED_MAX || is_barred {
            return Err(Errno::ELOOP);
        }
        if self.is_at_end() {
            protection::check_follow(self.credentials, self.at.inode().metadata(), link.inode().metadata())?;
        }
        self.at.mount.note_access(link.inode());
        match link.inode().link_target(self.credentials)? {
            LinkTarget::Place(place) => self.jump(place),
            LinkTarget::Path(text) if text.is_empty() => Err(Errno::ENOENT),
            LinkTarget::Path(text) => {
                if text.first() == Some(&b'/') {
                    self.go_to_root()?;
                }
                let start = text.len() - skip_slashes(&text).len();
                self.links.push((text, start));
                Ok(())
            }
        }
    }

    /// Goes where a link leads that has no path.
    fn jump(&mut self, place: PathRef) -> Result<(), Errno> {
        if self.flags.contains(Lookup::NO_MAGIC_LINKS) {
            return Err(Errno::ELOOP);
        }
        let leaves_mount = self.flags.contains(Lookup::NO_MOUNTS) && !Arc::ptr_eq(&place.mount, &self.at.mount);
        if leaves_mount || self.flags.intersects(Lookup::BENEATH | Lookup::IN_ROOT) {
            return Err(Errno::EXDEV);
        }
        self.at = place;
        Ok(())
    }

    /// Goes to the root for a link with an absolute path.
    fn go_to_root(&mut self) -> Result<(), Errno> {
        let leaves_mount = self.flags.contains(Lookup::NO_MOUNTS) && !Arc::ptr_eq(&self.root.mount, &self.at.mount);
        if leaves_mount || self.flags.contains(Lookup::BENEATH) {
            return Err(Errno::EXDEV);
        }
        self.at = self.root.clone();
        Ok(())
    }

    /// Goes to the parent directory.
    fn go_up(&mut self) -> Result<(), Errno> {
        loop {
            if self.at.is_same(self.root) {
                return if self.flags.contains(Lookup::BENEATH) { Err(Errno::EXDEV) } else { Ok(()) };
            }
            if !self.at.is_mount_root() {
                break;
            }
            let Some(place) = self.at.mount.place() else { return Ok(()) };
            if self.flags.contains(Lookup::NO_MOUNTS) {
                return Err(Errno::EXDEV);
            }
            self.at = place;
        }
        if let Some(parent) = self.at.dentry.parent() {
            self.at.dentry = parent;
        }
        if self.at.dentry.is_mount_point() {
            self.enter_mount(&self.at.dentry.clone())?;
        }
        Ok(())
    }
}

/// A component found in a text.
pub(crate) struct Found<'t> {
    /// Empty at the end of the text.
    pub(crate) name: HashedName<'t>,
    /// What follows it, without a slash in front.
    pub(crate) rest: &'t [u8],
    /// Whether slashes follow it.
    pub(crate) has_slash: bool,
}

impl<'t> Found<'t> {
    /// The first component of a text that does not begin with a slash.
    #[inline(always)]
    pub(crate) fn at(text: &'t [u8]) -> Self {
        let name = HashedName::component(text);
        let after = text.get(name.bytes().len()..).unwrap_or_default();
        match after {
            [b'/', rest @ ..] => Self { name, rest: skip_slashes(rest), has_slash: true },
            _ => Self { name, rest: &[], has_slash: false },
        }
    }

    #[inline(always)]
    pub(crate) fn kind(&self) -> LastKind {
        match self.name.bytes() {
            [] => LastKind::Nothing,
            [b'.'] => LastKind::Dot,
            [b'.', b'.'] => LastKind::DotDot,
            _ => LastKind::Name,
        }
    }

    #[inline]
    fn last<'a>(&self, name: LastName<'a>) -> Last<'a> {
        Last { kind: self.kind(), has_slash: self.has_slash, name }
    }
}

/// A text without the slashes in front.
#[inline(always)]
pub(crate) fn skip_slashes(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let [b'/', tail @ ..] = rest {
        rest = tail;
    }
    rest
}
