#!/usr/bin/env bash
# Prints what the calls of libc-shim/musl/include/nacre.h cost on Nacre, in instructions, beside those that Linux has for the same.
#
#   KERNEL=file      a kernel that is built already
#   BENCH_CPU=...    the emulated processor
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

work=$(target_directory)/bench-native
mkdir -p "$work"
headers=$(dirname "$(dirname "$(find /usr/include -path '*asm/unistd_64.h' -print -quit)")")
scripts/nacre-gcc -static -O2 -idirafter /usr/include -idirafter "$headers" -o "$work/figures" tests/bench/native/figures.c
scripts/build-image.sh APP="$work/figures" OUT="$work/image.elf" >&2
ACCEL=tcg MACHINE=microvm MEM=64M CPUS=1 QEMU_ARGS="-icount shift=0,sleep=off -cpu ${BENCH_CPU:-max,-erms}" \
    scripts/run-qemu.sh "$work/image.elf" </dev/null
