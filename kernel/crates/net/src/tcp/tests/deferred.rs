//! Connections of the machine with itself that wait for data: for listeners with `TCP_DEFER_ACCEPT`, and with `TCP_FASTOPEN_CONNECT`.

use abi::inet::{TCP_DEFER_ACCEPT, TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_NO_COOKIE};
use sync::machine::NEVER;

use super::*;
use crate::socket::Opening;

fn set(socket: &TcpSocket, option: i32, value: i32) {
    socket.set_option(IPPROTO_TCP, option, &value.to_ne_bytes(), &CALLER).unwrap();
}

fn listen_for_data(stack: &Arc<Stack>) -> Arc<TcpSocket> {
    let listener = listen(stack, "127.0.0.1:80", 5);
    set(&listener, TCP_DEFER_ACCEPT, 5);
    listener
}

fn connect(stack: &Arc<Stack>) -> Arc<TcpSocket> {
    let client = TcpSocket::new(stack, AF_INET);
    assert_eq!(client.connect(&address("127.0.0.1:80"), &CALLER), Ok(Progress::WouldBlock));
    assert_eq!(client.finish_connect(), Ok(Progress::Done(0)));
    client
}

/// A send that connects.
fn open_by_send(client: &TcpSocket, bytes: &[u8]) -> Result<usize, Errno> {
    let to = address("127.0.0.1:80");
    open(client, Some(&to), MessageFlags::FASTOPEN, bytes)
}

fn open(client: &TcpSocket, address: Option<&Address>, flags: MessageFlags, bytes: &[u8]) -> Result<usize, Errno> {
    let mut from = UserReader::from_kernel(bytes);
    let mut request = SendRequest { from: &mut from, address, control: &mut Vec::new(), flags, caller: &CALLER };
    match client.open_by_send(&mut request)? {
        Opening::UnderWay(taken) => Ok(taken),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_comes_with_a_first_segment_is_what_a_listener_waits_for() {
    clock::stop_at(1_000_000_000);
    let stack = Stack::new(1);
    let listener = listen_for_data(&stack);
    let silent = connect(&stack);
    assert!(accept(&listener).is_none());
    let client = TcpSocket::new(&stack, AF_INET);
    set(&client, TCP_FASTOPEN_NO_COOKIE, 1);
    assert_eq!(open_by_send(&client, b"hello"), Ok(5));
    assert!(listener.readiness().contains(PollEvents::READABLE));
    let accepted = accept(&listener).unwrap().socket;
    assert_eq!(receive(&*accepted, 10), Ok(Some(b"hello".to_vec())));
    assert!(accept(&listener).is_none());
    [&*silent as &dyn Socket, &*client, &*accepted, &*listener].iter().for_each(|one| one.close());
}

#[test]
fn nothing_waits_for_a_connection_that_was_given_out_or_has_gone() {
    clock::stop_at(1_000_000_000);
    let stack = Stack::new(1);
    let due_ns = stack.work(0);
    let listener = listen_for_data(&stack);
    let client = connect(&stack);
    assert_ne!(stack.work(0), due_ns, "it is given out in the end");
    assert_eq!(send(&*client, b"hello"), Ok(Progress::Done(5)));
    let accepted = accept(&listener).unwrap().socket;
    assert_eq!(stack.work(0), due_ns);
    let gone = Arc::downgrade(&accepted);
    client.close();
    accepted.close();
    drop(accepted);
    assert!(gone.upgrade().is_none(), "nothing keeps a socket that is closed");

    let client = connect(&stack);
    assert_ne!(stack.work(0), due_ns);
    listener.close();
    assert_eq!(stack.work(0), due_ns);
    client.close();
    assert_eq!(due_ns, NEVER);
}

#[test]
fn who_is_refused_with_a_first_send_has_no_port_any_more() {
    let stack = Stack::new(1);
    let client = TcpSocket::new(&stack, AF_INET);
    set(&client, TCP_FASTOPEN_NO_COOKIE, 1);
    set(&client, TCP_FASTOPEN_CONNECT, 1);
    let to: SocketAddr = "127.0.0.1:80".parse().unwrap();
    assert_eq!(client.connect(&Address::Inet(to), &CALLER), Ok(Progress::Done(0)));
    let from = client.local_end();
    assert_ne!(from.port(), 0);
    assert_eq!(open(&client, None, MessageFlags::empty(), b"hello"), Ok(5));
    // The port that is shown is not its own any more.
    assert_eq!(client.local_address(), Ok(Address::Inet(SocketAddr::new([0, 0, 0, 0].into(), from.port()))));
    let again = stack.tcp().ports().claim_outgoing(from.ip(), true, Some(to), |port| port == from.port());
    assert!(again.is_ok());
}
