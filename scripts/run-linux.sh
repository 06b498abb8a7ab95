#!/usr/bin/env bash
# Boots a program in a Linux guest, for comparison with Nacre: what scripts/build-image.sh and scripts/run-qemu.sh do, with
# Debian's cloud kernel. The program is the first process; its standard output is the guest's console, and so is ours.
#
#   APP=/path FILES=dir ARGS=$'one\ntwo' ENV=$'A=1\nB=2' CWD=/   a line each
#   MEM=256M CPUS=1 QEMU_ARGS=...
#   NET=user,ports=8080:80[,8443:443][,udp=53:53] | tap:NAME
#   NETCFG=10.0.0.2/24[,gw=10.0.0.1]
#   DISK=file            a raw disk, vda
#   MOUNT=/dev/vda:/data:ext4
#   UNIT=instructions    under -icount, where the time stamp counter counts instructions
set -euo pipefail
start=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

read_settings "$@" && [ -n "${APP:-}" ] || { echo "usage: scripts/run-linux.sh APP=program [VARIABLE=value...]" >&2; exit 125; }
kernel=$(scripts/linux-kernel.sh)
target=$(absolute "$(target_directory)" "$PWD")
modules=$target/linux/modules
build cargo build --release -p bench >&2
mkdir -p "$target/tmp"
work=$(mktemp -d "$target/tmp/linux-XXXXXX")
trap 'rm -rf "$work"' EXIT

# Prints the mask of a prefix's length.
mask() {
    local word=$((0xffffffff << (32 - $1) & 0xffffffff))
    echo "$((word >> 24)).$((word >> 16 & 255)).$((word >> 8 & 255)).$((word & 255))"
}

lines() { [ -z "$2" ] || printf '%s\n' "$2" | sed "s/^/$1 /"; }

root=$work/root
cp -r rootfs/base "$root"
[ -z "${FILES:-}" ] || cp -a "$(absolute "$FILES" "$start")/." "$root"
mkdir -p "$root"/{proc,sys,tmp,modules}
chmod 1777 "$root/tmp"
APP=$(absolute "$APP" "$start")
install -m 755 "$APP" "$root/$(basename "$APP")"
address=${NETCFG:-10.0.2.15/24,gw=10.0.2.2}
{
    for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net \
        virtio_blk fat nls_cp437 nls_iso8859-1 vfat; do
        [ -f "$modules/$module.ko" ] || continue
        cp "$modules/$module.ko" "$root/modules"
        echo "module /modules/$module.ko"
    done
    if [ -n "${NET:-}" ]; then
        echo "address ${address%%/*}"
        prefix=${address#*/}
        echo "mask $(mask "${prefix%%,*}")"
        [[ $address != *,gw=* ]] || { gateway=${address#*,gw=}; echo "gateway ${gateway%%,*}"; }
    fi
    [ -z "${MOUNT:-}" ] || echo "mount ${MOUNT//:/ }"
    echo "directory ${CWD:-/}"
    lines env $'HOME=/\nPATH=/bin:/usr/bin'
    lines env "${ENV:-}"
    echo "argument /$(basename "$APP")"
    lines argument "${ARGS:-}"
} > "$root/guest"

compiler=(musl-gcc -static -O2)
for folder in linux asm-generic; do
    mkdir -p "$work/headers"
    ln -s "/usr/include/$folder" "$work/headers/$folder"
done
ln -s "$(dirname "$(find /usr/include -path '*asm/unistd_64.h' -print -quit)")" "$work/headers/asm"
"${compiler[@]}" -idirafter "$work/headers" -o "$work/init" tests/bench/net/guest.c
"$target/release/bench" initramfs "$work/init" "$work/initramfs" "$root"

devices=()
case ${NET:-} in
'') ;;
user*)
    forwards= protocol=tcp
    for word in $(tr ',' ' ' <<< "${NET#user}"); do
        case $word in
        udp=*) protocol=udp ;;
        ports=*) protocol=tcp ;;
        esac
        pair=${word##*=}
        forwards+=",hostfwd=$protocol:127.0.0.1:${pair%%:*}-:${pair##*:}"
    done
    devices=(-netdev "user,id=net0$forwards")
    ;;
tap:*) devices=(-netdev "tap,id=net0,ifname=${NET#tap:},script=no,downscript=no,vhost=off") ;;
*) echo "run-linux: NET=$NET" >&2; exit 125 ;;
esac
[ ${#devices[@]} = 0 ] || devices+=(-device virtio-net-pci,disable-legacy=on,romfile=,netdev=net0)

[ -z "${DISK:-}" ] || devices+=(-drive "if=none,id=disk0,format=raw,file=$(absolute "$DISK" "$start")"
    -device "virtio-blk-pci,disable-legacy=on,romfile=,drive=disk0,num-queues=${CPUS:-1}")

accelerator=(-accel tcg,thread=multi)
[ "${UNIT:-}" != instructions ] || accelerator=(-accel tcg -icount shift=0,sleep=off)
# Nothing is left behind, and whoever ends this process ends the emulator.
exec 5<"$work/initramfs"
rm -rf "$work"
# shellcheck disable=SC2086 # Several words.
exec qemu-system-x86_64 -M q35 "${accelerator[@]}" -cpu "${BENCH_CPU:-max,-erms}" -smp "${CPUS:-1}" -m "${MEM:-256M}" \
    -nodefaults -no-user-config -display none -serial stdio -no-reboot -kernel "$kernel" -initrd /dev/fd/5 \
    "${devices[@]}" ${QEMU_ARGS:-} -append "console=ttyS0 quiet mitigations=off rcupdate.rcu_expedited=1 panic=-1"
