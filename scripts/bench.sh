#!/usr/bin/env bash
# Measures what docs/FIGURES.md shows, and writes it. Counts are instructions of the emulator under -icount, which repeat
# within a percent; the wall time of booting is the least of several runs on whatever machine this is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

work=$(target_directory)/bench
mkdir -p "$work"
count='-icount shift=0,sleep=off'
processor=${BENCH_CPU:-max,-erms}
runs=${RUNS:-10}

musl-gcc -static -O2 -o "$work/calls" tests/bench/calls.c
musl-gcc -static -O2 -o "$work/hello" tests/binaries/hello.c
for program in calls hello; do
    scripts/build-image.sh APP="$work/$program" OUT="$work/$program.elf" >&2
done
scripts/build-image.sh APP="$work/calls" ARGS=start OUT="$work/start.elf" >&2

echo 'counting instructions' >&2
counting() { ACCEL=tcg MACHINE=microvm QEMU_ARGS="$count -cpu $processor" MEM=256M scripts/run-qemu.sh "$@"; }
counting "$work/calls.elf" > "$work/calls.txt"
LOG=info counting "$work/start.elf" > "$work/start.txt" 2> "$work/start.log"
reached=$(awk '$1 == "start" { print $2 }' "$work/start.txt")
entered=$(sed -n 's/.*at cycle \([0-9]*\),.*/\1/p' "$work/start.log" | head -n 1)

echo 'looking for the least memory' >&2
floor=none
for mebibytes in 1 2 3 4 5 6 8 12 16; do
    if [ "$(ACCEL=tcg TIMEOUT=20 MEM=${mebibytes}M scripts/run-qemu.sh "$work/hello.elf" 2>/dev/null)" = "$("$work/hello")" ]; then
        floor=$mebibytes
        break
    fi
done

echo "booting $runs times" >&2
best=
for ((run = 0; run < runs; run++)); do
    begin=$(date +%s%N)
    IMAGE="$work/hello.elf" ACCEL=tcg MACHINE=microvm "$(target_directory)/release/nacre-run" | { read -r -n 1 _; date +%s%N; cat >/dev/null; } > "$work/first"
    taken=$((($(cat "$work/first") - begin) / 1000))
    if [ -z "$best" ] || [ "$taken" -lt "$best" ]; then best=$taken; fi
done
bytes=$(stat -c %s "$work/hello.elf")

linux() { awk -v name="$1" '$1 == name { print $2 }' tests/bench/linux-6.1.txt; }
{
    echo '# Figures'
    echo
    echo 'Made by `make bench`: QEMU with TCG, machine microvm, one processor. The Linux column is `tests/bench/linux-6.1.txt`.'
    echo
    echo '| instructions per operation | Linux 6.1 guest | Nacre | ratio |'
    echo '|---|---|---|---|'
    while read -r name cycles; do
        [ "$name" != start ] || continue
        reference=$(linux "$name")
        awk -v n="$name" -v l="$reference" -v c="$cycles" 'BEGIN { printf "| %s | %s | %s | %.2f |\n", n, l, c, c / l }'
    done < "$work/calls.txt"
    echo
    echo '| whole system | Linux 6.1 guest | Nacre |'
    echo '|---|---|---|'
    echo "| instructions from reset to the program's main | $(linux boot_instructions) | $reached |"
    echo "| of these, before the kernel's first (firmware, qboot) | | $entered |"
    echo "| from starting the runner to hello's first byte, least of $runs, ms | | $(awk -v t="$best" 'BEGIN { printf "%.0f", t / 1000 }') |"
    echo "| least memory that runs hello, MiB | $(linux memory_floor_mib) | $floor |"
    echo "| image of hello: kernel, program and files, bytes | | $bytes |"
} > "$work/FIGURES.md"
cp "$work/FIGURES.md" docs/FIGURES.md
cat docs/FIGURES.md
