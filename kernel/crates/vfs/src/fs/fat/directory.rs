//! The entries of one directory: finding, adding and removing them.
//!
//! A *slot* is the place of an entry, numbered from the beginning of the directory. The *place* of an entry is its number among
//! those of the whole volume, if that were all entries: it says where to write, and tells files apart.
//!
//! Names are found by reading all slots, as FAT has no order, and in a large directory through its
//! [index](super::index). Slots are read without the lock of the volume: they change under the lock of the directory's
//! inode only, but for the fields of a file, which no search looks at.

use alloc::vec::Vec;

use abi::Errno;

use super::entry::{self, Entry, Gathered, PARTS_MAX, REMOVED};
use super::geometry::{ENTRY_LEN, Root};
use super::index;
use super::inode::FatInode;
use super::name::{self, CANDIDATES, Short, ShortNames};
use super::volume::State;

/// The most slots of a directory (Microsoft, page 32).
const SLOTS_MAX: u64 = 65_536;
/// The most candidates for a short name: as many as hashes.
const CANDIDATES_MAX: u32 = 65_536;

/// A file that was found.
pub(super) struct Found {
    /// The slot of the first entry of its name.
    pub(super) first: u64,
    /// The slot of its own entry, behind those of the long name.
    pub(super) own: u64,
    pub(super) place: u64,
    pub(super) entry: Entry,
    /// The name it is shown by.
    pub(super) name: Vec<u8>,
}

impl FatInode {
    fn slots_of_block(&self) -> u64 {
        (self.volume.geometry.block_len / ENTRY_LEN) as u64
    }

    /// The block with some slot; None behind the end.
    fn block_of_slot(&self, slot: u64) -> Result<Option<u64>, Errno> {
        let geometry = &self.volume.geometry;
        let index = slot / self.slots_of_block();
        if slot >= SLOTS_MAX {
            return Ok(None);
        }
        if let (Root::Fixed { first_block, blocks }, true) = (geometry.root, self.is_root()) {
            return Ok((index < blocks).then(|| first_block + index));
        }
        let cluster_index = index / geometry.cluster_blocks;
        let mut chain = self.chain().lock();
        chain.load(&self.volume, cluster_index + 1)?;
        let run = chain.run_at(cluster_index);
        Ok(run.map(|(cluster, _)| geometry.block_of(cluster) + index % geometry.cluster_blocks))
    }

    /// The place of a slot.
    fn place_of_slot(&self, slot: u64) -> Result<u64, Errno> {
        let block = self.block_of_slot(slot)?.ok_or(Errno::EIO)?;
        Ok(block * self.slots_of_block() + slot % self.slots_of_block())
    }

    /// Shows the entries from a slot on, with slot and place, until one is not wanted or the directory ends. The first free entry
    /// behind which all are free is the last that is shown.
    fn scan(&self, from: u64, mut visit: impl FnMut(u64, u64, Entry) -> Result<bool, Errno>) -> Result<(), Errno> {
        let per_block = self.slots_of_block();
        let mut slot = from;
        while let Some(number) = self.block_of_slot(slot)? {
            // A copy, so that nothing else is done under the lock of the block.
            let bytes = self.volume.block(number)?.read(<[u8]>::to_vec);
            let first = slot % per_block;
            for (index, chunk) in bytes.as_chunks::<ENTRY_LEN>().0.iter().enumerate().skip(index_of(first)) {
                let entry = Entry(*chunk);
                let at = slot - first + index as u64;
                if !visit(at, number * per_block + index as u64, entry)? || entry.first_byte() == entry::END {
                    return Ok(());
                }
            }
            slot = slot - first + per_block;
        }
        Ok(())
    }

    /// Shows the files from a slot on, until one is not wanted.
    pub(super) fn each_file(&self, from: u64, mut visit: impl FnMut(Found) -> bool) -> Result<(), Errno> {
        let mut gathered = Gathered::default();
        self.scan(from, |slot, place, entry| {
            if matches!(entry.first_byte(), entry::END | REMOVED) {
                gathered.clear();
                return Ok(true);
            }
            if entry.is_long_name() {
                gathered.add(&entry);
                return Ok(true);
            }
            let count = if gathered.units(&entry.short()).is_some() { gathered.count as u64 } else { 0 };
            let shown = shown_name(&gathered, &entry);
            gathered.clear();
            let is_file = entry.attributes() & entry::VOLUME_NAME == 0 && entry.first_byte() != b'.';
            let Some(name) = shown.filter(|_| is_file) else { return Ok(true) };
            Ok(visit(Found { first: slot.saturating_sub(count), own: slot, place, entry, name }))
        })
    }

    /// Finds a file by its long or its short name.
    pub(super) fn find(&self, name: &[u8]) -> Result<Option<Found>, Errno> {
        let wanted = name::trimmed(name);
        if let Some(slots) = self.index.slots(wanted) {
            return self.first_of(&slots, |found| found.is_named(wanted));
        }
        let (mut result, mut read) = (None, 0);
        self.each_file(0, |found| {
            read = found.own;
            let is_it = found.is_named(wanted);
            if is_it {
                result = Some(found);
            }
            !is_it
        })?;
        if read >= index::SLOTS_MIN {
            self.make_index()?;
        }
        Ok(result)
    }

    /// The first of the files at these slots that is wanted.
    fn first_of(&self, slots: &[u64], is_wanted: impl Fn(&Found) -> bool) -> Result<Option<Found>, Errno> {
        for own in slots {
            let mut result = None;
            // The entries of its long name come before.
            self.each_file(own.saturating_sub(PARTS_MAX as u64), |found| {
                let is_before = found.own < *own;
                result = Some(found).filter(|found| found.own == *own && is_wanted(found));
                is_before
            })?;
            if result.is_some() {
                return Ok(result);
            }
        }
        Ok(None)
    }

    /// Finds the file with a name whose entry is at a place.
    pub(super) fn find_file(&self, name: &[u8], place: u64) -> Result<Found, Errno> {
        if let Some(slots) = self.index.slots(name)
            && let Some(found) = self.first_of(&slots, |found| found.place == place)?
        {
            return Ok(found);
        }
        let mut result = None;
        self.each_file(0, |found| {
            let is_it = found.place == place;
            if is_it {
                result = Some(found);
            }
            !is_it
        })?;
        result.ok_or(Errno::EIO)
    }

    /// Whether there are no files.
    pub(super) fn is_empty_directory(&self) -> Result<bool, Errno> {
        let mut is_empty = true;
        self.each_file(0, |_| {
            is_empty = false;
            false
        })?;
        Ok(is_empty)
    }

    /// The entries for a name that is not there, with `file` as the file's own but for its short name, which is chosen so that no other
    /// file has it; those at the places `but` do not count.
    pub(super) fn make_set(&self, name: &[u8], file: Entry, but: &[u64]) -> Result<Vec<Entry>, Errno> {
        let units = name::units(name)?;
        let names = ShortNames::of(name::trimmed(name));
        let mut entry = file;
        if names.is_exact() {
            entry.set_short(&names.candidate(0));
            let is_taken = self.taken(&names, 0, but)? & 1 != 0;
            if !is_taken {
                return Ok(entry::set_of(&[], entry));
            }
        }
        let mut first = 0;
        while first < CANDIDATES_MAX {
            let taken = self.taken(&names, first, but)?;
            let free = taken.trailing_ones();
            if free < CANDIDATES {
                entry.set_short(&names.candidate(first + free));
                return Ok(entry::set_of(&units, entry));
            }
            first += CANDIDATES;
        }
        Err(Errno::ENOSPC)
    }

    /// Which of the candidates for a short name from `first` on are taken, one bit each.
    fn taken(&self, names: &ShortNames, first: u32, but: &[u64]) -> Result<u32, Errno> {
        let candidates: Vec<_> = (first..first + CANDIDATES).map(|number| names.candidate(number)).collect();
        let mut taken = 0;
        let mut note = |place, entry: &Entry| {
            let is_name = !matches!(entry.first_byte(), entry::END | REMOVED) && !entry.is_long_name();
            if is_name && !but.contains(&place) {
                let short = entry.short();
                let same = candidates.iter().enumerate().filter(|(_, candidate)| **candidate == short);
                taken |= same.fold(0, |bits, (index, _)| bits | 1 << index);
            }
        };
        match self.slots_of_shorts(&candidates) {
            None => self.scan(0, |_, place, entry| {
                note(place, &entry);
                Ok(true)
            })?,
            Some(slots) => {
                for slot in slots {
                    self.scan(slot, |_, place, entry| {
                        note(place, &entry);
                        Ok(false)
                    })?;
                }
            }
        }
        Ok(taken)
    }

    /// The slots of files that may have one of these short names; None when all must be looked at. The name of the
    /// volume does not count.
    fn slots_of_shorts(&self, shorts: &[Short]) -> Option<Vec<u64>> {
        let mut slots = Vec::new();
        for short in shorts {
            slots.extend(self.index.slots(&name::text_of_short(short, 0)?)?);
        }
        Some(slots)
    }

    /// Writes a set of entries where there is room, and makes room if there is none. The place of the file's own entry.
    pub(super) fn insert(&self, set: &[Entry]) -> Result<u64, Errno> {
        let wanted = set.len() as u64;
        let (first, is_behind_end) = self.find_room(wanted)?;
        let end = first + wanted;
        while self.block_of_slot(end - 1)?.is_none() {
            self.grow()?;
        }
        let mut places = Vec::with_capacity(set.len());
        for slot in first..end {
            places.push(self.place_of_slot(slot)?);
        }
        // What was behind the end was never read, and may be anything.
        let behind =
            if is_behind_end && self.block_of_slot(end)?.is_some() { Some(self.place_of_slot(end)?) } else { None };
        let mut state = self.volume.lock_for_change()?;
        if let Some(place) = behind {
            self.change_entry(&mut state, place, |entry| entry.0[0] = entry::END)?;
        }
        for (place, new) in places.iter().zip(set) {
            let changed = self.change_entry(&mut state, *place, |entry| *entry = *new);
            changed.inspect_err(|_| self.index.forget())?;
        }
        self.add_to_index(end - 1, set);
        places.last().copied().ok_or(Errno::EIO)
    }

    /// The first of `wanted` free slots side by side, and whether they are behind the end.
    fn find_room(&self, wanted: u64) -> Result<(u64, bool), Errno> {
        let from = self.index.room_from(wanted);
        let (mut first, mut count, mut is_behind_end, mut next) = (from, 0, false, from);
        self.scan(from, |slot, _, entry| {
            next = slot + 1;
            match entry.first_byte() {
                entry::END => {
                    is_behind_end = true;
                    first = if count == 0 { slot } else { first };
                    return Ok(false);
                }
                REMOVED => {
                    first = if count == 0 { slot } else { first };
                    count += 1;
                }
                _ => count = 0,
            }
            Ok(count < wanted)
        })?;
        let is_found = is_behind_end || count >= wanted;
        let first = if is_found || count > 0 { first } else { next };
        self.index.note_room(wanted, first);
        if first + wanted > SLOTS_MAX { Err(Errno::ENOSPC) } else { Ok((first, is_behind_end || count < wanted)) }
    }

    /// Gives the directory one more cluster.
    fn grow(&self) -> Result<(), Errno> {
        if self.is_root() && matches!(self.volume.geometry.root, Root::Fixed { .. }) {
            return Err(Errno::ENOSPC);
        }
        let mut chain = self.chain().lock();
        chain.load(&self.volume, u64::MAX)?;
        let count = chain.clusters() + 1;
        self.volume.extend(&mut chain, count, true)?;
        self.metadata.set_size(count * self.volume.geometry.cluster_len());
        Ok(())
    }

    /// The places of all entries of a file; its own is the last.
    pub(super) fn places_of(&self, found: &Found) -> Result<Vec<u64>, Errno> {
        (found.first..=found.own).map(|slot| self.place_of_slot(slot)).collect()
    }

    /// Removes the entries of a file.
    pub(super) fn remove(&self, state: &mut State, found: &Found, places: &[u64]) -> Result<(), Errno> {
        for place in places {
            let changed = self.change_entry(state, *place, |entry| entry.0[0] = REMOVED);
            changed.inspect_err(|_| self.index.forget())?;
        }
        self.index.remove(found);
        Ok(())
    }

    /// Has the index know a set of entries.
    fn add_to_index(&self, own: u64, set: &[Entry]) {
        let Some((file, parts)) = set.split_last() else { return };
        let mut gathered = Gathered::default();
        parts.iter().for_each(|part| gathered.add(part));
        match shown_name(&gathered, file) {
            Some(name) => self.index.add(own, &name, file),
            None => self.index.forget(),
        }
    }

    /// Takes over all of a file's entry but the name into another.
    pub(super) fn copy_fields(&self, state: &mut State, from: u64, to: u64) -> Result<(), Errno> {
        let mut old = None;
        self.change_entry(state, from, |entry| old = Some(*entry))?;
        self.change_entry(state, to, |entry| {
            if let Some(old) = old {
                entry.take_fields(&old);
            }
        })
    }

    /// Changes one entry.
    pub(super) fn change_entry(
        &self,
        state: &mut State,
        place: u64,
        change: impl FnOnce(&mut Entry),
    ) -> Result<(), Errno> {
        let per_block = self.slots_of_block();
        let offset = index_of(place % per_block) * ENTRY_LEN;
        self.volume.change_block(state, place / per_block, |block| {
            if let Some(bytes) = block.get_mut(offset..).and_then(<[u8]>::first_chunk_mut::<ENTRY_LEN>) {
                let mut entry = Entry(*bytes);
                change(&mut entry);
                *bytes = entry.0;
            }
        })
    }

    /// Whether places are all in the block with this one: written together.
    pub(super) fn are_in_block_of(&self, places: &[u64], place: u64) -> bool {
        let per_block = self.slots_of_block();
        places.iter().all(|other| other / per_block == place / per_block)
    }

    /// Exchanges all but the names of two files whose own entries are in one block.
    pub(super) fn exchange_within_block(&self, state: &mut State, places: [u64; 2]) -> Result<(), Errno> {
        let per_block = self.slots_of_block();
        self.volume.change_block(state, places[0] / per_block, |block| {
            let (entries, _) = block.as_chunks_mut::<ENTRY_LEN>();
            let at = places.map(|place| index_of(place % per_block));
            if let Ok([first, second]) = entries.get_disjoint_mut(at) {
                let (old, mut other) = (Entry(*first), Entry(*second));
                let mut new = old;
                new.take_fields(&other);
                other.take_fields(&old);
                (*first, *second) = (new.0, other.0);
            }
        })
    }

    /// Puts a set of entries into the places of another that is no shorter, all of which are in one block: on the disk either one or the
    /// other is there. The file's own entry stays where it is.
    pub(super) fn replace_within_block(
        &self,
        state: &mut State,
        found: &Found,
        places: &[u64],
        set: &[Entry],
    ) -> Result<(), Errno> {
        let per_block = self.slots_of_block();
        let Some(own) = places.last() else { return Ok(()) };
        self.volume.change_block(state, own / per_block, |block| {
            let (entries, _) = block.as_chunks_mut::<ENTRY_LEN>();
            let old = entries.get(index_of(own % per_block)).map(|bytes| Entry(*bytes));
            for (back, place) in places.iter().rev().enumerate() {
                let Some(slot) = entries.get_mut(index_of(place % per_block)) else { continue };
                match set.len().checked_sub(back + 1).and_then(|index| set.get(index)) {
                    Some(entry) => {
                        let mut entry = *entry;
                        if let (0, Some(old)) = (back, &old) {
                            entry.take_fields(old);
                        }
                        *slot = entry.0;
                    }
                    None => slot[0] = REMOVED,
                }
            }
        })?;
        self.index.remove(found);
        self.add_to_index(found.own, set);
        Ok(())
    }
}

impl Found {
    /// Whether it has a name, as its long or as its short one.
    fn is_named(&self, wanted: &[u8]) -> bool {
        let by_short = || name::text_of_short(&self.entry.short(), 0);
        name::is_same(&self.name, wanted) || by_short().is_some_and(|short| name::is_same(&short, wanted))
    }
}

/// The name a file is shown by.
fn shown_name(gathered: &Gathered, entry: &Entry) -> Option<Vec<u8>> {
    let long = gathered.units(&entry.short()).and_then(name::text_of_units);
    long.or_else(|| name::text_of_short(&entry.short(), entry.small()))
}

/// A small number as an index.
fn index_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
