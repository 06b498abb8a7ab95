//! What a program sees of the stubs of its rewritten call sites.

use super::{Bench, SCRIPT_TIMEOUT, check};
use crate::process::{self, Input};
use crate::schedule::Failure;
use crate::tools::Boot;

/// What the program says where sites are rewritten, and where they are not.
const SEEN: [(&str, &str); 2] = [
    (
        "on",
        "8: r-xp 0 0:0 0 [stubs], pages 1, reached by a jump 1\n\
         unmapping: EPERM, writing: EPERM\n\
         sites written: some\n\
         left: other bytes: none\nleft: no place for a stub: none\nleft: no memory: none\n",
    ),
    (
        "off",
        "sites written: none\n\
         left: other bytes: none\nleft: no place for a stub: none\nleft: no memory: none\n",
    ),
];

impl Bench {
    /// They have one line in `/proc/self/maps`, near the program, and are sealed; `/proc/nacre/rewriting` counts the sites.
    pub(super) fn stubs(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/stubs.c", |_| {})?;
        for (rewrite, seen) in SEEN {
            let mut command = self.tools.boot_command(&image, &Boot::default());
            let output = process::run(command.env("REWRITE", rewrite), &Input::Empty, SCRIPT_TIMEOUT)?;
            check(&output, seen.as_bytes(), b"", 0)?;
        }
        Ok(())
    }
}
