#!/bin/bash
# An HTTP server and client on tokio and hyper. It is linked with musl where the toolchain has that target, and else
# statically with the host's C library.
app=web-tokio
. "$(dirname "$0")/../lib.sh"

build() {
    need cargo
    target=x86_64-unknown-linux-musl
    [ -d "$(rustc --print target-libdir --target $target)" ] || target=x86_64-unknown-linux-gnu
    cp -r "$script_dir"/source/* .
    CARGO_TARGET_DIR=$PWD/target RUSTFLAGS='-C target-feature=+crt-static' \
        cargo build --quiet --locked --release --target $target
    install -m 755 "target/$target/release/web" "$out/web"
}

finish
