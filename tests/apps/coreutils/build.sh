#!/bin/bash
# GNU coreutils: only the programs that the cases use.
app=coreutils
. "$(dirname "$0")/../lib.sh"

archive=coreutils_9.1.orig.tar.xz
sha256=61a1f410d78ba7e7f37a5a4f50e6d1320aca33375484a3255eddf17a38580423

build() {
    compiler=$(musl_compiler)
    unpack "$(fetch_source coreutils $archive $sha256)"
    FORCE_UNSAFE_CONFIGURE=1 ./configure --disable-nls --disable-acl --disable-xattr --disable-libcap --without-openssl \
        --without-libgmp --without-selinux --disable-gcc-warnings --disable-dependency-tracking CC="$compiler" CFLAGS=-O1
    # The generated headers are prerequisites of `all` only.
    printf 'include Makefile\ngenerated: $(BUILT_SOURCES)\n' >generated.mk
    make -j"$jobs" -f generated.mk generated
    make -j"$jobs" src/sha256sum src/sort src/wc
    for program in sha256sum sort wc; do
        strip -o "$out/$program" src/$program
    done
    mkdir "$out/root"
    # 20 MB of lines from a linear congruential generator.
    awk 'BEGIN { for (i = 0; i < 640000; i++) { a = (a * 1103515 + 12345) % 2147483648; b = (b * 69069 + 1 + a % 7) % 4294967296
        printf "%08x %d:%s:%d\n", a, b % 100000, substr("the quick brown fox jumps over the lazy dog", 1 + b % 20, 12), a % 1000 } }' \
        >"$out/root/big.txt"
    (cd "$out/root" && sha256sum big.txt >sums)
}

finish
