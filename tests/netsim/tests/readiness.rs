//! What a look at some events of a connection says is what a look at all says, whatever happened before: looks that need no lock
//! are right.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::socket::{SO_OOBINLINE, SOL_SOCKET};
use abi::{Errno, PollEvents};
use mm::user::UserReader;
use net::settings::TCP_AUTOCORKING;
use net::socket::{Half, MessageFlags, SendRequest, Socket};
use netsim::machine::{CALLER, Machine, receive, send, settle};
use testkit::{Random, clock};

const SECOND_NS: u64 = 1_000_000_000;
const SOL_TCP: i32 = 6;
const TCP_USER_TIMEOUT: i32 = 18;

struct World {
    machines: [Machine; 2],
    /// The end that is looked at, and the other.
    own: Arc<dyn Socket>,
    peer: Arc<dyn Socket>,
    is_cut: bool,
}

impl World {
    fn new(is_own_asking: bool) -> Self {
        let machines = [Machine::new(1), Machine::new(2)];
        let listener = machines[1].listen(1).expect("a port");
        let asking: Arc<dyn Socket> = machines[0].connect(Machine::address4(2)).expect("a route");
        settle([&machines[0], &machines[1]]);
        let answering = listener.accept().expect("it listens").expect("a connection").socket;
        let (own, peer) = if is_own_asking { (asking, answering) } else { (answering, asking) };
        Self { machines, own, peer, is_cut: false }
    }

    fn exchange(&self) {
        if self.is_cut {
            for machine in &self.machines {
                machine.stack().work(0);
                drop(machine.take_sent());
            }
        } else {
            settle([&self.machines[0], &self.machines[1]]);
        }
    }

    fn send_urgent(&self) {
        let mut from = UserReader::from_kernel(b"!");
        let (address, control) = (None, &mut Vec::new());
        let request = &mut SendRequest { from: &mut from, address, control, flags: MessageFlags::OOB, caller: &CALLER };
        assert!(matches!(self.peer.send(request), Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ETIMEDOUT)));
    }

    /// Does something or other. That calls fail once the connection is over is part of it.
    fn change(&mut self, random: &mut Random) {
        let mut bytes = [0; 100];
        let len = random.below(bytes.len());
        match random.below(40) {
            0..=9 => drop(send(&*self.peer, &bytes[..=len]).ok()),
            10..=19 => drop(receive(&*self.own, &mut bytes[..=len]).ok()),
            20..=25 => drop(send(&*self.own, &bytes[..=len]).ok()),
            26..=29 => drop(receive(&*self.peer, &mut bytes).ok()),
            30..=32 => clock::advance(SECOND_NS / 4),
            33 => self.send_urgent(),
            34 => {
                let is_inline = random.one_in(2);
                self.own.options().oob_inline.store(is_inline, Ordering::Relaxed);
                set(&*self.own, SOL_SOCKET, SO_OOBINLINE, &i32::from(is_inline).to_ne_bytes());
            }
            35 if random.one_in(4) => shut(&*self.peer, Half::Write),
            36 if random.one_in(8) => shut(&*self.own, *random.pick(&[Half::Read, Half::Write, Half::Both])),
            37 if random.one_in(8) => {
                self.peer.options().set_linger(Some(0));
                self.peer.close();
            }
            38 if random.one_in(4) => self.is_cut = true,
            39 => set(&*self.own, SOL_TCP, TCP_USER_TIMEOUT, &1000_i32.to_ne_bytes()),
            _ => {}
        }
        if !random.one_in(4) {
            self.exchange();
        }
    }
}

fn set(socket: &dyn Socket, level: i32, option: i32, value: &[u8]) {
    // Not on all that is over.
    assert!(matches!(socket.set_option(level, option, value, &CALLER), Ok(()) | Err(Errno::EINVAL)));
}

fn shut(socket: &dyn Socket, half: Half) {
    let is_connected = socket.peer_address().is_ok();
    assert!(socket.shutdown(half).is_ok() || !is_connected);
}

#[test]
fn a_look_at_some_events_is_as_one_at_all() {
    assert!(TCP_AUTOCORKING.set(0));
    let mut seen = PollEvents::empty();
    for seed in 0..600 {
        clock::stop_at(SECOND_NS);
        let mut random = Random::new(seed);
        let mut world = World::new(seed % 2 == 0);
        for step in 0..80 {
            world.change(&mut random);
            if random.one_in(2) {
                continue;
            }
            let ends = PollEvents::ERR | PollEvents::HUP;
            let choices = [PollEvents::IN, PollEvents::OUT, PollEvents::IN | PollEvents::OUT, PollEvents::all()];
            let wanted = *random.pick(&choices) | ends;
            let found = world.own.readiness_of(wanted) & wanted;
            // The look at all takes the lock, and with it what spares others that.
            let all = world.own.readiness();
            assert_eq!(found, all & wanted, "seed {seed}, step {step}");
            seen |= all;
        }
    }
    assert!(seen.contains(PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::PRI | PollEvents::RDHUP));
    assert!(seen.contains(PollEvents::ERR | PollEvents::HUP));
}

#[test]
fn a_connection_that_ends_while_it_sends_is_not_quiet() {
    assert!(TCP_AUTOCORKING.set(0));
    clock::stop_at(SECOND_NS);
    let world = World::new(true);
    set(&*world.own, SOL_TCP, TCP_USER_TIMEOUT, &1000_i32.to_ne_bytes());
    assert_eq!(send(&*world.peer, b"request"), Ok(7));
    world.exchange();
    assert_eq!(receive(&*world.own, &mut [0; 9]), Ok(Some(7)));
    assert_eq!(send(&*world.own, b"answer"), Ok(6));
    // The time is over when it sends again, and nobody has noticed before.
    clock::advance(4 * SECOND_NS);
    assert_eq!(send(&*world.own, b"more"), Ok(4));
    assert!(world.own.readiness_of(PollEvents::IN).contains(PollEvents::IN));
    assert!(world.own.readiness().contains(PollEvents::ERR | PollEvents::HUP));
}
