#!/bin/bash
# A program that uses what Rust's standard library has for threads. It is linked with musl where the toolchain has that
# target, and else statically with the host's C library.
app=rust-threads
. "$(dirname "$0")/../lib.sh"

build() {
    need rustc
    target=x86_64-unknown-linux-musl
    [ -d "$(rustc --print target-libdir --target $target)" ] || target=x86_64-unknown-linux-gnu
    rustc --edition 2024 --target $target -C target-feature=+crt-static -C opt-level=2 -C debuginfo=0 -C strip=symbols \
        -o "$out/threads" "$script_dir/source/threads.rs"
    file "$out/threads" || true
}

finish
