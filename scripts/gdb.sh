#!/usr/bin/env bash
# Attaches gdb to a machine that was started with QEMU_ARGS=-s, with the kernel's symbols where this boot put the image.
# The image slides by a multiple of 2 MiB and is smaller than that, so one instruction pointer in the kernel tells the
# slide. Further arguments go to gdb, e.g. -ex bt -batch.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
kernel=$(target_directory)/x86_64-unknown-none/kernel/kernel
remote=${REMOTE:-localhost:1234}
rip=$(gdb -batch -nx -ex 'set architecture i386:x86-64' -ex "target remote $remote" -ex 'printf "RIP %lx\n", $rip' -ex detach 2>/dev/null \
    | sed -n 's/^RIP //p')
case $rip in
ffffffff8* | ffffffff9* | ffffffffa* | ffffffffb* | ffffffffc* | ffffffffd* | ffffffffe* | fffffffff*) ;;
*) echo "gdb.sh: the machine is not in the kernel now (rip $rip); try again" >&2; exit 1 ;;
esac
offset=$(((0x$rip & ~0x1fffff) - 0xffffffff80000000))
exec gdb -nx -ex 'set architecture i386:x86-64' -ex "add-symbol-file $kernel -o $offset" -ex "target remote $remote" "$@"
