//! TCP: RFC 9293 and its relatives.
//!
//! - [`engine`]: one connection's protocol, without addresses, packets or locks.
pub mod engine;
