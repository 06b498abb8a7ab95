//! The path of a place, as `getcwd` and `/proc` show it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::name::Name;
use crate::{FsContext, Mount, PathRef};

/// What follows the path of something whose name was removed.
const REMOVED_MARK: &[u8] = b" (deleted)";
/// What precedes the path of something the root does not lead to, as `getcwd` says it.
const UNREACHABLE_MARK: &[u8] = b"(unreachable)";

/// Where the way up from a place ends.
enum End {
    /// At the root that was asked about.
    Root,
    /// At the root of something that is mounted nowhere.
    Top(Arc<Mount>),
    /// Nowhere: at something without a parent.
    Nothing,
    /// At a place that has a name of its own: `pipe:[12]`.
    Anonymous(Name),
}

/// The path of a place, from the root of `context`, or from the top when there is none. It is marked as Linux marks it when it
/// was removed, or when no path leads to it.
pub fn path_name(context: Option<&FsContext>, place: &PathRef) -> Vec<u8> {
    let (names, end) = climb(context, place);
    let is_reachable = match end {
        End::Root => true,
        End::Top(mount) => context.is_none_or(|context| Arc::ptr_eq(&context.namespace.root_mount(), &mount)),
        End::Nothing => false,
        End::Anonymous(name) => return name.as_bytes().to_vec(),
    };
    let mut path = if is_reachable { Vec::new() } else { UNREACHABLE_MARK.to_vec() };
    put(&mut path, &names);
    if place.dentry.is_removed() {
        path.extend_from_slice(REMOVED_MARK);
    }
    path
}

/// The path of a place from the root of `context`; None when that does not lead to it.
pub fn path_below_root(context: &FsContext, place: &PathRef) -> Option<Vec<u8>> {
    let (names, end) = climb(Some(context), place);
    let mut path = Vec::new();
    put(&mut path, &names);
    matches!(end, End::Root).then_some(path)
}

/// The names on the way up, the last one first, and where that ends.
fn climb(context: Option<&FsContext>, place: &PathRef) -> (Vec<Name>, End) {
    let mut at = place.clone();
    let mut names = Vec::new();
    loop {
        if context.is_some_and(|context| at.is_same(&context.root)) {
            return (names, End::Root);
        }
        if at.is_mount_root() {
            match at.mount.place() {
                Some(place) => at = place,
                None => return (names, End::Top(at.mount)),
            }
            continue;
        }
        match at.dentry.place() {
            (Some(parent), name) => {
                names.push(name);
                at.dentry = parent;
            }
            (None, name) if name.as_bytes().is_empty() => return (names, End::Nothing),
            (None, name) => return (names, End::Anonymous(name)),
        }
    }
}

fn put(path: &mut Vec<u8>, names: &[Name]) {
    path.reserve(1 + names.iter().map(|name| 1 + name.as_bytes().len()).sum::<usize>());
    for name in names.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
    }
    if names.is_empty() {
        path.push(b'/');
    }
}
