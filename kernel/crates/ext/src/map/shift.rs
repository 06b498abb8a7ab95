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
//! 4. A range is taken away before what is behind it moves to its place, and all that may be refused is found out
//!    before that. The plan is made first. Taking the range away can only be refused at its first step, when an extent
//!    reaches over it on both sides and becomes two: that may add a node at each level, for which the plan leaves room
//!    ([`SPLIT_MAX`]), and changes nothing when there is no block for one. Otherwise no node is added. So the plan can
//!    be [renewed](Plan::renew) then, without memory of its own.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use block::Buffer;

use crate::inode::Inode;
use crate::{Change, corrupt};

use super::Map;
use super::extent::{self, Node};

/// The most nodes that move at once, which are in memory meanwhile.
const NODES_MAX: usize = 4096;
/// The most nodes that one extent more adds.
const SPLIT_MAX: usize = extent::DEPTH_MAX as usize + 1;

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
    /// Those of the plan before, which so stay in memory.
    former: Vec<Planned>,
    nodes_max: usize,
    first: u32,
    /// How many blocks of the file it moves, upwards if positive.
    distance: i64,
}

impl Plan {
    /// Finds out what must be changed. `EFBIG` when something would lie behind what a file can have, `ENOSPC` when it is
    /// more than a change has room for.
    pub(crate) fn make(inode: &Inode, map: &Map, first: u32, distance: i64) -> Result<Self, Errno> {
        // One block of the change is the record's.
        let nodes_max = inode.file_system().credits_max().saturating_sub(1).min(NODES_MAX);
        let room = nodes_max.saturating_sub(SPLIT_MAX);
        let mut plan = Self { nodes: Vec::new(), former: Vec::new(), nodes_max: room, first, distance };
        plan.add_all(inode, map)?;
        plan.former.try_reserve_exact(plan.nodes.len() + SPLIT_MAX).map_err(|_| Errno::ENOMEM)?;
        plan.nodes_max = nodes_max;
        Ok(plan)
    }

    /// Finds it out again, after extents before the block have gone.
    pub(crate) fn renew(&mut self, inode: &Inode, map: &Map) -> Result<(), Errno> {
        core::mem::swap(&mut self.nodes, &mut self.former);
        self.nodes.clear();
        self.add_all(inode, map)?;
        debug_assert!(self.nodes.len() <= self.former.len() + SPLIT_MAX, "one extent at most was added");
        Ok(())
    }

    fn add_all(&mut self, inode: &Inode, map: &Map) -> Result<(), Errno> {
        let root = extent::root_node(inode, map)?;
        self.add_below(inode, &root, 1 << 32)
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
            if self.nodes.len() >= self.nodes_max {
                return Err(Errno::ENOSPC);
            }
            self.nodes.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
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
