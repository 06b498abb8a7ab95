//! `/proc/PID/mounts`, `mountinfo` and `mountstats`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use abi::stat::{device_major, device_minor};
use vfs::{FsContext, Mount, MountFlags, MountSnapshot, PathRef, Superblock};

use super::text::Text;
use crate::thread::Thread;

/// What would break the fields apart.
const ESCAPED: &[u8] = b" \t\n\\#";

/// The mounts a thread sees, and how it sees them.
fn snapshots(thread: &Thread) -> (Arc<FsContext>, Vec<MountSnapshot>) {
    let context = thread.fs().get();
    let snapshots = context.namespace.mounts();
    (context, snapshots)
}

/// Where a mount is, from the root of the process; None for what that does not lead to, which is not shown.
pub(crate) fn mount_point(context: &FsContext, mount: &Arc<Mount>) -> Option<Vec<u8>> {
    vfs::path_below_root(context, &PathRef { dentry: mount.root().clone(), mount: mount.clone() })
}

/// The nearest group that a mount receives from and the process sees; 0 for none.
pub(crate) fn propagates_from(context: &FsContext, all: &[MountSnapshot], mount: &Mount) -> u32 {
    vfs::nearest_master(all, mount, |member| mount_point(context, member).is_some())
}

/// The restrictions of a mount, in Linux's order.
fn put_options(text: &mut Text, flags: MountFlags) {
    for (flag, name) in [
        (MountFlags::NO_SET_ID, ",nosuid"),
        (MountFlags::NO_DEVICES, ",nodev"),
        (MountFlags::NO_EXECUTE, ",noexec"),
        (MountFlags::NO_ACCESS_TIME, ",noatime"),
        (MountFlags::NO_DIRECTORY_ACCESS_TIME, ",nodiratime"),
        (MountFlags::RELATIVE_ACCESS_TIME, ",relatime"),
        (MountFlags::NO_LINKS, ",nosymfollow"),
    ] {
        if flags.contains(flag) {
            text.bytes(name.as_bytes());
        }
    }
}

/// What all mounts of a file system have in common.
fn put_superblock_options(text: &mut Text, superblock: &Superblock) {
    if superblock.is_synchronous() {
        text.bytes(b",sync");
    }
}

pub(super) fn mounts(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let (context, snapshots) = snapshots(thread);
    let mut text = Text::new();
    for snapshot in snapshots {
        let Some(mount_point) = mount_point(&context, &snapshot.mount) else { continue };
        let mount = &snapshot.mount;
        let file_system = mount.file_system();
        text.escaped(mount.source(), ESCAPED);
        text.byte(b' ');
        text.escaped(&mount_point, ESCAPED);
        text.put(format_args!(" {} ", file_system.type_name()));
        text.bytes(if mount.check_writable().is_err() { b"ro" } else { b"rw" });
        put_superblock_options(&mut text, mount.superblock());
        put_options(&mut text, mount.flags());
        text.bytes(&file_system.options());
        text.line(format_args!(" 0 0"));
    }
    Ok(text.into_bytes())
}

pub(super) fn mountinfo(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let (context, snapshots) = snapshots(thread);
    let mut text = Text::new();
    for snapshot in &snapshots {
        let Some(mount_point) = mount_point(&context, &snapshot.mount) else { continue };
        let mount = &snapshot.mount;
        let file_system = mount.file_system();
        let device = file_system.device();
        text.put(format_args!(
            "{} {} {}:{} ",
            mount.id(),
            snapshot.parent.id(),
            device_major(device),
            device_minor(device)
        ));
        text.escaped(&root_in_file_system(mount), ESCAPED);
        text.byte(b' ');
        text.escaped(&mount_point, ESCAPED);
        text.bytes(if mount.flags().contains(MountFlags::READ_ONLY) { b" ro" } else { b" rw" });
        put_options(&mut text, mount.flags());
        let from = propagates_from(&context, &snapshots, mount);
        let from = if from == mount.master() { 0 } else { from };
        for (label, group) in [("shared", mount.group()), ("master", mount.master()), ("propagate_from", from)] {
            if group != 0 {
                text.put(format_args!(" {label}:{group}"));
            }
        }
        if mount.is_unbindable() {
            text.bytes(b" unbindable");
        }
        text.put(format_args!(" - {} ", file_system.type_name()));
        text.escaped(mount.source(), ESCAPED);
        text.bytes(if mount.superblock().is_read_only() { b" ro" } else { b" rw" });
        put_superblock_options(&mut text, mount.superblock());
        text.bytes(&file_system.options());
        text.byte(b'\n');
    }
    Ok(text.into_bytes())
}

/// The part of the file system that a mount shows.
pub(crate) fn root_in_file_system(mount: &Mount) -> Vec<u8> {
    let mut names = Vec::new();
    let mut at = mount.root().clone();
    while let Some(parent) = at.parent() {
        names.push(at.name());
        at = parent;
    }
    if names.is_empty() {
        return b"/".to_vec();
    }
    names.iter().rev().flat_map(|name| [b"/", name.as_bytes()].concat()).collect()
}

pub(super) fn mountstats(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let (context, snapshots) = snapshots(thread);
    let mut text = Text::new();
    for snapshot in snapshots {
        let Some(mount_point) = mount_point(&context, &snapshot.mount) else { continue };
        text.bytes(b"device ");
        text.escaped(snapshot.mount.source(), ESCAPED);
        text.bytes(b" mounted on ");
        text.escaped(&mount_point, ESCAPED);
        text.line(format_args!(" with fstype {}", snapshot.mount.file_system().type_name()));
    }
    Ok(text.into_bytes())
}
