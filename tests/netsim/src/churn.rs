//! [`Churn`]: connections that come and go between two machines, many thousands, and what memory is there when they are gone.

use std::net::IpAddr;
use std::sync::Arc;

use file::Progress;
use net::socket::Socket;
use net::tcp::TcpSocket;
use testkit::clock;

use crate::counting::allocated_len;
use crate::machine::{Machine, receive, send, settle};

const SECOND_NS: u64 = 1_000_000_000;
const MILLISECOND_NS: u64 = 1_000_000;
/// Connections before those in TIME-WAIT are waited for: fewer than there are ports.
const ROUND: u64 = 10_000;
/// TIME-WAIT and a little more.
const TIME_WAIT_SECONDS: u64 = 70;

/// Two machines, one of which listens.
pub struct Churn {
    client: Machine,
    server: Machine,
    listener: Arc<TcpSocket>,
}

impl Default for Churn {
    fn default() -> Self {
        Self::new()
    }
}

impl Churn {
    /// Machines without connections. Stops the clock of this thread.
    ///
    /// # Panics
    /// When what is new does not work.
    #[must_use]
    pub fn new() -> Self {
        clock::stop_at(SECOND_NS);
        let (client, server) = (Machine::new(1), Machine::new(2));
        let listener = server.listen(100).expect("the port is free");
        Self { client, server, listener }
    }

    /// The machines: the client's and the server's.
    #[must_use]
    pub fn machines(&self) -> [&Machine; 2] {
        [&self.client, &self.server]
    }

    /// Opens a connection to the server, with a question and an answer on it. Answers its ends: the client's and the server's.
    ///
    /// # Panics
    /// When it does not work.
    #[must_use]
    pub fn converse(&self, to: IpAddr) -> [Arc<dyn Socket>; 2] {
        // Numbers of first segments follow the clock: a port that is used again soon must not get the same.
        clock::advance(MILLISECOND_NS);
        let asking = self.client.connect(to).expect("the way is known");
        settle(self.machines());
        assert_eq!(asking.finish_connect(), Ok(Progress::Done(0)));
        let answering = self.listener.accept().expect("it listens").expect("somebody waits").socket;
        let mut buffer = [0; 100];
        for (from, to) in [(&*asking as &dyn Socket, &*answering), (&*answering, &*asking)] {
            assert_eq!(send(from, &[1; 100]), Ok(100));
            settle(self.machines());
            assert_eq!(receive(to, &mut buffer), Ok(Some(100)));
        }
        [asking, answering]
    }

    /// Lets `count` connections come and go, by both families, and what stays of them expire. Either side may be the one that closes first.
    ///
    /// # Panics
    /// When a connection does not work, or something stays.
    pub fn run(&self, count: u64) {
        let mut left = count;
        while left > 0 {
            let now = left.min(ROUND);
            for number in 0..now {
                let to = if number % 2 == 0 { Machine::address4(2) } else { Machine::address6(2) };
                let mut ends = self.converse(to);
                if number % 3 == 0 {
                    ends.reverse();
                }
                for end in ends {
                    end.close();
                    settle(self.machines());
                }
            }
            self.pass(TIME_WAIT_SECONDS);
            left -= now;
        }
        let machines = self.machines();
        assert_eq!(machines.map(|machine| machine.stack().tcp().record_counts()), [(0, 0); 2]);
        assert!(machines.iter().all(|machine| machine.stack().flows().is_empty()));
    }

    /// Lets time pass.
    pub fn pass(&self, seconds: u64) {
        for _ in 0..seconds * 4 {
            clock::advance(SECOND_NS / 4);
            settle(self.machines());
        }
    }
}

/// Bytes that are allocated before and after `count` connections; the tables have their size by then.
#[must_use]
pub fn measure(count: u64) -> [usize; 2] {
    let churn = Churn::new();
    churn.run(ROUND.min(count));
    let before = allocated_len();
    churn.run(count);
    [before, allocated_len()]
}
