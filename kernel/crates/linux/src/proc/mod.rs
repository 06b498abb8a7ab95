//! `/proc` and `/sys`: what programs read about processes and the machine.
//!
//! The trees are made of closures that look everything up when a file is read; nothing is kept. Formats are Linux's to the
//! byte, since programs parse them: a field this kernel knows nothing of has the value it has on a Linux without that feature.
//!
//! [`mount`] puts both trees into a namespace, before the first process starts, and lets programs mount them elsewhere.

mod cpu;
mod descriptors;
mod groups;
mod maps;
mod memory;
mod mounts;
mod nacre;
mod network;
mod process;
mod sockets;
mod status;
mod sys;
mod sysctl;
mod system;
mod text;

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use abi::stat::{PROC_SUPER_MAGIC, SYSFS_MAGIC};
use vfs::fs::generated::{Directory, GeneratedFs, Node};
use vfs::fs::kinds;
use vfs::{Credentials, FileSystem, FsContext, Lookup, MountFlags, Namespace};

use crate::system::System;

/// Mounts `/proc` and `/sys`, and makes the directories if the image has none.
pub fn mount(namespace: &Arc<Namespace>, system: &Arc<System>) -> Result<(), Errno> {
    let proc_magic = PROC_SUPER_MAGIC.unsigned_abs();
    let sys_magic = SYSFS_MAGIC.unsigned_abs();
    mount_at(namespace, b"/proc", "proc", GeneratedFs::new("proc", proc_magic, root(system)))?;
    mount_at(namespace, b"/sys", "sysfs", GeneratedFs::new("sysfs", sys_magic, sys::root(system)))
}

fn mount_at(
    namespace: &Arc<Namespace>,
    path: &[u8],
    kind: &'static str,
    file_system: Arc<dyn FileSystem>,
) -> Result<(), Errno> {
    kinds::register_single(kind, file_system.clone())?;
    let context = FsContext::new(Arc::clone(namespace));
    let credentials = Credentials::root();
    match vfs::mkdir(&context, &credentials, None, path, 0o555) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let place = vfs::resolve(&context, &credentials, None, path, Lookup::FOLLOW | Lookup::DIRECTORY)?;
    let flags =
        MountFlags::RELATIVE_ACCESS_TIME | MountFlags::NO_SET_ID | MountFlags::NO_DEVICES | MountFlags::NO_EXECUTE;
    namespace.mount(&credentials, &place, file_system, kind.as_bytes(), flags).map(|_| ())
}

/// A file whose contents cannot fail to be made.
fn file(render: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> Node {
    Node::file(0o444, move || Ok(render()))
}

/// A file with fixed contents.
fn constant(contents: &'static str) -> Node {
    file(move || contents.as_bytes().to_vec())
}

/// A file that shows what `render` makes of the system.
fn system_file(system: &Arc<System>, render: fn(&System) -> Vec<u8>) -> Node {
    let system = Arc::clone(system);
    file(move || render(&system))
}

/// A link with a fixed text.
fn link(target: &'static str) -> Node {
    Node::link(move |_| Ok(target.as_bytes().to_vec()))
}

/// The root of `/proc`.
fn root(system: &Arc<System>) -> Directory {
    let directory = Directory::new()
        .with("self", Node::link(|credentials| Ok(text::number(credentials.process))))
        .with("thread-self", Node::link(|credentials| Ok(text::thread_path(credentials))))
        .with("mounts", link("self/mounts"))
        .with("net", link("self/net"))
        .with("sys", Node::directory(0o555, sysctl::root(system)))
        .with("sysvipc", Node::directory(0o555, Directory::new()))
        .with("tty", Node::directory(0o555, Directory::new()))
        .with("fs", Node::directory(0o555, Directory::new()))
        .with("cpuinfo", system_file(system, cpu::cpuinfo));
    let directory = system::add_files(directory, system);
    process::add_processes(directory, system)
}
