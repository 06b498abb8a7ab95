//! Moving everything in a tree of extents from a block of the file on: for ranges that are taken out of a file, and put
//! into one.
//!
//! # Theory
//!
//! 1. Nothing is added and nothing goes when all extents from a block on move by the same distance into a hole, or away
//!    from one. So every node keeps its entries, and is written where it is: what changes is where entries begin, and
//!    in the nodes above where nodes below begin.
//! 2. It happens in one [`Change`], or not at all: [`Plan::make`] reads all nodes that change and holds their buffers,
//!    so that the change can be begun with as many blocks as it needs, and nothing must be read in it. A file with so
//!    many extents that a transaction has no room for their nodes is left as it is (`ENOSPC`).
//! 3. An extent that reaches over the block is cut in two before ([`extent::cut`]), in a change of its own: that says
//!    the same.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use block::Buffer;

use crate::inode::Inode;
use crate::{Change, corrupt};

use super::Map;
use super::extent::{self, Node};

/// A node that changes.
struct Planned {
    buffer: Arc<Buffer>,
    depth: u16,
    /// The blocks of the file that its entries lie in.
    range: (u64, u64),
}

/// Where everything from a block of a file on goes.
pub(crate) struct Plan {
    nodes: Vec<Planned>,
    first: u32,
    /// How many blocks of the file it moves, upwards if positive.
    distance: i64,
}

impl Plan {
    /// Finds out what must be changed. `EFBIG` when something would lie behind what a file can have.
    pub(crate) fn make(inode: &Inode, map: &Map, first: u32, distance: i64) -> Result<Self, Errno> {
        let mut plan = Self { nodes: Vec::new(), first, distance };
        let root = extent::root_node(inode, map)?;
        plan.add_below(inode, &root, 1 << 32)?;
        Ok(plan)
    }

    /// Adds the nodes below one that have anything to move.
    fn add_below(&mut self, inode: &Inode, node: &Node, end: u64) -> Result<(), Errno> {
        if let Some(last) = node.entries.last().filter(|_| node.depth == 0) {
            let moved = last.end().checked_add_signed(self.distance);
            if last.end() > self.first.into() && moved.is_none_or(|end| end > u32::MAX.into()) {
                return Err(Errno::EFBIG);
            }
            return Ok(());
        }
        for (number, entry) in node.entries.iter().enumerate() {
            let end = node.entries.get(number + 1).map_or(end, |next| next.logical.into());
            if end <= self.first.into() {
                continue;
            }
            let range = (entry.logical.into(), end);
            let depth = node.depth - 1;
            let (buffer, below) = extent::read_node(inode, entry.block, depth, range)?;
            self.add_below(inode, &below, end)?;
            self.nodes.push(Planned { buffer, depth, range });
        }
        Ok(())
    }

    /// How many blocks the change changes.
    pub(crate) fn credits(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Moves everything. The record is for the caller to write.
    pub(crate) fn carry_out(&self, inode: &Inode, change: &Change<'_>, map: &mut Map) -> Result<(), Errno> {
        for Planned { buffer, depth, range } in &self.nodes {
            let mut node = buffer.read(|bytes| extent::parse(inode, bytes, Some(*depth), *range))?;
            self.move_entries(&mut node)?;
            extent::store_block(inode, change, buffer, &node)?;
        }
        let mut root = extent::root_node(inode, map)?;
        self.move_entries(&mut root)?;
        extent::store_node(&root, &mut map.root);
        Ok(())
    }

    fn move_entries(&self, node: &mut Node) -> Result<(), Errno> {
        for entry in node.entries.iter_mut().filter(|entry| entry.logical >= self.first) {
            let moved = i64::from(entry.logical).checked_add(self.distance).and_then(|moved| u32::try_from(moved).ok());
            entry.logical = moved.ok_or_else(|| corrupt(format_args!("an extent has no place")))?;
        }
        Ok(())
    }
}
