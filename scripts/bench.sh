#!/usr/bin/env bash
# Measures what docs/bench shows, and writes it: the same static program on this machine's Linux, on a Linux guest and on Nacre, the
# guests in turn in the same emulator. Counts are instructions under -icount, which repeat within a percent; times are of
# whatever machine this is.
#
#   ROUNDS=5         boots of each system for wall times
#   BENCH_CPU=...    the emulated processor; Linux's byte copies would be counted one by one with ERMS
#   ROWS="a b"       rows whose names contain one of these, printed and not written to docs/: instructions on Nacre alone, beside
#                    the committed counts, within a minute ...
#   SYSTEMS="..."    ... or on these systems, times too: native linux trapped rewritten shim
#
# On Nacre the program runs with every system call trapped, with its call sites rewritten, and linked with the shim, as far as the
# source tree has these.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

if [ -n "${ROWS:-}" ] && [ -z "${SYSTEMS:-}" ]; then
    exec scripts/bench-counts.sh show
fi

work=$(target_directory)/bench
results=$work/results
processor=${BENCH_CPU:-max,-erms}
rounds=${ROUNDS:-5}
icount='-icount shift=0,sleep=off'
rm -rf "$results"
mkdir -p "$results"

musl-gcc -static -O2 -o "$work/bench" tests/bench/program/*.c
musl-gcc -static -O2 -o "$work/hello" tests/binaries/hello.c
build cargo build --release -p bench -p image-builder >&2
# One kernel for all of it, whatever happens to the sources meanwhile.
if [ -z "${KERNEL:-}" ]; then
    build scripts/kernel-cargo.sh build -p kernel --profile kernel >&2
    cp "$(target_directory)/x86_64-unknown-none/kernel/kernel" "$work/kernel"
    export KERNEL=$work/kernel
fi
bench=$(target_directory)/release/bench

has_rewriting() { grep -q REWRITE scripts/image/src/run/settings.rs; }
has_shim() { [ -x scripts/nacre-gcc ]; }

systems=(native linux trapped)
! has_rewriting || systems+=(rewritten)
! has_shim || systems+=(shim)
[ -z "${SYSTEMS:-}" ] || read -ra systems <<< "$SYSTEMS"
if [[ " ${systems[*]} " == *" shim "* ]]; then
    # Its system calls are calls of the library, which are all that the shim serves.
    scripts/nacre-gcc -static -O2 -DCALLS_BY_LIBRARY -o "$work/bench-shim" tests/bench/program/*.c
fi

# Linux itself: processors, unit, names of rows. It counts no instructions.
boot_native() {
    local cpus=$1 unit=$2 processors
    shift 2
    processors=$(taskset -cp $$ | sed 's/.*: //; s/-/,/' | cut -d, -f "1-$cpus")
    taskset -c "$processors" "$work/bench" "$unit" "$@" </dev/null
}

# Boots Linux with the benchmark as its first program.
boot_linux() {
    local cpus=$1 unit=$2 accelerator=(-accel tcg,thread=multi) khz=2600000
    shift 2
    if [ "$unit" = instructions ]; then
        # shellcheck disable=SC2206 # Several words.
        accelerator=(-accel tcg $icount) khz=1000000
    fi
    # Told the counter's frequency (which it checks later), for microvm has too few clocks to find it; PID 1 ends in a panic.
    timeout "${TIMEOUT:-300}" qemu-system-x86_64 -M microvm,pit=on,pic=on,rtc=on "${accelerator[@]}" -cpu "$processor" \
        -smp "$cpus" -m 256 -nodefaults -no-user-config -nographic -serial stdio -no-reboot \
        -kernel "$linux" -initrd "$work/initramfs" -append "console=ttyS0 quiet mitigations=off tsc=reliable no_timer_check \
rcupdate.rcu_expedited=1 panic=-1 tsc_early_khz=$khz -- $unit $*" </dev/null
}

# The same for Nacre, whose arguments are in the image.
boot_nacre() {
    local program=$1 rewrite=$2 cpus=$3 unit=$4 options="-cpu $processor"
    shift 4
    [ "$unit" != instructions ] || options="$icount $options"
    REWRITE=$rewrite scripts/build-image.sh APP="$program" ARGS="$unit $*" OUT="$work/bench.elf" >&2
    REWRITE=$rewrite ACCEL=tcg MACHINE=microvm MEM=256M CPUS=$cpus QEMU_ARGS=$options TIMEOUT=${TIMEOUT:-300} \
        scripts/run-qemu.sh "$work/bench.elf" </dev/null
}

boot_trapped() { boot_nacre "$work/bench" off "$@"; }
boot_rewritten() { boot_nacre "$work/bench" on "$@"; }
boot_shim() { boot_nacre "$work/bench-shim" on "$@"; }

# One boot of one system: system, kind of boots, round, processors, unit, names of rows.
measure() {
    local system=$1 kind=$2 round=$3
    shift 3
    echo "bench: $system, $kind, round $round" >&2
    "boot_$system" "$@" > "$results/$system.$kind.$round" || :
    grep -qa '^end' "$results/$system.$kind.$round" || {
        echo "bench: the benchmark did not end on $system:" >&2
        tail -n 3 "$results/$system.$kind.$round" >&2
        # What it had to say until then counts.
        echo end >> "$results/$system.$kind.$round"
        echo "**$system, $kind, round $round: the benchmark did not end.**" >> "$results/notes"
    }
}

if [[ " ${systems[*]} " == *" linux "* ]]; then
    if linux=$(scripts/linux-kernel.sh); then
        "$bench" initramfs "$work/bench" "$work/initramfs"
    else
        read -ra systems <<< "$(sed 's/\<linux\>//' <<< "${systems[*]}")"
        cp tests/bench/linux-6.1.txt "$results/linux.instructions.1"
        echo 'bench: no Linux guest here; its figures are the kept ones of tests/bench/linux-6.1.txt' >&2
        echo 'No Linux guest ran: its figures are those of tests/bench/linux-6.1.txt.' >> "$results/notes"
    fi
fi

names=${ROWS:-}
# shellcheck disable=SC2086 # Names are words.
for system in "${systems[@]}"; do
    [ "$system" = native ] || measure "$system" instructions 1 1 instructions $names
done
# shellcheck disable=SC2086
for ((round = 1; round <= rounds; round++)); do
    for system in "${systems[@]}"; do
        measure "$system" ns "$round" 1 ns $names
        measure "$system" ns2 "$round" 2 ns2 $names
    done
done

touch "$results/system"
if [ -n "$names" ] || [ -n "${SYSTEMS:-}" ]; then
    "$bench" report "$results" tests/bench/goals.txt /dev/null "$work"
    cat "$work/README.md"
    exit
fi

echo 'bench: counting the instructions of booting' >&2
scripts/build-image.sh APP="$work/bench" ARGS=boot OUT="$work/start.elf" >&2
ACCEL=tcg MACHINE=microvm QEMU_ARGS="$icount -cpu $processor" MEM=256M LOG=info \
    scripts/run-qemu.sh "$work/start.elf" > "$work/start.txt" 2> "$work/start.log"
reached() { tr -d '\r' < "$1" | awk '$1 == "start" { print $2; exit }'; }
entered=$(sed -n 's/.*at cycle \([0-9]*\),.*/\1/p' "$work/start.log" | head -n 1)

echo 'bench: looking for the least memory' >&2
scripts/build-image.sh APP="$work/hello" OUT="$work/hello.elf" >&2
floor=none
for mebibytes in 1 2 3 4 5 6 8 12 16; do
    if [ "$(ACCEL=tcg TIMEOUT=20 MEM=${mebibytes}M scripts/run-qemu.sh "$work/hello.elf" 2>/dev/null)" = "$("$work/hello")" ]; then
        floor=$mebibytes
        break
    fi
done

runs=10
echo "bench: booting $runs times" >&2
best=
for ((run = 0; run < runs; run++)); do
    begin=$(date +%s%N)
    IMAGE="$work/hello.elf" ACCEL=tcg MACHINE=microvm "$(target_directory)/release/nacre-run" |
        { read -r -n 1 _; date +%s%N; cat >/dev/null; } > "$work/first"
    taken=$((($(cat "$work/first") - begin) / 1000000))
    if [ -z "$best" ] || [ "$taken" -lt "$best" ]; then best=$taken; fi
done

# CPU seconds, in all, of the emulator that boots hello, and of one that starts nothing.
echo 'bench: taking the processor time of a boot' >&2
TIMEFORMAT='%U %S'
cpu_seconds() { { time "$@" </dev/null >/dev/null 2>&1; } 2>&1 | awk '{ printf "%.2f\n", $1 + $2 }'; }
of_boot=$(for ((run = 0; run < runs; run++)); do
    IMAGE="$work/hello.elf" ACCEL=tcg MACHINE=microvm cpu_seconds "$(target_directory)/release/nacre-run"
done | sort -n | head -n 1)
of_emulator=$(for ((run = 0; run < runs; run++)); do
    cpu_seconds sh -c "echo quit | qemu-system-x86_64 -nodefaults -display none -machine none -monitor stdio"
done | sort -n | head -n 1)
kernel_file=$(target_directory)/x86_64-unknown-none/kernel/kernel

kept() { awk -v name="$1" '$2 == name { print $3 }' tests/bench/linux-6.1.txt; }
# A name, what Linux takes, what Nacre takes, the goal.
whole() { printf '%s\t%s\t%s\t%s\n' "$@"; }
{
    whole "instructions from reset to the program's main" "$(reached "$results/linux.instructions.1")" \
        "$(reached "$work/start.txt")" "20 M beyond the firmware's"
    whole "of these, before the kernel's first (firmware, qboot)" "" "$entered" ""
    whole "CPU seconds of the emulator that boots hello, least of $runs" "" "$of_boot" "0.06 beyond the firmware's and the emulator's"
    whole "of these, of an emulator that starts nothing" "" "$of_emulator" ""
    whole "from starting the runner to hello's first byte, least of $runs, ms" "" "$best" ""
    whole "least memory that runs hello, MiB" "$(kept memory_floor_mib)" "$floor" 4
    whole "code and data of the kernel's file, bytes" "" "$(size "$kernel_file" | awk 'NR == 2 { print $1 + $2 }')" "2 M"
    whole "image of hello: kernel, program and files, bytes" "" "$(stat -c %s "$work/hello.elf")" ""
} > "$results/system"
"$bench" report "$results" tests/bench/goals.txt tests/bench/closing.md docs/bench
cat docs/bench/README.md
