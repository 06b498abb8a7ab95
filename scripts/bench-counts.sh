#!/usr/bin/env bash
# Counts the instructions of the benchmark's rows on Nacre, in boots of a second or two, and compares them with the committed counts
# of tests/bench/counts.txt: with call sites rewritten, with all calls trapped (`trapped_`), and linked with the shim (`called_`). Most counts differ by less than a percent from boot to boot. Two rows (mmap_touch_munmap_4k,
# madvise_dontneed_touch) take one of two counts, 2% and 5% apart, as memory happens to lie in every second boot; so the least of
# several boots is what counts, and a check that fails boots again.
#
#   bench-counts.sh check    fails, naming the rows, when one has grown by more than 2%
#   bench-counts.sh update   makes the counts the committed ones
#   bench-counts.sh show     prints them beside the committed ones, the goals and Linux's; ROWS="a b" for some
#
#   KERNEL=file      a kernel that is built already
#   BENCH_CPU=...    the emulated processor
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

what=${1:-check}
work=$(target_directory)/bench-counts
committed=tests/bench/counts.txt
mkdir -p "$work"
# All see the higher of two equally likely counts once in 256 times.
boots_max=8
if [ -z "${KERNEL:-}" ]; then
    build scripts/kernel-cargo.sh build -p kernel --profile kernel >&2
    export KERNEL=$(target_directory)/x86_64-unknown-none/kernel/kernel
fi
build cargo build --release -p bench -p image-builder >&2
bench=$(target_directory)/release/bench
compiler=$(rustc --version)

rows=
[ "$what" != show ] || rows=${ROWS:-}
musl-gcc -static -O2 -o "$work/program" tests/bench/program/*.c
scripts/nacre-gcc -static -O2 -DCALLS_BY_LIBRARY -o "$work/called" tests/bench/program/*.c
for program in program called; do
    scripts/build-image.sh APP="$work/$program" ARGS="instructions $rows" OUT="$work/$program.elf" >/dev/null
done
rm -f "$work"/output.*
outputs=()

# The rows of one boot, their names behind a prefix.
boot() {
    local image=$1 rewrite=$2 prefix=$3
    IMAGE=$work/$image.elf REWRITE=$rewrite ACCEL=tcg MACHINE=microvm MEM=256M CPUS=1 TIMEOUT=100 \
        QEMU_ARGS="-icount shift=0,sleep=off -cpu ${BENCH_CPU:-max,-erms}" "$(target_directory)/release/nacre-run" \
        </dev/null | tr -d '\r' | sed -n "/^end/p; s/^row /row $prefix/p" || true
}

# One more boot of each kind. A file that has no end is one of a boot that died.
count() {
    local output=$work/output.${#outputs[@]}
    { boot program on ''; boot program off trapped_; boot called on called_; } > "$work/rows"
    grep '^row ' "$work/rows" > "$output"
    [ "$(grep -c '^end' "$work/rows")" != 3 ] || echo end >> "$output"
    outputs+=("$output")
}

[ -f "$committed" ] || : > "$committed"
case $what in
check)
    status=2
    while [ $status = 2 ] && [ ${#outputs[@]} -lt $boots_max ]; do
        count
        status=0
        "$bench" compare "$committed" "$compiler" "${outputs[@]}" > "$work/verdict" || status=$?
    done
    cat "$work/verdict"
    exit $status
    ;;
update)
    while [ ${#outputs[@]} -lt $boots_max ]; do count; done
    "$bench" compare "$committed" "$compiler" "${outputs[@]}" || [ $? -gt 1 ]
    "$bench" commit "$committed" "$compiler" "${outputs[@]}"
    ;;
show)
    count
    "$bench" counts "$committed" tests/bench/goals.txt tests/bench/linux-6.1.txt "${outputs[@]}"
    ;;
*) echo "usage: scripts/bench-counts.sh check|update|show" >&2; exit 1 ;;
esac
