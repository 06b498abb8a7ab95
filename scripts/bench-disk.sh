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

# In memory if there is some to be had: the host's own disk would be measured else.
disk=$work/disk.img
[ ! -w /dev/shm ] || disk=/dev/shm/nacre-bench-disk-$$.img
trap 'rm -f "$disk"' EXIT

new_disk() {
    rm -f "$disk"
    truncate -s 512M "$disk"
    mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 "$disk"
}

boot_linux() {
    APP=$program ARGS=$(printf '%s\n' ns /data "$@") DISK=$disk MOUNT=/dev/vda:/data:ext4 MEM=512M \
        timeout 900 scripts/run-linux.sh </dev/null
}

boot_rewritten() {
    scripts/build-image.sh APP="$program" ARGS="ns /data $*" OUT="$work/disk.elf" >&2
    ACCEL=tcg MACHINE=q35 MEM=512M DISK=$disk MOUNT=/dev/vda:/data:ext4 QEMU_ARGS="-cpu $processor" TIMEOUT=900 \
        scripts/run-qemu.sh "$work/disk.elf" </dev/null
}

measure() {
    local system=$1 round=$2
    shift 2
    local output=$results/$system.ns.$round
    echo "bench-disk: $system, round $round" >&2
    new_disk
    "boot_$system" "$@" > "$output" || :
    grep -qa '^end' "$output" || {
        echo "bench-disk: the benchmark did not end on $system:" >&2
        tail -n 3 "$output" >&2
        echo end >> "$output"
        echo "**$system, round $round: the benchmark did not end.**" >> "$results/notes"
    }
    # 1: repaired. The Linux guest ends without unmounting, Nacre unmounts.
    e2fsck -fp "$disk" >/dev/null || [ "$system $?" = "linux 1" ] ||
        echo "**$system, round $round: e2fsck complains of the disk.**" | tee -a "$results/notes" >&2
}

# shellcheck disable=SC2086 # Names are words.
for ((round = 1; round <= rounds; round++)); do
    for system in "${systems[@]}"; do
        measure "$system" "$round" ${ROWS:-}
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
