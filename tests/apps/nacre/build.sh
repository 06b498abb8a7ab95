#!/bin/bash
# The examples of the crate `nacre`, linked statically with the host's C library.
app=nacre
. "$(dirname "$0")/../lib.sh"
also=$repository/libc-shim/rust

build() {
    need cargo
    target=x86_64-unknown-linux-gnu
    RUSTFLAGS=-Ctarget-feature=+crt-static cargo build --release --manifest-path "$repository/libc-shim/rust/Cargo.toml" \
        --target $target --target-dir "$apps/.nacre" --examples
    cp "$apps/.nacre/$target/release/examples/"{tour,native} "$out/"
}

finish
