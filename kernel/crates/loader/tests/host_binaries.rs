//! Programs compiled and run on this host: the plan against xmas-elf, and the initial stack against the one that
//! Linux really gave.

mod common;

use std::process::{Command, Stdio};

use common::{Linking, Scratch, compile, invariants};
use loader::auxv::Facts;
use loader::stack::{Contents, build};
use loader::{Kind, LoadPlan, Rights, StackRights};
use xmas_elf::ElfFile;
use xmas_elf::program::Type;

const SMALL: &str = "static volatile __thread long t[5] = {1}; static volatile char bss[20000];\n\
                     int main(int c, char **v) { (void)v; bss[c] = t[c]; return bss[c]; }";

fn plan_of(linking: Linking, flags: &[&str]) -> (Vec<u8>, LoadPlan) {
    let scratch = Scratch::new();
    let bytes = std::fs::read(compile(&scratch, SMALL, linking, flags)).expect("the program is there");
    let plan = invariants::check(&bytes, 0x1234_5678_9abc_def0).expect("a compiled program is accepted");
    (bytes, plan)
}

#[test]
fn a_static_program_is_planned_as_linked() {
    let (bytes, plan) = plan_of(Linking::Static, &[]);
    assert_eq!(plan.kind, Kind::Fixed);
    assert!(plan.is_static());
    assert_eq!(plan.stack, StackRights::NotExecutable);
    assert_eq!(plan.program_headers.vaddr, plan.segments[0].vaddr + 64);
    assert!(plan.segments.iter().any(|segment| segment.rights == Rights { read: true, write: false, execute: true }));
    assert!(plan.segments.iter().any(|segment| segment.mem_size > segment.file_size + 16000));
    let elf = ElfFile::new(&bytes).expect("xmas-elf reads it");
    assert_eq!(plan.entry, elf.header.pt2.entry_point());
    let loads = elf.program_iter().filter(|header| header.get_type() == Ok(Type::Load));
    for (header, segment) in loads.zip(&plan.segments) {
        assert_eq!(
            (header.virtual_addr(), header.offset(), header.file_size(), header.mem_size(), header.align()),
            (segment.vaddr, segment.offset, segment.file_size, segment.mem_size, segment.alignment)
        );
        let flags = header.flags();
        let rights = Rights { read: flags.is_read(), write: flags.is_write(), execute: flags.is_execute() };
        assert_eq!(rights, segment.rights);
    }
    let tls = elf.program_iter().find(|header| header.get_type() == Ok(Type::Tls)).expect("a TLS header");
    let ours = plan.tls.expect("a TLS template");
    assert_eq!((tls.virtual_addr(), tls.mem_size()), (ours.vaddr, ours.mem_size));
    let relro = elf.program_iter().find(|header| header.get_type() == Ok(Type::GnuRelro)).expect("a RELRO header");
    assert_eq!(plan.relro.expect("RELRO").start, relro.virtual_addr());
}

#[test]
fn a_static_pie_is_position_independent() {
    let (_, plan) = plan_of(Linking::StaticPie, &[]);
    assert_eq!(plan.kind, Kind::PositionIndependent);
    assert!(plan.is_static());
    assert_eq!(plan.pages().start, 0);
}

#[test]
fn a_dynamic_program_names_its_interpreter() {
    let (_, plan) = plan_of(Linking::Dynamic, &[]);
    assert_eq!(plan.interpreter.as_deref(), Some(&b"/lib/ld-musl-x86_64.so.1"[..]));
}

#[test]
fn an_executable_stack_is_seen() {
    let (_, plan) = plan_of(Linking::Static, &["-Wl,-z,execstack"]);
    assert!(plan.stack.is_executable());
}

#[test]
fn a_large_alignment_is_kept() {
    let (_, plan) = plan_of(Linking::StaticPie, &["-Wl,-z,max-page-size=0x200000"]);
    assert_eq!(plan.alignment(), 0x20_0000);
}

#[test]
fn one_writable_executable_segment_is_taken() {
    let (_, plan) = plan_of(Linking::Static, &["-Wl,-N"]);
    assert!(plan.segments.iter().any(|segment| segment.rights.write && segment.rights.execute));
}

/// Prints in hexadecimal the address of `argc` and all bytes from there to the end of the stack's mapping.
const DUMP: &str = r#"
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
    unsigned long start = (unsigned long)argv - 8, low, high, end = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx", &low, &high) == 2 && low <= start && start < high)
            end = high;
    printf("%lx\n", start);
    for (unsigned char *byte = (unsigned char *)start; byte < (unsigned char *)end; byte++)
        printf("%02x", *byte);
    return argc == 0;
}
"#;

struct Dump {
    start: u64,
    bytes: Vec<u8>,
}

impl Dump {
    fn take(program: &std::path::Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment.iter().copied()).stdin(Stdio::null());
        let output = command.output().expect("the program runs");
        let text = String::from_utf8(output.stdout).expect("hexadecimal text");
        let (start, hex) = text.split_once('\n').expect("two lines");
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("a byte");
        Self {
            start: u64::from_str_radix(start, 16).expect("an address"),
            bytes: (0..hex.len()).step_by(2).map(byte).collect(),
        }
    }

    fn word(&self, address: u64) -> u64 {
        let at = usize::try_from(address - self.start).expect("an offset");
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("eight bytes"))
    }

    fn bytes_at(&self, address: u64, len: usize) -> &[u8] {
        &self.bytes[usize::try_from(address - self.start).expect("an offset")..][..len]
    }

    fn auxv(&self, arguments: u64, environment: u64) -> Vec<(u64, u64)> {
        let mut at = self.start + 8 * (3 + arguments + environment);
        let mut entries = Vec::new();
        loop {
            entries.push((self.word(at), self.word(at + 8)));
            if self.word(at) == abi::auxv::AT_NULL {
                return entries;
            }
            at += 16;
        }
    }
}

/// Rebuilds the stack that Linux gave from the facts in it and compares every byte.
fn compare_with_linux(linking: Linking, arguments: &[&str], environment: &[(&str, &str)]) {
    use abi::auxv::*;
    let scratch = Scratch::new();
    let program = compile(&scratch, DUMP, linking, &[]);
    let name = program.to_str().expect("a plain path").as_bytes().to_vec();
    let argv: Vec<Vec<u8>> =
        std::iter::once(name.clone()).chain(arguments.iter().map(|text| text.as_bytes().to_vec())).collect();
    let envp: Vec<Vec<u8>> = environment.iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect();

    // Linux aligns after drawing the padding; one draw in a thousand cannot be told from a smaller one.
    for _ in 0..8 {
        let dump = Dump::take(&program, arguments, environment);
        let auxv = dump.auxv(argv.len() as u64, envp.len() as u64);
        let value = |kind| auxv.iter().find(|entry| entry.0 == kind).map(|entry| entry.1);
        let get = |kind| value(kind).unwrap_or_else(|| panic!("Linux gave no entry {kind}"));
        let padding = dump.word(dump.start + 8) - (get(AT_PLATFORM) + 7);
        if padding >= 8192 {
            continue;
        }
        let mut facts = Facts {
            vdso: value(AT_SYSINFO_EHDR),
            signal_stack_min: get(AT_MINSIGSTKSZ),
            hardware_capabilities: get(AT_HWCAP),
            hardware_capabilities_2: get(AT_HWCAP2),
            uid: get(AT_UID),
            euid: get(AT_EUID),
            gid: get(AT_GID),
            egid: get(AT_EGID),
            is_secure: get(AT_SECURE) != 0,
            restartable_sequences: value(AT_RSEQ_FEATURE_SIZE).zip(value(AT_RSEQ_ALIGN)),
            ..Facts::default()
        };
        let file = std::fs::read(&program).expect("the program is there");
        let plan = LoadPlan::parse(&file, file.len() as u64).expect("a compiled program is accepted");
        facts = facts.with_program(&plan, get(AT_ENTRY).wrapping_sub(plan.entry));
        let random_bytes = dump.bytes_at(get(AT_RANDOM), 16).try_into().expect("16 bytes");
        let contents = Contents {
            arguments: &argv,
            environment: &envp,
            executable_name: &name,
            random_bytes,
            random_padding: padding,
            facts,
        };
        let stack = build(dump.start + dump.bytes.len() as u64, 8 << 20, &contents).expect("it fits");
        assert_eq!(stack.stack_pointer, dump.start);
        assert_eq!(stack.bytes, dump.bytes);
        assert_eq!(stack.arg_start, dump.word(dump.start + 8));
        assert_eq!(stack.auxv.len(), auxv.len() * 16);
        return;
    }
    panic!("eight unlucky draws");
}

#[test]
fn the_initial_stack_is_what_linux_gives() {
    compare_with_linux(Linking::Static, &[], &[]);
    compare_with_linux(Linking::Static, &["one", "", "three three"], &[("A", "1"), ("LONG", "x")]);
    compare_with_linux(Linking::StaticPie, &["x"; 40], &[("PATH", "/usr/bin")]);
}
