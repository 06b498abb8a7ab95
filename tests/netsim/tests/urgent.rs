//! Urgent data over the network is what it is within one machine, where programs compare it with Linux
//! (`tests/binaries/socket_urgent.c`).

use std::sync::Arc;

use abi::{Errno, PollEvents};
use file::Progress;
use mm::user::{UserReader, UserWriter};
use net::settings::TCP_AUTOCORKING;
use net::socket::{MessageFlags, ReceiveRequest, SendRequest, Socket};
use netsim::machine::{CALLER, Machine, settle};
use testkit::Random;

const IPPROTO_TCP: i32 = 6;
const TCP_NODELAY: i32 = 1;

/// What was received, with its flags; nothing of what only sends.
type Answer = Result<Option<(Vec<u8>, MessageFlags)>, Errno>;

/// A connection between two machines, or within one.
struct Pair {
    machines: [Machine; 2],
    sender: Arc<dyn Socket>,
    receiver: Arc<dyn Socket>,
}

impl Pair {
    fn new(is_local: bool) -> Self {
        let machines = [Machine::new(1), Machine::new(2)];
        let listener = machines[1].listen(1).expect("a port");
        let from = &machines[usize::from(is_local)];
        let sender = from.connect(Machine::address4(2)).expect("a route");
        settle([&machines[0], &machines[1]]);
        let receiver = listener.accept().expect("it listens").expect("a connection").socket;
        sender.set_option(IPPROTO_TCP, TCP_NODELAY, &1_i32.to_ne_bytes(), &CALLER).expect("a value");
        Self { machines, sender, receiver }
    }

    fn send(&self, bytes: &[u8], flags: MessageFlags) -> Answer {
        let mut from = UserReader::from_kernel(bytes);
        while !from.is_empty() {
            let (address, control) = (None, &mut Vec::new());
            let mut request = SendRequest { from: &mut from, address, control, flags, caller: &CALLER };
            assert!(matches!(self.sender.send(&mut request), Ok(Progress::Done(1..))));
        }
        settle([&self.machines[0], &self.machines[1]]);
        Ok(None)
    }

    fn receive(&self, len: usize, flags: MessageFlags) -> Answer {
        let mut bytes = vec![0; len];
        let mut to = UserWriter::to_kernel(&mut bytes);
        let received = self.receiver.receive(&mut ReceiveRequest { to: &mut to, flags, wants_control: false })?;
        Ok(received.map(|received| {
            bytes.truncate(received.len);
            (bytes, received.flags)
        }))
    }

    fn change_inline(&self, is_inline: bool) -> Answer {
        self.receiver.options().oob_inline.store(is_inline, std::sync::atomic::Ordering::Relaxed);
        self.receiver.set_option(1, 10, &i32::from(is_inline).to_ne_bytes(), &CALLER).expect("a value");
        Ok(None)
    }

    fn state(&self) -> (PollEvents, bool) {
        let events = self.receiver.readiness() & (PollEvents::READABLE | PollEvents::PRI);
        (events, self.receiver.take_urgent_news())
    }
}

#[test]
fn over_the_wire_as_within_the_machine() {
    // What is sent is there at once.
    assert!(TCP_AUTOCORKING.set(0));
    for seed in 1..=200 {
        let mut random = Random::new(seed);
        let pairs = [Pair::new(true), Pair::new(false)];
        let (mut byte, mut is_inline) = (b'a', false);
        for step in 0..40 {
            let (kind, len) = (random.below(9), random.below(6));
            let bytes: Vec<u8> =
                std::iter::successors(Some(byte), |byte| Some(byte.wrapping_add(1))).take(len + 1).collect();
            byte = bytes[len].wrapping_add(1);
            let peek = if random.one_in(3) { MessageFlags::PEEK } else { MessageFlags::empty() };
            is_inline ^= kind == 8;
            let answers = pairs.each_ref().map(|pair| {
                let answer = match kind {
                    0 | 1 => pair.send(&bytes, MessageFlags::empty()),
                    2 | 3 => pair.send(&bytes[len / 2..], MessageFlags::OOB),
                    4 => pair.receive(1, MessageFlags::OOB | peek),
                    5..=7 => pair.receive(len, peek),
                    _ => pair.change_inline(is_inline),
                };
                (answer, pair.state())
            });
            assert_eq!(answers[0], answers[1], "seed {seed}, step {step}, kind {kind}");
        }
    }
}
