//! [`Used`]: a place that somebody has open, who counts as a reader or a writer of what is there.
//!
//! A file that somebody writes is not executed, nobody takes writing away from its mount, and who wants a lease of a
//! file must know whether others have it open.

use core::ops::Deref;

use abi::Errno;

use crate::PathRef;

/// How a place counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usage {
    /// Not at all: it is no regular file, or only named.
    Nothing,
    /// As open for reading and nothing else.
    Reader,
    /// As open for writing.
    Writer,
}

/// A place, counted until this is dropped.
pub(crate) struct Used {
    path: PathRef,
    usage: Usage,
}

impl Used {
    /// A place that does not count.
    pub(crate) fn uncounted(path: PathRef) -> Self {
        Self { path, usage: Usage::Nothing }
    }

    /// A regular file that is open for reading.
    pub(crate) fn reader(path: PathRef) -> Self {
        path.inode().metadata().begin_reading();
        Self { path, usage: Usage::Reader }
    }

    /// A regular file that is open for writing. `EROFS` or `ETXTBSY` when it cannot be.
    pub(crate) fn writer(path: PathRef) -> Result<Self, Errno> {
        path.mount.begin_writing()?;
        if let Err(errno) = path.inode().metadata().begin_writing() {
            path.mount.end_writing();
            return Err(errno);
        }
        Ok(Self { path, usage: Usage::Writer })
    }

    /// Whether it counts as a writer.
    pub(crate) fn is_writer(&self) -> bool {
        self.usage == Usage::Writer
    }
}

impl Deref for Used {
    type Target = PathRef;

    fn deref(&self) -> &PathRef {
        &self.path
    }
}

impl Drop for Used {
    #[inline]
    fn drop(&mut self) {
        let metadata = self.path.inode().metadata();
        match self.usage {
            Usage::Nothing => {}
            Usage::Reader => metadata.end_reading(),
            Usage::Writer => {
                self.path.inode().end_writing();
                self.path.mount.end_writing();
            }
        }
    }
}
