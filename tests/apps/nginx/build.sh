#!/bin/bash
# nginx with PCRE2 and zlib, and files for it to serve.
app=nginx
. "$(dirname "$0")/../lib.sh"

archive=nginx_1.22.1.orig.tar.gz
sha256=9ebb333a9e82b952acd3e2b4aeb1d4ff6406f72491bab6cd9fe69f0dea737f31
pcre_archive=pcre2_10.42.orig.tar.gz
pcre_sha256=c33b418e3b936ee3153de2c61cc638e7e4fe3156022a5c77d0711bcbb9d64f1f
zlib_archive=zlib_1.2.13.dfsg.orig.tar.bz2
zlib_sha256=71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1

build() {
    compiler=$(musl_compiler)
    source=$(fetch_source nginx $archive $sha256)
    pcre_source=$(fetch_source pcre2 $pcre_archive $pcre_sha256)
    zlib_source=$(fetch_source zlib $zlib_archive $zlib_sha256)
    mkdir pcre zlib nginx
    (cd pcre && unpack "$pcre_source")
    (cd zlib && unpack "$zlib_source")
    # Password files need crypt(), which not every musl has; its header is included all the same.
    mkdir headers
    touch headers/crypt.h
    cd nginx
    unpack "$source"
    ./configure --with-cc="${compiler%% *}" --with-cc-opt="${compiler#* } -I$OLDPWD/headers -O2" --with-ld-opt=-static \
        --with-pcre="$OLDPWD/pcre" --with-pcre-opt=-O2 --with-zlib="$OLDPWD/zlib" --with-zlib-opt=-O2 \
        --without-http_auth_basic_module --with-threads --prefix=/ --sbin-path=/nginx --conf-path=/nginx.conf \
        --error-log-path=stderr --http-log-path=/dev/null --pid-path=/tmp/nginx.pid --lock-path=/tmp/nginx.lock
    make -j"$jobs"
    strip -o "$out/nginx" objs/nginx
    cp -r "$script_dir/root" "$out/root"
    mkdir -p "$out/root/tmp" "$out/root/html"
    make_files "$out/root/html"
}

# A page of the length of nginx's own first one, and larger files.
make_files() { # FOLDER
    { printf '<!DOCTYPE html>\n<title>Nacre</title>\n<p>\n'; head -c 565 /dev/zero | tr '\0' x; printf '\n</p>\n'; } >"$1/612.html"
    seq 1 20000 >"$1/numbers.txt"
    awk 'BEGIN { for (i = 0; i < 180000; i++) { a = (a * 1103515 + 12345) % 2147483648; print i, a % 977, a } }' >"$1/large.txt"
}

finish
