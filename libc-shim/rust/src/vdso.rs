//! Finding functions of the vDSO by name.
//!
//! The image is the kernel's own, so what it says of itself is believed. The older of its two hash tables tells how many
//! symbols there are; versions are not looked at, since the names of Nacre's functions are nobody else's.

use std::ffi::{CStr, c_char, c_ulong};

const AT_SYSINFO_EHDR: c_ulong = 33;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;

#[repr(C)]
struct FileHeader {
    identification: [u8; 16],
    kinds: [u16; 2],
    version: u32,
    entry: u64,
    program_headers: u64,
    sections: u64,
    flags: u32,
    sizes: [u16; 2],
    program_header_count: u16,
}

#[repr(C)]
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    rest: [u64; 4],
}

#[repr(C)]
struct Symbol {
    name: u32,
    kind: u8,
    visibility: u8,
    section: u16,
    value: u64,
    len: u64,
}

unsafe extern "C" {
    safe fn getauxval(kind: c_ulong) -> c_ulong;
}

/// The address of a function of the vDSO.
pub(crate) fn function(name: &CStr) -> Option<*const ()> {
    let base = std::ptr::with_exposed_provenance::<u8>(usize::try_from(getauxval(AT_SYSINFO_EHDR)).ok()?);
    if base.is_null() {
        return None;
    }
    // SAFETY: the kernel maps a whole ELF image there for as long as the program runs, with these tables where it says.
    unsafe {
        let header = &*base.cast::<FileHeader>();
        let programs = base.add(usize::try_from(header.program_headers).ok()?).cast::<ProgramHeader>();
        let programs = std::slice::from_raw_parts(programs, usize::from(header.program_header_count));
        let load = programs.iter().find(|program| program.kind == PT_LOAD)?;
        let shift = usize::try_from(load.offset.wrapping_sub(load.address)).ok()?;
        let at = |address: u64| Some(base.wrapping_add(shift).wrapping_add(usize::try_from(address).ok()?));
        let dynamic = programs.iter().find(|program| program.kind == PT_DYNAMIC)?;
        let mut entry = at(dynamic.address)?.cast::<[u64; 2]>();
        let (mut hash, mut names, mut symbols) = (None, None, None);
        while (*entry)[0] != 0 {
            let [tag, value] = *entry;
            match tag {
                DT_HASH => hash = at(value),
                DT_STRTAB => names = at(value),
                DT_SYMTAB => symbols = at(value),
                _ => {}
            }
            entry = entry.add(1);
        }
        let (names, symbols) = (names?, symbols?.cast::<Symbol>());
        let count = hash?.cast::<u32>().add(1).read();
        let found = (0..count as usize).map(|index| &*symbols.add(index)).find(|symbol| {
            symbol.section != 0 && CStr::from_ptr(names.add(symbol.name as usize).cast::<c_char>()) == name
        })?;
        Some(at(found.value)?.cast::<()>())
    }
}
