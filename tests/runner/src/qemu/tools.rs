//! Tools that look at the machine through `/proc` and `/sys`: those of BusyBox, whose output is compared but for its numbers.

use std::fs;

use super::{Bench, SCRIPT_TIMEOUT};
use crate::apps::App;
use crate::case::describe;
use crate::process::{self, Input};
use crate::schedule::Failure;
use crate::tools::Boot;

/// Sectors of the disk that the tools find.
const DISK_LEN: usize = 1 << 20;

impl Bench {
    /// Runs each tool of `tests/qemu/tools.txt` in a machine of its own: there is no `fork`.
    pub(super) fn tools(&self) -> Result<(), Failure> {
        let app = App::new(self.tools.root.join("tests/apps/busybox"));
        match app.build() {
            Ok(()) => {}
            // Where it cannot be built, its own tests say so.
            Err(Ok(_)) => return Ok(()),
            Err(Err(failure)) => return Err(failure),
        }
        let program = self.tools.app("busybox").join("busybox");
        let disk = self.file("disk.img", &[0; DISK_LEN])?;
        let text =
            fs::read_to_string(self.tools.root.join("tests/qemu/tools.txt")).map_err(|error| error.to_string())?;
        for (command, expected) in sections(&text) {
            let image = self.work.join("image");
            self.tools.image(&image, |request| {
                request.app = program.clone();
                request.arguments = command.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            })?;
            let mut run = self.tools.boot_command(&image, &Boot { machine: "microvm", ..Boot::default() });
            run.env("DISK", &disk);
            let output = process::run(&mut run, &Input::Empty, SCRIPT_TIMEOUT)?;
            let found = masked(&String::from_utf8_lossy(&output.stdout));
            if output.status != 0 || found != expected {
                return Err(format!("{command} should say:\n{expected}--- is\n{found}{}", describe(&output)));
            }
        }
        Ok(())
    }
}

/// The commands and what they are to say.
fn sections(text: &str) -> Vec<(&str, String)> {
    let mut sections = Vec::new();
    for line in text.lines().skip_while(|line| !line.starts_with("$ ")) {
        match (line.strip_prefix("$ "), sections.last_mut()) {
            (Some(command), _) => sections.push((command, String::new())),
            (None, Some((_, expected))) => {
                expected.push_str(line);
                expected.push('\n');
            }
            (None, None) => {}
        }
    }
    sections
}

/// A text with `#` for each number and one blank for several, none at the ends of lines.
fn masked(text: &str) -> String {
    let mut result = String::new();
    for line in text.lines() {
        let words: Vec<String> = line.split_whitespace().map(without_numbers).collect();
        result.push_str(&words.join(" "));
        result.push('\n');
    }
    result
}

fn without_numbers(word: &str) -> String {
    let mut result = String::new();
    for letter in word.chars() {
        match letter {
            digit if digit.is_ascii_digit() && result.ends_with('#') => {}
            digit if digit.is_ascii_digit() => result.push('#'),
            other => result.push(other),
        }
    }
    // Shares are shown without a fraction when they are whole.
    result.replace("#.#%", "#%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_blanks_are_masked() {
        assert_eq!(masked("  12  root     0:03 /x86_64 \n\n"), "# root #:# /x#_#\n\n");
        assert_eq!(masked("7.5% 100% 1.5"), "#% #% #.#\n");
        assert_eq!(sections("# text\n$ a b\none\n$ c\n"), [("a b", "one\n".into()), ("c", String::new())]);
    }
}
