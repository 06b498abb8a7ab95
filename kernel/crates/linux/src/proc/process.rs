//! The directories of processes and threads in `/proc`.
//!
//! What a process is asked is asked anew at each read, by its number: a directory that stays open after its process has
//! ended answers `ESRCH`, as on Linux.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

use abi::Errno;
use vfs::fs::generated::{Directory, ListedNode, Node, Row};
use vfs::{FileKind, PathRef};

use super::text::parse_number;
use super::{descriptors, maps, memory_files, mounts, namespaces, network, status, task_files};
use crate::process::Process;
use crate::system::System;
use crate::thread::Thread;

/// A process or one thread of it, by number.
pub(super) struct Task {
    pub(super) system: Arc<System>,
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

    /// Shows something of the thread.
    fn show(&self, render: fn(&Thread) -> Result<Vec<u8>, Errno>) -> Result<Vec<u8>, Errno> {
        render(&*self.thread()?)
    }

    /// Shows something a thread has no more when it has ended; then it is what `ended` says.
    fn show_living(
        &self,
        ended: Result<&'static [u8], Errno>,
        render: fn(&Thread) -> Result<Vec<u8>, Errno>,
    ) -> Result<Vec<u8>, Errno> {
        let thread = self.thread()?;
        if thread.has_ended() { ended.map(<[u8]>::to_vec) } else { render(&thread) }
    }

    /// The path of a place, as the process sees it.
    fn path(&self, place: fn(&Thread) -> PathRef) -> Result<Vec<u8>, Errno> {
        let thread = self.living_thread(Errno::ENOENT)?;
        let context = thread.fs().get();
        Ok(vfs::path_name(Some(&context), &place(&thread)))
    }

    fn place(&self, place: fn(&Thread) -> PathRef) -> Result<PathRef, Errno> {
        Ok(place(&*self.living_thread(Errno::ENOENT)?))
    }

    /// Whose its files are: the user it acts as, or root's when others must not look into it.
    fn owner(&self) -> (u32, u32) {
        let Ok(thread) = self.thread() else { return (0, 0) };
        if thread.process().dumpable.load(Relaxed) != 1 {
            return (0, 0);
        }
        let credentials = thread.credentials();
        (credentials.user.effective, credentials.group.effective)
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
            Some(process_directory(&Arc::new(Task { system: Arc::clone(&found), tid })))
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
fn process_directory(task: &Arc<Task>) -> Node {
    node(task, Directory::of(TASK_FILES, task).and(PROCESS_FILES, task))
}

/// A directory that is there for as long as its thread.
fn node(task: &Arc<Task>, directory: Directory) -> Node {
    let shown = Arc::clone(task);
    let (uid, gid) = task.owner();
    let directory = directory.existing_while(move || shown.thread().is_ok()).owned_by(uid, gid);
    Node::directory(0o555, directory).owned_by(uid, gid)
}

/// The directories of the threads of a process.
fn threads(task: &Arc<Task>) -> Directory {
    let (found, listed) = (Arc::clone(task), Arc::clone(task));
    Directory::new().changing(
        move |name, _| {
            let tid = parse_number(name)?;
            let thread = found.system.thread(tid)?;
            let is_own = thread.process().pid() == found.process().ok()?.pid();
            let task = Arc::new(Task { system: Arc::clone(&found.system), tid });
            is_own.then(|| node(&task, Directory::of(TASK_FILES, &task).and(THREAD_FILES, &task)))
        },
        move |give| {
            let Ok(process) = listed.process() else { return };
            for tid in process.thread_numbers() {
                give(ListedNode { name: &super::text::number(tid), order: tid, kind: FileKind::Directory });
            }
        },
    )
}

fn working_directory(thread: &Thread) -> PathRef {
    thread.fs().get().cwd.clone()
}

fn root_directory(thread: &Thread) -> PathRef {
    thread.fs().get().root.clone()
}

fn executable(thread: &Thread) -> PathRef {
    thread.process().image().executable.clone()
}

/// What there is of a process alone.
const PROCESS_FILES: &[Row<Task>] = &[
    Row::setting("coredump_filter", 0o644, task_files::core_dump_filter, task_files::set_core_dump_filter),
    Row::fallible("io", 0o400, |task| task.show(task_files::process_io)),
    Row::directory("map_files", 0o500, maps::files),
    Row::fallible("mountstats", 0o400, |task| task.show_living(Err(Errno::EINVAL), mounts::mountstats)),
    Row::fallible("stat", 0o444, |task| task.show(status::stat)),
    Row::directory("task", 0o555, threads),
    Row::fallible("timers", 0o444, |task| task.show(task_files::timers)),
    Row::setting("timerslack_ns", 0o666, task_files::timer_slack, task_files::set_timer_slack),
];

/// What there is of a thread alone.
const THREAD_FILES: &[Row<Task>] = &[
    // No process has children.
    Row::text("children", ""),
    Row::fallible("io", 0o400, |task| task.show(task_files::thread_io)),
    Row::fallible("stat", 0o444, |task| task.show(status::stat_of_thread)),
];

/// What the directories of a process and of a thread have in common.
const TASK_FILES: &[Row<Task>] = &[
    Row::directory("attr", 0o555, |task| Directory::of(ATTRIBUTES, task)),
    Row::fallible("auxv", 0o400, |task| task.show_living(Err(Errno::ESRCH), task_files::auxiliary_vector)),
    Row::text("cgroup", "0::/\n"),
    Row::setting("clear_refs", 0o200, |_| Err(Errno::EINVAL), task_files::clear_references),
    Row::fallible("cmdline", 0o444, |task| task.show_living(Ok(b""), task_files::command_line)),
    Row::setting("comm", 0o644, task_files::command_name, task_files::set_command_name),
    Row::text("cpuset", "/\n"),
    Row::place("cwd", |task| task.path(working_directory), |task| task.place(working_directory)),
    Row::fallible("environ", 0o400, |task| task.show_living(Err(Errno::ESRCH), task_files::environment)),
    Row::place("exe", |task| task.path(executable), |task| task.place(executable)),
    Row::directory("fd", 0o500, descriptors::links),
    Row::directory("fdinfo", 0o555, descriptors::information),
    Row::text("gid_map", task_files::ID_MAP).with_permissions(0o644),
    Row::fallible("limits", 0o444, |task| task.show(status::limits)),
    Row::text("loginuid", task_files::NO_ID).with_permissions(0o644),
    Row::fallible("maps", 0o444, |task| task.show_living(Ok(b""), maps::maps)),
    Row::served("mem", 0o600, memory_files::memory),
    Row::fallible("mountinfo", 0o444, |task| task.show_living(Err(Errno::EINVAL), mounts::mountinfo)),
    Row::fallible("mounts", 0o444, |task| task.show_living(Err(Errno::EINVAL), mounts::mounts)),
    Row::directory("net", 0o555, |task| network::directory(&task.system)),
    Row::directory("ns", 0o511, |task| Directory::of(namespaces::LINKS, task)),
    Row::fallible("numa_maps", 0o444, |task| task.show_living(Ok(b""), maps::numa_maps)),
    Row::setting("oom_adj", 0o644, task_files::old_adjustment, task_files::set_old_adjustment),
    Row::fallible("oom_score", 0o444, |task| task.show(task_files::out_of_memory_score)),
    Row::setting("oom_score_adj", 0o644, task_files::adjustment, task_files::set_adjustment),
    Row::served("pagemap", 0o400, memory_files::page_map),
    Row::text("personality", "00000000\n").with_permissions(0o400),
    Row::text("projid_map", task_files::ID_MAP).with_permissions(0o644),
    Row::place("root", |task| task.path(root_directory), |task| task.place(root_directory)),
    Row::fallible("sched", 0o444, |task| task.show(task_files::scheduling)),
    Row::fallible("schedstat", 0o444, |task| task.show(task_files::scheduling_figures)),
    Row::text("sessionid", task_files::NO_ID),
    Row::text("setgroups", "allow\n").with_permissions(0o644),
    Row::fallible("smaps", 0o444, |task| task.show_living(Ok(b""), maps::smaps)),
    Row::fallible("smaps_rollup", 0o444, |task| task.show_living(Err(Errno::ESRCH), maps::smaps_rollup)),
    Row::fallible("statm", 0o444, |task| task.show_living(Ok(b"0 0 0 0 0 0 0\n"), status::statm)),
    Row::fallible("status", 0o444, |task| task.show(status::status)),
    Row::text("uid_map", task_files::ID_MAP).with_permissions(0o644),
    // Where in the kernel a thread waits is not told.
    Row::text("wchan", "0"),
];

/// What a security module would say; there is none.
const ATTRIBUTES: &[Row<Task>] = &[Row::fallible("current", 0o666, |_| Err(Errno::EINVAL))];
