//! The analysis of small programs made of bytes.

use super::*;

pub(super) const CODE: u64 = 0x40_1000;
pub(super) const DATA: u64 = 0x40_3000;

/// A program with code at [`CODE`], where it starts, and data at [`DATA`].
pub(super) fn elf(code: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 0x3000];
    bytes[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0");
    bytes[20] = 1;
    bytes[24..32].copy_from_slice(&CODE.to_le_bytes());
    (bytes[32], bytes[52], bytes[54], bytes[56]) = (64, 64, 56, 2);
    let segments = [(5, 0x1000, CODE, code.len()), (6, 0x3000, DATA, data.len())];
    for (index, (flags, offset, address, size)) in segments.into_iter().enumerate() {
        let at = 64 + index * 56;
        (bytes[at], bytes[at + 4]) = (1, flags);
        let size = u64::try_from(size).unwrap();
        for (position, value) in [(8, offset), (16, address), (24, address), (32, size), (40, size)] {
            bytes[at + position..at + position + 8].copy_from_slice(&u64::to_le_bytes(value));
        }
    }
    bytes[0x1000..0x1000 + code.len()].copy_from_slice(code);
    bytes.extend_from_slice(data);
    bytes
}

/// The distances from the start of the code of all instructions that must not run.
fn sites(code: &[u8], data: &[u8]) -> Vec<u64> {
    let found = analyse(&elf(code, data)).sites;
    found.iter().filter(|site| site.kind == SiteKind::Privileged).map(|site| site.file_offset - 0x1000).collect()
}

#[test]
fn instructions_are_found_and_their_look_alikes_left_alone() {
    let code = [
        0xb8, 0xf4, 0xfa, 0xfb, 0x0f, // 0: mov eax, bytes that look like hlt, cli and sti
        0xe8, 0x01, 0x00, 0x00, 0x00, // 5: call 11
        0xf4, // 10: hlt
        0xfa, // 11: cli
        0x75, 0x01, // 12: jne 15
        0xc3, // 14: ret
        0xcd, 0x80, // 15: int 0x80
        0xc3, // 17: ret
        0xfb, 0xf4, 0xec, // 18: unreachable bytes
    ];
    let found = analyse(&elf(&code, &[]));
    let originals: Vec<_> = found.sites.iter().map(|site| (site.file_offset - 0x1000, site.original)).collect();
    assert_eq!(originals, [(10, 0xf4), (11, 0xfa), (15, 0xcd)]);
    assert_eq!((found.proven_bytes, found.unproven_bytes), (18, 3));
}

#[test]
fn code_behind_a_call_that_does_not_return_is_doubted() {
    // call 9; then a table; 9: mov eax, 60; syscall; hlt
    let table = [0x06, 0xf4, 0xf4, 0xf4];
    let code = [&[0xe8, 4, 0, 0, 0][..], &table, &[0xb8, 60, 0, 0, 0, 0x0f, 0x05, 0xf4]].concat();
    assert_eq!(sites(&code, &[]), [16]);
}

#[test]
fn lock_prefixes_may_be_jumped_over() {
    // je 3; lock; 3: dec [rdi]; cli; ret
    assert_eq!(sites(&[0x74, 0x01, 0xf0, 0xff, 0x0f, 0xfa, 0xc3], &[]), [5]);
}

#[test]
fn functions_behind_pointers_need_evidence() {
    // jmp [DATA]; padding; 16: call 0; hlt; ret
    let mut code = vec![0xff, 0x24, 0x25, 0x00, 0x30, 0x40, 0x00];
    code.resize(16, 0xcc);
    code.extend([0xe8, 0xeb, 0xff, 0xff, 0xff, 0xf4, 0xc3]);
    assert_eq!(sites(&code, &(CODE + 16).to_le_bytes()), [21]);
    // The same without a reference that proves anything.
    let mut code = code[..16].to_vec();
    code.extend([0x90, 0x31, 0xc0, 0xf4, 0xc3]);
    assert_eq!(sites(&code, &(CODE + 16).to_le_bytes()), [0; 0]);
}

#[test]
fn jump_tables_prove_their_targets() {
    // lea rdx, [rip + DATA]; movsxd rax, [rdx + rax * 4]; add rax, rdx; jmp rax; then three cases
    let mut code = vec![0x48, 0x8d, 0x15, 0xf9, 0x1f, 0x00, 0x00, 0x48, 0x63, 0x04, 0x82, 0x48, 0x01, 0xd0, 0xff, 0xe0];
    code.extend([0xf4, 0xc3, 0xfa, 0xc3, 0x31, 0xc0, 0xf4, 0xc3]);
    let entry = |case: i32| (i32::try_from(CODE).unwrap() + 16 + case - i32::try_from(DATA).unwrap()).to_le_bytes();
    let table = [entry(0), entry(4), entry(0), [0xff; 4]].concat();
    // `cli` is what no compiler puts into a case: the second case is not in the table and stays alone.
    assert_eq!(sites(&code, &table), [16, 22]);
}

#[test]
fn data_between_functions_is_not_code() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..200 {
        // jmp 512; 510 random bytes; 512: ret
        let mut code = vec![0xe9, 0xfb, 0x01, 0x00, 0x00];
        while code.len() < 512 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            code.push(state.to_le_bytes()[5]);
        }
        code.push(0xc3);
        let found = analyse(&elf(&code, &[]));
        assert_eq!((found.sites, found.proven_bytes), (vec![], 6));
    }
}

#[test]
fn damaged_files_do_no_harm() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let whole = elf(&[0xe8, 0, 0, 0, 0, 0xf4, 0xc3], &CODE.to_le_bytes());
    for round in 0..3000 {
        let mut bytes = whole.clone();
        for _ in 0..3 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let [position, value, kind, ..] = state.to_le_bytes();
            bytes[usize::from(position) % 176] = if kind < 128 { value } else { 0xff };
        }
        bytes.truncate(if round % 4 == 0 { usize::from(state.to_le_bytes()[7]) } else { whole.len() });
        assert!(analyse(&bytes).proven_bytes <= 0x4000);
    }
}
