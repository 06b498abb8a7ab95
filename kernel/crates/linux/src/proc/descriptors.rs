//! `/proc/PID/fd` and `/proc/PID/fdinfo`.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Errno, OpenFlags};
use file::OpenFile;
use vfs::FileKind;
use vfs::fs::generated::{Directory, ListedNode, Node};

use super::process::Task;
use super::text::{Text, parse_number};

/// A directory with an entry for each descriptor.
fn directory(
    task: &Arc<Task>,
    kind: FileKind,
    node: impl Fn(&Arc<Task>, i32, &OpenFile) -> Node + Send + Sync + 'static,
) -> Directory {
    let (found, listed) = (Arc::clone(task), Arc::clone(task));
    Directory::new().changing(
        move |name, _| {
            let fd = i32::try_from(parse_number(name)?).ok()?;
            let open = found.living_thread(Errno::ENOENT).ok()?.fds().get_counted(fd).ok()?;
            Some(node(&found, fd, &open))
        },
        move |give| {
            let Ok(thread) = listed.living_thread(Errno::ENOENT) else { return };
            for fd in thread.fds().descriptors() {
                if let Ok(order) = u32::try_from(fd) {
                    give(ListedNode { name: format!("{fd}").as_bytes(), order, kind });
                }
            }
        },
    )
}

/// `fd`: a link to what each descriptor refers to.
pub(super) fn links(task: &Arc<Task>) -> Directory {
    directory(task, FileKind::Symlink, |task, fd, open| {
        let mut permissions = 0;
        if open.is_readable() {
            permissions |= 0o500;
        }
        if open.is_writable() {
            permissions |= 0o300;
        }
        let (shown, followed) = (Arc::clone(task), Arc::clone(task));
        let text = move |_: &vfs::Credentials| {
            let thread = shown.living_thread(Errno::ENOENT)?;
            let open = thread.fds().get_counted(fd).map_err(|_| Errno::ENOENT)?;
            let context = thread.fs().get();
            Ok(vfs::path_name(Some(&context), &vfs::path_of(&open)))
        };
        Node::magic_link(permissions, text, move |_| {
            let open = followed.living_thread(Errno::ENOENT)?.fds().get_counted(fd).map_err(|_| Errno::ENOENT)?;
            Ok(vfs::path_of(&open))
        })
    })
}

/// `fdinfo`: position, flags and more of each descriptor.
pub(super) fn information(task: &Arc<Task>) -> Directory {
    directory(task, FileKind::Regular, |task, fd, _| {
        let task = Arc::clone(task);
        Node::file(0o400, move || {
            let thread = task.living_thread(Errno::ENOENT)?;
            let fds = thread.fds();
            let open = fds.get_counted(fd).map_err(|_| Errno::ENOENT)?;
            let close_on_exec = fds.is_close_on_exec(fd).unwrap_or_default();
            Ok(describe(&open, close_on_exec))
        })
    })
}

fn describe(open: &OpenFile, close_on_exec: bool) -> Vec<u8> {
    let mut flags = open.flags();
    flags.set(OpenFlags::CLOEXEC, close_on_exec);
    let place = vfs::path_of(open);
    let position = *open.position().lock();
    let mut text = Text::new();
    text.line(format_args!("pos:\t{position}"));
    text.line(format_args!("flags:\t0{:o}", flags.bits()));
    text.line(format_args!("mnt_id:\t{}", place.mount.id()));
    text.line(format_args!("ino:\t{}", open.file().attributes().unwrap_or_default().inode));
    let mut bytes = text.into_bytes();
    open.file().describe(&mut bytes);
    bytes
}
