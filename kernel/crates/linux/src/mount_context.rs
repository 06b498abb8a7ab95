//! [`MountContext`]: what `fsopen` and `fspick` make, where a file system is described step by step before it is opened
//! or changed.
//!
//! A context goes through phases and never back: parameters are gathered, the file system is made of them, one mount of
//! it is taken away by `fsmount`. What failed once stays so. Options of the file system are looked at when it is made,
//! all together; until then only their form is checked.
//!
//! Lock: `MOUNT_CONTEXTS`, held while the file system is opened.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Errno, OpenFlags};
use file::{Attributes, File, IoResult, OpenFile};
use mm::user::UserWriter;
use sync::{Mutex, rank};
use vfs::fs::kinds::{self, Kind, Source};
use vfs::{PathRef, Superblock, SuperblockFlags};

use crate::lookup::View;

/// The longest text of options.
const OPTIONS_LEN_MAX: usize = 4096;

/// A file system on its way to a mount, behind a descriptor.
pub(crate) struct MountContext {
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    flags: SuperblockFlags,
    source: Option<Vec<u8>>,
    options: Vec<u8>,
}

enum Phase {
    /// Parameters of a new file system are gathered.
    New(Kind),
    /// It is there, and can be mounted.
    Ready(Arc<Superblock>),
    /// It was mounted.
    Mounted,
    /// Parameters are gathered for a change of one that is mounted.
    Picked(PathRef),
    Failed,
}

impl MountContext {
    /// For a new file system of a kind.
    pub(crate) fn new(kind: Kind) -> Arc<Self> {
        Self::in_phase(Phase::New(kind), SuperblockFlags::default())
    }

    /// For changes of the file system that has its root here.
    pub(crate) fn picked(root: PathRef) -> Arc<Self> {
        let flags = root.mount.superblock().flags();
        Self::in_phase(Phase::Picked(root), flags)
    }

    fn in_phase(phase: Phase, flags: SuperblockFlags) -> Arc<Self> {
        let state = State { phase, flags, source: None, options: Vec::new() };
        Arc::new(Self { state: Mutex::new(rank::MOUNT_CONTEXTS, state) })
    }

    /// Adds a parameter, with a value or without.
    pub(crate) fn set(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::New(_) | Phase::Picked(_)) {
            return Err(Errno::EBUSY);
        }
        match (key, value) {
            (b"ro", None) => state.flags.is_read_only = true,
            (b"rw", None) => state.flags.is_read_only = false,
            (b"sync", None) => state.flags.is_synchronous = true,
            (b"async", None) => state.flags.is_synchronous = false,
            // What every file system takes and none here does anything for.
            (b"dirsync" | b"lazytime" | b"nolazytime" | b"mand" | b"nomand", None) => {}
            (b"source", Some(source)) if state.source.is_none() => state.source = Some(source.to_vec()),
            (b"source" | b"", _) => return Err(Errno::EINVAL),
            _ => state.add_option(key, value)?,
        }
        Ok(())
    }

    /// Makes the file system.
    pub(crate) fn create(&self, view: &View) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let Phase::New(kind) = &state.phase else { return Err(Errno::EBUSY) };
        let kind = kind.clone();
        match state.open(view, &kind) {
            Ok(superblock) => state.phase = Phase::Ready(superblock),
            Err(errno) => {
                state.phase = Phase::Failed;
                return Err(errno);
            }
        }
        Ok(())
    }

    /// Changes the file system that was picked.
    pub(crate) fn reconfigure(&self, view: &View) -> Result<(), Errno> {
        let state = self.state.lock();
        let Phase::Picked(root) = &state.phase else { return Err(Errno::EBUSY) };
        let mount_flags = root.mount.flags() | root.mount.access_time_flags();
        let namespace = &view.context.namespace;
        namespace.reconfigure(&view.credentials, root, state.flags, mount_flags, &state.options)
    }

    /// Takes the file system away to be mounted, with its source. `EINVAL` when there is none, `EBUSY` when it was
    /// taken.
    pub(crate) fn take(&self) -> Result<(Arc<Superblock>, Vec<u8>), Errno> {
        let mut state = self.state.lock();
        let superblock = match &state.phase {
            Phase::Ready(superblock) => superblock.clone(),
            Phase::Mounted => return Err(Errno::EBUSY),
            Phase::New(_) | Phase::Picked(_) | Phase::Failed => return Err(Errno::EINVAL),
        };
        state.phase = Phase::Mounted;
        Ok((superblock, state.source.clone().unwrap_or_else(|| b"none".to_vec())))
    }
}

impl State {
    fn add_option(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
        let len = self.options.len() + key.len() + value.map_or(0, <[u8]>::len) + 2;
        let is_split = |text: &[u8]| text.contains(&b',');
        if len > OPTIONS_LEN_MAX || is_split(key) || value.is_some_and(is_split) {
            return Err(Errno::EINVAL);
        }
        if !self.options.is_empty() {
            self.options.push(b',');
        }
        self.options.extend_from_slice(key);
        if let Some(value) = value {
            self.options.push(b'=');
            self.options.extend_from_slice(value);
        }
        Ok(())
    }

    fn open(&self, view: &View, kind: &Kind) -> Result<Arc<Superblock>, Errno> {
        let source = self.source.as_deref();
        let volume = match source {
            Some(source) if kind.needs_device() => Some(kinds::volume_at(&view.resolve(None, source, true)?)?),
            _ => None,
        };
        let name = source.unwrap_or(b"none");
        kind.open(&Source { name, volume: volume.as_ref(), flags: self.flags, options: &self.options })
    }
}

impl File for MountContext {
    /// Messages about what went wrong would be read here; there are none.
    fn read(&self, _open: &OpenFile, _to: &mut UserWriter<'_>, _position: Option<u64>) -> IoResult {
        Err(Errno::ENODATA)
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(Attributes::anonymous(0, 0o600))
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:[fscontext]".to_vec())
    }
}

/// A descriptor's open file for a context.
pub(crate) fn open(context: Arc<MountContext>) -> Arc<OpenFile> {
    OpenFile::new(context, OpenFlags::RDWR)
}
