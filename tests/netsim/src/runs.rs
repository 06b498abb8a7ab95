//! The runs of the benchmark: what each measures.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, Command, Stdio};

use netsim::cost::{self, Cost};
use netsim::counting::allocated_len;
use netsim::linux::{Device, Kind, Namespace, wire};
use netsim::{
    CongestionControl, EngineEnd, LinkSettings, Role, Simulation, SmoltcpEnd, SmoltcpSettings, TcpEnd, Transfer,
};

/// The capacity of every link.
pub(crate) const BITS_PER_SECOND: u64 = 100_000_000;
/// What waits for the wire at most, at least: a few of the largest packets.
const QUEUE_LEN_MIN: u64 = 512 << 10;
/// The buffers of an end of smoltcp: as large as Linux lets its own grow by default.
const SEND_BUFFER: usize = 4 << 20;
const RECEIVE_BUFFER: usize = 6 << 20;
/// Seeds of simulated runs; the median counts.
const SEEDS: [u64; 3] = [1, 2, 3];
const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 97, 0, 1), 40_000);
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 97, 0, 2), 5000);

/// One kind of link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    /// Of packets under way, in each direction.
    pub(crate) delay_ms: u64,
    /// Of IP packets.
    pub(crate) mtu: usize,
    /// In each direction.
    pub(crate) loss_percent: u32,
}

impl Cell {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [1, 100].into_iter().flat_map(|delay_ms| {
            [1500, 65_521].into_iter().flat_map(move |mtu| {
                [0, 1, 5].into_iter().map(move |loss_percent| Self { delay_ms, mtu, loss_percent })
            })
        })
    }

    fn link(self) -> LinkSettings {
        // The queue holds what is under way once more.
        let product = BITS_PER_SECOND / 8 * 2 * self.delay_ms / 1000;
        LinkSettings {
            bits_per_second: BITS_PER_SECOND,
            queue_len_max: usize::try_from(product.max(QUEUE_LEN_MIN)).unwrap_or(usize::MAX),
            delay_ns: self.delay_ms * 1_000_000,
            loss_ppm: self.loss_percent * 10_000,
            ..LinkSettings::default()
        }
    }
}

/// A protocol that runs in simulated time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// smoltcp, with a control of congestion.
    Smoltcp(CongestionControl),
    /// Our own.
    Nacre,
}

impl Engine {
    fn end(self, role: Role, mtu: usize, seed: u64) -> Box<dyn TcpEnd> {
        let (own, other) = if role == Role::Client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        match self {
            Self::Smoltcp(congestion) => {
                let (send_buffer, receive_buffer) = (SEND_BUFFER, RECEIVE_BUFFER);
                let settings = SmoltcpSettings { mtu, send_buffer, receive_buffer, congestion, seed };
                Box::new(SmoltcpEnd::new(role, own, other, &settings))
            }
            Self::Nacre => Box::new(EngineEnd::new(role, own, other, mtu, seed)),
        }
    }
}

/// Bits in a second from a client to a server, in simulated time.
pub(crate) fn simulated(engine: Engine, cell: Cell, seconds: u64) -> Result<u64, String> {
    let mut results = Vec::new();
    for seed in SEEDS {
        let mut client = engine.end(Role::Client, cell.mtu, seed * 2);
        let mut server = engine.end(Role::Server, cell.mtu, seed * 2 + 1);
        let transfers = [Transfer::of(u64::MAX), Transfer::of(0)];
        let mut simulation =
            Simulation::new([client.as_mut(), server.as_mut()], transfers, [cell.link(), cell.link()], seed);
        let outcome = simulation.run(seconds * 1_000_000_000);
        if let Some(failure) = outcome.failure {
            return Err(format!("{engine:?}, {cell:?}, seed {seed}: {failure}"));
        }
        results.push(outcome.bits_per_second(1));
    }
    results.sort_unstable();
    Ok(results[results.len() / 2])
}

/// Bits in a second from Linux to Linux, over the same link in real time.
pub(crate) fn of_linux(cell: Cell, seconds: u64) -> Result<u64, String> {
    let namespaces = [Namespace::new()?, Namespace::new()?];
    let mut devices =
        [Device::new(&namespaces[0], Kind::Ip, cell.mtu)?, Device::new(&namespaces[1], Kind::Ip, cell.mtu)?];
    devices[0].add_address(&namespaces[0], (*CLIENT.ip()).into())?;
    devices[1].add_address(&namespaces[1], (*SERVER.ip()).into())?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let program = program.to_str().ok_or("the program's path is not text")?;
    let (server, milliseconds) = (SERVER.to_string(), (seconds * 1000).to_string());
    let mut receiver = spawn(namespaces[1].command(program).args(["peer", "receive", &server, &milliseconds]))?;
    let mut output = BufReader::new(receiver.stdout.take().ok_or("no output")?);
    let mut line = String::new();
    output.read_line(&mut line).map_err(|error| error.to_string())?;
    let mut sender = spawn(namespaces[0].command(program).args(["peer", "send", &server]))?;
    let [client_device, server_device] = &mut devices;
    let mut is_done = || !matches!(receiver.try_wait(), Ok(None));
    wire::join([client_device, server_device], [cell.link(), cell.link()], SEEDS[0], &mut is_done);
    // Already gone is as good.
    let _ = sender.kill();
    sender.wait().map_err(|error| error.to_string())?;
    line.clear();
    output.read_to_string(&mut line).map_err(|error| error.to_string())?;
    let numbers: Vec<u128> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [len, nanoseconds] = numbers[..] else { return Err(format!("Linux, {cell:?}: {line}")) };
    u64::try_from(len * 8_000_000_000 / nanoseconds.max(1)).map_err(|error| error.to_string())
}

fn spawn(command: &mut Command) -> Result<Child, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|error| format!("{command:?}: {error}"))
}

/// The CPU time of carrying bytes in segments of frames of `mtu`.
pub(crate) fn cpu_cost(engine: Engine, mtu: usize) -> Result<Cost, String> {
    let mut client = engine.end(Role::Client, mtu, 1);
    let mut server = engine.end(Role::Server, mtu, 2);
    cost::measure([client.as_mut(), server.as_mut()], 512 << 20)
}

/// Bytes of memory of an open connection with nothing under way, beside buffers of `buffer` bytes for each direction.
pub(crate) fn smoltcp_memory(buffer: usize) -> usize {
    const COUNT: usize = 1000;
    let settings = SmoltcpSettings {
        mtu: 1500,
        send_buffer: buffer,
        receive_buffer: buffer,
        congestion: CongestionControl::Reno,
        seed: 1,
    };
    let mut ends = Vec::with_capacity(COUNT);
    let before = allocated_len();
    ends.extend((0..COUNT).map(|_| SmoltcpEnd::new(Role::Server, SERVER, CLIENT, &settings)));
    (allocated_len() - before) / COUNT + size_of::<SmoltcpEnd>()
}

/// Bytes of memory of an open connection of our engine with nothing under way: it has been used, and all was read.
pub(crate) fn engine_memory() -> Result<usize, String> {
    const COUNT: usize = 1000;
    let before = allocated_len();
    let mut ends = Vec::with_capacity(COUNT);
    for seed in 0..COUNT as u64 {
        let mut client = EngineEnd::new(Role::Client, CLIENT, SERVER, 1500, seed);
        let mut server = EngineEnd::new(Role::Server, SERVER, CLIENT, 1500, seed + 1);
        let link = LinkSettings { delay_ns: 1_000_000, ..LinkSettings::default() };
        let transfer = Transfer { len: 1000, ..Transfer::default() };
        let endless = Transfer { stays_open: true, ..transfer };
        let mut simulation = Simulation::new([&mut client, &mut server], [endless; 2], [link; 2], seed);
        let outcome = simulation.run(1_000_000_000);
        // That nothing will happen any more is as it should be.
        if outcome.read_len != [1000; 2] {
            return Err(format!("an idle connection: {outcome:?}"));
        }
        drop(simulation);
        ends.push(client);
    }
    // The vector has the ends themselves, without what the allocator does not see.
    Ok((allocated_len() - before) / COUNT)
}
