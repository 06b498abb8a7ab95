//! ECN between two stacks: the bits of IP headers, from the program's bytes to the mark of a router and back.

use std::net::IpAddr;

use net::settings::TCP_ECN;
use net::socket::Socket;
use netsim::machine::{Machine, receive, send, settle};

/// Where the IP header of a frame is.
const IP: usize = 14;
const FLAG_ECE: u8 = 0x40;
const FLAG_CWR: u8 = 0x80;
const CAPABLE: u8 = 2;
const MARKED: u8 = 3;

/// What of a frame is about ECN: the bits of the IP header, and the flags of TCP.
fn bits_of(frame: &[u8]) -> (u8, u8) {
    let (bits, tcp) = match frame[IP] >> 4 {
        4 => (frame[IP + 1] & 3, IP + 20),
        _ => (frame[IP + 1] >> 4 & 3, IP + 40),
    };
    (bits, frame[tcp + 13] & (FLAG_ECE | FLAG_CWR))
}

fn sum(words: &[u8]) -> u32 {
    let sum: u32 = words.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    (sum >> 16) + (sum & 0xffff)
}

/// As a router marks a packet that may be marked.
fn mark(frame: &mut [u8]) {
    if frame[IP] >> 4 == 4 {
        assert_eq!(sum(&frame[IP..IP + 20]), 0xffff, "the sum of the header covers the bits");
        frame[IP + 1] |= MARKED;
        frame[IP + 10..IP + 12].fill(0);
        let checksum = !u16::try_from(sum(&frame[IP..IP + 20])).expect("folded");
        frame[IP + 10..IP + 12].copy_from_slice(&checksum.to_be_bytes());
    } else {
        frame[IP + 1] |= MARKED << 4;
    }
}

fn is_ip(frame: &&Vec<u8>) -> bool {
    matches!(frame[12..14], [0x08, 0x00]) || (frame[12..14] == [0x86, 0xdd] && frame[IP + 6] == 6)
}

fn exchange(to: IpAddr) {
    let machines = [Machine::new(1), Machine::new(2)];
    let [client_machine, server_machine] = [&machines[0], &machines[1]];
    // Neighbours get to know each other, so that the next frame is a SYN.
    let listener = server_machine.listen(2).expect("a port");
    client_machine.connect(to).expect("a route");
    settle([client_machine, server_machine]);

    let client = client_machine.connect(to).expect("a route");
    let syn = client_machine.take_sent();
    assert_eq!(syn.iter().filter(is_ip).map(|frame| bits_of(frame)).collect::<Vec<_>>(), [(0, FLAG_ECE | FLAG_CWR)]);
    syn.into_iter().for_each(|frame| server_machine.receive(frame));
    server_machine.stack().work(0);
    let answer = server_machine.take_sent();
    assert_eq!(answer.iter().filter(is_ip).map(|frame| bits_of(frame)).collect::<Vec<_>>(), [(0, FLAG_ECE)]);
    answer.into_iter().for_each(|frame| client_machine.receive(frame));
    client_machine.stack().work(0);
    settle([client_machine, server_machine]);
    let _first = listener.accept();
    let server = listener.accept().expect("it listens").expect("the second").socket;

    assert_eq!(send(&*client, &[7; 1000]), Ok(1000));
    let mut data = client_machine.take_sent();
    assert_eq!(data.iter().map(|frame| bits_of(frame)).collect::<Vec<_>>(), [(CAPABLE, 0)]);
    mark(&mut data[0]);
    data.into_iter().for_each(|frame| server_machine.receive(frame));
    let mut bytes = [0; 2000];
    assert_eq!(receive(&*server, &mut bytes), Ok(Some(1000)));
    server_machine.stack().work(0);
    let report = server_machine.take_sent();
    assert_eq!(report.iter().map(|frame| bits_of(frame)).collect::<Vec<_>>(), [(0, FLAG_ECE)]);
    report.into_iter().for_each(|frame| client_machine.receive(frame));
    client_machine.stack().work(0);

    assert_eq!(send(&*client, &[7; 1000]), Ok(1000));
    let data = client_machine.take_sent();
    assert_eq!(data.iter().map(|frame| bits_of(frame)).collect::<Vec<_>>(), [(CAPABLE, FLAG_CWR)]);
    data.into_iter().for_each(|frame| server_machine.receive(frame));
    assert_eq!(receive(&*server, &mut bytes), Ok(Some(1000)));
    assert_eq!(send(&*server, &[8; 10]), Ok(10));
    let answer = server_machine.take_sent();
    assert!(!answer.is_empty() && answer.iter().all(|frame| bits_of(frame).1 == 0));
}

#[test]
fn marks_come_back_as_reports() {
    assert!(TCP_ECN.set(1));
    exchange(Machine::address4(2));
    exchange(Machine::address6(2));
    assert!(TCP_ECN.set(2));
    let machines = [Machine::new(1), Machine::new(2)];
    let _listener = machines[1].listen(2).expect("a port");
    machines[0].connect(Machine::address4(2)).expect("a route");
    settle([&machines[0], &machines[1]]);
    machines[0].connect(Machine::address4(2)).expect("a route");
    let syn = machines[0].take_sent();
    assert!(syn.iter().filter(is_ip).all(|frame| bits_of(frame).1 == 0), "by default nobody asks");
}
