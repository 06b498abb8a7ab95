//! What becomes of the system calls of small programs made of bytes.

use image_format::SiteKind;

use super::super::analyse;
use super::super::tests::{CODE, DATA, elf};
use super::Reason;

const SYSCALL: &[u8] = &[0x0f, 0x05];
/// mov eax, 39.
const MOV: &[u8] = &[0xb8, 39, 0, 0, 0];
const RET: &[u8] = &[0xc3];

/// Start, length and place of the syscall of every patch, and the reasons why others are left.
fn fate(parts: &[&[u8]], data: &[u8]) -> (Vec<(u64, u8, u8)>, Vec<Reason>) {
    let found = analyse(&elf(&parts.concat(), data));
    let patches = found.sites.iter().filter_map(|site| match &site.kind {
        SiteKind::Syscall(patch) => Some((site.file_offset - 0x1000, patch.length, patch.syscall_at)),
        SiteKind::Privileged => None,
    });
    (patches.collect(), found.left.iter().map(|left| left.reason).collect())
}

fn left(reason: Reason) -> (Vec<(u64, u8, u8)>, Vec<Reason>) {
    (Vec::new(), vec![reason])
}

/// r11 and the flags of the only patch.
fn dead(code: &[&[u8]]) -> (bool, bool) {
    let found = analyse(&elf(&code.concat(), &[]));
    let [site] = &found.sites[..] else { panic!("one system call is rewritten: {found:?}") };
    let SiteKind::Syscall(patch) = &site.kind else { panic!("it is a system call") };
    (patch.is_r11_dead, patch.are_flags_dead)
}

#[test]
fn what_comes_before_is_preferred() {
    assert_eq!(fate(&[MOV, SYSCALL, RET], &[]), (vec![(0, 5, 5)], vec![]));
    // xor edi, edi and mov rdx, rax are five bytes as well.
    assert_eq!(fate(&[MOV, &[0x31, 0xff], &[0x48, 0x89, 0xc2], SYSCALL, RET], &[]), (vec![(5, 5, 5)], vec![]));
}

#[test]
fn what_comes_behind_serves_as_well() {
    // syscall; mov rdi, rax; and a branch to the syscall.
    let (back, mov) = (&[0x75, 0xf9][..], &[0x48, 0x89, 0xc7][..]);
    assert_eq!(fate(&[SYSCALL, mov, back, RET], &[]), (vec![(0, 5, 0)], vec![]));
    // On both sides: xor edi, edi; syscall; cld.
    assert_eq!(fate(&[&[0x31, 0xff], SYSCALL, &[0xfc], RET], &[]), (vec![(0, 5, 2)], vec![]));
}

#[test]
fn branches_to_what_would_move_are_found() {
    // 0: je; 2: nop; 3: mov ebx, eax; 5: nop; 6: xor edi, edi; 8: syscall; ret: into the five bytes nearest to the syscall.
    let filling: &[u8] = &[0x90, 0x89, 0xc3, 0x90];
    let entry = |distance: u8| [0x74, distance];
    assert_eq!(fate(&[&entry(4), filling, &[0x31, 0xff], SYSCALL, RET], &[]), left(Reason::BranchTarget));
    // Three bytes behind the target and the syscall are enough.
    assert_eq!(fate(&[&entry(3), filling, &[0x31, 0xff], SYSCALL, RET], &[]), (vec![(5, 5, 3)], vec![]));
    // To the first of them, and to the syscall itself.
    assert_eq!(fate(&[&entry(1), filling, &[0x31, 0xff], SYSCALL, RET], &[]), (vec![(3, 5, 5)], vec![]));
    assert_eq!(fate(&[&entry(6), filling, &[0x31, 0xff], SYSCALL, RET], &[]), (vec![(3, 5, 5)], vec![]));
    // Into the instruction in front.
    assert_eq!(fate(&[&[0x74, 2], MOV, SYSCALL, RET], &[]).0, [(0_u64, 0_u8, 0_u8); 0]);
}

#[test]
fn names_of_what_would_move_are_found() {
    // mov rdx, rax; xor edi, edi; syscall; ret.
    let code: &[&[u8]] = &[&[0x48, 0x89, 0xc2, 0x31, 0xff], SYSCALL, RET];
    let pointer = |distance: u64| (CODE + distance).to_le_bytes();
    assert_eq!(fate(code, &pointer(3)), left(Reason::Named));
    // Into an instruction.
    assert_eq!(fate(code, &pointer(1)), left(Reason::Named));
    // Not aligned, and of four bytes.
    assert_eq!(fate(code, &[&[0; 3][..], &pointer(3)[..4]].concat()), left(Reason::Named));
    assert_eq!(fate(code, &pointer(0)).0, [(0, 5, 5)]);
    assert_eq!(fate(code, &pointer(5)).0, [(0, 5, 5)]);
    assert_eq!(fate(code, &pointer(7)).0, [(0, 5, 5)]);
    // The distance from itself, as in call frame information.
    let own = |target: u64| (i64::try_from(target).unwrap() - i64::try_from(DATA).unwrap()).to_le_bytes();
    assert_eq!(fate(code, &own(CODE + 3)[..4]), left(Reason::Named));
    // Distances do not lead into instructions, and what is proven to be code holds none: mov edx, 7 is no name of what is 7 bytes
    // behind the 7, though four bytes of which nothing is known may be.
    assert_eq!(fate(code, &own(CODE + 1)[..4]).0, [(0, 5, 5)]);
    assert_eq!(fate(&[&[0xba, 7, 0, 0, 0], &code.concat()], &[]).0, [(5, 5, 5)]);
    assert_eq!(fate(&[&code.concat(), &(-5_i32).to_le_bytes()], &[]), left(Reason::Named));
    // Another function has it as an operand: jmp over; lea rax, [rip - 12]; ret.
    let with_lea = [&code.concat()[..], &[0x48, 0x8d, 0x05, 0xf4, 0xff, 0xff, 0xff], RET].concat();
    assert_eq!(fate(&[&with_lea], &[]), left(Reason::Named));
}

#[test]
fn neighbours_that_cannot_move_are_respected() {
    let load = &[0x48, 0x8b, 0x05, 0xf9, 0x1f, 0, 0][..];
    assert_eq!(fate(&[load, SYSCALL, RET], &[0; 8]), left(Reason::RelativeOperand));
    // A branch, a call, a lock prefix that may be jumped over, an instruction of the x87 unit.
    assert_eq!(fate(&[MOV, &[0x74, 0], SYSCALL, RET], &[]).1.len(), 1);
    assert_eq!(fate(&[&[0xf0, 0x48, 0x0f, 0xb1, 0x0f], SYSCALL, RET], &[]), left(Reason::Unmovable));
    assert_eq!(fate(&[&[0xd9, 0x04, 0x24, 0xd9, 0x04, 0x24], SYSCALL, RET], &[]), left(Reason::Unmovable));
    // A prefetch of a fault is one like any other: rep movsb moves.
    assert_eq!(fate(&[MOV, &[0xf3, 0xa4], SYSCALL, RET], &[]).0, [(0, 7, 7)]);
}

#[test]
fn signal_returns_and_page_ends_stay() {
    assert_eq!(fate(&[&[0xb8, 15, 0, 0, 0], SYSCALL, RET], &[]), left(Reason::SignalReturn));
    assert_eq!(fate(&[&[0x48, 0xc7, 0xc0, 15, 0, 0, 0], SYSCALL, RET], &[]), left(Reason::SignalReturn));
    let across = [&[0x90; 0xffa][..], MOV, SYSCALL, RET].concat();
    assert_eq!(fate(&[&across], &[]), left(Reason::PageEnd));
}

#[test]
fn computed_branches_keep_a_function_as_it_is() {
    // lea rdx, [rip]; add rdx, rcx; jmp rdx; then xor edi, edi; mov rdx, rax; syscall; ret, to which ecx may lead.
    let computed: &[u8] = &[0x48, 0x8d, 0x15, 0, 0, 0, 0, 0x48, 0x01, 0xca, 0x74, 2, 0xff, 0xe2];
    let code = [computed, &[0x31, 0xff, 0x48, 0x89, 0xc2], SYSCALL, RET].concat();
    assert_eq!(fate(&[&code], &[]), left(Reason::ComputedBranch));
}

#[test]
fn what_is_read_behind_a_call_is_alive() {
    assert_eq!(dead(&[MOV, SYSCALL, RET]), (true, true));
    // setz al; mov rdx, r11.
    assert_eq!(dead(&[MOV, SYSCALL, &[0x0f, 0x94, 0xc0], RET]), (true, false));
    assert_eq!(dead(&[MOV, SYSCALL, &[0x4c, 0x89, 0xda], RET]), (false, true));
    // test eax, eax; setz al. mov r11, rax; mov rdx, r11. mov r11b, al; mov rdx, r11.
    assert_eq!(dead(&[MOV, SYSCALL, &[0x85, 0xc0, 0x0f, 0x94, 0xc0], RET]), (true, true));
    assert_eq!(dead(&[MOV, SYSCALL, &[0x49, 0x89, 0xc3, 0x4c, 0x89, 0xda], RET]), (true, true));
    assert_eq!(dead(&[MOV, SYSCALL, &[0x41, 0x88, 0xc3, 0x4c, 0x89, 0xda], RET]), (false, true));
    // shl edx, cl may leave the flags alone; pushfq behind inc reads the carry; jmp rdx may lead to anything.
    assert_eq!(dead(&[MOV, SYSCALL, &[0xd3, 0xe2, 0x0f, 0x94, 0xc0], RET]), (true, false));
    assert_eq!(dead(&[MOV, SYSCALL, &[0xff, 0xc2, 0x9c, 0x58], RET]), (true, false));
    assert_eq!(dead(&[MOV, SYSCALL, &[0xff, 0xe2]]), (false, false));
    // push rdx; ret is a jump as well; push rdx; pop rdx; ret is not.
    assert_eq!(dead(&[MOV, SYSCALL, &[0x52], RET]), (false, false));
    assert_eq!(dead(&[MOV, SYSCALL, &[0x52, 0x5a], RET]), (true, true));
}
