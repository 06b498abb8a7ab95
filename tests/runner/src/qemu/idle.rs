//! What an idle processor does.

use super::{Bench, SCRIPT_TIMEOUT, check};
use crate::process::{self, Input};
use crate::schedule::Failure;
use crate::tools::Boot;

/// What the program finds by what the processor is told.
const SEEN: [(&str, &str); 2] =
    [("poll", "looked: some, halted: now and then\n"), ("halt", "looked: none, halted: always\n")];

impl Bench {
    /// It looks for work a while if waits are short, unless it is told to halt. The emulator's clock counts instructions, so that waits are as
    /// long as the program says.
    pub(super) fn idle(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/idle.c", |_| {})?;
        for (idle, seen) in SEEN {
            let mut command = self.tools.boot_command(&image, &Boot::default());
            command.env("ACCEL", "tcg").env("IDLE", idle).env("QEMU_ARGS", "-icount shift=0,sleep=off");
            let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
            check(&output, seen.as_bytes(), b"", 0)?;
        }
        Ok(())
    }
}
