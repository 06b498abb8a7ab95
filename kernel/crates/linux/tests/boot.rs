//! Starting the first process.

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::collections::BTreeMap;

use abi::auxv::*;
use support::*;

#[test]
fn the_program_is_in_memory() {
    let machine = boot();
    assert_eq!(machine.registers.rip, CODE + 0x80);
    assert_eq!(machine.read::<[u8; 4]>(CODE), *b"\x7fELF");
    assert_eq!(machine.read::<[u8; 11]>(SCRATCH), DATA);
    // Zero in the rest of the data's last page, which the file fills with something else, and in the pages behind.
    assert_eq!(machine.read::<[u8; 32]>(SCRATCH + 11), [0; 32]);
    assert_eq!(machine.read::<u8>(SCRATCH + 0xfff), 0);
    assert_eq!(machine.read::<u64>(SCRATCH + 0x3000), 0);
}

fn string(machine: &Machine, address: u64) -> Vec<u8> {
    (address..).map(|at| machine.read::<u8>(at)).take_while(|byte| *byte != 0).collect()
}

#[test]
fn the_stack_is_linuxs() {
    let machine = boot();
    let stack = machine.registers.rsp;
    assert_eq!(stack % 16, 0);
    let word = |index: u64| machine.read::<u64>(stack + index * 8);
    assert_eq!(word(0), 2);
    assert_eq!(string(&machine, word(1)), b"program");
    assert_eq!(string(&machine, word(2)), b"argument");
    assert_eq!(word(3), 0);
    assert_eq!(string(&machine, word(4)), b"HOME=/");
    assert_eq!(word(5), 0);
    let auxv: BTreeMap<u64, u64> = (0..)
        .map(|entry| (word(6 + entry * 2), word(7 + entry * 2)))
        .take_while(|(kind, _)| *kind != AT_NULL)
        .collect();
    assert_eq!(auxv[&AT_ENTRY], CODE + 0x80);
    assert_eq!(auxv[&AT_PHDR], CODE + 64);
    assert_eq!(auxv[&AT_PHNUM], 2);
    assert_eq!(auxv[&AT_HWCAP], 0x1783_fbff);
    assert_eq!(auxv[&AT_HWCAP2], 2);
    assert_eq!(auxv[&AT_SECURE], 0);
    assert_eq!(string(&machine, auxv[&AT_EXECFN]), b"/program");
    assert_eq!(string(&machine, auxv[&AT_PLATFORM]), b"x86_64");
    assert!(auxv[&AT_MINSIGSTKSZ] >= 440 + VECTOR_STATE_SIZE as u64);
    assert_ne!(machine.read::<[u8; 16]>(auxv[&AT_RANDOM]), [0; 16]);
}

#[test]
fn the_stack_grows() {
    let machine = boot();
    let deep = machine.registers.rsp - (1 << 20);
    machine.write(deep, &7_u64);
    assert_eq!(machine.read::<u64>(deep), 7);
}

#[test]
fn the_process_knows_its_program() {
    let machine = boot();
    let image = machine.thread.process().image();
    let length = u64::try_from(image.arguments.len()).unwrap();
    assert_eq!(length, 17);
    let mut arguments = vec![0; image.arguments.len()];
    mm::UserReader::new(image.arguments.start, arguments.len()).unwrap().read_exact(&mut arguments).unwrap();
    assert_eq!(arguments, b"program\0argument\0");
    assert_eq!(&machine.thread.name()[..8], b"program\0");
    assert_eq!(image.code.start as u64, CODE);
}

#[test]
fn bad_programs_are_refused_with_a_reason() {
    let error = |path: &[u8], contents: &[u8], mode| {
        let error = boot_with(namespace_with(b"/program", contents, mode), path, &[], &[]).err().unwrap();
        error.to_string()
    };
    assert!(error(b"/nothing", b"", 0o755).starts_with("cannot open /nothing: ENOENT"));
    assert!(error(b"/program", &test_program(), 0o644).starts_with("cannot open /program: EACCES"));
    assert!(error(b"/", b"", 0o755).starts_with("cannot open /: EACCES"));
    assert!(error(b"/program", b"text", 0o755).starts_with("cannot run /program: "));
    assert!(error(b"/program", b"#!/bin/sh\n", 0o755).starts_with("cannot open /bin/sh: ENOENT"));
}
