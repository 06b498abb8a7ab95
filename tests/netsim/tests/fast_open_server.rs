//! TCP Fast Open between two of Nacre's stacks, of which one is the server: cookies, data that is there before the handshake is over, and the limits of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use abi::inet::{TCP_FASTOPEN, TCP_FASTOPEN_KEY, TCP_INFO};
use abi::socket::IPPROTO_TCP;
use abi::{Errno, PollEvents};
use file::Progress;
use net::settings;
use net::socket::Socket;
use net::tcp::{CookieKeys, TcpSocket};
use netsim::capture;
use netsim::machine::{CALLER, Machine, receive, send, settle};
use testkit::clock;

const SECOND_NS: u64 = 1_000_000_000;
/// `TCPI_OPT_SYN_DATA`, and where the options are in `struct tcp_info`.
const SYN_DATA: u8 = 32;
const OPTIONS_AT: usize = 5;
/// Clients and servers.
const BOTH: u32 = 3;

/// The settings are of the whole program: one world at a time.
static TURN: Mutex<()> = Mutex::new(());

struct World {
    _turn: MutexGuard<'static, ()>,
    here: Machine,
    there: Machine,
    listener: Arc<TcpSocket>,
}

impl World {
    /// A server there that has `queue_max` such connections under way; it has given a cookie.
    fn new(queue_max: i32) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        clock::stop_at(SECOND_NS);
        assert!(settings::TCP_FASTOPEN.set(BOTH));
        let (here, there) = (Machine::new(1), Machine::new(2));
        let listener = there.listen(10).expect("the port is free");
        let world = Self { _turn: turn, here, there, listener };
        world.set(TCP_FASTOPEN, &queue_max.to_ne_bytes());
        let asking = world.open(b"question", 0);
        world.settle();
        assert_eq!(send(&*asking, b"question"), Ok(8));
        world.settle();
        let accepted = world.accept().expect("it is connected");
        assert_eq!(read(&*accepted), b"question");
        world.end(&[&*asking, &*accepted]);
        world
    }

    fn set(&self, option: i32, value: &[u8]) {
        self.listener.set_option(IPPROTO_TCP, option, value, &CALLER).expect("listeners have it");
    }

    /// A socket that connects by a send, of which `taken` bytes go with the SYN.
    fn open(&self, bytes: &[u8], taken: usize) -> Arc<TcpSocket> {
        let (socket, went) = self.here.connect_by_send(Machine::address4(2), bytes).expect("the way is known");
        assert_eq!(went, taken);
        socket
    }

    /// What was sent here comes there; what is answered stays on the cable, and is lost if it is not carried.
    fn carry_there(&self) {
        self.here.stack().work(0);
        self.here.take_sent().into_iter().for_each(|frame| self.there.receive(frame));
        self.there.stack().work(0);
    }

    fn settle(&self) {
        settle([&self.here, &self.there]);
    }

    fn pass(&self, seconds: u64) {
        for _ in 0..seconds * 4 {
            clock::advance(SECOND_NS / 4);
            self.settle();
        }
    }

    fn accept(&self) -> Option<Arc<dyn Socket>> {
        self.listener.accept().expect("it listens").map(|accepted| accepted.socket)
    }

    /// A connection that came with `hello`, which was read, and whose answer was lost: the end that asked and the one that was accepted.
    fn lose_answer(&self) -> (Arc<TcpSocket>, Arc<dyn Socket>) {
        let asking = self.open(b"hello", 5);
        self.carry_there();
        drop(self.there.take_sent());
        let accepted = self.accept().expect("it came with data");
        assert_eq!(read(&*accepted), b"hello");
        (asking, accepted)
    }

    fn end(&self, sockets: &[&dyn Socket]) {
        sockets.iter().for_each(|one| one.close());
        self.pass(70);
    }
}

fn read(socket: &dyn Socket) -> Vec<u8> {
    let mut bytes = vec![0; 100];
    let len = receive(socket, &mut bytes).expect("it is connected").expect("something has come");
    bytes.truncate(len);
    bytes
}

fn went_with_syn(socket: &dyn Socket) -> bool {
    socket.option(IPPROTO_TCP, TCP_INFO, 248, &[]).expect("all have it")[OPTIONS_AT] & SYN_DATA != 0
}

#[test]
fn data_is_read_before_the_handshake_is_over() {
    let world = World::new(5);
    let asking = world.open(b"hello", 5);
    world.carry_there();
    assert!(world.listener.readiness().contains(PollEvents::READABLE));
    let accepted = world.accept().expect("it came with data");
    assert_eq!(read(&*accepted), b"hello");
    assert_eq!(send(&*accepted, b"answer"), Ok(0), "the third segment is missing");
    world.settle();
    assert!(went_with_syn(&*asking) && went_with_syn(&*accepted));
    assert!(accepted.readiness().contains(PollEvents::WRITABLE));
    assert_eq!(send(&*accepted, b"answer"), Ok(6));
    assert_eq!(send(&*asking, b" more"), Ok(5));
    world.settle();
    assert_eq!((read(&*asking), read(&*accepted)), (b"answer".to_vec(), b" more".to_vec()));
    world.end(&[&*asking, &*accepted, &*world.listener]);
    assert!(world.there.stack().flows().is_empty() && world.here.stack().flows().is_empty());
}

#[test]
fn an_answer_that_is_lost_comes_again_and_nothing_comes_twice() {
    let world = World::new(5);
    let (asking, accepted) = world.lose_answer();
    world.pass(3);
    assert_eq!(asking.finish_connect(), Ok(Progress::Done(0)));
    assert_eq!(receive(&*accepted, &mut [0; 9]), Ok(None));
    assert_eq!(send(&*asking, b" more"), Ok(5));
    world.settle();
    assert_eq!(read(&*accepted), b" more");
    world.end(&[&*asking, &*accepted, &*world.listener]);
}

#[test]
fn a_close_before_the_third_segment_waits_for_it() {
    let world = World::new(5);
    let (asking, accepted) = world.lose_answer();
    accepted.close();
    world.pass(3);
    assert_eq!(asking.finish_connect(), Ok(Progress::Done(0)));
    assert_eq!(receive(&*asking, &mut [0; 9]), Ok(Some(0)), "the end");
    world.end(&[&*asking, &*world.listener]);
    assert!(world.there.stack().flows().is_empty());
}

#[test]
fn so_many_come_with_data_as_the_listener_says() {
    let world = World::new(1);
    let first = world.open(b"first", 5);
    world.carry_there();
    let second = world.open(b"second", 6);
    world.carry_there();
    let accepted = world.accept().expect("it came with data");
    assert!(world.accept().is_none(), "the second is one like any other");
    world.settle();
    let other = world.accept().expect("it is complete");
    assert_eq!((read(&*accepted), read(&*other)), (b"first".to_vec(), b"second".to_vec()));
    assert_eq!((went_with_syn(&*first), went_with_syn(&*second)), (true, false));
    let third = world.open(b"third", 5);
    world.carry_there();
    let last = world.accept().expect("there is a place again");
    world.settle();
    assert_eq!(read(&*last), b"third");
    world.end(&[&*first, &*second, &*third, &*accepted, &*other, &*last, &*world.listener]);
}

#[test]
fn a_connection_that_is_reset_keeps_its_place_for_a_while() {
    let world = World::new(1);
    for (wait_seconds, is_taken) in [(0, true), (1, false), (62, true)] {
        world.pass(wait_seconds);
        let asking = world.open(b"hello", 5);
        world.carry_there();
        let accepted = world.accept();
        assert_eq!(accepted.is_some(), is_taken);
        // It knows of no connection when the answer comes.
        asking.close();
        world.settle();
        if let Some(accepted) = accepted {
            assert_eq!(read(&*accepted), b"hello");
            assert_eq!(receive(&*accepted, &mut [0; 9]), Err(Errno::ECONNRESET));
            accepted.close();
        }
    }
    world.end(&[&*world.listener]);
}

#[test]
fn cookies_are_of_a_key_and_of_the_one_before_it() {
    let world = World::new(5);
    let key = |byte: u8| [byte; 16];
    let connect = |is_taken: bool| {
        let asking = world.open(b"hello", 5);
        world.carry_there();
        let early = world.accept();
        assert_eq!(early.is_some(), is_taken);
        world.settle();
        let accepted = early.or_else(|| world.accept()).expect("it is complete");
        assert_eq!((read(&*accepted), went_with_syn(&*asking)), (b"hello".to_vec(), is_taken));
        world.end(&[&*asking, &*accepted]);
    };
    // The machine's, which was made for the first listener.
    let tcp = world.there.stack().tcp();
    let made = tcp.fast_open_keys().expect("a listener needs it").newest;
    connect(true);
    tcp.set_fast_open_keys(CookieKeys { newest: key(9), before: Some(made) });
    connect(true);
    tcp.set_fast_open_keys(CookieKeys { newest: key(9), before: None });
    connect(true);
    world.set(TCP_FASTOPEN_KEY, &key(1));
    connect(false);
    connect(true);
    world.set(TCP_FASTOPEN_KEY, &[key(2), key(1)].concat());
    assert_eq!(world.listener.option(IPPROTO_TCP, TCP_FASTOPEN_KEY, 32, &[]), Ok([key(2), key(1)].concat()));
    connect(true);
    // It has the newer one by that.
    world.set(TCP_FASTOPEN_KEY, &key(2));
    connect(true);
    assert_eq!(world.listener.option(IPPROTO_TCP, TCP_FASTOPEN_KEY, 8, &[]), Ok(key(2).to_vec()));
    let short = world.listener.set_option(IPPROTO_TCP, TCP_FASTOPEN_KEY, &[0; 15], &CALLER);
    assert_eq!(short, Err(Errno::EINVAL));
    world.end(&[&*world.listener]);
}

#[test]
fn cookies_of_a_linux_with_the_same_key_are_good() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    clock::stop_at(SECOND_NS);
    assert!(settings::TCP_FASTOPEN.set(BOTH));
    let machine = Machine::new(1);
    let listener = machine.listen(10).expect("the port is free");
    listener.set_option(IPPROTO_TCP, TCP_FASTOPEN, &10_i32.to_ne_bytes(), &CALLER).expect("listeners have it");
    let newest = std::array::from_fn(|index| u8::try_from(index).expect("a key is short"));
    machine.stack().tcp().set_fast_open_keys(CookieKeys { newest, before: None });
    let (_, frames) = capture::all().find(|(name, _)| *name == "tcp-fast-open").expect("there is one");
    frames.into_iter().filter(|frame| frame.ends_with(b"question")).for_each(|frame| machine.receive(frame));
    machine.stack().work(0);
    let mut count = 0;
    while let Some(accepted) = listener.accept().expect("it listens") {
        assert_eq!(read(&*accepted.socket), b"question");
        accepted.socket.close();
        count += 1;
    }
    assert_eq!(count, 2, "one of each family");
    listener.close();
}

#[test]
fn nothing_is_taken_where_the_machine_or_the_listener_does_not() {
    let world = World::new(5);
    for (bits, queue_max) in [(1, 5), (BOTH, 0)] {
        assert!(settings::TCP_FASTOPEN.set(bits));
        world.set(TCP_FASTOPEN, &i32::to_ne_bytes(queue_max));
        let asking = world.open(b"hello", 5);
        world.carry_there();
        assert!(world.accept().is_none());
        world.settle();
        let accepted = world.accept().expect("it is complete");
        assert_eq!((read(&*accepted), went_with_syn(&*asking)), (b"hello".to_vec(), false));
        world.end(&[&*asking, &*accepted]);
    }
    world.end(&[&*world.listener]);
}
