//! The extended attributes of a node in memory: a few names in alphabetical order. Listed backwards, as Linux does, but
//! for access control lists, which come first.

use alloc::boxed::Box;
use alloc::vec::Vec;

use abi::Errno;
use sync::{Mutex, rank};

use crate::XattrChange;
use crate::acl::AclKind;

use super::Budget;

/// About what the kernel needs for an attribute beside name and value.
const OVERHEAD: usize = 64;

struct Xattr {
    name: Box<[u8]>,
    value: Box<[u8]>,
}

impl Xattr {
    /// What it takes of the limit on inodes.
    fn space(name: &[u8], value: &[u8]) -> u64 {
        (OVERHEAD + name.len() + value.len()) as u64
    }
}

/// The extended attributes of one node.
pub(super) struct Xattrs {
    sorted: Mutex<Vec<Xattr>>,
}

/// Whether names of this kind are kept.
fn check_name(name: &[u8]) -> Result<(), Errno> {
    let is_kept = [&b"user."[..], b"trusted.", b"security."].iter().any(|prefix| name.starts_with(prefix));
    if is_kept || is_acl(name) { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

fn is_acl(name: &[u8]) -> bool {
    AclKind::of(name).is_some()
}

fn find(sorted: &[Xattr], name: &[u8]) -> Result<usize, usize> {
    sorted.binary_search_by(|xattr| (*xattr.name).cmp(name))
}

impl Xattrs {
    pub(super) const fn new() -> Self {
        Self { sorted: Mutex::new(rank::DIRECTORY_ENTRIES, Vec::new()) }
    }

    pub(super) fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        check_name(name)?;
        let sorted = self.sorted.lock();
        let found = find(&sorted, name).ok().and_then(|at| sorted.get(at));
        Ok(found.ok_or(Errno::ENODATA)?.value.to_vec())
    }

    /// Changes an attribute. What it takes is taken from, or given back to, `space`.
    pub(super) fn change(&self, space: &Budget, name: &[u8], wanted: XattrChange<'_>) -> Result<(), Errno> {
        check_name(name)?;
        let new = match wanted.value() {
            Some(value) => {
                space.take(Xattr::space(name, value))?;
                Some(Xattr { name: name.into(), value: value.into() })
            }
            None => None,
        };
        let (result, unused) = self.put(name, wanted, new);
        if let Some(unused) = unused {
            space.give_back(Xattr::space(&unused.name, &unused.value));
        }
        result
    }

    /// Puts the new attribute, or none, in the place of the old one. Answers what is not used any more, or was not.
    fn put(&self, name: &[u8], wanted: XattrChange<'_>, new: Option<Xattr>) -> (Result<(), Errno>, Option<Xattr>) {
        let mut sorted = self.sorted.lock();
        let place = find(&sorted, name);
        if let Err(errno) = wanted.check_presence(place.is_ok()) {
            return (Err(errno), new);
        }
        let old = match (place, new) {
            (Ok(at), Some(new)) => sorted.get_mut(at).map(|old| core::mem::replace(old, new)),
            (Ok(at), None) => Some(sorted.remove(at)),
            (Err(at), Some(new)) => {
                sorted.insert(at, new);
                None
            }
            (Err(_), None) => None,
        };
        (Ok(()), old)
    }

    pub(super) fn list(&self, sink: &mut dyn FnMut(&[u8])) {
        let sorted = self.sorted.lock();
        sorted.iter().filter(|xattr| is_acl(&xattr.name)).for_each(|xattr| sink(&xattr.name));
        sorted.iter().rev().filter(|xattr| !is_acl(&xattr.name)).for_each(|xattr| sink(&xattr.name));
    }

    /// Gives all they take back to the limit, with their node.
    pub(super) fn give_back(&mut self, space: &Budget) {
        let taken = self.sorted.get_mut().iter().map(|xattr| Xattr::space(&xattr.name, &xattr.value)).sum();
        if taken > 0 {
            space.give_back(taken);
        }
    }
}
