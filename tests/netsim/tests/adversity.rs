//! Whole stacks whose peers are gone, slow, or no peers at all: half-open connections, closed windows, a flood of forged requests.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use abi::Errno;
use abi::socket::{SO_KEEPALIVE, SOL_SOCKET};
use file::Progress;
use mm::user::UserWriter;
use net::socket::{Address, MessageFlags, ReceiveRequest, Socket};
use netsim::churn::Churn;
use netsim::counting::{CountingAllocator, allocated_len, fail_buffers};
use netsim::machine::{CALLER, Machine, PORT, receive, send, settle};
use netsim::mutate::mend;
use testkit::{Random, clock};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const SECOND_NS: u64 = 1_000_000_000;
/// `SOL_TCP` and its options.
const SOL_TCP: i32 = 6;
const TCP_KEEPIDLE: i32 = 4;
const TCP_KEEPINTVL: i32 = 5;
const TCP_KEEPCNT: i32 = 6;

/// Held by each test: the allocator counts for all of them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    clock::stop_at(SECOND_NS);
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn server_address(is_v6: bool) -> IpAddr {
    if is_v6 { Machine::address6(2) } else { Machine::address4(2) }
}

/// A connection from machine 1 to machine 2: the ends of both.
fn connect(client: &Machine, server: &Machine, listener: &dyn Socket, is_v6: bool) -> [Arc<dyn Socket>; 2] {
    let asking = client.connect(server_address(is_v6)).expect("the way is known");
    settle([client, server]);
    assert_eq!(asking.finish_connect(), Ok(Progress::Done(0)));
    let answering = listener.accept().expect("it listens").expect("somebody waits").socket;
    [asking, answering]
}

/// Has the connection ask after 10 seconds of silence, and three times every five.
fn keep_alive(socket: &dyn Socket) {
    for (option, value) in [(TCP_KEEPIDLE, 10_i32), (TCP_KEEPINTVL, 5), (TCP_KEEPCNT, 3)] {
        socket.set_option(SOL_TCP, option, &value.to_le_bytes(), &CALLER).expect("an option of TCP");
    }
    socket.options().keepalive.store(true, Relaxed);
    // As the call does, which keeps the flag itself.
    socket.set_option(SOL_SOCKET, SO_KEEPALIVE, &1_i32.to_le_bytes(), &CALLER).expect("TCP cares for it");
}

/// Lets time pass for one machine, whose cable is cut.
fn pass_alone(machine: &Machine, seconds: u64) {
    for _ in 0..seconds * 4 {
        clock::advance(SECOND_NS / 4);
        machine.stack().work(0);
        drop(machine.take_sent());
    }
}

fn pass(machines: [&Machine; 2], seconds: u64) {
    for _ in 0..seconds * 4 {
        clock::advance(SECOND_NS / 4);
        settle(machines);
    }
}

#[test]
fn a_silent_peer_is_found_dead_by_keepalive() {
    let _alone = alone();
    for is_v6 in [false, true] {
        let (client, server) = (Machine::new(1), Machine::new(2));
        let listener = server.listen(5).expect("the port is free");
        let [asking, answering] = connect(&client, &server, &*listener, is_v6);
        keep_alive(&*asking);
        // While the peer is there it answers.
        pass([&client, &server], 100);
        assert_eq!(receive(&*asking, &mut [0; 10]), Ok(None));
        // The last answer may be 10 seconds old, then three questions at intervals of 5.
        pass_alone(&client, 9);
        assert_eq!(receive(&*asking, &mut [0; 10]), Ok(None));
        pass_alone(&client, 30);
        let error = receive(&*asking, &mut [0; 10]);
        assert!(matches!(error, Err(Errno::ETIMEDOUT | Errno::EHOSTUNREACH)), "{error:?}");
        asking.close();
        assert!(client.stack().flows().is_empty());
        answering.close();
    }
}

#[test]
fn a_peer_that_has_booted_again_resets() {
    let _alone = alone();
    for (is_v6, says) in [(false, true), (true, true), (false, false), (true, false)] {
        let (client, server) = (Machine::new(1), Machine::new(2));
        let listener = server.listen(5).expect("the port is free");
        let [asking, _answering] = connect(&client, &server, &*listener, is_v6);
        keep_alive(&*asking);
        let server = Machine::new(2);
        if says {
            assert_eq!(send(&*asking, b"are you there?"), Ok(14));
        }
        // Who says nothing learns it from keepalive.
        pass([&client, &server], 20);
        assert_eq!(receive(&*asking, &mut [0; 10]), Err(Errno::ECONNRESET), "v6 {is_v6}, says {says}");
        asking.close();
        assert!(client.stack().flows().is_empty());
    }
}

#[test]
fn a_client_that_has_booted_again_connects_from_the_same_port() {
    let _alone = alone();
    for is_v6 in [false, true] {
        let server = Machine::new(2);
        let listener = server.listen(5).expect("the port is free");
        let begin = || {
            let client = Machine::new(1);
            let socket = client.socket(if is_v6 { 10 } else { 2 }, 1, 0).expect("TCP");
            let own = if is_v6 { Machine::address6(1) } else { Machine::address4(1) };
            socket.bind(&Address::Inet((own, 40_000).into()), &CALLER).expect("the port is free");
            let begun = socket.connect(&Address::Inet((server_address(is_v6), PORT).into()), &CALLER);
            assert_eq!(begun, Ok(Progress::WouldBlock));
            settle([&client, &server]);
            (client, socket)
        };
        let (_, first) = begin();
        assert_eq!(first.finish_connect(), Ok(Progress::Done(0)));
        let old = listener.accept().expect("it listens").expect("somebody waits").socket;
        // The old connection is challenged away (RFC 5961, section 4), and the request comes again.
        let (client, second) = begin();
        pass([&client, &server], 5);
        assert_eq!(second.finish_connect(), Ok(Progress::Done(0)), "v6 {is_v6}");
        let new = listener.accept().expect("it listens").expect("somebody waits").socket;
        assert_eq!(receive(&*old, &mut [0; 10]), Err(Errno::ECONNRESET));
        assert_eq!(send(&*second, b"new"), Ok(3));
        settle([&client, &server]);
        assert_eq!(receive(&*new, &mut [0; 10]), Ok(Some(3)));
    }
}

#[test]
fn a_reader_that_sleeps_for_a_day_gets_everything() {
    let _alone = alone();
    let (client, server) = (Machine::new(1), Machine::new(2));
    let listener = server.listen(5).expect("the port is free");
    let [asking, answering] = connect(&client, &server, &*listener, true);
    let chunk: Vec<u8> = (0..10_000_u32).map(|place| (place % 251).to_le_bytes()[0]).collect();
    let (mut written_len, mut silence) = (0, 0);
    while silence < 20 {
        let len = send(&*asking, &chunk[written_len % 251..]).expect("it is connected");
        written_len += len;
        silence = if len == 0 { silence + 1 } else { 0 };
        pass([&client, &server], 1);
    }
    let full_len = written_len;
    assert!(full_len < 16 << 20, "the window closes: {full_len}");
    let before = allocated_len();
    for _ in 0..24 * 360 {
        clock::advance(10 * SECOND_NS);
        settle([&client, &server]);
    }
    assert!(allocated_len() < before + 10_000, "a closed window costs nothing");
    assert_eq!(send(&*asking, b"more"), Ok(0));
    // All answers to the window's opening are lost: it is the writer who asks.
    let (mut buffer, mut read_len) = (vec![0; 100_000], 0);
    while let Ok(Some(len)) = receive(&*answering, &mut buffer) {
        let is_right = |(place, byte): (usize, &u8)| *byte == ((read_len + place) % 251).to_le_bytes()[0];
        assert!(buffer[..len].iter().enumerate().all(is_right), "behind {read_len}");
        read_len += len;
        drop(server.take_sent());
        if read_len < full_len {
            for _ in 0..150 {
                pass([&client, &server], 1);
                if answering.readiness().contains(abi::PollEvents::IN) {
                    break;
                }
            }
        }
    }
    assert_eq!(read_len, full_len);
    asking.close();
    answering.close();
}

/// A request for a connection from somebody who is not there.
fn forged_request(random: &mut Random, is_v6: bool) -> Vec<u8> {
    let mut frame = [Machine::mac(2), [2, 1, 1, 1, 1, 1]].concat();
    let mut host = [0; 8];
    random.fill(&mut host);
    if is_v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 6, 64]);
        let Ok(prefix) = <[u8; 8]>::try_from([0xfd, 0x97, 0, 0, 0, 0, 0, 0].as_slice()) else { return frame };
        frame.extend(prefix.into_iter().chain(host));
        let IpAddr::V6(server) = Machine::address6(2) else { return frame };
        frame.extend(server.octets());
    } else {
        frame.extend([8, 0, 0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 97, 0, 100 + host[0] % 150, 10, 97, 0, 2]);
    }
    frame.extend([host[1], host[2]].into_iter().chain(PORT.to_be_bytes()));
    // Sequence number, no acknowledgement, 24 bytes of header, SYN, window, checksum, urgent pointer, a segment size.
    frame.extend([host[3], host[4], host[5], host[6], 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4]);
    mend(&mut frame);
    frame
}

/// Floods the server with requests while clients connect.
fn flood(is_v6: bool) {
    const CLIENTS: u8 = 8;
    const REQUESTS_MIN: u64 = 1500;
    const REQUESTS_PER_SECOND: u64 = 20_000;
    /// Half-open connections, cookies' neighbours and the frames that wait for those.
    const LEN_MAX: usize = 4 << 20;
    let mut random = Random::new(7);
    let server = Machine::new(2);
    let listener = server.listen(5).expect("the port is free");
    let before = allocated_len();
    let mut busiest = 0;
    let mut connections = Vec::new();
    for number in 3..3 + CLIENTS {
        let client = Machine::new(number);
        let asking = client.connect(server_address(is_v6)).expect("the way is known");
        for round in 0.. {
            server.receive(forged_request(&mut random, is_v6));
            clock::advance(SECOND_NS / REQUESTS_PER_SECOND);
            if round % 32 != 0 {
                continue;
            }
            server.stack().work(0);
            client.stack().work(0);
            for frame in server.take_sent() {
                if frame[..6] == Machine::mac(number) || frame[0] & 1 != 0 {
                    client.receive(frame);
                }
            }
            client.take_sent().into_iter().for_each(|frame| server.receive(frame));
            busiest = busiest.max(allocated_len().saturating_sub(before));
            if round > REQUESTS_MIN && asking.finish_connect() == Ok(Progress::Done(0)) {
                break;
            }
            // Lost requests come again after 1, 3 and 7 seconds.
            assert!(round < 10 * REQUESTS_PER_SECOND, "client {number}, v6 {is_v6}: {:?}", asking.finish_connect());
        }
        assert_eq!(send(&*asking, b"question"), Ok(8));
        pass([&client, &server], 1);
        let answering = listener.accept().expect("it listens").expect("a client waits").socket;
        assert_eq!(receive(&*answering, &mut [0; 100]), Ok(Some(8)));
        connections.push((client, asking, answering));
    }
    assert!(busiest < LEN_MAX, "{busiest} bytes");
    let (half_open, _) = server.stack().tcp().record_counts();
    assert!(half_open <= 128, "{half_open} records");
    connections.into_iter().for_each(|(_, asking, answering)| {
        asking.close();
        answering.close();
    });
    for _ in 0..200 {
        clock::advance(10 * SECOND_NS);
        server.stack().work(0);
        drop(server.take_sent());
    }
    assert_eq!(server.stack().tcp().record_counts(), (0, 0));
}

#[test]
fn a_flood_of_forged_requests_keeps_nobody_out() {
    let _alone = alone();
    flood(false);
    flood(true);
}

#[test]
fn readers_that_do_not_read_take_no_more_than_their_part() {
    const COUNT: usize = 200;
    const LIMIT: usize = 4 << 20;
    /// What each may keep beyond it: the engine's least buffer, and what it had been offered before.
    const EACH_MAX: usize = 24 << 10;
    let _alone = alone();
    let (client, server) = (Machine::new(1), Machine::new(2));
    server.stack().tcp().set_receive_memory(LIMIT);
    let listener = server.listen(5).expect("the port is free");
    let pairs: Vec<_> = (0..COUNT).map(|number| connect(&client, &server, &*listener, number % 2 == 0)).collect();
    let before = allocated_len();
    let chunk: Vec<u8> = (0..100_000_u32).map(|place| (place % 251).to_le_bytes()[0]).collect();
    let mut written = [0; COUNT];
    let write = |written: &mut [usize; COUNT]| {
        for ([asking, _], len) in pairs.iter().zip(written) {
            *len += send(&**asking, &chunk[*len..]).expect("it is connected");
        }
    };
    for _ in 0..40 {
        write(&mut written);
        pass([&client, &server], 1);
    }
    // The writer keeps what it has not got rid of.
    let written_len: usize = written.iter().sum();
    let kept_len = allocated_len() - before;
    println!("{written_len} bytes written, {kept_len} bytes kept on both sides");
    let unread_len: usize = pairs.iter().map(|[_, answering]| readable_len(&**answering)).sum();
    assert!(unread_len < LIMIT + COUNT * EACH_MAX, "{unread_len} bytes wait");
    // When they read after all, everything comes.
    let mut read = [0; COUNT];
    for _ in 0..200 {
        let mut buffer = vec![0; 20_000];
        for ([_, answering], len) in pairs.iter().zip(&mut read) {
            while let Ok(Some(now)) = receive(&**answering, &mut buffer) {
                assert_eq!(buffer[..now], chunk[*len..*len + now]);
                *len += now;
            }
        }
        write(&mut written);
        pass([&client, &server], 2);
    }
    assert_eq!((written, read), ([chunk.len(); COUNT], [chunk.len(); COUNT]));
    for [asking, answering] in pairs {
        asking.close();
        answering.close();
    }
    pass([&client, &server], 1);
    // Nothing is counted any more: one reader may have all.
    let [asking, answering] = connect(&client, &server, &*listener, false);
    assert_eq!(send(&*asking, &chunk[..10_000]), Ok(10_000));
    pass([&client, &server], 1);
    assert_eq!(receive(&*answering, &mut vec![0; 20_000]), Ok(Some(10_000)));
}

/// Bytes that can be read.
fn readable_len(socket: &dyn Socket) -> usize {
    let (mut buffer, flags) = (vec![0; 100_000], MessageFlags::PEEK);
    let mut to = UserWriter::to_kernel(&mut buffer);
    let mut request = ReceiveRequest { to: &mut to, flags, wants_control: false };
    socket.receive(&mut request).expect("it is connected").map_or(0, |received| received.len)
}

#[test]
fn a_write_without_memory_is_refused_and_nothing_is_lost() {
    let _alone = alone();
    let bytes: Vec<u8> = (0..300_000_u32).map(|place| (place % 251).to_le_bytes()[0]).collect();
    let mut buffer = vec![0; bytes.len()];
    for behind in 0.. {
        let churn = Churn::new();
        let [asking, answering] = churn.converse(Machine::address4(2));
        let (mut written_len, mut read_len, mut refusals) = (0, 0, 0);
        while read_len < bytes.len() {
            let rest = &bytes[written_len..bytes.len().min(written_len + 200_000)];
            let (sent, was_refused) = fail_buffers(behind, || send(&*asking, rest));
            refusals += usize::from(was_refused);
            written_len += match sent {
                Err(errno) => {
                    assert!(was_refused && matches!(errno, Errno::ENOBUFS | Errno::ENOMEM), "{errno:?}");
                    0
                }
                Ok(len) => len,
            };
            churn.pass(1);
            while read_len < bytes.len()
                && let Ok(Some(len)) = receive(&*answering, &mut buffer[read_len..])
            {
                read_len += len;
            }
            if behind == 0 && refusals > 20 {
                // Every write fails; that it does so forever is no news.
                break;
            }
        }
        assert!(buffer[..read_len] == bytes[..read_len], "behind {behind} buffers");
        if refusals == 0 {
            assert!(behind > 0 && read_len == bytes.len());
            return;
        }
    }
}

#[test]
fn connections_that_are_closed_take_no_more_than_their_part() {
    const COUNT: usize = 100;
    let _alone = alone();
    let (client, server) = (Machine::new(1), Machine::new(2));
    server.stack().tcp().set_orphan_memory(1 << 20);
    let listener = server.listen(5).expect("the port is free");
    let before = allocated_len();
    let mut kept = Vec::new();
    let bytes = vec![7; 200_000];
    for number in 0..COUNT {
        let [asking, answering] = connect(&client, &server, &*listener, number % 2 == 0);
        // The client takes what its window has room for, and reads nothing of it.
        let mut written_len = 0;
        for _ in 0..4 {
            written_len += send(&*answering, &bytes[written_len..]).expect("it is connected");
            settle([&client, &server]);
        }
        answering.close();
        settle([&client, &server]);
        kept.push(asking);
    }
    let flows = server.stack().flows().len();
    assert!(flows > 1 && flows < COUNT / 2, "{flows} connections are left");
    // The others have heard of it.
    let is_reset = |asking: &&Arc<dyn Socket>| asking.take_error() == Some(Errno::ECONNRESET);
    assert_eq!(kept.iter().filter(is_reset).count(), COUNT - flows);
    println!("{flows} connections are left, {} bytes on both sides", allocated_len() - before);
    // Who reads gets everything, and then there is room again.
    kept.iter().for_each(|asking| asking.close());
    pass([&client, &server], 5);
    assert!(server.stack().flows().is_empty());
    let [asking, answering] = connect(&client, &server, &*listener, false);
    assert_eq!(send(&*answering, b"bytes"), Ok(5));
    answering.close();
    pass([&client, &server], 1);
    assert_eq!(receive(&*asking, &mut [0; 10]), Ok(Some(5)));
}
