#!/usr/bin/env bash
# Measures what docs/DISK-FIGURES.md shows, and writes it: the same static program on ext4 over virtio-blk, in a Linux guest and on
# Nacre, in turn, each with a new disk of the same make (machine q35, one processor, 512 MB).
#
#   ROUNDS=3         boots of each system for wall times
#   ROWS="a b"       rows whose names contain one of these, printed and not written to docs/
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

work=$(absolute "$(target_directory)" "$PWD")/bench-disk
results=$work/results
rounds=${ROUNDS:-3}
processor=${BENCH_CPU:-max,-erms}
icount='-icount shift=0,sleep=off'
rm -rf "$results"
mkdir -p "$results"

bash tests/apps/sqlite/build.sh
program=${APPS_DIR:-$PWD/target/apps}/sqlite/bench-disk
build cargo build --release -p bench -p image-builder >&2
if [ -z "${KERNEL:-}" ]; then
    build scripts/kernel-cargo.sh build -p kernel --profile kernel >&2
    cp "$(target_directory)/x86_64-unknown-none/kernel/kernel" "$work/kernel"
    export KERNEL=$work/kernel
fi
systems=(linux rewritten)
if ! scripts/linux-kernel.sh >/dev/null; then
    systems=(rewritten)
    echo 'No Linux guest ran here.' >> "$results/notes"
fi

new_disk() {
    rm -f "$work/disk.img"
    truncate -s 512M "$work/disk.img"
    mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 "$work/disk.img"
}

boot_linux() {
    local unit=$1
    shift
    APP=$program ARGS=$(printf '%s\n' "$unit" /data "$@") DISK=$work/disk.img MOUNT=/dev/vda:/data:ext4 MEM=512M UNIT=$unit \
        timeout 900 scripts/run-linux.sh </dev/null
}

boot_rewritten() {
    local unit=$1 options="-cpu $processor"
    shift
    [ "$unit" != instructions ] || options="$icount $options"
    scripts/build-image.sh APP="$program" ARGS="$unit /data $*" OUT="$work/disk.elf" >&2
    ACCEL=tcg MACHINE=q35 MEM=512M DISK=$work/disk.img MOUNT=/dev/vda:/data:ext4 QEMU_ARGS=$options TIMEOUT=900 \
        scripts/run-qemu.sh "$work/disk.elf" </dev/null
}

measure() {
    local system=$1 kind=$2 round=$3
    shift 3
    echo "bench-disk: $system, $kind, round $round" >&2
    new_disk
    "boot_$system" "$kind" "$@" > "$results/$system.$kind.$round" || :
    grep -qa '^end' "$results/$system.$kind.$round" || {
        echo "bench-disk: the benchmark did not end on $system:" >&2
        tail -n 3 "$results/$system.$kind.$round" >&2
        echo end >> "$results/$system.$kind.$round"
        echo "**$system, $kind, round $round: the benchmark did not end.**" >> "$results/notes"
    }
    e2fsck -fp "$work/disk.img" >/dev/null || {
        echo "**$system, $kind, round $round: e2fsck complains of the disk.**" | tee -a "$results/notes" >&2
    }
}

# shellcheck disable=SC2086 # Names are words.
for system in "${systems[@]}"; do
    measure "$system" instructions 1 ${ROWS:-}
done
# shellcheck disable=SC2086
for ((round = 1; round <= rounds; round++)); do
    for system in "${systems[@]}"; do
        measure "$system" ns "$round" ${ROWS:-}
    done
done
bench=$(target_directory)/release/bench
if [ -n "${ROWS:-}" ]; then
    "$bench" disk "$results" "$work/figures.md" "$work/figures.json"
    cat "$work/figures.md"
else
    "$bench" disk "$results" docs/DISK-FIGURES.md docs/bench/disk.json
    cat docs/DISK-FIGURES.md
fi
