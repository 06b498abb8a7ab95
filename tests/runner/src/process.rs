//! Runs programs to their end, with all their output.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::schedule::Failure;

/// So much of an output is shown.
const SHOWN_MAX: usize = 2000;

/// How a program ended, and what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// As a shell gives it: 128 + n after signal n.
    pub(crate) status: i32,
}

/// What a program reads.
#[derive(Clone, Debug, Default)]
pub(crate) enum Input {
    /// Nothing: the end at once.
    #[default]
    Empty,
    /// These bytes through a pipe, then the end.
    Bytes(Vec<u8>),
    /// A file.
    File(std::path::PathBuf),
}

/// Runs a command to its end. It and its children are killed after `timeout`.
///
/// # Errors
/// When it cannot be started or takes too long.
pub(crate) fn run(command: &mut Command, input: &Input, timeout: Duration) -> Result<Output, Failure> {
    let what = format!("{}", command.get_program().display());
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(match input {
        Input::Empty => Stdio::null(),
        Input::Bytes(_) => Stdio::piped(),
        Input::File(path) => {
            Stdio::from(std::fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?)
        }
    });
    let mut child = command.spawn().map_err(|error| format!("{what}: {error}"))?;
    if let (Input::Bytes(bytes), Some(mut pipe)) = (input.clone(), child.stdin.take()) {
        // A program need not read all of its input.
        thread::spawn(move || pipe.write_all(&bytes));
    }
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = wait(&mut child, timeout);
    let (stdout, stderr) = (joined(stdout), joined(stderr));
    match status {
        Some(status) => Ok(Output { stdout, stderr, status: shell_status(status) }),
        None => Err(format!(
            "{what}: no end after {} s; so far:\n{}\n[stderr] {}",
            timeout.as_secs(),
            shown(&stdout),
            shown(&stderr)
        )),
    }
}

/// The end of an output, for a person.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(SHOWN_MAX);
    let text = String::from_utf8_lossy(bytes.get(start..).unwrap_or_default());
    if start > 0 { format!("[...]{text}") } else { text.into_owned() }
}

/// Waits for a child; kills its process group and gives `None` when it takes too long.
pub(crate) fn wait(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let (ended, end) = mpsc::channel::<()>();
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    thread::scope(|scope| {
        let watchdog = scope.spawn(move || {
            let is_late = end.recv_timeout(timeout) == Err(mpsc::RecvTimeoutError::Timeout);
            if let Some(group) = group.filter(|_| is_late) {
                // The group is gone if the child ended just now.
                let _ = kill_process_group(group, Signal::KILL);
            }
            is_late
        });
        let status = child.wait().ok();
        let _ = ended.send(());
        let is_late = watchdog.join().unwrap_or(true);
        status.filter(|_| !is_late)
    })
}

/// The status as a shell gives it.
pub(crate) fn shell_status(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is all there is.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn joined(thread: thread::JoinHandle<Vec<u8>>) -> Vec<u8> {
    thread.join().unwrap_or_default()
}
