#!/usr/bin/env bash
# Finds out which code of the kernel runs, and writes kernel/pgo.gz, by which kernel-cargo.sh has it compiled: the kernel is made without
# that file, and counted under the emulator (tests/bench/plugins/blocks.c) while servers are loaded, while each row of `make bench` and
# of `make bench-disk` is repeated, and while a small program starts. It takes ten minutes, the rights that bench-net.sh needs, and
# llvm-symbolizer (Debian: llvm). KERNEL=file is a kernel that is built already, PARTS some of "start disk servers rows".
#
# To be done again when `make bench-check` or `make bench-net` show that much of the code on their ways has changed: what is no longer as it
# was is compiled as if nothing were known of it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

command -v llvm-symbolizer >/dev/null || { echo 'kernel-pgo: llvm-symbolizer is needed (Debian: llvm)' >&2; exit 1; }
target=$(absolute "$(target_directory)" "$PWD")
work=$target/kernel-pgo/count
counts=$work/counts
rm -rf "$counts"
mkdir -p "$counts"
build_plugin blocks "$work"
build cargo build --release -p image-builder >&2
if [ -z "${KERNEL:-}" ]; then
    PGO=off build scripts/kernel-cargo.sh build -p kernel --profile kernel --config profile.kernel.debug=2 >&2
    cp "$target/x86_64-unknown-none/kernel/kernel" "$work/kernel"
    export KERNEL=$work/kernel
fi

disk=$work/disk.img
machine=
# While a disk is waited for, to look for work is most of what is executed, and says nothing of what matters.
idle=poll
trap 'rm -f "$disk"; kill $machine 2>/dev/null || :' EXIT

# Boots an image in the background, counted in a new file.
start() {
    rm -f "$work/counters"
    IDLE=$idle IMAGE=$1 ACCEL=tcg CPUS=1 TIMEOUT=600 QEMU_ARGS="-cpu max,-erms -plugin $work/blocks.so,counters=$work/counters" \
        "$target/release/nacre-run" </dev/null >/dev/null 2>&1 &
    machine=$!
}

# One load whose program repeats it for ever.
count_forever() {
    local name=$1 image=$2
    start "$image"
    sleep 1.5
    cp "$work/counters" "$counts/$name.before"
    sleep 1.5
    cp "$work/counters" "$counts/$name.after"
    kill $machine
    wait $machine || :
}

# One load that is a whole run.
count_run() {
    local name=$1 image=$2
    : > "$counts/$name.before"
    start "$image"
    wait $machine || { echo "kernel-pgo: $name failed" >&2; exit 1; }
    cp "$work/counters" "$counts/$name.after"
}

count_rows() {
    local rows row
    mapfile -t rows < <(awk '$1 !~ /^(trapped|called)_/ && NF >= 2 && $1 !~ /^#/ { print $1 }' tests/bench/counts.txt)
    musl-gcc -static -O2 -o "$work/program" tests/bench/program/*.c
    for row in "${rows[@]}"; do
        scripts/build-image.sh APP="$work/program" ARGS="forever =$row" OUT="$work/row.elf" >/dev/null
        MACHINE=microvm MEM=256M count_forever "row.$row" "$work/row.elf"
    done
}

count_disk() {
    local rows idle=halt
    bash tests/apps/sqlite/build.sh
    for rows in read_4k write_4k append_4k small_files sqlite_insert sqlite_commit; do
        rm -f "$disk"
        truncate -s 512M "$disk"
        mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 "$disk"
        scripts/build-image.sh APP="${APPS_DIR:-$target/apps}/sqlite/bench-disk" ARGS="ns /data $rows" OUT="$work/disk.elf" >/dev/null
        MACHINE=q35 MEM=512M DISK=$disk MOUNT=/dev/vda:/data:ext4 count_run "disk.$rows" "$work/disk.elf"
    done
}

count_start() {
    scripts/build-image.sh OUT="$work/demo.elf" >/dev/null
    MACHINE=microvm MEM=64M count_run start.demo "$work/demo.elf"
}

count_servers() {
    local file
    BLOCKS=$work/servers SECONDS_EACH=${SECONDS_EACH:-2} scripts/bench-net.sh
    for file in "$work"/servers/*; do mv "$file" "$counts/server.${file##*/}"; done
}

for part in ${PARTS:-start disk servers rows}; do
    echo "kernel-pgo: counting $part" >&2
    "count_$part"
done
scripts/kernel-pgo.py "$KERNEL" "$counts" kernel/pgo.gz
build scripts/kernel-cargo.sh build -p kernel --profile kernel >&2
cp "$target/kernel-pgo/crates" kernel/pgo.crates
