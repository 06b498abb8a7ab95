//! Propagation: what is mounted on one mount appears on others.
//!
//! 1. Mounts of one peer group are alike: what is mounted on or unmounted from one of them, is so for all. A mount may
//!    have a master, a group from which it receives and to which it sends nothing; it can be in a group of its own
//!    besides. (`Documentation/filesystems/sharedsubtree.rst` has the terms and the tables.)
//! 2. Groups are numbers, kept in the mounts. Who belongs to one is found by a search through the tree: mounting is
//!    rare.
//! 3. Copies of what is mounted stand to each other as the mounts they are on do: copies on peers are peers, a copy on
//!    a slave is a slave of the copy on its master.
//! 4. The last member of a group hands the slaves of the group on to its own master.
//!
//! All of this runs under the lock of the tree. Mounts that are nowhere receive nothing.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::Errno;

use crate::namespace::{copy_below, mark, subtree};
use crate::{Mount, MountSnapshot, PathRef};

/// How a mount takes part (`MS_SHARED` and so on).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// In a group.
    Shared,
    /// It receives from the group it was in, or from its master.
    Slave,
    /// Not at all.
    Private,
    /// Not at all, and it cannot be bound elsewhere.
    Unbindable,
}

/// A number of a group that no other has.
fn new_group() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Relaxed)
}

/// Changes how a mount takes part.
pub(crate) fn set(mounts: &[Arc<Mount>], mount: &Mount, kind: Propagation) {
    match kind {
        Propagation::Shared => {
            if mount.group() == 0 {
                mount.set_group(new_group());
            }
            mount.set_unbindable(false);
        }
        Propagation::Slave => {
            let master = leave(mounts, mount);
            mount.set_master(master);
        }
        Propagation::Private | Propagation::Unbindable => {
            leave(mounts, mount);
            mount.set_master(0);
            mount.set_unbindable(kind == Propagation::Unbindable);
        }
    }
}

/// Takes a mount out of its group, and answers from which group it would receive what it did.
fn leave(mounts: &[Arc<Mount>], mount: &Mount) -> u32 {
    let (group, master) = (mount.group(), mount.master());
    if group == 0 {
        return master;
    }
    mount.set_group(0);
    if mounts.iter().any(|other| other.group() == group) {
        return group;
    }
    mounts.iter().filter(|slave| slave.master() == group).for_each(|slave| slave.set_master(master));
    master
}

/// The nearest of the groups from which a mount receives, at first or second hand, that has a member which `is_shown`;
/// 0 for none (`propagate_from`).
pub fn nearest_master(mounts: &[MountSnapshot], mount: &Mount, is_shown: impl Fn(&Arc<Mount>) -> bool) -> u32 {
    let mut group = mount.master();
    // A master is older than its slaves' being so: the way ends.
    while group != 0 {
        let members = || mounts.iter().map(|snapshot| &snapshot.mount).filter(|mount| mount.group() == group);
        if members().any(&is_shown) {
            return group;
        }
        group = members().next().map_or(0, |mount| mount.master());
    }
    0
}

/// Those to which a mount sends, each behind one from which it receives, or a peer of that.
fn receivers(mounts: &[Arc<Mount>], sender: &Arc<Mount>) -> Vec<Arc<Mount>> {
    let mut found = alloc::vec![sender.clone()];
    let mut next = 0;
    while let Some(group) = found.get(next).map(|mount| mount.group()) {
        if group != 0 {
            let receives = |mount: &&Arc<Mount>| mount.group() == group || mount.master() == group;
            for mount in mounts.iter().filter(receives) {
                if !found.iter().any(|known| Arc::ptr_eq(known, mount)) {
                    found.push(mount.clone());
                }
            }
        }
        next += 1;
    }
    found.remove(0);
    found
}

/// In which groups the copies on the mounts of one group are.
struct Copied {
    /// The group of those mounts.
    on: u32,
    /// The group of an original, and those that its copy has here as group and as master.
    groups: Vec<(u32, u32, u32)>,
}

impl Copied {
    fn of(&self, original: u32) -> Option<(u32, u32)> {
        let (_, group, master) = self.groups.iter().find(|(of, ..)| *of == original)?;
        Some((*group, *master))
    }
}

/// Sends a tree that was mounted at a place on; answers the mounts that were made. Not more than `max`, `ENOSPC` then,
/// and none is.
pub(crate) fn send(
    mounts: &[Arc<Mount>],
    mount: &Arc<Mount>,
    at: &PathRef,
    max: usize,
) -> Result<Vec<Arc<Mount>>, Errno> {
    let mut made = Vec::new();
    if at.mount.group() == 0 {
        return Ok(made);
    }
    let originals = subtree(mount);
    originals.iter().filter(|original| original.group() == 0).for_each(|original| original.set_group(new_group()));
    let groups = originals.iter().map(|original| (original.group(), original.group(), original.master())).collect();
    let mut all = alloc::vec![Copied { on: at.mount.group(), groups }];
    for receiver in receivers(mounts, &at.mount) {
        // What is new receives nothing of itself.
        let is_new = originals.iter().any(|original| Arc::ptr_eq(original, &receiver));
        if is_new || !receiver.root().contains(&at.dentry) {
            continue;
        }
        let mut copies = alloc::vec![mount.copied(mount.root().clone())];
        let result = copy_below(mount, mount.root(), &mut copies, max.saturating_sub(made.len()));
        let result = result.and_then(|()| mark(&PathRef { mount: receiver.clone(), dentry: at.dentry.clone() }));
        if let Err(errno) = result {
            copies.iter().chain(&made).for_each(|copy| drop(copy.take()));
            return Err(errno);
        }
        place_in_groups(&mut all, &receiver, &copies);
        put_beneath(&copies[0], PathRef { mount: receiver, dentry: at.dentry.clone() });
        made.append(&mut copies);
    }
    Ok(made)
}

/// Gives copies, which are in the groups of their originals, those that belong to where they are.
fn place_in_groups(all: &mut Vec<Copied>, receiver: &Mount, copies: &[Arc<Mount>]) {
    let is_of = |group: u32| move |copied: &&Copied| group != 0 && copied.on == group;
    if let Some(peers) = all.iter().find(is_of(receiver.group())) {
        for copy in copies {
            let (group, master) = peers.of(copy.group()).unwrap_or_default();
            copy.set_group(group);
            copy.set_master(master);
        }
        return;
    }
    let masters = all.iter().find(is_of(receiver.master()));
    let mut groups = Vec::new();
    for copy in copies {
        let original = copy.group();
        copy.set_master(masters.and_then(|masters| masters.of(original)).map_or(0, |(group, _)| group));
        copy.set_group(if receiver.group() == 0 { 0 } else { new_group() });
        groups.push((original, copy.group(), copy.master()));
    }
    if receiver.group() != 0 {
        all.push(Copied { on: receiver.group(), groups });
    }
}

/// Puts a mount at a place that is marked, below what is there already.
fn put_beneath(mount: &Arc<Mount>, at: PathRef) {
    let Some(above) = at.mount.child_at(&at.dentry) else { return mount.put(at) };
    above.take();
    mount.put(at);
    mount.root().add_mount();
    above.put(PathRef { mount: mount.clone(), dentry: mount.root().clone() });
}

/// What goes with a mount when it is unmounted from its place: what is there on those that its parent sends to.
pub(crate) fn copies_of(mounts: &[Arc<Mount>], mount: &Arc<Mount>) -> Vec<Arc<Mount>> {
    let Some(place) = mount.place() else { return Vec::new() };
    let there = receivers(mounts, &place.mount).into_iter();
    let mut copies: Vec<Arc<Mount>> = there.filter_map(|receiver| receiver.child_at(&place.dentry)).collect();
    copies
        .retain(|copy| !Arc::ptr_eq(copy, mount) && copy.children().iter().all(|(at, _)| Arc::ptr_eq(at, copy.root())));
    copies
}

/// Takes one of [`copies_of`] from its place. What was mounted over it stays there.
pub(crate) fn take_copy(copy: &Arc<Mount>) {
    let above = copy.child_at(copy.root());
    above.iter().for_each(|above| drop(above.take()));
    let place = copy.take();
    if let (Some(above), Some(place)) = (above, place) {
        place.dentry.add_mount();
        above.put(place);
    }
}
