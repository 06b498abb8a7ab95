#!/bin/bash
# Redis: its server, and its benchmark and command-line client for the host's side.
app=redis
. "$(dirname "$0")/../lib.sh"

archive=redis_7.0.15.orig.tar.gz
sha256=4b1dc4ee6d622a09fff9c6777191209750fb5e5a725ef78ea012d6eef4c22982

build() {
    compiler=$(musl_compiler)
    unpack "$(fetch_source redis $archive $sha256)"
    make -C src -j"$jobs" CC="$compiler" MALLOC=libc USE_SYSTEMD=no OPTIMIZATION=-O2 DEBUG= \
        redis-server redis-benchmark redis-cli
    for program in redis-server redis-benchmark redis-cli; do
        strip -o "$out/$program" src/$program
    done
}

finish
