#!/bin/bash
# Rust programs linked with the C library of libc-shim by scripts/nacre-cargo: one that counts its calls, and the README's
# example. Where the toolchain has no musl, its standard library for glibc is linked.
app=shim-rust
. "$(dirname "$0")/../lib.sh"
also="$repository/libc-shim/musl $repository/libc-shim/build.sh $repository/libc-shim/README.md $repository/scripts/nacre-cargo
    $repository/scripts/nacre-gcc"

build() {
    need cargo
    local target=x86_64-unknown-linux-musl
    [ -d "$(rustc --print target-libdir --target $target)" ] || target=x86_64-unknown-linux-gnu
    cp -r "$script_dir"/source/* .
    # The example, which is a whole program.
    awk '/^```/ { is_code = $0 == "```rust" && example; next } /^## / { example = /standard library/ } is_code' \
        "$repository/libc-shim/README.md" >src/bin/readme.rs
    NACRE_TARGET=$target CARGO_TARGET_DIR=$PWD/target "$repository/scripts/nacre-cargo" build --quiet --release --offline
    cp "target/$target/release/"{counted,readme} "$out/"
    objdump -d "$out/counted" | awk '/>:$/ { name = $2 } $NF == "syscall" { print name }' | sort | uniq -c
}

finish
