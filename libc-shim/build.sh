#!/usr/bin/env bash
# Builds the C library into target/apps/libc-shim: musl, with the files of libc-shim/musl in the place of its own.
app=libc-shim
. "$(dirname "${BASH_SOURCE[0]}")/../tests/apps/lib.sh"

build() {
    need gcc make
    unpack "$(fetch_source musl musl_1.2.3.orig.tar.gz 7d5b0b6062521e4627e099e4c9dc8248d32a30285e959b7eecaa780cf8cfd4a4)"
    cp -r "$script_dir/musl/." .
    # A call pushes onto the program's stack, below which leaf functions would keep their data.
    CC=gcc ./configure --prefix="$out" --disable-shared CFLAGS="-O2 -mno-red-zone"
    make -s -j "$jobs"
    make -s install
}

finish
