#!/bin/bash
# A C++ program, compiled by the Zig compiler's Clang against musl and LLVM's C++ library, all linked statically.
app=cpp
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../packages.sh"

build() {
    find_zig
    "$zig" c++ -target x86_64-linux-musl -mcpu=x86_64 -std=c++20 -static -O2 -s -o "$out/tour" "$script_dir/source/tour.cpp"
}

finish
