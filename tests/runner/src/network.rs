//! The network as far as it needs no privileges: the test is the other end of the machine's link, over a datagram socket, and
//! speaks ARP by itself; and QEMU's own network gives an address.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::process::{shell_status, wait};
use crate::schedule::{Failure, Test};
use crate::tools::{Boot, Tools};

const MACHINES: [&str; 3] = ["microvm", "q35", "pc"];
/// More than any queue of the device has descriptors, several times over.
const REQUESTS: u32 = 2000;
/// Hosts that ask, in turn.
const HOSTS: u32 = 200;
/// The host that asks until the machine is there.
const EARLY_HOST: u32 = 240;
/// Requests without an answer yet.
const WINDOW: u32 = 100;
/// How long the machine may take for its start, or for an answer on a busy host.
const PATIENCE: Duration = Duration::from_secs(60);

const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const MACHINE_MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const MACHINE_ADDRESS: [u8; 4] = [10, 9, 0, 2];
const ARP: [u8; 2] = [8, 6];

/// All tests of this stage.
pub(crate) fn tests(tools: &Tools) -> Vec<Test> {
    let mut tests = Vec::new();
    let all = tools;
    for machine in MACHINES {
        for (name, cpus) in [("", 1), ("-2-processors", 2)] {
            let tools = tools.clone();
            let name = format!("net/arp-{machine}{name}");
            let work = tools.work.join(&name);
            tests.push(Test::plain(name, move || Link::new(&tools, work, machine, cpus)?.ask()));
        }
        let tools = tools.clone();
        let name = format!("net/user-{machine}");
        let work = tools.work.join(&name);
        tests.push(Test::plain(name, move || has_address(&tools, work, machine)));
        let tools = all.clone();
        let name = format!("net/link-{machine}");
        let work = tools.work.join(&name);
        tests.push(Test::plain(name, move || follows_the_link(&tools, &work, machine)));
    }
    tests
}

/// QEMU's own network gives the machine an address before the program starts.
fn has_address(tools: &Tools, work: PathBuf, machine: &'static str) -> Result<(), Failure> {
    let image = image(tools, &work)?;
    let mut command = tools.boot_command(&image, &Boot { machine, ..Boot::default() });
    command.env("NET", "user").env("LOG", "info");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut log = String::new();
    let read = child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut log));
    end(&mut child)?;
    match read {
        Some(Ok(_)) if log.contains("eth0 has 10.0.2.15/24") => {
            fs::remove_dir_all(&work).map_err(|error| error.to_string())
        }
        _ => Err(format!("no address: {log}")),
    }
}

/// Takes the link away and gives it back, and has a program tell of it.
fn follows_the_link(tools: &Tools, work: &PathBuf, machine: &'static str) -> Result<(), Failure> {
    let image = image_of(tools, work, "tests/qemu/link.c")?;
    let monitor = work.join("monitor");
    let mut command = tools.boot_command(&image, &Boot { machine, ..Boot::default() });
    command.env("NET", "user").env("NETCFG", "10.0.2.15/24");
    command.env("QEMU_ARGS", format!("-monitor unix:{},server=on,wait=off", monitor.display()));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let result = change_link(&mut child, &monitor);
    if result.is_err() {
        let _ = child.kill();
        let _ = child.wait();
        return result;
    }
    end(&mut child)?;
    fs::remove_dir_all(work).map_err(|error| error.to_string())
}

fn change_link(child: &mut Child, monitor: &PathBuf) -> Result<(), Failure> {
    let output = child.stdout.take().ok_or("no output")?;
    let mut lines = BufReader::new(output).lines();
    let mut expect = |wanted: &str| match lines.next() {
        Some(Ok(line)) if line == wanted => Ok(()),
        other => Err(format!("{other:?} in place of {wanted:?}")),
    };
    expect("ready, running")?;
    let mut monitor = UnixStream::connect(monitor).map_err(|error| error.to_string())?;
    monitor.write_all(b"set_link net0 off\n").map_err(|error| error.to_string())?;
    expect("not running")?;
    monitor.write_all(b"set_link net0 on\n").map_err(|error| error.to_string())?;
    expect("running")
}

/// A program that waits for the end of its input.
fn image(tools: &Tools, work: &PathBuf) -> Result<PathBuf, Failure> {
    image_of(tools, work, "tests/binaries/cat.c")
}

fn image_of(tools: &Tools, work: &PathBuf, source: &str) -> Result<PathBuf, Failure> {
    let _ = fs::remove_dir_all(work);
    fs::create_dir_all(work).map_err(|error| format!("{}: {error}", work.display()))?;
    let program = work.join("program");
    tools.compile(&tools.root.join(source), &program, false, &[])?;
    let image = work.join("image");
    tools.image(&image, |request| request.app = program)?;
    Ok(image)
}

fn end(child: &mut Child) -> Result<(), Failure> {
    match wait(child, PATIENCE).map(shell_status) {
        Some(0) => Ok(()),
        other => Err(format!("the machine ended with {other:?}")),
    }
}

/// A machine whose program waits for the end of its input, and the other end of its link.
struct Link {
    work: PathBuf,
    machine: Child,
    socket: UnixDatagram,
    peer: PathBuf,
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.machine.kill();
        let _ = self.machine.wait();
    }
}

impl Link {
    fn new(tools: &Tools, work: PathBuf, machine: &'static str, cpus: u32) -> Result<Self, Failure> {
        let image = image(tools, &work)?;
        let (own, peer) = (work.join("host"), work.join("guest"));
        let socket = UnixDatagram::bind(&own).map_err(|error| format!("{}: {error}", own.display()))?;
        socket.set_nonblocking(true).map_err(|error| error.to_string())?;
        let mut command = tools.boot_command(&image, &Boot { machine, cpus, ..Boot::default() });
        command.env("NET", format!("dgram:{}:{}", peer.display(), own.display())).env("NETCFG", "10.9.0.2/24");
        let machine = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        Ok(Self { work, machine, socket, peer })
    }

    /// Asks for the machine's address many times, with nonsense in between, and ends it.
    fn ask(mut self) -> Result<(), Failure> {
        self.wait_until_up()?;
        let (mut sent, mut answered) = (0, 0);
        let mut deadline = Instant::now() + PATIENCE;
        while answered < REQUESTS {
            if Instant::now() > deadline {
                return Err(format!("{answered} answers to {sent} requests"));
            }
            while sent < REQUESTS && sent - answered < WINDOW && self.send(&request(sent % HOSTS)) {
                if sent.is_multiple_of(50) {
                    self.send_nonsense(sent);
                }
                sent += 1;
            }
            while let Some(frame) = self.receive()? {
                // Whom the machine was waited for by may still get answers.
                if let Some(host) = answer(&frame)?.filter(|host| *host != EARLY_HOST) {
                    // The link neither loses frames nor changes their order.
                    if host != answered % HOSTS {
                        return Err(format!("answer {host} came after {answered} others"));
                    }
                    answered += 1;
                    deadline = Instant::now() + PATIENCE;
                }
            }
            std::thread::yield_now();
        }
        drop(self.machine.stdin.take());
        end(&mut self.machine)?;
        fs::remove_dir_all(&self.work).map_err(|error| error.to_string())
    }

    /// Until the machine is there requests are lost, so one is repeated, of a host that asks for nothing else: answers to
    /// it come as late as the machine is slow.
    fn wait_until_up(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        let pause = Duration::from_millis(100);
        while Instant::now() < deadline {
            self.send(&request(EARLY_HOST));
            std::thread::sleep(pause);
            let mut is_up = false;
            while let Some(frame) = self.receive()? {
                is_up |= answer(&frame)?.is_some();
            }
            if is_up {
                return Ok(());
            }
            if let Ok(Some(status)) = self.machine.try_wait() {
                return Err(format!("the machine ended with {}", shell_status(status)));
            }
        }
        Err("the machine does not answer".into())
    }

    /// Frames that are none: too short, without a known protocol, with lengths that lie.
    fn send_nonsense(&self, seed: u32) {
        let mut random = seed;
        for len in [1, 13, 14, 20, 33, 60, 1514] {
            let mut frame = [MACHINE_MAC, OWN_MAC].concat();
            frame.extend([8, 0, 0x45]);
            while frame.len() < len {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                frame.extend(random.to_le_bytes());
            }
            frame.truncate(len);
            self.send(&frame);
        }
    }

    /// False: there is no room, or no machine.
    fn send(&self, frame: &[u8]) -> bool {
        self.socket.send_to(frame, &self.peer).is_ok()
    }

    fn receive(&self) -> Result<Option<Vec<u8>>, Failure> {
        let mut frame = [0; 2048];
        match self.socket.recv(&mut frame) {
            Ok(len) => Ok(Some(frame[..len].to_vec())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The address of a host.
fn asker(host: u32) -> [u8; 4] {
    [10, 9, 0, 10 + host.to_le_bytes()[0]]
}

/// A question for the machine's address (RFC 826).
fn request(host: u32) -> Vec<u8> {
    let mut frame = [[0xff; 6], OWN_MAC].concat();
    frame.extend(ARP);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(OWN_MAC);
    frame.extend(asker(host));
    frame.extend([0; 6]);
    frame.extend(MACHINE_ADDRESS);
    frame.resize(60, 0);
    frame
}

/// Which host a frame answers, if it is an answer.
fn answer(frame: &[u8]) -> Result<Option<u32>, Failure> {
    if frame.get(12..14) != Some(&ARP) || frame.get(20..22) != Some(&[0, 2]) {
        return Ok(None);
    }
    let expected = [&MACHINE_MAC[..], &MACHINE_ADDRESS, &OWN_MAC].concat();
    let (Some(found), Some([10, 9, 0, last])) = (frame.get(22..38), frame.get(38..42)) else {
        return Err(format!("a short answer: {frame:?}"));
    };
    let is_right = found == expected && frame.get(..6) == Some(&OWN_MAC) && *last >= 10;
    if is_right { Ok(Some(u32::from(*last) - 10)) } else { Err(format!("a wrong answer: {frame:?}")) }
}
