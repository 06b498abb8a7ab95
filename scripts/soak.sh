#!/usr/bin/env bash
# Runs the soak alone in a machine: MINUTES=30 CPUS=4 SEED=1 WORKERS=6 MEM=256M, and the settings of run-qemu.sh.
# The program says what it does on standard error; the status is its status.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
minutes=${MINUTES:-30} seed=${SEED:-$(date +%s)}
target=$(target_directory)
bash tests/apps/soak/build.sh
image=$target/soak-$$.elf
trap 'rm -f "$image"' EXIT
APP=${APPS_DIR:-$PWD/target/apps}/soak/soak ARGS="$((minutes * 60)) $seed ${WORKERS:-6}" OUT=$image scripts/build-image.sh >&2
echo "soak: $minutes minutes, CPUS=${CPUS:-4} SEED=$seed" >&2
# A hang that stops even the program's watchdog ends too.
IMAGE=$image CPUS=${CPUS:-4} TIMEOUT=${TIMEOUT:-$((minutes * 60 + 600))} scripts/run-qemu.sh </dev/null
