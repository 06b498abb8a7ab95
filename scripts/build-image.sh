#!/usr/bin/env bash
# Makes one self-contained image from a static Linux program. Settings are environment variables or VAR=value arguments.
set -euo pipefail
start=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

usage() {
    cat >&2 <<'USAGE'
usage: scripts/build-image.sh [PROGRAM] [VARIABLE=value...]
  APP=file     the program; without it a small demo is built and taken
  ARGS="..."   its arguments, split into words as a shell does
  ENV="A=1 B=2"  its environment
  FILES=dir    files for its root directory; permissions, links and times are kept
  CWD=dir      its working directory, /
  NETCFG=...   how network interfaces are configured: 10.0.0.2/24,gw=10.0.0.1,dns=10.0.0.1 for eth0, eth1:... for others,
               mtu=BYTES, dhcp, ra, off; without it by DHCP and router advertisements
  OUT=file     the image, target/nacre.elf
  ROOT=ext4    put all files on a disk, OUT.root, which make run attaches; ext2 and ext3 as well
  COMPRESS=1   compress the files, which are unpacked as they are read; by default they are mapped where they lie
  VERBOSE=1    list every system call and privileged instruction that is found, and what becomes of it
  KERNEL=file  the kernel to take; without it the kernel of this source tree is built
  KERNEL_PROFILE=kernel|kernel-dev  how it is built; kernel-dev is quick to build and has more checks
USAGE
    exit 2
}

read_settings "$@" || usage
APP=${APP:-$operand}
target=$(target_directory)

if [ -n "${KERNEL:-}" ]; then
    kernel=$(absolute "$KERNEL" "$start")
else
    profile=${KERNEL_PROFILE:-kernel}
    build scripts/kernel-cargo.sh build -p kernel --profile "$profile"
    kernel=$target/x86_64-unknown-none/$profile/kernel
fi
build cargo build --release -p image-builder

if [ -n "$APP" ]; then
    app=$(absolute "$APP" "$start")
else
    app=target/demo
    if [ ! "$app" -nt rootfs/demo/demo.c ]; then
        musl-gcc -static -O2 -o "$app" rootfs/demo/demo.c
    fi
fi

options=(--app "$app" --kernel "$kernel" --base rootfs/base --cache target/analysis)
[ -z "${ARGS:-}" ] || options+=(--arguments "$ARGS")
[ -z "${ENV:-}" ] || options+=(--environment "$ENV")
[ -z "${FILES:-}" ] || options+=(--files "$(absolute "$FILES" "$start")")
[ -z "${CWD:-}" ] || options+=(--cwd "$CWD")
[ -z "${ROOT:-}" ] || options+=(--root "$ROOT")
[ -z "${COMPRESS:-}" ] || options+=(--packed "$COMPRESS")
[ -z "${NETCFG:-}" ] || options+=(--network "$NETCFG")
if [ -n "${OUT:-}" ]; then
    options+=(--output "$(absolute "$OUT" "$start")")
else
    options+=(--output target/nacre.elf)
fi
exec "$target/release/image-builder" "${options[@]}"
