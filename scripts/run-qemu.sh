#!/usr/bin/env bash
# Boots an image in QEMU: stdin, stdout, stderr and the exit status are the program's. Settings are environment variables or
# VAR=value arguments; nacre-run does the work and names them all.
set -euo pipefail
start=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

read_settings "$@" || { echo "usage: scripts/run-qemu.sh [IMAGE] [VARIABLE=value...]" >&2; exit 125; }
IMAGE=${IMAGE:-$operand}
runner=$(target_directory)/release/nacre-run
if command -v cargo >/dev/null; then
    build cargo build --release -p image-builder || exit 125
fi
if [ -n "$IMAGE" ]; then
    IMAGE=$(absolute "$IMAGE" "$start")
else
    IMAGE=$PWD/target/nacre.elf
fi
export IMAGE
[ -z "${PROFILE:-}" ] || PROFILE=$(absolute "$PROFILE" "$start")
[ -z "${TRACE_OUT:-}" ] || TRACE_OUT=$(absolute "$TRACE_OUT" "$start")
exec "$runner"
