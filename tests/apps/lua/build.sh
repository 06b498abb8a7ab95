#!/bin/bash
# Lua 5.4, the stand-alone interpreter.
app=lua
. "$(dirname "$0")/../lib.sh"

archive=lua5.4_5.4.4.orig.tar.gz
sha256=164c7849653b80ae67bec4b7473b884bf5cc8d2dca05653475ec2ed27b9ebf61

build() {
    compiler=$(musl_compiler)
    unpack "$(fetch_source lua5.4 $archive $sha256)"
    make -C src -j"$jobs" lua CC="$compiler" MYCFLAGS="-DLUA_USE_POSIX" MYLIBS=""
    strip -o "$out/lua" src/lua
    cp -r "$script_dir/root" "$out/root"
}

finish
