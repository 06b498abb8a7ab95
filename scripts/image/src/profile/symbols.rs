//! The functions of an ELF file in an image.

use std::borrow::Cow;

use goblin::elf::Elf;
use goblin::elf::program_header::PT_LOAD;
use goblin::elf::sym::{STT_FUNC, STT_GNU_IFUNC};
use image_format::Archive;

/// The longest call through memory: opcode, operand, scaled index and four bytes of displacement.
const INDIRECT_CALL_LEN_MAX: usize = 7;
const DIRECT_CALL_LEN: usize = 5;
const DIRECT_CALL: u8 = 0xe8;
const INDIRECT_CALL: u8 = 0xff;

/// The functions of a file, by their offset in it.
#[derive(Debug)]
pub(super) struct Symbols {
    bytes: Vec<u8>,
    /// Offset, size (0: up to the next), name; ascending.
    functions: Vec<(u64, u64, String)>,
}

impl Symbols {
    /// Those of a file of the image by its path. `None`: there is none, or it is no ELF file.
    pub(super) fn of_file(payload: &[u8], path: &str) -> Option<Self> {
        let image = image_format::Image::parse(payload).ok()?;
        let bytes = &*find(&image.archive(), path)?;
        let elf = Elf::parse(bytes).ok()?;
        let to_offset = |address: u64| {
            let loads = elf.program_headers.iter().filter(|header| header.p_type == PT_LOAD);
            let mut holding =
                loads.filter(|header| address.checked_sub(header.p_vaddr).is_some_and(|at| at < header.p_filesz));
            holding.next().map(|header| address - header.p_vaddr + header.p_offset)
        };
        let named = |symbols: &goblin::elf::Symtab<'_>, names: &goblin::strtab::Strtab<'_>| {
            let functions = symbols.iter().filter(|symbol| matches!(symbol.st_type(), STT_FUNC | STT_GNU_IFUNC));
            functions
                .filter_map(|symbol| {
                    let name = names.get_at(symbol.st_name).filter(|name| !name.is_empty())?;
                    Some((to_offset(symbol.st_value)?, symbol.st_size, name.to_owned()))
                })
                .collect::<Vec<_>>()
        };
        let mut functions = named(&elf.syms, &elf.strtab);
        functions.extend(named(&elf.dynsyms, &elf.dynstrtab));
        functions.sort();
        functions.dedup_by_key(|(offset, ..)| *offset);
        Some(Self { bytes: bytes.to_vec(), functions })
    }

    /// The function that holds the byte at `offset`.
    pub(super) fn name(&self, offset: u64) -> Option<&str> {
        let following = self.functions.partition_point(|(start, ..)| *start <= offset);
        let (start, size, name) = self.functions.get(following.checked_sub(1)?)?;
        (*size == 0 || offset - start < *size).then_some(name)
    }

    /// Where the function begins that holds the byte at `offset`.
    pub(super) fn start(&self, offset: u64) -> Option<u64> {
        self.name(offset)?;
        let following = self.functions.partition_point(|(start, ..)| *start <= offset);
        self.functions.get(following.checked_sub(1)?).map(|(start, ..)| *start)
    }

    /// What the direct call before `offset` calls. Code is one piece in the file as in memory.
    pub(super) fn called_before(&self, offset: u64) -> Option<u64> {
        let before = self.bytes.get(..usize::try_from(offset).ok()?)?;
        let (opcode, distance) = before.last_chunk::<DIRECT_CALL_LEN>()?.split_first()?;
        let distance = i32::from_le_bytes(distance.try_into().ok()?);
        (*opcode == DIRECT_CALL).then(|| offset.checked_add_signed(distance.into()))?
    }

    /// Whether the instruction before `offset` may be a call.
    pub(super) fn is_behind_call(&self, offset: u64) -> bool {
        let Some(before) = usize::try_from(offset).ok().and_then(|offset| self.bytes.get(..offset)) else {
            return false;
        };
        let byte = |distance: usize| before.len().checked_sub(distance).and_then(|at| before.get(at)).copied();
        let is_indirect = |len: usize| {
            let operand = byte(len - 1);
            byte(len) == Some(INDIRECT_CALL) && operand.is_some_and(|operand| operand >> 3 & 7 == 2)
        };
        byte(DIRECT_CALL_LEN) == Some(DIRECT_CALL) || (2..=INDIRECT_CALL_LEN_MAX).any(is_indirect)
    }

    /// Functions at these offsets, and calls that end at an offset and call another.
    #[cfg(test)]
    pub(super) fn for_test(functions: &[(u64, &str)], calls: &[(usize, i32)]) -> Self {
        let mut bytes = vec![0; 4096];
        for (end, target) in calls {
            bytes[end - DIRECT_CALL_LEN] = DIRECT_CALL;
            let distance = target - i32::try_from(*end).unwrap();
            bytes[end - DIRECT_CALL_LEN + 1..*end].copy_from_slice(&distance.to_le_bytes());
        }
        Self { bytes, functions: functions.iter().map(|(offset, name)| (*offset, 0, (*name).to_owned())).collect() }
    }
}

/// The contents of a file by its path. Links are not followed: the kernel names the files themselves.
fn find<'a>(archive: &Archive<'a>, path: &str) -> Option<Cow<'a, [u8]>> {
    let mut inode = archive.root();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        inode = archive.lookup(inode, name.as_bytes()).ok()??;
    }
    let contents = match archive.packed(inode) {
        Some(packed) => Cow::Owned(packed.unpack_all().ok()?),
        None => Cow::Borrowed(archive.data(inode)),
    };
    Some(contents).filter(|bytes| !bytes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_with_their_function() {
        let mut symbols = Symbols::for_test(&[(0x10, "a"), (0x20, "b")], &[]);
        symbols.functions[0].1 = 4;
        assert_eq!(symbols.name(0xf), None);
        assert_eq!(symbols.name(0x13), Some("a"));
        assert_eq!(symbols.name(0x14), None);
        assert_eq!(symbols.name(0x999), Some("b"));
    }

    #[test]
    fn calls_are_told_by_their_bytes() {
        let mut symbols = Symbols::for_test(&[], &[(0x30, 0x10)]);
        assert_eq!((symbols.called_before(0x30), symbols.called_before(0x31)), (Some(0x10), None));
        assert!(symbols.is_behind_call(0x30) && !symbols.is_behind_call(0x31));
        // call rax; call [rip + ...]
        symbols.bytes[0x40..0x42].copy_from_slice(&[0xff, 0xd0]);
        symbols.bytes[0x50..0x52].copy_from_slice(&[0xff, 0x15]);
        assert!(symbols.is_behind_call(0x42) && symbols.is_behind_call(0x56));
        // jmp rax
        symbols.bytes[0x60..0x62].copy_from_slice(&[0xff, 0xe0]);
        assert!(!symbols.is_behind_call(0x62));
        assert!(!symbols.is_behind_call(1) && !symbols.is_behind_call(1 << 40));
    }
}
