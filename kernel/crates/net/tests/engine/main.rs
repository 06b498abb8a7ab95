//! Tests of the TCP engine in simulated time.
//!
//! - `ecn`: how congestion is told;
//! - `fast_open`: data with a SYN;
//! - `links`: two engines over links that lose, repeat and reorder;
//! - `scripts`: given this segment at this time, that one is expected;
//! - `soup`: segments that make no sense.

mod ecn;
mod fast_open;
mod links;
mod script;
mod scripts;
mod soup;
mod support;
