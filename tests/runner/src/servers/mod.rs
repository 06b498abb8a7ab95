//! Servers in a machine with a network, used from the host: by QEMU's own network with forwarded ports, which needs no rights
//! (`servers/user/...`), and over a TAP (`servers/tap/...`) in a network namespace of the test's own, which needs the rights to make
//! one and to open /dev/net/tun.
//!
//! For TAP, the runner starts itself once more inside the namespace, which ends with that process: nothing is left behind.
//! `clients` are programs there that use the host (`servers/client/...`), `links` a machine with several devices (`servers/tap/links`).
//! `GUEST=linux` boots the same servers in a Linux guest instead: what fails there is the test's fault.

mod clients;
mod crowd;
mod exchange;
mod host;
mod http;
mod links;
mod list;
mod ping;
mod web;

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::apps::App;
use crate::process::{self, Input, shown};
use crate::schedule::{Failure, Selection, Test, Verdict};
use crate::tools::{Boot, Tools};
use list::{SERVERS, Server};

/// Tells the runner inside a namespace which test to do: the server's name and the number of processors.
const INSIDE: &str = "RUNNER_SERVER_TEST";
const TAP: &str = "nacre0";
const TAP_HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const TAP_GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// Until a server answers, on a busy host.
const START_TIME_MAX: Duration = Duration::from_secs(90);
/// Until a packet is given up for lost.
const SILENCE_MAX: Duration = Duration::from_secs(20);
const TEST_TIME_MAX: Duration = Duration::from_secs(400);

/// A machine's server, as the host sees it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    host: IpAddr,
    /// Ports of the machine, and where they are for us.
    ports: Vec<(u16, u16)>,
    /// Whether packets go through without anybody's translation.
    is_direct: bool,
}

impl Peer {
    /// Where a port of the machine is.
    pub(crate) fn address(&self, port: u16) -> SocketAddr {
        let seen = self.ports.iter().find(|(guest, _)| *guest == port).map_or(port, |(_, host)| *host);
        SocketAddr::from((self.host, seen))
    }

    /// A connection that gives up after a silence.
    pub(crate) fn connect(&self, port: u16) -> Result<TcpStream, Failure> {
        let failed = |error: std::io::Error| format!("port {port}: {error}");
        let stream = TcpStream::connect_timeout(&self.address(port), SILENCE_MAX).map_err(failed)?;
        stream.set_read_timeout(Some(SILENCE_MAX)).map_err(failed)?;
        stream.set_write_timeout(Some(SILENCE_MAX)).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        Ok(stream)
    }
}

/// A test for every server, way and number of processors.
pub(crate) fn tests(tools: &Tools, selection: &Selection) -> Vec<Test> {
    if !selection.may_want("servers") {
        return Vec::new();
    }
    let mut tests = clients::tests(tools);
    let builder = tools.clone();
    tests.push(Test::new("servers/tap/links", move || {
        builder.build_network_simulator()?;
        run_in_namespace(&links::SERVER, links::CPUS)
    }));
    for way in ["user", "tap"] {
        for server in SERVERS {
            let app = Arc::new(App::new(tools.root.join("tests/apps").join(server.app)));
            for cpus in server.cpus {
                let tools = tools.clone();
                let app = Arc::clone(&app);
                tests.push(Test::new(format!("servers/{way}/{}-cpus-{cpus}", server.name), move || {
                    if !server.app.is_empty()
                        && let Err(result) = app.build()
                    {
                        return result;
                    }
                    if way == "tap" { run_in_namespace(server, *cpus) } else { run_by_user(&tools, server, *cpus) }
                }));
            }
        }
    }
    tests
}

/// What the runner does inside a namespace, if that is where it is.
pub(crate) fn inside() -> Option<ExitCode> {
    let asked = std::env::var(INSIDE).ok()?;
    let result = match asked.as_str() {
        links::FAR => links::far(),
        asked => run_by_tap(asked),
    };
    if let Err(failure) = &result {
        eprintln!("{failure}");
    }
    Some(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The command that runs another in a new network namespace, if this user may make one with a TAP in it.
fn namespace() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    let probe = format!("ip link set lo up && ip tuntap add dev {TAP} mode tap");
    let works = |way: &&&[&str]| {
        let mut command = Command::new("unshare");
        command.args(**way).args(["sh", "-c", &probe]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    ways.iter().find(works).copied()
}

fn run_in_namespace(server: &Server, cpus: u32) -> Result<Verdict, Failure> {
    let Some(way) = namespace() else {
        return Ok(Verdict::Skipped("no rights for a network namespace with a TAP (try as root)".to_owned()));
    };
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("unshare");
    command.args(way).arg(this).env(INSIDE, format!("{}:{cpus}", server.name));
    let output = process::run(&mut command, &Input::Empty, TEST_TIME_MAX)?;
    if output.status == 0 { Ok(Verdict::Passed) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn run_by_tap(asked: &str) -> Result<(), Failure> {
    let (name, cpus) = asked.split_once(':').ok_or("no test")?;
    if name == links::SERVER.name {
        return links::run(&Tools::existing()?);
    }
    let server = SERVERS.iter().find(|server| server.name == name).ok_or("no such server")?;
    let cpus = cpus.parse().map_err(|_| "not a number of processors")?;
    for words in [
        "link set lo up",
        &format!("tuntap add dev {TAP} mode tap vnet_hdr"),
        &format!("address add {TAP_HOST}/24 dev {TAP}"),
        &format!("link set {TAP} up"),
    ] {
        ip(&mut Command::new("ip"), words)?;
    }
    let peer = Peer { host: TAP_GUEST.into(), ports: Vec::new(), is_direct: true };
    let network = [("NET", format!("tap:{TAP}")), ("NETCFG", format!("{TAP_GUEST}/24,gw={TAP_HOST}"))];
    run(&Tools::existing()?, server, cpus, "tap", &network, &peer)
}

/// Runs `ip`, or what runs it, with these words.
fn ip(command: &mut Command, words: &str) -> Result<(), Failure> {
    let output = process::run(command.args(words.split(' ')), &Input::Empty, SILENCE_MAX)?;
    if output.status == 0 { Ok(()) } else { Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr))) }
}

fn run_by_user(tools: &Tools, server: &Server, cpus: u32) -> Result<Verdict, Failure> {
    let ports: Vec<_> =
        server.ports.iter().map(|port| free_port().map(|free| (*port, free))).collect::<Result<_, _>>()?;
    let forwards: Vec<_> = ports.iter().map(|(guest, host)| format!("{host}:{guest}")).collect();
    let mut network = format!("user,ports={}", forwards.join(","));
    let mut ports = ports;
    if let Some(port) = server.datagram_port {
        let free = free_port()?;
        network.push_str(&format!(",udp={free}:{port}"));
        ports.push((port, free));
    }
    let peer = Peer { host: Ipv4Addr::LOCALHOST.into(), ports, is_direct: false };
    run(tools, server, cpus, "user", &[("NET", network)], &peer)?;
    Ok(Verdict::Passed)
}

/// A port of the host that nobody has now.
fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

/// Boots the server, waits until it serves, uses it, and ends it.
fn run(
    tools: &Tools,
    server: &Server,
    cpus: u32,
    way: &str,
    network: &[(&str, String)],
    peer: &Peer,
) -> Result<(), Failure> {
    let work = tools.work.join("servers").join(format!("{way}-{}-{cpus}", server.name));
    let failed = |error: std::io::Error| format!("{}: {error}", work.display());
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).map_err(failed)?;
    let built = tools.app(server.app);
    let program = if server.app.is_empty() {
        let program = work.join(server.program);
        tools.compile(
            &tools.root.join("tests/bench/net").join(format!("{}.c", server.program)),
            &program,
            false,
            &[],
        )?;
        program
    } else {
        built.join(server.program)
    };
    let files = Some(built.join(server.files)).filter(|_| !server.files.is_empty());
    let mut command = if std::env::var("GUEST").is_ok_and(|guest| guest == "linux") {
        linux_command(tools, server, &program, files.as_deref(), cpus)
    } else {
        let image = work.join("image");
        tools.image(&image, |request| {
            request.app = program;
            request.files = files;
            request.arguments = server.arguments.iter().map(|word| word.as_bytes().to_vec()).collect();
        })?;
        tools.boot_command(&image, &Boot { cpus, memory_mib: 256, ..Boot::default() })
    };
    command.envs(network.iter().map(|(name, value)| (*name, value)));
    let machine = Machine::start(command)?;
    let used = wait_until_served(&machine, server, peer).and_then(|()| (server.exchange)(tools, peer));
    let output = machine.end(used.is_ok());
    match (used, output) {
        (Ok(()), Ok(_)) => fs::remove_dir_all(&work).map_err(failed),
        (Ok(()), Err(output)) => Err(format!("the machine ended by itself:\n{output}")),
        (Err(failure), Ok(output) | Err(output)) => Err(format!("{failure}\n--- the machine said\n{output}")),
    }
}

fn linux_command(tools: &Tools, server: &Server, program: &Path, files: Option<&Path>, cpus: u32) -> Command {
    let mut command = Command::new(tools.root.join("scripts/run-linux.sh"));
    command.env("APP", program).env("ARGS", server.arguments.join("\n")).env("CPUS", cpus.to_string());
    if let Some(files) = files {
        command.env("FILES", files);
    }
    command
}

fn wait_until_served(machine: &Machine, server: &Server, peer: &Peer) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        match (server.greet)(peer) {
            Ok(()) => return Ok(()),
            Err(failure) if start.elapsed() > START_TIME_MAX => return Err(format!("it does not serve: {failure}")),
            Err(_) if machine.has_ended() => return Err("it ended before it served".to_owned()),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// A machine that runs, and what it has said so far.
struct Machine {
    child: Mutex<Child>,
    said: Arc<Mutex<Vec<u8>>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Machine {
    fn start(mut command: Command) -> Result<Self, Failure> {
        // Some programs end with their input, so it stays open.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let said = Arc::default();
        let mut readers = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            readers.push(collect(pipe, &said));
        }
        if let Some(pipe) = child.stderr.take() {
            readers.push(collect(pipe, &said));
        }
        Ok(Self { child: Mutex::new(child), said, readers })
    }

    fn has_ended(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(child.try_wait(), Ok(None))
    }

    /// Ends it; an error when it had ended before, or the kernel complained. Both say what it said.
    fn end(self, is_expected: bool) -> Result<String, String> {
        let had_ended = self.has_ended();
        let mut child = self.child.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = child.wait();
        for reader in self.readers {
            let _ = reader.join();
        }
        let said = shown(&self.said.lock().unwrap_or_else(PoisonError::into_inner));
        if had_ended && is_expected { Err(said) } else { Ok(said) }
    }
}

fn collect(mut pipe: impl Read + Send + 'static, said: &Arc<Mutex<Vec<u8>>>) -> thread::JoinHandle<()> {
    let said = Arc::clone(said);
    thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(count) = pipe.read(&mut part) {
            let Some(bytes) = part.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            said.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        }
    })
}
