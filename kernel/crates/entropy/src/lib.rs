//! Random bytes that cannot be told from noise: ChaCha20 with fast key erasure.
//!
//! - [`chacha20`]: the block function of RFC 8439.
//! - [`Generator`]: the key that produces the bytes and is replaced by each request.
//!
//! The crate gathers nothing: where noise comes from (processor, hypervisor, clocks) is the machine's to know.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod chacha20;
mod generator;

pub use generator::{Generator, SEED_LEN_BYTES};
