//! Sockets of the Unix domain without a program around them.

use testkit as _;

use super::*;
use crate::socket::{ControlMessage, MessageFlags, SocketFile};
use ::file::{File, OpenFile};
use abi::OpenFlags;
use mm::user::{UserReader, UserWriter};

const CALLER: Caller = Caller {
    credentials: SocketCredentials { pid: 7, uid: 1000, gid: 100 },
    may_bind_low_ports: false,
    may_use_raw: false,
    is_network_admin: false,
    in_flight_max: 5,
};

/// Somebody without a limit.
fn another_user(uid: u32) -> Caller {
    let credentials = SocketCredentials { uid, ..CALLER.credentials };
    Caller { credentials, in_flight_max: u64::MAX, ..CALLER }
}

fn send_with(socket: &UnixSocket, bytes: &[u8], files: &[&Arc<OpenFile>]) -> IoResult {
    let mut control = Vec::new();
    if !files.is_empty() {
        control.push(ControlMessage::Rights(files.iter().map(|file| Arc::clone(file)).collect()));
    }
    let mut from = UserReader::from_kernel(bytes);
    let flags = MessageFlags::empty();
    socket.send(&mut SendRequest { from: &mut from, address: None, control: &mut control, flags, caller: &CALLER })
}

fn send(socket: &UnixSocket, bytes: &[u8]) -> IoResult {
    send_with(socket, bytes, &[])
}

fn receive(socket: &UnixSocket, len: usize) -> Result<Option<(Vec<u8>, Received)>, Errno> {
    let mut bytes = alloc::vec![0; len];
    let mut to = UserWriter::to_kernel(&mut bytes);
    let mut request = ReceiveRequest { to: &mut to, flags: MessageFlags::DONTWAIT, wants_control: true };
    let received = socket.receive(&mut request)?;
    Ok(received.map(|received| {
        bytes.truncate(received.len);
        (bytes, received)
    }))
}

fn received(socket: &UnixSocket) -> Vec<u8> {
    receive(socket, 1 << 20).unwrap().unwrap().0
}

fn open(socket: Arc<UnixSocket>) -> Arc<OpenFile> {
    OpenFile::new(SocketFile::new(socket, CALLER), OpenFlags::RDWR)
}

/// Reads both ends of a pipe: whether the writer's end is open.
fn is_writer_open(reader: &Arc<::file::pipe::PipeEnd>) -> bool {
    !reader.readiness().contains(PollEvents::HUP)
}

#[test]
fn a_stream_has_as_much_room_as_its_buffer() {
    let stack = Stack::new(1);
    let (one, other) = pair(&stack, SOCK_STREAM, &CALLER, None);
    let limit = one.options().send_buffer_len();
    assert_eq!(send(&one, &alloc::vec![1; limit + 10]), Ok(Progress::Done(limit)));
    assert_eq!(send(&one, b"x"), Ok(Progress::WouldBlock));
    assert!(!one.readiness().contains(PollEvents::OUT));
    assert_eq!(receive(&other, limit / 2).unwrap().unwrap().0.len(), limit / 2);
    assert!(!one.readiness().contains(PollEvents::OUT), "half of it is still used");
    assert_eq!(receive(&other, limit).unwrap().unwrap().0.len(), limit - limit / 2);
    assert!(one.readiness().contains(PollEvents::OUT));
    assert!(receive(&other, 1).unwrap().is_none());
    one.close();
    assert_eq!(received(&other), b"");
    assert_eq!(send(&other, b"x"), Err(Errno::EPIPE));
}

#[test]
fn rights_end_a_read_and_are_limited() {
    let stack = Stack::new(1);
    let (one, other) = pair(&stack, SOCK_STREAM, &CALLER, None);
    let (reader, writer) = ::file::pipe::pipe();
    let writer = OpenFile::new(writer, OpenFlags::WRONLY);
    send(&one, b"ab").unwrap();
    send_with(&one, b"cd", &[&writer]).unwrap();
    send(&one, b"ef").unwrap();
    let (bytes, what) = receive(&other, 100).unwrap().unwrap();
    assert_eq!((&bytes[..], what.control.len()), (&b"abcd"[..], 1));
    assert_eq!(received(&other), b"ef");
    drop(what);
    assert!(is_writer_open(&reader));
    drop(writer);
    assert!(!is_writer_open(&reader));
    // The user may have five in flight, and the message that passes it.
    let file = OpenFile::new(reader, OpenFlags::empty());
    assert!(send_with(&one, b"x", &[&file; 5]).is_ok());
    assert!(send_with(&one, b"x", &[&file]).is_ok());
    assert_eq!(send_with(&one, b"x", &[&file]), Err(Errno::ETOOMANYREFS));
    one.close();
    other.close();
}

#[test]
fn cycles_of_sockets_are_collected() {
    let stack = Stack::new(1);
    for length in [1, 2, 7] {
        let (reader, writer) = ::file::pipe::pipe();
        let writer = OpenFile::new(writer, OpenFlags::WRONLY);
        let generous = another_user(1001);
        let pairs: Vec<_> = (0..length).map(|_| pair(&stack, SOCK_STREAM, &generous, None)).collect();
        let opens: Vec<_> = pairs.iter().map(|(one, other)| (open(Arc::clone(one)), open(Arc::clone(other)))).collect();
        for (index, (one, _)) in pairs.iter().enumerate() {
            let next = &opens[(index + 1) % length];
            let files = ControlMessage::Rights(alloc::vec![Arc::clone(&next.0), Arc::clone(&next.1)]);
            let (mut control, mut from) = (alloc::vec![files], UserReader::from_kernel(b"x"));
            let flags = MessageFlags::empty();
            let request =
                &mut SendRequest { from: &mut from, address: None, control: &mut control, flags, caller: &generous };
            one.send(request).unwrap();
        }
        let files = ControlMessage::Rights(alloc::vec![writer]);
        let (mut control, mut from) = (alloc::vec![files], UserReader::from_kernel(b"y"));
        let flags = MessageFlags::empty();
        let request =
            &mut SendRequest { from: &mut from, address: None, control: &mut control, flags, caller: &generous };
        pairs[0].0.send(request).unwrap();
        // As long as one of them is open, all are.
        let last = Arc::clone(&opens[0].1);
        let owner = ::file::FdTable::new(0).lock_owner();
        for (one, other) in &opens {
            one.file().descriptor_closed(one, owner);
            other.file().descriptor_closed(other, owner);
        }
        drop((opens, pairs));
        drop(open(create(&stack, SOCK_STREAM)));
        assert!(is_writer_open(&reader));
        last.file().descriptor_closed(&last, owner);
        drop(last);
        // Another test's thread may be about to collect for all.
        for _ in 0..100_000 {
            drop(open(create(&stack, SOCK_STREAM)));
            if !is_writer_open(&reader) {
                break;
            }
            std::thread::yield_now();
        }
        assert!(!is_writer_open(&reader), "a cycle of {length} pairs was not found");
    }
}

#[test]
fn a_long_chain_is_closed_without_a_deep_stack() {
    let stack = Stack::new(1);
    let generous = another_user(1002);
    let mut last = open(create(&stack, SOCK_STREAM));
    for _ in 0..5_000 {
        let (one, other) = pair(&stack, SOCK_DGRAM, &generous, None);
        let other = open(other);
        let (mut control, mut from) =
            (alloc::vec![ControlMessage::Rights(alloc::vec![last])], UserReader::from_kernel(b"x"));
        let flags = MessageFlags::empty();
        let request =
            &mut SendRequest { from: &mut from, address: None, control: &mut control, flags, caller: &generous };
        one.send(request).unwrap();
        one.close();
        last = other;
    }
    drop(last);
}

#[test]
fn datagrams_are_charged_to_their_senders() {
    let stack = Stack::new(1);
    let (one, other) = pair(&stack, SOCK_DGRAM, &CALLER, None);
    let mut sent = 0;
    while send(&one, &[7; 1000]) == Ok(Progress::Done(1000)) {
        sent += 1;
    }
    assert!(sent > 100, "{sent}");
    assert!(!one.readiness().contains(PollEvents::OUT));
    for _ in 0..sent {
        assert_eq!(received(&other).len(), 1000);
    }
    assert!(one.readiness().contains(PollEvents::OUT));
    assert_eq!(one.unsent_len(), 0);
    // A receiver that is closed gives back what it holds.
    send(&one, b"x").unwrap();
    other.close();
    assert_eq!(one.unsent_len(), 0);
    assert_eq!(send(&one, b"x"), Err(Errno::ECONNREFUSED));
}

#[test]
fn connections_wait_up_to_the_backlog() {
    let stack = Stack::new(1);
    let name = Address::Unix(UnixName::Abstract(b"name".to_vec()));
    let listener = create(&stack, SOCK_STREAM);
    assert_eq!(listener.listen(1, &CALLER), Err(Errno::EINVAL), "it has no name");
    listener.bind(&name, &CALLER).unwrap();
    listener.listen(1, &CALLER).unwrap();
    let clients: Vec<_> = (0..3).map(|_| create(&stack, SOCK_STREAM)).collect();
    let connect = |index: usize| clients[index].connect(&name, &CALLER);
    assert_eq!((connect(0), connect(1)), (Ok(Progress::Done(0)), Ok(Progress::Done(0))));
    assert_eq!(connect(2), Ok(Progress::WouldBlock));
    let server = listener.accept().unwrap().unwrap();
    assert_eq!(connect(2), Ok(Progress::Done(0)));
    send(&clients[0], b"hello").unwrap();
    let server = (&*server.socket as &dyn core::any::Any).downcast_ref::<UnixSocket>().unwrap();
    assert_eq!(received(server), b"hello");
    listener.close();
    assert_eq!(receive(&clients[1], 1).err(), Some(Errno::ECONNRESET));
    assert_eq!(create(&stack, SOCK_STREAM).connect(&name, &CALLER), Err(Errno::ECONNREFUSED));
    create(&stack, SOCK_STREAM).bind(&name, &CALLER).unwrap();
}
