//! Networks for tests and benchmarks of TCP: in simulated time, or in real time with Linux at one end or both.
//!
//! - [`Link`]: one direction of a wire that loses, delays, reorders, doubles and spoils packets, by a seed.
//! - [`TcpEnd`]: one end of a connection; [`EngineEnd`] is by Nacre's engine, [`SmoltcpEnd`] by smoltcp's TCP.
//! - [`Simulation`]: two ends and the links between them, in simulated time.
//! - [`machine`]: Nacre's whole stack with one device.
//! - [`victim`]: such a machine with everything open; [`mutate`] makes what is thrown at it of what was recorded ([`capture`]).
//! - [`churn`]: connections between two such machines that come and go.
//! - [`linux`]: Linux's stack in network namespaces, with this program as the wire between them.
//!
//! Packets are bytes; ends of connections exchange IP packets. Times are nanoseconds.

pub mod capture;
pub mod churn;
pub mod cost;
pub mod counting;
mod end;
mod engine_end;
mod link;
pub mod linux;
pub mod machine;
pub mod mutate;
mod pattern;
mod simulation;
mod smoltcp_end;
pub mod victim;

pub use end::{Received, TcpEnd};
pub use engine_end::EngineEnd;
pub use link::{Link, LinkCounters, LinkSettings, NEVER};
pub use pattern::Pattern;
pub use simulation::{Outcome, Simulation, Transfer};
pub use smoltcp::socket::tcp::CongestionControl;
pub use smoltcp_end::{Role, SmoltcpEnd, SmoltcpSettings};
