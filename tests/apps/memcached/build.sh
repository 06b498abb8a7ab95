#!/bin/bash
# memcached with libevent.
app=memcached
. "$(dirname "$0")/../lib.sh"

archive=memcached_1.6.18.orig.tar.xz
sha256=35872bd25f8d29d7cc2072d23e74344530891bfd0aa4f4f64184a8ae7291164b
event_archive=libevent_2.1.12-stable.orig.tar.gz
event_sha256=92e6de1be9ec176428fd2367677e61ceffc2ee1cb119035037a27d346b0403bb

# The generated files of the archives serve as they are; nothing may try to make them again.
no_autotools=(AUTOMAKE=: ACLOCAL=: AUTOCONF=: AUTOHEADER=:)

build() {
    compiler=$(musl_compiler)
    event_source=$(fetch_source libevent $event_archive $event_sha256)
    source=$(fetch_source memcached $archive $sha256)
    mkdir event memcached
    (
        cd event
        unpack "$event_source"
        ./configure --disable-shared --disable-openssl --disable-samples --disable-libevent-regress \
            --disable-debug-mode CC="$compiler" CFLAGS=-O2
        make "${no_autotools[@]}" include/event2/event-config.h
        make -j"$jobs" "${no_autotools[@]}" libevent.la
        mkdir lib
        cp .libs/libevent.a lib
    )
    cd memcached
    unpack "$source"
    ./configure --with-libevent="$OLDPWD/event" --disable-docs CC="$compiler" CFLAGS=-O2
    make -j"$jobs" "${no_autotools[@]}" memcached
    strip -o "$out/memcached" memcached
}

finish
