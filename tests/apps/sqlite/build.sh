#!/bin/bash
# The SQLite shell, a program that uses the library with threads, one whose power is cut, and the benchmark of disks.
app=sqlite
also='../../powercut/program ../../bench/disk'
. "$(dirname "$0")/../lib.sh"

archive=sqlite3_3.40.1.orig.tar.xz
sha256=aaa776260ab4dc976db34aa7891819484c8676b5b2783123ebc6301e2ca5d655

# SQLite's amalgamation is put together by Tcl scripts. Without a Tcl on the machine, Debian's packages of it are
# unpacked (not installed) beside the sources.
find_tcl() {
    ! command -v tclsh >/dev/null || return 0
    local options package
    apt_update
    mapfile -t options < <(apt_options)
    mkdir tcl bin
    (cd tcl && apt-get "${options[@]}" download tcl8.6 libtcl8.6)
    for package in tcl/*.deb; do
        dpkg-deb -x "$package" tcl
    done
    ln -s "$PWD/tcl/usr/bin/tclsh8.6" bin/tclsh
    export PATH=$PWD/bin:$PATH TCL_LIBRARY=$PWD/tcl/usr/share/tcltk/tcl8.6
    export LD_LIBRARY_PATH=$PWD/tcl/usr/lib/x86_64-linux-gnu
}

build() {
    compiler=$(musl_compiler)
    source=$(fetch_source sqlite3 $archive $sha256)
    find_tcl
    mkdir tree && cd tree
    unpack "$source"
    ./configure --disable-tcl --disable-readline --disable-shared --disable-load-extension --disable-threadsafe \
        BUILD_CC=cc CC="$compiler"
    make sqlite3.c shell.c
    single=(-O1 -DSQLITE_THREADSAFE=0 -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_ENABLE_MATH_FUNCTIONS -I.)
    # For all that have one thread.
    $compiler "${single[@]}" -c -o single.o sqlite3.c
    $compiler "${single[@]}" -o sqlite3 shell.c single.o -lm
    $compiler "${single[@]}" -o commits "$repository/tests/powercut/program/commits.c" single.o -lm
    $compiler "${single[@]}" -o bench-disk "$repository/tests/bench/disk/disk.c" single.o -lm
    $compiler -O1 -DSQLITE_THREADSAFE=1 -DSQLITE_OMIT_LOAD_EXTENSION -I. \
        -o threads "$script_dir/source/threads.c" sqlite3.c -lm
    for program in sqlite3 commits bench-disk threads; do
        strip -o "$out/$program" $program
    done
    cp -r "$script_dir/root" "$out/root"
}

finish
