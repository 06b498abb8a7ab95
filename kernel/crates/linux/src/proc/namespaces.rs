//! `/proc/PID/ns`: the namespaces a process is in. There is one of each kind, with the number that Linux gives the first.
//!
//! The links have texts, which is what programs compare; they lead nowhere, as no namespace can be entered.

use vfs::fs::generated::Row;

use super::process::Task;

/// A link that shows the kind and the number of a namespace.
macro_rules! namespace {
    ($name:literal, $kind:literal, $number:literal) => {
        Row::link($name, |_, _| Ok(concat!($kind, ":[", $number, "]").as_bytes().to_vec()))
    };
}

/// The links.
pub(super) const LINKS: &[Row<Task>] = &[
    namespace!("cgroup", "cgroup", 4026531835),
    namespace!("ipc", "ipc", 4026531839),
    namespace!("mnt", "mnt", 4026531841),
    namespace!("net", "net", 4026531840),
    namespace!("pid", "pid", 4026531836),
    namespace!("pid_for_children", "pid", 4026531836),
    namespace!("time", "time", 4026531834),
    namespace!("time_for_children", "time", 4026531834),
    namespace!("user", "user", 4026531837),
    namespace!("uts", "uts", 4026531838),
];
