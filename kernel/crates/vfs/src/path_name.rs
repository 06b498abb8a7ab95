//! The path of a place, as `getcwd` and `/proc` show it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::name::Name;
use crate::{FsContext, Mount, PathRef};

/// What follows the path of something whose name was removed.
const REMOVED_MARK: &[u8] = b" (deleted)";
/// What precedes the path of something the root does not lead to, as `getcwd` says it.
const UNREACHABLE_MARK: &[u8] = b"(unreachable)";

/// The path of a place, from the root of `context`, or from the top when there is none. It is marked as Linux marks it when it
/// was removed, or when no path leads to it.
pub fn path_name(context: Option<&FsContext>, place: &PathRef) -> Vec<u8> {
    let mut at = place.clone();
    let mut names: Vec<Name> = Vec::new();
    let mut is_reachable = true;
    loop {
        if context.is_some_and(|context| at.is_same(&context.root)) {
            break;
        }
        if at.is_mount_root() {
            match at.mount.place() {
                Some(place) => {
                    at = place;
                    continue;
                }
                None => {
                    is_reachable = context.is_none_or(|context| is_top(context, &at.mount));
                    break;
                }
            }
        }
        match at.dentry.place() {
            (Some(parent), name) => {
                names.push(name);
                at.dentry = parent;
            }
            // The root of a file system has no name, unlike an anonymous place: `pipe:[12]`.
            (None, name) if !name.as_bytes().is_empty() => return name.as_bytes().to_vec(),
            (None, _) => {
                is_reachable = false;
                break;
            }
        }
    }
    let mut path = Vec::new();
    if !is_reachable {
        path.extend_from_slice(UNREACHABLE_MARK);
    }
    for name in names.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
    }
    if names.is_empty() {
        path.push(b'/');
    }
    if place.dentry.is_removed() {
        path.extend_from_slice(REMOVED_MARK);
    }
    path
}

/// Whether a mount without a place is the top of the namespace.
fn is_top(context: &FsContext, mount: &Arc<Mount>) -> bool {
    Arc::ptr_eq(context.namespace.root_mount(), mount)
}
