//! `/proc/PID/ns`: the namespaces a process is in. There is one of each kind ([`crate::namespace`]).

use vfs::fs::generated::Row;

use super::process::Task;
use crate::namespace::NamespaceKind;

/// A link that shows the kind and the number of a namespace, and leads to it.
macro_rules! namespace {
    ($name:literal, $kind:ident) => {
        Row::place($name, |_| Ok(NamespaceKind::$kind.text()), |_| Ok(NamespaceKind::$kind.place()))
    };
}

/// The links.
pub(super) const LINKS: &[Row<Task>] = &[
    namespace!("cgroup", Cgroup),
    namespace!("ipc", Ipc),
    namespace!("mnt", Mount),
    namespace!("net", Network),
    namespace!("pid", Pid),
    namespace!("pid_for_children", Pid),
    namespace!("time", Time),
    namespace!("time_for_children", Time),
    namespace!("user", User),
    namespace!("uts", Uts),
];
