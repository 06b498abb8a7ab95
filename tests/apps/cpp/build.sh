#!/bin/bash
# A C++ program, compiled by the Zig compiler's Clang against musl and LLVM's C++ library, all linked statically.
app=cpp
. "$(dirname "$0")/../lib.sh"

wheel=ziglang==0.14.1
sha256=6eb9d4d759b292c83810dbee2e9e8e3fbfbf01d864e6e9811bae711fd74e1c2f

fetch_zig() { # prints the path of the compiler
    local zig=$apps/.zig-$sha256
    if [ ! -d "$zig" ]; then
        need python3
        python3 -m pip --version >/dev/null 2>&1 || cannot "needs pip for python3 (run make setup)"
        say "downloading $wheel"
        printf '%s --hash=sha256:%s\n' "$wheel" "$sha256" >requirements.txt
        python3 -m pip download --quiet --no-deps --only-binary=:all: --platform manylinux_2_12_x86_64 \
            --require-hashes -r requirements.txt -d wheel >&2
        rm -rf "$zig.new"
        python3 -m zipfile -e wheel/*.whl "$zig.new"
        chmod +x "$zig.new/ziglang/zig"
        mv "$zig.new" "$zig"
    fi
    printf '%s\n' "$zig/ziglang/zig"
}

build() {
    zig=$(fetch_zig)
    export ZIG_GLOBAL_CACHE_DIR=$apps/.zig-cache ZIG_LOCAL_CACHE_DIR=$PWD/cache
    "$zig" c++ -target x86_64-linux-musl -mcpu=x86_64 -std=c++20 -static -O2 -s -o "$out/tour" "$script_dir/source/tour.cpp"
}

finish
