//! Sockets of `AF_VSOCK` with each other; [`host`]: with a host that is played.

mod host;

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::{Errno, PollEvents};
use file::Progress;
use mm::user::{UserReader, UserWriter};
use testkit::Random;

use super::{ANY, CID_LOCAL};
use crate::Stack;
use crate::socket::address::VsockAddress;
use crate::socket::{
    Address, Caller, Half, MessageFlags, ReceiveRequest, Received, SendRequest, Socket, SocketCredentials, create,
};

const STREAM: i32 = 1;
const SEQPACKET: i32 = 5;

const CALLER: Caller = Caller {
    credentials: SocketCredentials { pid: 1, uid: 2, gid: 3 },
    may_bind_low_ports: false,
    may_use_raw: false,
    is_network_admin: false,
    in_flight_max: 0,
};

fn address(cid: u32, port: u32) -> Address {
    Address::Vsock(VsockAddress { cid, port })
}

fn socket(stack: &Arc<Stack>, kind: i32) -> Arc<dyn Socket> {
    create(stack, 40, kind, 0, &CALLER).unwrap()
}

fn listener(stack: &Arc<Stack>, kind: i32, port: u32, backlog: i32) -> Arc<dyn Socket> {
    let listener = socket(stack, kind);
    listener.bind(&address(ANY, port), &CALLER).unwrap();
    listener.listen(backlog, &CALLER).unwrap();
    listener
}

/// Both ends of a connection of the machine with itself.
fn pair(stack: &Arc<Stack>, kind: i32) -> (Arc<dyn Socket>, Arc<dyn Socket>) {
    let listener = listener(stack, kind, 5000, 1);
    let client = socket(stack, kind);
    assert_eq!(client.connect(&address(CID_LOCAL, 5000), &CALLER), Ok(Progress::WouldBlock));
    assert_eq!(client.finish_connect(), Ok(Progress::Done(0)));
    let server = listener.accept().unwrap().unwrap().socket;
    listener.close();
    (client, server)
}

fn send(socket: &Arc<dyn Socket>, bytes: &[u8], flags: MessageFlags) -> Result<Progress, Errno> {
    let mut from = UserReader::from_kernel(bytes);
    let mut control = Vec::new();
    socket.send(&mut SendRequest { from: &mut from, address: None, control: &mut control, flags, caller: &CALLER })
}

fn write(socket: &Arc<dyn Socket>, bytes: &[u8]) -> Result<Progress, Errno> {
    send(socket, bytes, MessageFlags::empty())
}

fn receive(socket: &Arc<dyn Socket>, room: usize, flags: MessageFlags) -> Result<Option<(Vec<u8>, Received)>, Errno> {
    let mut bytes = vec![0; room];
    let mut to = UserWriter::to_kernel(&mut bytes);
    let received = socket.receive(&mut ReceiveRequest { to: &mut to, flags, wants_control: false })?;
    Ok(received.map(|received| {
        bytes.truncate(received.len);
        (bytes, received)
    }))
}

fn read(socket: &Arc<dyn Socket>, room: usize) -> Result<Option<Vec<u8>>, Errno> {
    Ok(receive(socket, room, MessageFlags::empty())?.map(|(bytes, _)| bytes))
}

#[test]
fn a_machine_talks_to_itself() {
    let stack = Stack::new(1);
    let (client, server) = pair(&stack, STREAM);
    assert_eq!(server.local_address(), Ok(address(CID_LOCAL, 5000)));
    let Ok(Address::Vsock(own)) = client.local_address() else { panic!("no address") };
    assert!(own.cid == ANY && own.port >= 1024);
    assert_eq!(server.peer_address(), Ok(address(CID_LOCAL, own.port)));
    for (from, to) in [(&client, &server), (&server, &client)] {
        assert_eq!(read(to, 10), Ok(None));
        assert_eq!(write(from, b"hello"), Ok(Progress::Done(5)));
        assert!(to.readiness().contains(PollEvents::READABLE));
        assert_eq!(receive(to, 9, MessageFlags::PEEK).unwrap().unwrap().0, b"hello");
        assert_eq!(read(to, 2), Ok(Some(b"he".to_vec())));
        assert_eq!(read(to, 20), Ok(Some(b"llo".to_vec())));
    }
    assert_eq!(client.shutdown(Half::Write), Ok(()));
    assert_eq!((read(&server, 1), write(&client, b"x")), (Ok(Some(vec![])), Err(Errno::EPIPE)));
    assert_eq!(client.peer_address(), Err(Errno::ENOTCONN));
    assert_eq!(write(&server, b"still"), Ok(Progress::Done(5)));
    server.close();
    assert_eq!(read(&client, 10), Ok(Some(b"still".to_vec())));
    assert_eq!(read(&client, 10), Ok(Some(vec![])));
    client.close();
}

#[test]
fn errors_are_those_of_linux() {
    let stack = Stack::new(1);
    assert_eq!(create(&stack, 40, 2, 0, &CALLER).err(), Some(Errno::ENODEV));
    assert_eq!(create(&stack, 40, 3, 0, &CALLER).err(), Some(Errno::ESOCKTNOSUPPORT));
    assert_eq!(create(&stack, 40, 1, 1, &CALLER).err(), Some(Errno::EPROTONOSUPPORT));
    let one = socket(&stack, STREAM);
    assert_eq!(one.bind(&address(ANY, 1023), &CALLER), Err(Errno::EACCES));
    assert_eq!(one.bind(&address(7, 2000), &CALLER), Err(Errno::EADDRNOTAVAIL));
    assert_eq!(one.bind(&Address::Unspecified, &CALLER), Err(Errno::EINVAL));
    assert_eq!(one.listen(1, &CALLER), Err(Errno::EINVAL));
    assert_eq!(one.bind(&address(CID_LOCAL, 2000), &CALLER), Ok(()));
    assert_eq!(one.bind(&address(CID_LOCAL, 2001), &CALLER), Err(Errno::EINVAL));
    let other = socket(&stack, STREAM);
    assert_eq!(other.bind(&address(ANY, 2000), &CALLER), Err(Errno::EADDRINUSE));
    assert_eq!(other.connect(&address(9, 1), &CALLER), Err(Errno::ENODEV));
    // Nobody listens there.
    other.connect(&address(CID_LOCAL, 2000), &CALLER).unwrap();
    assert_eq!(other.finish_connect(), Err(Errno::ECONNRESET));
    assert!(other.readiness().contains(PollEvents::ERR));
    assert_eq!(other.take_error(), Some(Errno::ECONNRESET));
    assert_eq!((read(&other, 1), write(&other, b"x")), (Err(Errno::ENOTCONN), Err(Errno::ENOTCONN)));
    one.close();
    assert_eq!(socket(&stack, STREAM).bind(&address(ANY, 2000), &CALLER), Ok(()));
    // Of another kind.
    let messages = listener(&stack, SEQPACKET, 3000, 1);
    other.connect(&address(CID_LOCAL, 3000), &CALLER).unwrap();
    assert_eq!(other.finish_connect(), Err(Errno::ECONNRESET));
    assert_eq!(messages.accept().err(), None);
    // To itself.
    let lonely = socket(&stack, STREAM);
    lonely.bind(&address(ANY, 4000), &CALLER).unwrap();
    lonely.connect(&address(CID_LOCAL, 4000), &CALLER).unwrap();
    assert_eq!(lonely.finish_connect(), Err(Errno::EPROTO));
}

#[test]
fn a_listener_takes_one_more_than_its_backlog_and_resets_them_when_it_is_closed() {
    let stack = Stack::new(1);
    let listener = listener(&stack, STREAM, 6000, 1);
    let clients: Vec<_> = (0..3).map(|_| socket(&stack, STREAM)).collect();
    let mut results = clients.iter().map(|client| {
        client.connect(&address(CID_LOCAL, 6000), &CALLER).unwrap();
        client.finish_connect()
    });
    assert_eq!(results.next(), Some(Ok(Progress::Done(0))));
    assert_eq!(results.next(), Some(Ok(Progress::Done(0))));
    assert_eq!(results.next(), Some(Err(Errno::ECONNRESET)));
    drop(results);
    assert!(listener.readiness().contains(PollEvents::READABLE) && listener.is_listening());
    listener.close();
    assert_eq!(read(&clients[0], 1), Ok(Some(vec![])));
    assert_eq!(write(&clients[1], b"x"), Err(Errno::EPIPE));
    clients.iter().for_each(|client| client.close());
}

#[test]
fn a_stream_is_bounded_by_the_buffer_of_its_reader_and_nothing_is_lost() {
    let seed = 5;
    let mut random = Random::new(seed);
    let stack = Stack::new(1);
    let (client, server) = pair(&stack, STREAM);
    server.set_option(40, 0, &4096_u64.to_ne_bytes(), &CALLER).unwrap();
    let (mut sent, mut seen, mut was_full) = (0_usize, 0_usize, false);
    let byte = |place: usize| (place / 5).to_le_bytes()[0];
    while seen < 2_000_000 {
        let bytes: Vec<u8> = (sent..sent + random.below(20_000)).map(byte).collect();
        match write(&client, &bytes).unwrap() {
            Progress::Done(count) => sent += count,
            Progress::WouldBlock => was_full = true,
        }
        assert!(sent - seen <= 256 * 1024, "seed {seed}");
        assert_eq!(client.readiness().contains(PollEvents::OUT), room(&client) > 0);
        if random.one_in(2)
            && let Some(bytes) = read(&server, random.below(9000)).unwrap()
        {
            assert!(bytes.iter().all(|found| {
                seen += 1;
                *found == byte(seen - 1)
            }));
        }
    }
    assert!(was_full);
}

fn room(socket: &Arc<dyn Socket>) -> usize {
    let any: &dyn core::any::Any = &**socket;
    let socket = any.downcast_ref::<super::VsockSocket>().unwrap();
    socket.lock().connection.as_ref().map_or(0, |connection| connection.credit.room())
}

#[test]
fn messages_arrive_whole_or_wait() {
    let stack = Stack::new(1);
    let (client, server) = pair(&stack, SEQPACKET);
    assert_eq!(write(&client, &vec![0; 256 * 1024 + 1]), Err(Errno::EMSGSIZE));
    assert_eq!(send(&client, b"first", MessageFlags::EOR), Ok(Progress::Done(5)));
    assert_eq!(write(&client, &vec![7; 200_000]), Ok(Progress::Done(200_000)));
    assert_eq!(write(&client, &vec![8; 100_000]), Ok(Progress::WouldBlock));
    let (bytes, first) = receive(&server, 3, MessageFlags::TRUNC).unwrap().unwrap();
    assert_eq!((&bytes[..3], first.len), (&b"fir"[..], 5));
    assert_eq!(first.flags, MessageFlags::TRUNC | MessageFlags::EOR);
    assert_eq!(write(&client, &vec![8; 100_000]), Ok(Progress::WouldBlock));
    assert_eq!(read(&server, 300_000), Ok(Some(vec![7; 200_000])));
    // The reader had been asked for room.
    assert_eq!(write(&client, &vec![8; 100_000]), Ok(Progress::Done(100_000)));
    assert_eq!(read(&server, 300_000), Ok(Some(vec![8; 100_000])));
}

#[test]
fn what_waits_in_all_connections_is_bounded() {
    let stack = Stack::new(1);
    stack.set_memory(8 * 1000);
    let (client, server) = pair(&stack, STREAM);
    assert_eq!(write(&client, &[0; 1000]), Ok(Progress::Done(1000)));
    assert_eq!(write(&client, &[0; 1]), Ok(Progress::Done(1)));
    assert_eq!(read(&server, 10), Err(Errno::ECONNRESET));
    assert_eq!(write(&client, &[0; 1]), Err(Errno::EPIPE));
    server.close();
    client.close();
    let (client, server) = pair(&stack, STREAM);
    assert_eq!(write(&client, &[0; 1000]), Ok(Progress::Done(1000)));
    assert_eq!(read(&server, 2000).unwrap().unwrap().len(), 1000);
    assert_eq!(write(&client, &[0; 1000]), Ok(Progress::Done(1000)));
}

/// Bytes that all inboxes of a machine take.
fn held(stack: &Arc<Stack>) -> usize {
    stack.vsock().held.load(Ordering::Relaxed)
}

#[test]
fn what_a_failed_connection_had_is_given_back() {
    let stack = Stack::new(1);
    stack.set_memory(8 * 1000);
    let (client, server) = pair(&stack, STREAM);
    assert_eq!(write(&client, &[0; 1000]), Ok(Progress::Done(1000)));
    assert_eq!((write(&client, &[0; 1]), held(&stack)), (Ok(Progress::Done(1)), 0));
    let others = pair(&stack, STREAM);
    assert_eq!(write(&others.0, &[0; 1000]), Ok(Progress::Done(1000)));
    assert_eq!(read(&others.1, 2000).unwrap().unwrap().len(), 1000);
    [client, server].iter().for_each(|socket| socket.close());
    assert_eq!(held(&stack), 0);
}

#[test]
fn messages_take_more_than_their_bytes() {
    let stack = Stack::new(1);
    stack.set_memory(8 * 1000);
    let (client, server) = pair(&stack, SEQPACKET);
    let sent = (0..1000).take_while(|_| write(&client, b"x") == Ok(Progress::Done(1))).count();
    assert!((30..100).contains(&sent), "{sent} of 1 byte where there is room for 1000 bytes");
    assert_eq!((read(&server, 1), held(&stack)), (Err(Errno::ECONNRESET), 0));
}

#[test]
fn nobody_waits_for_more_than_there_can_be() {
    const SOCKET: i32 = 1;
    const LOW_WATER: i32 = 18;
    let stack = Stack::new(1);
    let (client, server) = pair(&stack, STREAM);
    let set = |wanted: i32| server.set_option(SOCKET, LOW_WATER, &wanted.to_ne_bytes(), &CALLER);
    assert_eq!((set(256 * 1024), set(256 * 1024 + 1), set(-1)), (Ok(()), Err(Errno::EINVAL), Err(Errno::EINVAL)));
    server.options().receive_low_water.store(1000, Ordering::Relaxed);
    server.set_option(40, 0, &500_u64.to_ne_bytes(), &CALLER).unwrap();
    for (len, is_ready) in [(499, false), (1, true)] {
        assert_eq!(write(&client, &vec![0; len]), Ok(Progress::Done(len)));
        assert_eq!(server.readiness().contains(PollEvents::IN), is_ready);
    }
}
