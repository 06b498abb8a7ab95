//! mprotect.

use abi::{Errno, ProtFlags};

use super::AddressSpace;
use super::code::may_have_sites;
use super::state::State;
use crate::USER_END;
use crate::area::page_rights;
use crate::page_table::Rights;
use crate::range::{PageRange, is_page_aligned, page_up};

impl AddressSpace {
    /// mprotect. As on Linux, the areas before the first one that cannot be changed are changed.
    pub fn protect(&self, address: usize, length: usize, protection: ProtFlags) -> Result<(), Errno> {
        const KNOWN: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE).union(ProtFlags::EXEC).union(ProtFlags::SEM);
        const GROWS: ProtFlags = ProtFlags::GROWSDOWN.union(ProtFlags::GROWSUP);
        if protection.contains(GROWS) || !is_page_aligned(address) {
            return Err(Errno::EINVAL);
        }
        if length == 0 {
            return Ok(());
        }
        let end = page_up(length).and_then(|len| address.checked_add(len)).filter(|end| *end > address);
        let end = end.ok_or(Errno::ENOMEM)?;
        if !KNOWN.contains(protection - GROWS) {
            return Err(Errno::EINVAL);
        }
        let rights = Rights::from_protection(protection);

        let mut state = self.state();
        state.check_sealed(PageRange::new(address, end))?;
        // Beyond the program's half nothing is mapped.
        let mut at = state.protect_start(address, end.min(USER_END), protection)?;
        while at < end {
            let area = state.areas.find(at).ok_or(Errno::ENOMEM)?;
            let part = PageRange::new(at, area.range.end().min(end));
            state.protect_part(part, rights)?;
            at = part.end();
        }
        Ok(())
    }
}

impl State {
    /// Where mprotect begins: at `address`, or with PROT_GROWSDOWN where the stack there begins.
    fn protect_start(&self, address: usize, end: usize, protection: ProtFlags) -> Result<usize, Errno> {
        let first = self.areas.find_ending_after(address).map(|area| (area.range.start(), area.is_stack()));
        let (start, is_stack) = first.filter(|(start, _)| *start < end).ok_or(Errno::ENOMEM)?;
        if protection.contains(ProtFlags::GROWSDOWN) {
            return if is_stack { Ok(start) } else { Err(Errno::EINVAL) };
        }
        if start > address {
            return Err(Errno::ENOMEM);
        }
        // No area grows upwards.
        if protection.contains(ProtFlags::GROWSUP) { Err(Errno::EINVAL) } else { Ok(address) }
    }

    /// Gives `part`, which lies in one area, the rights `rights`.
    fn protect_part(&mut self, part: PageRange, rights: Rights) -> Result<(), Errno> {
        let area = self.areas.find(part.start()).ok_or(Errno::ENOMEM)?;
        if !area.rights_max.contains(rights) {
            return Err(Errno::EACCES);
        }
        let old_rights = area.rights;
        if rights == old_rights {
            return Ok(());
        }
        let cuts = usize::from(area.range.start() < part.start()) + usize::from(part.end() < area.range.end());
        if rights.contains(Rights::WRITE) && !old_rights.contains(Rights::WRITE) {
            let is_over = !self.may_grow(rights, area.flags, part.pages());
            if is_over && self.may_grow(old_rights, area.flags, part.pages()) {
                return Err(Errno::ENOMEM);
            }
            self.check_overcommit(rights, area.flags, part.pages())?;
        }
        if cuts > 0 {
            self.check_area_count(cuts)?;
        }
        if rights.contains(Rights::EXECUTE) && !old_rights.contains(Rights::EXECUTE) && may_have_sites(area) {
            let area = area.clone();
            self.disarm_present(&area, part)?;
        }
        self.change_area(part, |area| area.rights = rights);
        self.page_table.protect_range(part, page_rights(rights));
        Ok(())
    }
}
