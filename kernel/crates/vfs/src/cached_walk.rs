//! The part of a walk that takes no lock and counts no reference: nearly all of nearly every walk.
//!
//! 1. *The idea* is that of the rcu-walk of Linux (its Documentation/filesystems/path-lookup.rst, section "RCU-walk"):
//!    the walk stays in one read section of RCU, in which nothing that it can see ends, follows what the cache knows,
//!    and takes counted references only where it stops. Whatever is unusual is left to the walk with locks, which goes
//!    on from there: a name that the cache does not know, `..`, a link, a directory that not everybody may search.
//! 2. *Each step is true.* What a step finds ([`crate::names::Seen`]) never changes: name, kind and contents were those
//!    of the directory at a moment of the step. So the steps of a walk are each right at a moment of its own, one after
//!    the other, which is what a walk with locks says too, as it holds none between two steps. A name that is missed is
//!    not believed to be absent; one that is marked as absent is. Linux changes dentries in place, and so has a
//!    sequence count in each which a step must find unchanged (`d_seq`), and one of all renames for its chains
//!    (`rename_lock`). There is nothing here for these to guard: a rename takes the old name out before it puts the new
//!    one in, and a walk that misses one or both waits for the locks that the rename holds.
//! 3. *The end.* The dentry and the mount are counted while the section lasts. A dentry whose count has ended has left
//!    the cache: the walk begins again where it began, with locks. One that was removed or renamed after the last step
//!    is found as if the walk had come a little earlier.
//! 4. *Mounts* are met by the same means ([`MountView`]). Linux asks its sequence count `mount_lock` after it has
//!    counted a mount; here that is asked of those mounts alone that are unmounted for having no users.
//! 5. *Permission.* A walk cannot look at the inode, which ends with its dentry. What it needs to know of it, whether
//!    everybody may search the directory, is kept where it can see it. That is the answer for nearly all directories;
//!    Linux asks it first as well. `stat` of what the cache knows counts the dentry alone ([`find_cached`]): it does
//!    not matter to it if the mount goes meanwhile.
//! 6. *Length.* The section forbids preemption, so it ends after [`STEPS_MAX`] steps; the walk with locks makes the
//!    next one.
//!
//! What it does not do: links and `..`, which Linux follows in this mode. The walk comes back here behind them.

use alloc::sync::{Arc, Weak};

use abi::Errno;
use file::Attributes;
use sync::rcu::{self, ReadGuard};

use crate::mount::MountView;
use crate::names::Names;
use crate::walk::{Found, Lookup, skip_slashes};
use crate::{Capabilities, Credentials, Dentry, FileKind, FsContext, Mount, PATH_LEN_MAX, PathRef};

/// The most steps in one read section.
const STEPS_MAX: usize = 64;

/// What a walk is to do with the last component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Nothing: the directory is wanted in which it is.
    Directory,
    /// To enter it, if it is there.
    Present,
    /// To enter it; it is an error if it is not there.
    End,
}

/// How far a walk came.
pub(crate) struct Reached {
    /// Where it is; none if that is where it began.
    pub(crate) place: Option<PathRef>,
    /// Whether that is the end of the path, with the last component entered.
    pub(crate) is_end: bool,
}

/// What a walk counts. These may be the last references, and what they refer to may sleep when it ends: so this is
/// dropped behind the read section.
#[derive(Default)]
pub struct CachedPlace {
    dentry: Option<Arc<Dentry>>,
    /// None: that of the start, or none is wanted.
    mount: Option<Arc<Mount>>,
}

impl CachedPlace {
    /// What `stat` shows of the place, after [`find_cached`] has found it.
    #[inline]
    pub fn attributes(&self) -> Option<Attributes> {
        Some(self.dentry.as_ref()?.inode().attributes())
    }

    /// What was found, with its mount.
    #[inline]
    pub fn into_path(self) -> Option<PathRef> {
        Some(PathRef { mount: self.mount?, dentry: self.dentry? })
    }
}

/// Where a walk is, as long as its read section lasts.
struct Position<'s> {
    names: &'s Names,
    /// The dentry; none at the start.
    dentry: Option<&'s Weak<Dentry>>,
    mount: &'s MountView,
    /// Whether it has gone from one mount to another.
    is_elsewhere: bool,
}

/// How a walk is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) until: Until,
    pub(crate) flags: Lookup,
    /// Search permission is never missing.
    pub(crate) searches_all: bool,
}

/// Finds a place in a read section that the caller has begun, to save him counting what he asks with, and the mount as
/// well if it is not wanted. False: the cache does not know, or [`resolve`](crate::resolve) has something to say.
/// `found` is to be dropped behind the section.
#[inline]
pub fn find_cached<const COUNTS_MOUNT: bool>(
    context: &FsContext,
    credentials: &Credentials,
    path: &[u8],
    flags: Lookup,
    section: &ReadGuard,
    found: &mut CachedPlace,
) -> Result<bool, Errno> {
    let (start, mut left) = match path {
        [b'/', rest @ ..] => (&context.root, skip_slashes(rest)),
        _ => (&context.cwd, path),
    };
    if path.len() >= PATH_LEN_MAX {
        return Ok(false);
    }
    let searches_all = credentials.has(Capabilities::DAC_OVERRIDE);
    let manner = Manner { until: Until::End, flags, searches_all };
    if take_steps::<COUNTS_MOUNT>(start, &mut left, manner, section, found)? != Came::ToTheEnd {
        return Ok(false);
    }
    if COUNTS_MOUNT && found.mount.is_none() {
        found.mount = Some(start.mount.clone());
    }
    let wants_directory = flags.contains(Lookup::DIRECTORY);
    if wants_directory && found.dentry.as_ref().is_some_and(|dentry| dentry.kind() != FileKind::Directory) {
        return Err(Errno::ENOTDIR);
    }
    Ok(true)
}

/// Walks from `start` along `path`, and cuts off the path what was walked. `ENOENT` when a name is known to be absent.
pub(crate) fn walk(start: &PathRef, path: &mut &[u8], manner: Manner) -> Result<Reached, Errno> {
    let mut counted = CachedPlace::default();
    let section = rcu::read();
    let came = take_steps::<true>(start, path, manner, &section, &mut counted)?;
    drop(section);
    if came == Came::Nowhere {
        return Ok(Reached { place: None, is_end: false });
    }
    let CachedPlace { dentry, mount } = counted;
    let place = dentry.map(|dentry| PathRef { mount: mount.unwrap_or_else(|| start.mount.clone()), dentry });
    Ok(Reached { place, is_end: came == Came::ToTheEnd })
}

/// How far a walk came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// What is counted is not to be used.
    Nowhere,
    /// Some steps, of which the last is counted.
    Far,
    /// As far as was wanted.
    ToTheEnd,
}

/// The steps of a walk. Where they end is counted, unless that is the start.
#[inline(always)]
fn take_steps<'p, const COUNTS_MOUNT: bool>(
    start: &PathRef,
    path: &mut &'p [u8],
    manner: Manner,
    section: &ReadGuard,
    counted: &mut CachedPlace,
) -> Result<Came, Errno> {
    let Some(names) = start.dentry.names() else { return Ok(Came::Nowhere) };
    let before = MountView::before();
    let mut at = Position { names, dentry: None, mount: start.mount.view(), is_elsewhere: false };
    let mut left: &'p [u8] = path;
    let mut came = Came::Far;
    for _ in 0..STEPS_MAX {
        let found = Found::at(left);
        let is_last = found.rest.is_empty();
        let enters = !is_last || (manner.until != Until::Directory && !found.has_slash);
        if !enters || !found.name.is_plain() || !(manner.searches_all || at.names.is_open()) {
            break;
        }
        let Some(seen) = at.names.find(found.name, section) else { break };
        let Some(child) = seen.child() else {
            if is_last && manner.until != Until::End {
                break;
            }
            return Err(Errno::ENOENT);
        };
        match &child.names {
            Some(names) if names.is_mount_point() => {
                if !at.enter_mount(names, manner.flags, section) {
                    break;
                }
            }
            Some(names) => (at.names, at.dentry) = (names, Some(&child.dentry)),
            None if is_last && child.kind != FileKind::Symlink => {
                let is_counted = at.count::<COUNTS_MOUNT>(&child.dentry, before, counted);
                if !is_counted || counted.dentry.as_ref().is_none_or(|dentry| dentry.is_mount_point()) {
                    return Ok(Came::Nowhere);
                }
                *path = found.rest;
                return Ok(Came::ToTheEnd);
            }
            None => break,
        }
        left = found.rest;
        if is_last {
            came = Came::ToTheEnd;
            break;
        }
    }
    if !at.dentry.is_some_and(|dentry| at.count::<COUNTS_MOUNT>(dentry, before, counted)) {
        return Ok(Came::Nowhere);
    }
    *path = left;
    Ok(came)
}

impl<'s> Position<'s> {
    /// Goes to the root of what is mounted on a directory here; false if that is for the walk with locks.
    #[inline]
    fn enter_mount(&mut self, mount_point: &Names, flags: Lookup, section: &'s ReadGuard) -> bool {
        if flags.contains(Lookup::NO_MOUNTS) {
            return false;
        }
        let Some(mount) = self.mount.mounted_on(mount_point, section) else { return false };
        let Some(names) = &mount.names else { return false };
        if !flags.contains(Lookup::UNNOTICED) {
            mount.note_use();
        }
        *self = Self { names, dentry: Some(&mount.root), mount, is_elsewhere: true };
        true
    }

    /// Counts a dentry, and the mount through which it is seen here. False if one of them is gone, or the mount may be.
    #[inline(always)]
    fn count<const COUNTS_MOUNT: bool>(&self, dentry: &Weak<Dentry>, before: usize, counted: &mut CachedPlace) -> bool {
        counted.dentry = dentry.upgrade();
        if COUNTS_MOUNT && self.is_elsewhere {
            counted.mount = self.mount.mount.upgrade();
            if counted.mount.is_none() || !MountView::is_still(before) {
                return false;
            }
        }
        counted.dentry.is_some()
    }
}
