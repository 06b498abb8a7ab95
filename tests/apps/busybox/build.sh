#!/bin/bash
# BusyBox with the applets that the cases use.
app=busybox
. "$(dirname "$0")/../lib.sh"

archive=busybox_1.35.0.orig.tar.bz2
sha256=faeeb244c35a348a334f4a59e44626ee870fb07b6884d68c10ae8bc19f83a694

build() {
    need bzip2 xz
    compiler=$(musl_compiler)
    unpack "$(fetch_source busybox $archive $sha256)"
    make defconfig
    # What needs kernel headers newer than this release, crypt() or libresolv.
    sed -i -e 's/^# CONFIG_STATIC is not set/CONFIG_STATIC=y/' -e 's/^CONFIG_TC=y/# CONFIG_TC is not set/' .config
    make -j"$jobs" CC="$compiler" busybox_unstripped
    strip -o "$out/busybox" busybox_unstripped
    make_files
}

# The files that the cases work on. Contents and names are the same on every machine.
make_files() {
    local root=$out/root name
    cp -r "$script_dir/root" "$root"
    mkdir -p "$root/tree/a/b/c" "$root/tree/empty" "$root/tree/x"
    for name in a/one.txt a/two.log a/b/three.txt a/b/c/four x/five.txt; do
        seq 1 $((${#name} * 100)) >"$root/tree/$name"
    done
    ln -s ../a/one.txt "$root/tree/x/link"
    chmod 750 "$root/tree/a/b"
    chmod 4711 "$root/tree/a/b/c/four"
    find "$root/tree" -exec touch -h -d '2020-02-02 02:02:02 UTC' {} +
    awk 'BEGIN { for (i = 0; i < 60000; i++) { a = (a * 1103515 + 12345) % 2147483648; print i, a % 977, a } }' \
        >"$root/numbers.txt"
    gzip -n -9 -c "$root/numbers.txt" >"$root/numbers.gz"
    bzip2 -c "$root/numbers.txt" >"$root/numbers.bz2"
    xz -c "$root/numbers.txt" >"$root/numbers.xz"
    tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner -cf "$root/tree.tar" tree
    gzip -n -c "$root/tree.tar" >"$root/tree.tar.gz"
}

finish
