#!/bin/bash
# What C++ has for threads, compiled by the Zig compiler's Clang against musl and LLVM's C++ library, all linked statically.
app=cpp-threads
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../packages.sh"

build() {
    find_zig
    "$zig" c++ -target x86_64-linux-musl -mcpu=x86_64 -std=c++20 -static -O2 -s -pthread \
        -o "$out/torture" "$script_dir/source/torture.cpp"
    # The same with the host's C and C++ libraries, where they can be linked statically.
    if command -v g++ >/dev/null && g++ -std=c++20 -static -O2 -s -pthread -o torture "$script_dir/source/torture.cpp"; then
        install -m 755 torture "$out/torture-host"
    else
        cp "$out/torture" "$out/torture-host"
    fi
}

finish
