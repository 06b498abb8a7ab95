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

/// The ways, by the names that the program gives them. Those of `called` call a function of the kernel, the last have a gs
/// base of their own.
const WAYS: [&str; 20] = [
    "plain",
    "full",
    "trapped",
    "within",
    "direction",
    "plain_absent",
    "trapped_absent",
    "called_0",
    "called_1",
    "called_2",
    "called_3",
    "called_4",
    "called_5",
    "called_6",
    "called_absent",
    "called_raising",
    "gs_plain",
    "gs_trapped",
    "gs_absent",
    "gs_called",
];
/// All of the ways: the labels of the first instruction, and of what follows the last.
const CODE: (&str, &str) = ("syscall_code_start", "syscall_code_end");
/// Where in it interrupts are off, in the same form; the only code that may be left out.
const QUIET: [(&str, &str); 3] = [
    ("syscall_entry_quiet", "syscall_entry_quiet_end"),
    ("syscall_slow_exit_quiet", "syscall_slow_exit_quiet_end"),
    ("syscall_entry_own_gs_quiet", "syscall_entry_own_gs_quiet_end"),
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
        command.env("ACCEL", "tcg").env("REWRITE", "on");
        command.env("QEMU_ARGS", format!("-icount shift=0,sleep=off -d int -D {}", log.display()));
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        let line = |way| format!("{way}: lost 0, twice 0, registers changed 0, strange places 0, masks 0\n");
        check(&output, WAYS.map(line).concat().as_bytes(), b"", 0)?;

        let log = fs::read_to_string(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let interrupted: BTreeSet<u64> =
            log.lines().filter_map(interrupted_at).map(|address| address % SLIDE).collect();
        let quiet = QUIET.map(|(first, end)| Ok::<_, Failure>(self.symbol(first)?..self.symbol(end)?));
        let quiet = quiet.into_iter().collect::<Result<Vec<_>, _>>()?;
        let is_quiet = |address: u64| quiet.iter().any(|range| range.contains(&address));
        let code = self.instructions()?;
        // One that was interrupted there would make the list above wrong.
        let wrong = |(address, _): &&(u64, String)| is_quiet(*address) == interrupted.contains(&(address % SLIDE));
        let wrong: Vec<_> = code.iter().filter(wrong).collect();
        let Some((address, instruction)) = wrong.first() else { return Ok(()) };
        let what = if is_quiet(*address) { "interrupted with interrupts off" } else { "not interrupted" };
        Err(format!("{} instructions, first {address:#x} {instruction}: {what}", wrong.len()))
    }

    /// The instructions of the ways, without those that only fill a gap.
    fn instructions(&self) -> Result<Vec<(u64, String)>, Failure> {
        let (start, end) = (self.symbol(CODE.0)?, self.symbol(CODE.1)?);
        let mut command = Command::new("objdump");
        command.args(["-d", "-w", "--no-show-raw-insn"]).arg(format!("--start-address={start:#x}"));
        let output = command.arg(format!("--stop-address={end:#x}")).arg(self.tools.kernel()).output();
        let output = output.map_err(|error| format!("objdump: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let is_filling = |text: &str| text.contains("nop") || text.starts_with("xchg   %ax,%ax");
        let instructions: Vec<_> =
            text.lines().filter_map(disassembled).filter(|(_, text)| !is_filling(text)).collect();
        if instructions.is_empty() { Err("the kernel has no such code".to_owned()) } else { Ok(instructions) }
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
