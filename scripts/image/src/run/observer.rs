//! What the kernel tells of the program while it runs: system calls and samples, a record a line, on a port of its own.
//!
//! Calls are shown as they come, on standard error or in a file; counts and the flame graph come at the end.

use std::fs::File;
use std::io::{BufRead, BufReader, LineWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::JoinHandle;

use super::settings::Settings;
use crate::profile::Profile;
use crate::trace::{self, Counts};
use crate::{Failure, Result};

/// A longer line is no record.
const LINE_LEN_MAX: u64 = 64 << 10;

/// The thread that listens.
#[derive(Debug)]
pub(super) struct Observer(JoinHandle<Result<Option<String>>>);

impl Observer {
    /// Starts to listen, if the user wants to know anything.
    pub(super) fn start(settings: &Settings, port: Option<UnixStream>) -> Result<Option<Self>> {
        let Some(port) = port else { return Ok(None) };
        let output: Box<dyn Write + Send> = match &settings.trace_output {
            Some(path) => Box::new(LineWriter::new(File::create(path).map_err(|error| Failure::io(path, &error))?)),
            None => Box::new(std::io::stderr()),
        };
        let profile = match &settings.profile {
            Some(path) => Some((path.clone(), Profile::new(&settings.image)?)),
            None => None,
        };
        Ok(Some(Self(std::thread::spawn(move || listen(port, output, profile)))))
    }

    /// Waits for the end, which is there when the machine is gone, and returns what the user should know.
    pub(super) fn finish(self) -> Option<String> {
        match self.0.join() {
            Ok(Ok(message)) => message,
            Ok(Err(failure)) => Some(failure.to_string()),
            // A thread of ours does not panic; if it did, it said so.
            Err(_) => None,
        }
    }
}

fn listen(
    port: UnixStream,
    mut output: Box<dyn Write + Send>,
    mut profile: Option<(PathBuf, Profile)>,
) -> Result<Option<String>> {
    let mut port = BufReader::new(port);
    let mut counts = Counts::default();
    let mut first_tid: Option<String> = None;
    let mut has_threads = false;
    let mut line = Vec::new();
    loop {
        line.clear();
        // A machine that stopped in the middle of a line ends what can be known.
        match (&mut port).take(LINE_LEN_MAX).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            _ => break,
        }
        let Some(text) = line.strip_suffix(b"\n").map(String::from_utf8_lossy) else { continue };
        let Some((word, rest)) = text.split_once(' ').or(Some((&text, ""))) else { continue };
        match word {
            "call" => {
                let tid = rest.split(' ').next().unwrap_or_default();
                let first = first_tid.get_or_insert_with(|| tid.to_owned());
                has_threads |= first != tid;
                if let Some(line) = trace::line(rest, has_threads) {
                    // Whoever does not read it does not miss it.
                    let _ = writeln!(output, "{line}");
                }
            }
            "count" => {
                counts.add(rest);
            }
            _ => {
                if let Some((_, profile)) = &mut profile {
                    profile.add(&text);
                }
            }
        }
    }
    let _ = output.write_all(counts.table().as_bytes());
    let Some((path, profile)) = profile else { return Ok(None) };
    let (svg, message) = profile.finish()?;
    std::fs::write(&path, svg).map_err(|error| Failure::io(&path, &error))?;
    Ok(Some(format!("{message}, in {}", path.display())))
}
