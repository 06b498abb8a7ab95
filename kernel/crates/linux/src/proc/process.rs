//! The directories of processes and threads in `/proc`.
//!
//! What a process is asked is asked anew at each read, by its number: a directory that stays open after its process has
//! ended answers `ESRCH`, as on Linux.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use abi::Errno;
use mm::user::UserReader;
use vfs::fs::generated::{Directory, ListedNode, Node};
use vfs::{FileKind, PathRef};

use super::text::{Text, parse_number, until_zero};
use super::{descriptors, maps, mounts, network, status};
use crate::process::Process;
use crate::system::System;
use crate::thread::Thread;

/// The longest `environ` and `cmdline`.
const STRINGS_LEN_MAX: usize = 4 << 20;

/// A process or one thread of it, by number.
#[derive(Clone)]
pub(super) struct Task {
    system: Arc<System>,
    tid: u32,
}

impl Task {
    /// The thread, if it still is.
    pub(super) fn thread(&self) -> Result<Arc<Thread>, Errno> {
        self.system.thread(self.tid).ok_or(Errno::ESRCH)
    }

    /// The thread, with what it shares with others; `ended` when it has let go of that.
    pub(super) fn living_thread(&self, ended: Errno) -> Result<Arc<Thread>, Errno> {
        let thread = self.thread()?;
        if thread.has_ended() { Err(ended) } else { Ok(thread) }
    }

    /// Its process.
    pub(super) fn process(&self) -> Result<Arc<Process>, Errno> {
        self.thread().map(|thread| Arc::clone(thread.process()))
    }

    /// A file that shows something of the thread.
    fn file(&self, permissions: u32, render: fn(&Thread) -> Result<Vec<u8>, Errno>) -> Node {
        let task = self.clone();
        Node::file(permissions, move || render(&*task.thread()?))
    }

    /// A file that shows something a thread has no more when it has ended; then it is what `ended` says.
    fn living_file(
        &self,
        permissions: u32,
        ended: Result<&'static [u8], Errno>,
        render: fn(&Thread) -> Result<Vec<u8>, Errno>,
    ) -> Node {
        let task = self.clone();
        Node::file(permissions, move || {
            let thread = task.thread()?;
            if thread.has_ended() { ended.map(<[u8]>::to_vec) } else { render(&thread) }
        })
    }

    /// A link to a place of the process.
    fn link(&self, place: fn(&Thread) -> PathRef) -> Node {
        let (shown, followed) = (self.clone(), self.clone());
        let text = move |_: &vfs::Credentials| {
            let thread = shown.living_thread(Errno::ENOENT)?;
            let context = thread.fs().get();
            Ok(vfs::path_name(Some(&context), &place(&thread)))
        };
        Node::magic_link(0o777, text, move |_| Ok(place(&*followed.living_thread(Errno::ENOENT)?)))
    }
}

/// Adds the directories of all processes.
pub(super) fn add_processes(directory: Directory, system: &Arc<System>) -> Directory {
    let (found, listed) = (Arc::clone(system), Arc::clone(system));
    directory.changing(
        move |name, _| {
            let tid = parse_number(name)?;
            // Threads have directories too, which are not listed.
            found.thread(tid)?;
            Some(process_directory(&Task { system: Arc::clone(&found), tid }))
        },
        move |give| {
            for process in listed.processes() {
                let name = super::text::number(process.pid());
                give(ListedNode { name: &name, order: process.pid(), kind: FileKind::Directory });
            }
        },
    )
}

/// The directory of a process.
fn process_directory(task: &Task) -> Node {
    let (found, listed) = (task.clone(), task.clone());
    let threads = Directory::new().changing(
        move |name, _| {
            let tid = parse_number(name)?;
            let thread = found.system.thread(tid)?;
            let is_own = thread.process().pid() == found.process().ok()?.pid();
            let task = Task { system: Arc::clone(&found.system), tid };
            is_own.then(|| {
                let directory = task_files(&task)
                    .with("children", task.file(0o444, |_| Ok(Vec::new())))
                    .with("stat", task.file(0o444, status::stat_of_thread));
                Node::directory(0o555, directory)
            })
        },
        move |give| {
            let Ok(process) = listed.process() else { return };
            for tid in process.thread_numbers() {
                give(ListedNode { name: &super::text::number(tid), order: tid, kind: FileKind::Directory });
            }
        },
    );
    let directory = task_files(task)
        .with("mountstats", task.living_file(0o400, Err(Errno::EINVAL), mounts::mountstats))
        .with("stat", task.file(0o444, status::stat))
        .with("task", Node::directory(0o555, threads));
    Node::directory(0o555, directory)
}

/// What the directories of a process and of a thread have in common.
fn task_files(task: &Task) -> Directory {
    let shown = task.clone();
    Directory::new()
        .existing_while(move || shown.thread().is_ok())
        .with("auxv", task.living_file(0o400, Err(Errno::ESRCH), auxiliary_vector))
        .with("cgroup", task.file(0o444, |_| Ok(b"0::/\n".to_vec())))
        .with("cmdline", task.living_file(0o444, Ok(b""), command_line))
        .with("comm", comm(task))
        .with("cwd", task.link(|thread| thread.fs().get().cwd.clone()))
        .with("environ", task.living_file(0o400, Err(Errno::ESRCH), environment))
        .with("exe", task.link(|thread| thread.process().image().executable.clone()))
        .with("fd", Node::directory(0o500, descriptors::links(task)))
        .with("fdinfo", Node::directory(0o555, descriptors::information(task)))
        .with("gid_map", task.file(0o644, id_map))
        .with("io", task.file(0o400, io))
        .with("limits", task.file(0o444, status::limits))
        .with("loginuid", task.file(0o644, |_| Ok(b"4294967295".to_vec())))
        .with("maps", task.living_file(0o444, Ok(b""), maps::maps))
        .with("mountinfo", task.living_file(0o444, Err(Errno::EINVAL), mounts::mountinfo))
        .with("mounts", task.living_file(0o444, Err(Errno::EINVAL), mounts::mounts))
        .with("net", Node::directory(0o555, network::directory(&task.system)))
        .with("oom_adj", oom_setting())
        .with("oom_score", task.file(0o444, |_| Ok(b"0\n".to_vec())))
        .with("oom_score_adj", oom_setting())
        .with("personality", task.file(0o400, |_| Ok(b"00000000\n".to_vec())))
        .with("root", task.link(|thread| thread.fs().get().root.clone()))
        .with("schedstat", task.file(0o444, schedstat))
        .with("setgroups", task.file(0o644, |_| Ok(b"allow\n".to_vec())))
        .with("smaps", task.living_file(0o444, Ok(b""), maps::smaps))
        .with("smaps_rollup", task.living_file(0o444, Err(Errno::ESRCH), maps::smaps_rollup))
        .with("statm", task.living_file(0o444, Ok(b"0 0 0 0 0 0 0\n"), status::statm))
        .with("status", task.file(0o444, status::status))
        .with("uid_map", task.file(0o644, id_map))
        .with("wchan", task.file(0o444, |_| Ok(b"0".to_vec())))
}

/// The command name, which the process may change.
fn comm(task: &Task) -> Node {
    let (shown, set) = (task.clone(), task.clone());
    Node::writable_file(
        0o644,
        move || {
            let mut name = until_zero(&shown.thread()?.name()).to_vec();
            name.push(b'\n');
            Ok(name)
        },
        move |name| {
            let name = until_zero(name);
            set.thread()?.set_name(name);
            Ok(())
        },
    )
}

/// A setting of the out-of-memory killer, of which there is none: it is taken and stays 0.
fn oom_setting() -> Node {
    Node::writable_file(
        0o644,
        || Ok(b"0\n".to_vec()),
        |text| {
            let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
            let value: i32 = text.trim().parse().map_err(|_| Errno::EINVAL)?;
            if (-1000..=1000).contains(&value) { Ok(()) } else { Err(Errno::EINVAL) }
        },
    )
}

fn id_map(_thread: &Thread) -> Result<Vec<u8>, Errno> {
    Ok(b"         0          0 4294967295\n".to_vec())
}

fn io(_thread: &Thread) -> Result<Vec<u8>, Errno> {
    let names = ["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"];
    let mut text = Text::new();
    for name in names {
        text.line(format_args!("{name}: 0"));
    }
    Ok(text.into_bytes())
}

fn schedstat(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let accounting = thread.accounting();
    let switches = accounting.voluntary_switches() + accounting.involuntary_switches() + 1;
    let mut text = Text::new();
    text.line(format_args!("{} 0 {switches}", thread.runtime_ns()));
    Ok(text.into_bytes())
}

/// Strings in program memory, which belongs to the process that reads or to none.
fn read_strings(range: Range<usize>) -> Result<Vec<u8>, Errno> {
    let len = range.len().min(STRINGS_LEN_MAX);
    let mut bytes = alloc::vec![0; len];
    match UserReader::new(range.start, len).and_then(|mut reader| reader.read(&mut bytes)) {
        Ok(read) => bytes.truncate(read),
        // The program has unmapped it.
        Err(_) => bytes.clear(),
    }
    Ok(bytes)
}

fn auxiliary_vector(thread: &Thread) -> Result<Vec<u8>, Errno> {
    Ok(thread.process().image().auxiliary_vector.clone())
}

fn environment(thread: &Thread) -> Result<Vec<u8>, Errno> {
    read_strings(thread.process().image().environment.clone())
}

/// The arguments. A program that has written over the end of them, to show something else, gets what follows up to the next
/// zero as well.
fn command_line(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let image = thread.process().image();
    let mut bytes = read_strings(image.arguments.clone())?;
    if bytes.last().is_some_and(|last| *last != 0) {
        if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            bytes.truncate(end + 1);
        } else {
            let more = read_strings(image.environment.clone())?;
            let end = more.iter().position(|byte| *byte == 0).unwrap_or(more.len());
            bytes.extend_from_slice(&more[..end]);
        }
    }
    Ok(bytes)
}
