//! The ways in and out of system calls, interrupted at every instruction.
//!
//! The program makes a timer meet each instruction of a call, and checks that nothing is lost or changed. The emulator counts
//! instructions, so that it can, and logs where interrupts arrive: from that it is known here whether none was left out.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use super::{Bench, SCRIPT_TIMEOUT, check};
use crate::process::{self, Input};
use crate::schedule::Failure;
use crate::tools::Boot;

/// The ways, by the names that the program gives them.
const WAYS: [&str; 4] = ["plain", "full", "trapped", "within"];
/// Code in which interrupts are on: the labels of its first and last instruction.
const CODE: [(&str, &str); 3] = [
    ("syscall_call", "syscall_exit_window_jump"),
    ("site_entry", "site_window_end"),
    ("site_entry_full", "site_entry_full_end"),
];
/// Vectors from here on are interrupts.
const INTERRUPTS: u64 = 0x20;
/// The kernel slides by multiples of this, and its code is smaller.
const SLIDE: u64 = 2 << 20;

impl Bench {
    /// See the module.
    pub(super) fn call_interrupts(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/interrupts.c", |_| {})?;
        let log = self.work.join("events");
        let mut command = self.tools.boot_command(&image, &Boot::default());
        command.env("ACCEL", "tcg");
        command.env("QEMU_ARGS", format!("-icount shift=0,sleep=off -d int -D {}", log.display()));
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        let line = |way| format!("{way}: lost 0, twice 0, registers changed 0, strange places 0, masks 0\n");
        check(&output, WAYS.map(line).concat().as_bytes(), b"", 0)?;

        let log = fs::read_to_string(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let interrupted: BTreeSet<u64> =
            log.lines().filter_map(interrupted_at).map(|address| address % SLIDE).collect();
        for (first, last) in CODE {
            let missed: Vec<_> = self.instructions(first, last)?;
            let missed: Vec<_> =
                missed.iter().filter(|(address, _)| !interrupted.contains(&(address % SLIDE))).collect();
            if let Some((address, instruction)) = missed.first() {
                let count = missed.len();
                return Err(format!("{first}: {count} instructions not interrupted, first {address:#x} {instruction}"));
            }
        }
        Ok(())
    }

    /// The instructions of the kernel from one label to another.
    fn instructions(&self, first: &str, last: &str) -> Result<Vec<(u64, String)>, Failure> {
        let kernel = self.tools.kernel();
        let (start, end) = (self.symbol(first)?, self.symbol(last)?);
        let mut command = Command::new("objdump");
        command.args(["-d", "-w", "--no-show-raw-insn"]).arg(format!("--start-address={start:#x}"));
        let output = command.arg(format!("--stop-address={:#x}", end + 1)).arg(&kernel).output();
        let output = output.map_err(|error| format!("objdump: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let instructions: Vec<_> = text.lines().filter_map(disassembled).collect();
        if instructions.is_empty() { Err(format!("no code at {first}")) } else { Ok(instructions) }
    }

    fn symbol(&self, name: &str) -> Result<u64, Failure> {
        let output = Command::new("nm").arg(self.tools.kernel()).output().map_err(|error| format!("nm: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.split(' ').nth(2) == Some(name));
        let address = line.and_then(|line| u64::from_str_radix(line.split(' ').next()?, 16).ok());
        address.ok_or_else(|| format!("the kernel has no {name}"))
    }
}

/// Where an interrupt arrived, from the line of the emulator's log that tells of it.
fn interrupted_at(line: &str) -> Option<u64> {
    let field = |name: &str| {
        let (_, rest) = line.split_once(name)?;
        u64::from_str_radix(rest.split(' ').next()?, 16).ok()
    };
    field(" v=").filter(|vector| *vector >= INTERRUPTS).and_then(|_| field(" IP=0008:"))
}

/// The address and the text of a line of a disassembly.
fn disassembled(line: &str) -> Option<(u64, String)> {
    let (address, instruction) = line.trim_start().split_once(":\t")?;
    Some((u64::from_str_radix(address, 16).ok()?, instruction.to_owned()))
}
