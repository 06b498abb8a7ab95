//! The support list of `docs/SYSCALLS.md`, written from the table.

use core::fmt::{self, Write};

use crate::native::NATIVE_CALLS;
use crate::table::{Level, SYSCALLS, SyscallRow};

const INTRODUCTION: &str = "\
# System calls

Every system call of Linux on x86-64, and how much of it Nacre has. Written by `cargo run -p abi --example syscalls_md`
from the table in `abi/syscalls/src/table.rs`; do not edit by hand.

- **full**: all a program can tell.
- **partial**: the note says what is missing. What is not there is refused with the error Linux has for it, never
  accepted and ignored.
- absent: answers `ENOSYS` and is named once in the kernel's log.
";

const NATIVE_INTRODUCTION: &str = "
# Native calls

What Nacre has beyond Linux, which answers `ENOSYS`. Written from `abi/syscalls/src/native.rs`; programs make them through
the crate in [libc-shim/rust](../libc-shim/README.md).

| number | call | what it does |
|---:|---|---|
";

/// Writes the whole document.
pub fn write_markdown(out: &mut dyn Write) -> fmt::Result {
    out.write_str(INTRODUCTION)?;
    writeln!(
        out,
        "\n{} full, {} partial, {} absent, of {}.",
        count(Level::Full),
        count(Level::Partial),
        count(Level::Absent),
        SYSCALLS.len()
    )?;
    out.write_str("\n| number | call | support | note |\n|---:|---|---|---|\n")?;
    SYSCALLS.iter().try_for_each(|row| write_row(out, row))?;
    out.write_str(NATIVE_INTRODUCTION)?;
    for row in NATIVE_CALLS {
        write!(out, "| {:#x} | `{}(", row.number, row.name)?;
        write_arguments(out, row.arguments)?;
        writeln!(out, ")` | {} |", row.note)?;
    }
    Ok(())
}

fn write_arguments(out: &mut dyn Write, arguments: &[(&str, &str)]) -> fmt::Result {
    for (position, (name, kind)) in arguments.iter().enumerate() {
        let separator = if position == 0 { "" } else { ", " };
        write!(out, "{separator}{name}: {kind}")?;
    }
    Ok(())
}

fn count(level: Level) -> usize {
    SYSCALLS.iter().filter(|row| row.level == level).count()
}

fn write_row(out: &mut dyn Write, row: &SyscallRow) -> fmt::Result {
    write!(out, "| {} | `{}(", row.number, row.name)?;
    write_arguments(out, row.arguments)?;
    let support = match row.level {
        Level::Full => "**full**",
        Level::Partial => "**partial**",
        Level::Absent => "absent",
    };
    writeln!(out, ")` | {support} | {} |", row.note)
}
