//! Rewrites a program for the host as the kernel does for itself, but into a file: each stub makes a real system call.
//!
//! What a patch calls dead is destroyed, so that a program that looks at it behaves differently.

use std::ops::Range;

use goblin::elf::Elf;
use goblin::elf::program_header::{PT_GNU_STACK, PT_LOAD, PT_NOTE, PT_NULL, ProgramHeader};
use image_format::{Patch, Site, SiteKind};

const HEADER_SIZE: u64 = 56;
const PAGE_SIZE: u64 = 4096;
const JUMP: u8 = 0xe9;
const INT3: u8 = 0xcc;
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// lea rcx, [rip + distance].
const LOAD_RCX: [u8; 3] = [0x48, 0x8d, 0x0d];
/// mov r11, garbage.
const DESTROY_R11: [u8; 10] = [0x49, 0xbb, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5, 0x5a, 0xa5];

/// What becomes of dead status flags.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Garbage {
    /// cmp rsp, rsp: equal.
    Equal,
    /// cmp rsp, -1: below.
    Below,
}

impl Garbage {
    fn code(self) -> &'static [u8] {
        match self {
            Self::Equal => &[0x48, 0x39, 0xe4],
            Self::Below => &[0x48, 0x83, 0xfc, 0xff],
        }
    }
}

/// The program with all its patches applied.
pub(crate) fn rewrite(program: &[u8], sites: &[Site], garbage: Garbage) -> Vec<u8> {
    let elf = Elf::parse(program).expect("the program is an ELF file");
    let headers = &elf.program_headers;
    let loaded = headers.iter().filter(|header| header.p_type == PT_LOAD);
    let end = loaded.map(|header| header.p_vaddr + header.p_memsz).max().expect("something is loaded");
    let mut output = program.to_vec();
    let file_offset = wide(output.len()).next_multiple_of(PAGE_SIZE);
    let address = end.next_multiple_of(PAGE_SIZE) + PAGE_SIZE;
    output.resize(narrow(file_offset), 0);
    let mut stubs = Vec::new();
    for site in sites {
        if let SiteKind::Syscall(patch) = &site.kind {
            let start = address_of(headers, site.file_offset);
            let stub = address + wide(stubs.len());
            let place = narrow(site.file_offset);
            let covered = &program[place..place + usize::from(patch.length)];
            assert_eq!(patch.checksum, Patch::checksum_of(covered), "the checksum of {site:?}");
            stubs.extend(stub_of(patch, covered, start, stub, garbage));
            put_jump(&mut output, site.file_offset, patch, start, stub);
        }
    }
    let size = wide(stubs.len());
    output.extend(stubs);
    let spare = [PT_NULL, PT_NOTE, PT_GNU_STACK]
        .iter()
        .find_map(|kind| headers.iter().position(|header| header.p_type == *kind));
    let at = narrow(elf.header.e_phoff + HEADER_SIZE * wide(spare.expect("a program header can be spared")));
    output[at..at + 4].copy_from_slice(&PT_LOAD.to_le_bytes());
    output[at + 4..at + 8].copy_from_slice(&5_u32.to_le_bytes());
    for (field, value) in [file_offset, address, address, size, size, PAGE_SIZE].into_iter().enumerate() {
        output[at + 8 + field * 8..at + 16 + field * 8].copy_from_slice(&value.to_le_bytes());
    }
    output
}

fn stub_of(patch: &Patch, covered: &[u8], start: u64, stub: u64, garbage: Garbage) -> Vec<u8> {
    let (before, rest) = covered.split_at(usize::from(patch.syscall_at));
    let after = rest.strip_prefix(&SYSCALL).unwrap_or_default();
    let mut code = before.to_vec();
    code.extend(SYSCALL);
    code.extend(LOAD_RCX);
    let resume = start + u64::from(patch.resume_at());
    code.extend(distance(stub + wide(code.len()) + 4, resume));
    if patch.is_r11_dead {
        code.extend(DESTROY_R11);
    }
    if patch.are_flags_dead {
        code.extend(garbage.code());
    }
    code.extend(after);
    code.push(JUMP);
    code.extend(distance(stub + wide(code.len()) + 4, start + u64::from(patch.end())));
    code
}

fn put_jump(output: &mut [u8], file_offset: u64, patch: &Patch, start: u64, stub: u64) {
    let place = narrow(file_offset);
    output[place..place + usize::from(patch.length)].fill(INT3);
    output[place] = JUMP;
    output[place + 1..place + 5].copy_from_slice(&distance(start + 5, stub));
}

fn address_of(headers: &[ProgramHeader], offset: u64) -> u64 {
    let holds = |header: &&ProgramHeader| {
        let range: Range<u64> = header.p_offset..header.p_offset + header.p_filesz;
        header.p_type == PT_LOAD && header.is_executable() && range.contains(&offset)
    };
    let header = headers.iter().find(holds).expect("a site lies in code");
    offset - header.p_offset + header.p_vaddr
}

fn distance(from: u64, to: u64) -> [u8; 4] {
    let distance = to.wrapping_sub(from).cast_signed();
    i32::try_from(distance).expect("stubs are near").to_le_bytes()
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).expect("a size fits")
}

fn narrow(size: u64) -> usize {
    usize::try_from(size).expect("a size fits")
}
