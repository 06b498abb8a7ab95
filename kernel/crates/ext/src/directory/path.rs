//! [`Path`]: the way through the index of a directory to a block of names.
//!
//! A path is as long as the root says the index is deep; a block is never twice on it, and it goes over no more blocks of names than the
//! directory has blocks. So nothing on the disk makes a walk endless.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use block::Buffer;

use super::Nonsense;
use super::block::check_once;
use super::hash::NameHasher;
use super::index::{Index, RootInfo};
use crate::DirectoryBlocks;

/// A block of the index on the way, and the entry that the way takes.
pub(super) struct Step {
    pub(super) buffer: Arc<Buffer>,
    pub(super) number: u32,
    pub(super) index: Index,
    pub(super) entry: usize,
}

impl Step {
    /// The hash at which an entry begins.
    fn hash(&self, entry: usize) -> u32 {
        self.buffer.read(|bytes| self.index.hash(bytes, entry))
    }

    /// The block that the way takes.
    fn block(&self) -> u32 {
        self.buffer.read(|bytes| self.index.block(bytes, self.entry))
    }

    /// The hash at which the entry behind the way's begins, if there is one.
    fn end(&self) -> Option<u32> {
        (self.entry + 1 < self.index.count()).then(|| self.hash(self.entry + 1))
    }
}

/// A way from the root to a block of names.
pub(super) struct Path<'a, B: DirectoryBlocks + ?Sized> {
    blocks: &'a B,
    info: RootInfo,
    steps: Vec<Step>,
    /// Blocks of names that may still come.
    left: u32,
}

impl<'a, B: DirectoryBlocks + ?Sized> Path<'a, B> {
    /// Reads the root; [`Path::go_to`] finds the way.
    pub(super) fn new(blocks: &'a B) -> Result<Self, Errno> {
        let format = blocks.format();
        let buffer = blocks.get(0)?;
        let (index, info) =
            buffer.read(|bytes| Index::root(bytes, format)).map_err(|nonsense| nonsense.report(blocks, 0))?;
        check_once(blocks, 0, &buffer, |bytes, seed| index.check(bytes, seed))?;
        let steps = alloc::vec![Step { buffer, number: 0, index, entry: 0 }];
        Ok(Self { blocks, info, steps, left: blocks.count() })
    }

    /// The hash function of the directory.
    pub(super) fn hasher(&self) -> NameHasher {
        super::hasher(self.blocks.format(), self.info.version)
    }

    /// Finds the way to the block in which names of a hash begin.
    pub(super) fn go_to(&mut self, hash: u32) -> Result<(), Errno> {
        self.steps.truncate(1);
        if let Some(root) = self.steps.first_mut() {
            root.entry = root.buffer.read(|bytes| root.index.search(bytes, hash));
        }
        self.descend(|index, bytes| index.search(bytes, hash))
    }

    /// Goes down to the last block of the index, each time by the entry that `choose` says.
    fn descend(&mut self, choose: impl Fn(&Index, &[u8]) -> usize) -> Result<(), Errno> {
        while self.steps.len() < self.info.levels {
            let number = self.number()?;
            let buffer = self.blocks.get(number)?;
            let format = self.blocks.format();
            let index = buffer.read(|bytes| Index::node(bytes, format)).map_err(|nonsense| self.report(nonsense))?;
            check_once(self.blocks, number, &buffer, |bytes, seed| index.check(bytes, seed))?;
            let entry = buffer.read(|bytes| choose(&index, bytes));
            self.steps.push(Step { buffer, number, index, entry });
        }
        self.number().map(drop)
    }

    /// The block that the way leads to.
    pub(super) fn number(&self) -> Result<u32, Errno> {
        let number = self.steps.last().map_or(0, Step::block);
        if self.steps.iter().any(|step| step.number == number) {
            return Err(self.report(Nonsense("the index leads back into itself")));
        }
        Ok(number)
    }

    fn report(&self, nonsense: Nonsense) -> Errno {
        nonsense.report(self.blocks, self.steps.last().map_or(0, |step| step.number))
    }

    /// The hash at which the block of names begins, the lowest bit set if it goes on with the hash of the one before.
    pub(super) fn begin(&self) -> u32 {
        self.steps.iter().rfind(|step| step.entry > 0).map_or(0, |step| step.hash(step.entry))
    }

    /// The same of the block of names behind; none behind the last.
    pub(super) fn end(&self) -> Option<u32> {
        self.steps.iter().rev().find_map(Step::end)
    }

    /// Goes on to the next block of names; false behind the last.
    pub(super) fn advance(&mut self) -> Result<bool, Errno> {
        let Some(level) = self.steps.iter().rposition(|step| step.entry + 1 < step.index.count()) else {
            return Ok(false);
        };
        self.left =
            self.left.checked_sub(1).ok_or_else(|| self.report(Nonsense("the index leads to a block twice")))?;
        self.steps.truncate(level + 1);
        if let Some(step) = self.steps.last_mut() {
            step.entry += 1;
        }
        self.descend(|_, _| 0)?;
        Ok(true)
    }

    /// Goes on to the next block of names if names of this hash may go on there.
    pub(super) fn advance_within(&mut self, hash: u32) -> Result<bool, Errno> {
        if self.end().is_some_and(|end| end & !1 == hash) { self.advance() } else { Ok(false) }
    }

    /// The blocks of the index on the way, from the root.
    pub(super) fn steps(&mut self) -> &mut [Step] {
        &mut self.steps
    }
}
