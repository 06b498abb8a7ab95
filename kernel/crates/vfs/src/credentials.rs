//! Who asks: the identity that permission checks use.

use alloc::sync::Arc;

use bitflags::bitflags;

bitflags! {
    /// The capabilities that file operations look at, with Linux's numbers; the others pass through.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Capabilities: u64 {
        /// `CAP_CHOWN`: give files away.
        const CHOWN = 1 << 0;
        /// `CAP_DAC_OVERRIDE`: read, write and search anything.
        const DAC_OVERRIDE = 1 << 1;
        /// `CAP_DAC_READ_SEARCH`: read anything, search any directory.
        const DAC_READ_SEARCH = 1 << 2;
        /// `CAP_FOWNER`: act as owner of any file.
        const FOWNER = 1 << 3;
        /// `CAP_FSETID`: keep set-id bits when a file changes.
        const FSETID = 1 << 4;
        /// `CAP_LINUX_IMMUTABLE`.
        const LINUX_IMMUTABLE = 1 << 9;
        /// `CAP_SYS_CHROOT`.
        const SYS_CHROOT = 1 << 18;
        /// `CAP_SYS_ADMIN`: mount.
        const SYS_ADMIN = 1 << 21;
        /// `CAP_SYS_RESOURCE`: use reserved space.
        const SYS_RESOURCE = 1 << 24;
        /// `CAP_MKNOD`: make device nodes.
        const MKNOD = 1 << 27;
        /// `CAP_SETFCAP`: give files capabilities.
        const SETFCAP = 1 << 31;
        /// `CAP_CHECKPOINT_RESTORE`: open what others map.
        const CHECKPOINT_RESTORE = 1 << 40;
        const _ = !0;
    }
}

/// Who asks. `process` and `thread` are what `/proc/self` and `/proc/thread-self` stand for.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// File system user (`fsuid`).
    pub uid: u32,
    /// File system group (`fsgid`).
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Arc<[u32]>,
    /// Effective capabilities.
    pub capabilities: Capabilities,
    /// Number of the asking process.
    pub process: u32,
    /// Number of the asking thread.
    pub thread: u32,
    /// Changes whenever the asker becomes another; threads made since have the same.
    pub identity: u64,
}

impl Credentials {
    /// User and group 0 with every capability.
    pub fn root() -> Self {
        Self {
            uid: 0,
            gid: 0,
            groups: Arc::from([]),
            capabilities: Capabilities::all(),
            process: 1,
            thread: 1,
            identity: 0,
        }
    }

    /// Whether all of `wanted` are held.
    pub fn has(&self, wanted: Capabilities) -> bool {
        self.capabilities.contains(wanted)
    }

    /// Whether `gid` is the group or one of the supplementary groups.
    pub fn is_in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }

    /// Whether files of `uid` are this user's own, or may be treated so.
    pub fn owns(&self, uid: u32) -> bool {
        self.uid == uid || self.has(Capabilities::FOWNER)
    }
}
