//! [`NamespaceFile`]: a namespace behind a descriptor, as `/proc/PID/ns/KIND` opens it.
//!
//! There is one namespace of each kind, with the number that Linux gives the first. Who has the right may enter it and
//! is where it was; `setns` says so where Linux does, and refuses where Linux does.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::ioctl::{NS_GET_ID, NS_GET_MNTNS_ID, NS_GET_NSTYPE, NS_GET_OWNER_UID, NS_GET_PARENT};
use abi::stat::S_IFREG;
use abi::{CloneFlags, Errno};
use file::{Attributes, File, OpenFile};
use mm::user::write_user_struct;
use vfs::PathRef;

/// The kinds of namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamespaceKind {
    /// Of control groups.
    Cgroup,
    /// Of System V's means of communication.
    Ipc,
    /// Of mounts.
    Mount,
    /// Of the network.
    Network,
    /// Of process numbers.
    Pid,
    /// Of clocks.
    Time,
    /// Of users.
    User,
    /// Of the host's name.
    Uts,
}

impl NamespaceKind {
    /// What Linux calls it in texts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Mount => "mnt",
            Self::Network => "net",
            Self::Pid => "pid",
            Self::Time => "time",
            Self::User => "user",
            Self::Uts => "uts",
        }
    }

    /// The number of the first one.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Time => 4_026_531_834,
            Self::Cgroup => 4_026_531_835,
            Self::Pid => 4_026_531_836,
            Self::User => 4_026_531_837,
            Self::Uts => 4_026_531_838,
            Self::Ipc => 4_026_531_839,
            Self::Network => 4_026_531_840,
            Self::Mount => 4_026_531_841,
        }
    }

    /// The number of the first one among all namespaces, which is never given again.
    pub(crate) fn id(self) -> u64 {
        match self {
            Self::Ipc => 1,
            Self::Uts => 2,
            Self::User => 3,
            Self::Pid => 4,
            Self::Cgroup => 5,
            Self::Time => 6,
            Self::Network => 7,
            Self::Mount => 8,
        }
    }

    /// The flag by which calls ask for it.
    pub(crate) fn flag(self) -> CloneFlags {
        match self {
            Self::Cgroup => CloneFlags::NEWCGROUP,
            Self::Ipc => CloneFlags::NEWIPC,
            Self::Mount => CloneFlags::NEWNS,
            Self::Network => CloneFlags::NEWNET,
            Self::Pid => CloneFlags::NEWPID,
            Self::Time => CloneFlags::NEWTIME,
            Self::User => CloneFlags::NEWUSER,
            Self::Uts => CloneFlags::NEWUTS,
        }
    }

    /// Kind and number, as links show them.
    pub(crate) fn text(self) -> Vec<u8> {
        format!("{}:[{}]", self.name(), self.number()).into_bytes()
    }

    /// Where a link to it leads.
    pub(crate) fn place(self) -> PathRef {
        vfs::anonymous_path(Arc::new(NamespaceFile { kind: self }), &self.text())
    }
}

/// A namespace behind a descriptor.
pub(crate) struct NamespaceFile {
    kind: NamespaceKind,
}

impl NamespaceFile {
    /// What kind it is.
    pub(crate) fn kind(&self) -> NamespaceKind {
        self.kind
    }

    /// The one that owns it, by which rights in it are judged (`NS_GET_USERNS`): that of users. What is above that is
    /// nobody's.
    pub(crate) fn owner(&self) -> Result<Arc<Self>, Errno> {
        if self.kind == NamespaceKind::User {
            Err(Errno::EPERM)
        } else {
            Ok(Arc::new(Self { kind: NamespaceKind::User }))
        }
    }
}

impl File for NamespaceFile {
    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(Attributes::anonymous(self.kind.number(), S_IFREG | 0o444))
    }

    fn ioctl(&self, _open: &OpenFile, command: u32, argument: usize) -> Result<usize, Errno> {
        let is_in_tree = matches!(self.kind, NamespaceKind::User | NamespaceKind::Pid);
        match command {
            NS_GET_NSTYPE => usize::try_from(self.kind.flag().bits()).map_err(|_| Errno::EINVAL),
            // The first one has no parent.
            NS_GET_PARENT if is_in_tree => Err(Errno::EPERM),
            NS_GET_OWNER_UID if self.kind == NamespaceKind::User => write_user_struct(argument, &0_u32).map(|()| 0),
            NS_GET_ID => write_user_struct(argument, &self.kind.id()).map(|()| 0),
            NS_GET_MNTNS_ID if self.kind == NamespaceKind::Mount => {
                write_user_struct(argument, &self.kind.id()).map(|()| 0)
            }
            NS_GET_PARENT | NS_GET_OWNER_UID | NS_GET_MNTNS_ID => Err(Errno::EINVAL),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        Some(self.kind.text())
    }
}
