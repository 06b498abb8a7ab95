//! [`GeneratedFile`]: an open file whose contents are made when it is read.

use alloc::sync::Arc;
use alloc::vec;

use abi::Errno;
use file::{Attributes, CallFlags, File, IoResult, OpenFile};
use mm::user::{UserReader, UserWriter};
use sync::{Mutex, rank};

use super::{Node, NodeKind};
use crate::FileKind;

/// The most bytes one write to a generated file takes.
const WRITE_LEN_MAX: usize = 64 * 1024;

/// An open generated file.
pub(super) struct GeneratedFile {
    node: Node,
    /// What was rendered last.
    text: Mutex<Option<Arc<[u8]>>>,
}

impl GeneratedFile {
    /// A file that shows this node.
    pub(super) fn new(node: Node) -> Self {
        Self { node, text: Mutex::new(rank::DENTRIES, None) }
    }

    /// The contents, made anew for a read from the start.
    fn text(&self, position: u64) -> Result<Arc<[u8]>, Errno> {
        let known = self.text.lock().clone();
        if let Some(text) = known.filter(|_| position != 0) {
            return Ok(text);
        }
        let NodeKind::File { render, .. } = &self.node.kind else { return Err(Errno::EINVAL) };
        let text: Arc<[u8]> = Arc::from(render()?);
        let old = self.text.lock().replace(text.clone());
        drop(old);
        Ok(text)
    }

    fn read_at(&self, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        let text = self.text(position)?;
        match usize::try_from(position).ok().and_then(|position| text.get(position..)) {
            Some(rest) if !rest.is_empty() => to.write(rest),
            _ => Ok(0),
        }
    }

    fn write_at(&self, position: u64, from: &mut UserReader<'_>) -> Result<usize, Errno> {
        let NodeKind::File { store: Some(store), .. } = &self.node.kind else { return Err(Errno::EINVAL) };
        let len = from.remaining();
        if len > WRITE_LEN_MAX {
            return Err(Errno::EINVAL);
        }
        let mut text = vec![0; len];
        from.read_exact(&mut text)?;
        // Strict files have read all they want when they have read from the start.
        if !self.node.is_strict || position == 0 && len > 0 {
            store(&text)?;
        }
        Ok(len)
    }
}

impl File for GeneratedFile {
    fn call_flags(&self, _open: &OpenFile, _writes: bool) -> CallFlags {
        CallFlags::Waiting
    }

    fn read(&self, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        open.transfer_at(position, |at| self.read_at(at, to))
    }

    fn write(&self, open: &OpenFile, from: &mut UserReader<'_>, position: Option<u64>) -> IoResult {
        open.transfer_at(position, |at| self.write_at(at, from))
    }

    fn seek(&self, open: &OpenFile, offset: i64, whence: u32) -> Result<u64, Errno> {
        open.seek_up_to(i64::MAX.cast_unsigned(), offset, whence)
    }

    fn has_positions(&self) -> bool {
        true
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(Attributes::anonymous(0, FileKind::Regular.mode_bits() | self.node.permissions))
    }

    fn allocate(&self, _open: &OpenFile, _mode: u32, _offset: u64, _length: u64) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn truncate(&self, _open: &OpenFile, _length: u64) -> Result<(), Errno> {
        Ok(())
    }
}
