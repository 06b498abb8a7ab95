//! `/proc`, `/sys` and the root of the control groups: what programs read about processes and the machine.
//!
//! The trees are tables of functions that look everything up when a file is read; nothing is kept, and nothing is made before it is
//! looked up. Formats are Linux's to the byte, since programs parse them: a field this kernel knows nothing of has the value it
//! has on a Linux without that feature, and a file about something that is not there is absent, as on such a Linux.
//!
//! A setting takes another value if something follows from it ([`crate::settings`]), and refuses it (`EINVAL`) otherwise.
//! [`docs/PROC.md`] says who reads what.
//!
//! [`mount`] puts the trees into a namespace, before the first process starts, and lets programs mount them elsewhere.
//!
//! [`docs/PROC.md`]: ../../../../../docs/PROC.md

/// A directory that has the entries of a table about the system.
macro_rules! directory {
    ($name:expr, $permissions:literal, $rows:expr) => {
        Row::directory($name, $permissions, |system| {
            const ROWS: &[Row<System>] = $rows;
            Directory::of(ROWS, system)
        })
    };
}

mod cgroup;
mod cpu;
mod descriptors;
mod disks;
mod groups;
mod interfaces;
mod locks;
mod maps;
mod memory;
mod memory_files;
pub(crate) mod mounts;
mod nacre;
mod namespaces;
mod network;
mod process;
mod processors;
mod sockets;
mod status;
mod sys;
mod sysctl;
mod sysctl_net;
mod system;
mod task_files;
mod text;

use alloc::sync::Arc;

use abi::Errno;
use abi::stat::{CGROUP2_SUPER_MAGIC, PROC_SUPER_MAGIC, SYSFS_MAGIC};
use mm::PAGE_SIZE;
use vfs::fs::generated::{Directory, GeneratedFs, Row};
use vfs::fs::kinds;
use vfs::{Credentials, FileSystem, FsContext, Lookup, MountFlags, Namespace};

use crate::system::System;

pub(crate) use memory::buffer_pages;

/// Mounts the trees, and makes the directories if the image has none.
pub fn mount(namespace: &Arc<Namespace>, system: &Arc<System>) -> Result<(), Errno> {
    let flags =
        MountFlags::RELATIVE_ACCESS_TIME | MountFlags::NO_SET_ID | MountFlags::NO_DEVICES | MountFlags::NO_EXECUTE;
    let page = PAGE_SIZE as u64;
    let proc = GeneratedFs::new("proc", PROC_SUPER_MAGIC.unsigned_abs(), 0, root(system));
    mount_at(namespace, b"/proc", "proc", proc, flags)?;
    let sys = GeneratedFs::new("sysfs", SYSFS_MAGIC.unsigned_abs(), page, sys::root(system));
    mount_at(namespace, b"/sys", "sysfs", sys, flags)?;
    // Read-only, as a container has it: nobody here divides what there is.
    let groups = GeneratedFs::new("cgroup2", CGROUP2_SUPER_MAGIC.unsigned_abs(), 0, cgroup::root(system));
    mount_at(namespace, b"/sys/fs/cgroup", "cgroup2", groups, flags | MountFlags::READ_ONLY)
}

fn mount_at(
    namespace: &Arc<Namespace>,
    path: &[u8],
    kind: &'static str,
    file_system: Arc<dyn FileSystem>,
    flags: MountFlags,
) -> Result<(), Errno> {
    kinds::register_single(kind, file_system.clone())?;
    let context = FsContext::new(Arc::clone(namespace));
    let credentials = Credentials::root();
    match vfs::mkdir(&context, &credentials, None, path, 0o555) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let place = vfs::resolve(&context, &credentials, None, path, Lookup::FOLLOW | Lookup::DIRECTORY)?;
    namespace.mount(&credentials, &place, file_system, kind.as_bytes(), flags).map(|_| ())
}

/// The root of `/proc`.
fn root(system: &Arc<System>) -> Directory {
    process::add_processes(Directory::of(ROOT, system).and(system::FILES, system), system)
}

const ROOT: &[Row<System>] = &[
    Row::directory("fs", 0o555, |_| Directory::new()),
    Row::link("mounts", |_, _| Ok(b"self/mounts".to_vec())),
    Row::link("net", |_, _| Ok(b"self/net".to_vec())),
    Row::link("self", |_, credentials| Ok(text::number(credentials.process))),
    Row::directory("sys", 0o555, sysctl::root),
    Row::directory("sysvipc", 0o555, |system| Directory::of(SYSTEM_V, system)),
    Row::link("thread-self", |_, credentials| Ok(text::thread_path(credentials))),
    Row::directory("tty", 0o555, |system| Directory::of(TERMINALS, system)),
];

/// What there would be of System V's means of communication.
const SYSTEM_V: &[Row<System>] = &[
    Row::text(
        "msg",
        "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n",
    ),
    Row::text("sem", "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"),
    Row::text(
        "shm",
        "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n",
    ),
];

const TERMINALS: &[Row<System>] = &[Row::text(
    "drivers",
    "/dev/tty             /dev/tty        5       0 system:/dev/tty\n/dev/console         /dev/console    5       1 system:console\n",
)];
