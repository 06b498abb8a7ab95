//! Arbitrary bytes as the first buffer of a frame: `cargo +nightly fuzz run --fuzz-dir tests/fuzz classify`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use net::classify::{Class, classify};

fuzz_target!(|input: (u16, &[u8])| {
    let (more, head) = input;
    // What lies in further buffers counts for the length alone.
    let len = head.len() + usize::from(more);
    if let Class::Flow(_, layout) | Class::Control(layout) = classify(head, len) {
        assert!(usize::from(layout.network) <= layout.end as usize && layout.end as usize <= len);
        assert!(usize::from(layout.transport) <= layout.end as usize);
    }
});
